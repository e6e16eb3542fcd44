//! What was written between two clones of a table.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Leaf, Page, Table};

/// A row that was written between two clones of a table.
#[derive(Debug)]
pub struct Change<'a, K, V> {
    /// Its key.
    pub key: &'a K,
    /// The row in the earlier clone; nothing when it is new.
    pub before: Option<&'a Arc<V>>,
    /// The row now; nothing when it was taken out.
    pub after: Option<&'a Arc<V>>,
}

/// A place in a table. What it passes by its address alone is not read.
struct Cursor<'a, K, V> {
    /// From the current page on.
    pages: &'a [Arc<Page<K, V>>],
    /// The current leaf in its page.
    leaf: usize,
    /// The current row in its leaf.
    row: usize,
}

impl<'a, K, V> Cursor<'a, K, V> {
    fn of(table: &'a Table<K, V>) -> Self {
        Self { pages: &table.root.items, leaf: 0, row: 0 }
    }

    /// The page that the place is at the start of.
    fn page(&self) -> Option<&'a Arc<Page<K, V>>> {
        self.pages.first().filter(|_| self.leaf == 0 && self.row == 0)
    }

    /// The leaf that the place is at the start of.
    fn leaf(&self) -> Option<&'a Arc<Leaf<K, V>>> {
        self.pages.first().filter(|_| self.row == 0)?.items.get(self.leaf)
    }

    /// Rows of the current leaf that are still to come.
    fn rows(&self) -> &'a [Arc<V>] {
        let leaf = self.pages.first().and_then(|page| page.items.get(self.leaf));
        leaf.and_then(|leaf| leaf.items.get(self.row..)).unwrap_or_default()
    }

    fn row(&self) -> Option<(&'a K, &'a Arc<V>)> {
        let leaf = self.pages.first()?.items.get(self.leaf)?;
        leaf.keys.get(self.row).zip(leaf.items.get(self.row))
    }

    /// Passes `count` of the `rows` that are still to come in the current leaf.
    fn skip(&mut self, count: usize, rows: usize) {
        if count < rows {
            self.row += count;
        } else {
            self.next_leaf();
        }
    }

    fn step(&mut self) {
        self.skip(1, self.rows().len());
    }

    fn next_leaf(&mut self) {
        (self.leaf, self.row) = (self.leaf + 1, 0);
        if self.pages.first().is_none_or(|page| self.leaf >= page.items.len()) {
            self.next_page();
        }
    }

    fn next_page(&mut self) {
        self.pages = self.pages.get(1..).unwrap_or_default();
        (self.leaf, self.row) = (0, 0);
    }

    /// Passes rows that are one and the same in both. A row is never under two keys, so that
    /// its address will do.
    fn pass_shared(&mut self, other: &mut Self) {
        loop {
            if is_one(self.page(), other.page()) {
                self.next_page();
                other.next_page();
            } else if is_one(self.leaf(), other.leaf()) {
                self.next_leaf();
                other.next_leaf();
            } else {
                let (own, others) = (self.rows(), other.rows());
                let pairs = own.iter().zip(others);
                let same = pairs.take_while(|(a, b)| Arc::ptr_eq(a, b)).count();
                if same == 0 {
                    return;
                }
                self.skip(same, own.len());
                other.skip(same, others.len());
            }
        }
    }
}

fn is_one<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
    a.zip(b).is_some_and(|(a, b)| Arc::ptr_eq(a, b))
}

impl<K: Ord + Clone, V> Table<K, V> {
    /// Keys whose rows were written since `old`, an earlier clone of this table, in key order.
    /// Costs as [`Table::changes_since`].
    pub fn written_since(&self, old: &Self) -> Vec<K> {
        self.changes_since(old).iter().map(|change| change.key.clone()).collect()
    }

    /// Rows that were written since `old`, an earlier clone of this table, in key order. Right for
    /// any two tables, but cheap only for clones: pages and leaves that both share are passed over,
    /// and of the others each row costs the comparison of two addresses.
    pub fn changes_since<'a>(&'a self, old: &'a Self) -> Vec<Change<'a, K, V>> {
        let mut changes = Vec::new();
        if Arc::ptr_eq(&self.root, &old.root) {
            return changes;
        }
        let (mut before, mut after) = (Cursor::of(old), Cursor::of(self));
        loop {
            before.pass_shared(&mut after);
            match (before.row(), after.row()) {
                (None, None) => return changes,
                (Some((key, row)), None) => {
                    changes.push(Change { key, before: Some(row), after: None });
                    before.step();
                }
                (None, Some((key, row))) => {
                    changes.push(Change { key, before: None, after: Some(row) });
                    after.step();
                }
                (Some((old_key, old_row)), Some((key, row))) => match old_key.cmp(key) {
                    Ordering::Less => {
                        changes.push(Change { key: old_key, before: Some(old_row), after: None });
                        before.step();
                    }
                    Ordering::Greater => {
                        changes.push(Change { key, before: None, after: Some(row) });
                        after.step();
                    }
                    Ordering::Equal => {
                        changes.push(Change { key, before: Some(old_row), after: Some(row) });
                        before.step();
                        after.step();
                    }
                },
            }
        }
    }
}
