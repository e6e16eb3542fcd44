//! An ordered table with a snapshot that costs almost nothing.
//!
//! Rows lie in sorted leaves, leaves in pages, each behind an `Arc`. A clone shares all of them; a write
//! copies the leaf and the page that it touches, and only when a snapshot still holds them; their keys
//! only when a row comes or goes. Iteration is in key order, so every master walks rows alike. Hides the choice of structure
//! (docs/decisions/0003-state-tables.md).

mod changes;

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::changes::Change;

/// Rows per leaf at most. After a snapshot each write copies a leaf, and whoever lets the snapshot go frees
/// the old one: twice as many rows cost both nearly twice as much. Half as many cost as much in pages.
const LEAF_ROWS_MAX: usize = 16;

/// Leaves per page at most. A million rows are about 90,000 leaves in 2,000 pages; the list of pages is
/// copied once per batch.
const PAGE_LEAVES_MAX: usize = 64;

/// Rows with their keys.
type Leaf<K, V> = Node<K, V>;

/// Leaves, each with a key that none of its own are greater than, and all of the next leaf's are.
type Page<K, V> = Node<K, Leaf<K, V>>;

/// Sorted keys, and what belongs to each.
struct Node<K, T> {
    keys: Arc<Vec<K>>,
    items: Vec<Arc<T>>,
}

/// Rows by key, in key order.
pub struct Table<K, V> {
    /// Pages, with keys as pages have them for leaves.
    root: Arc<Node<K, Page<K, V>>>,
    len: usize,
}

impl<K, T> Clone for Node<K, T> {
    fn clone(&self) -> Self {
        self.touch();
        Self { keys: Arc::clone(&self.keys), items: self.items.clone() }
    }
}

impl<K, T> Default for Node<K, T> {
    fn default() -> Self {
        Self { keys: Arc::default(), items: Vec::new() }
    }
}

impl<K, T> Drop for Node<K, T> {
    fn drop(&mut self) {
        self.touch();
    }
}

impl<K, T> Node<K, T> {
    /// Reads from every item before all of them are counted up or down. Counting waits for one item's
    /// memory after the other's, reading for all at once.
    fn touch(&self) {
        std::hint::black_box(self.items.iter().map(Arc::strong_count).fold(0, usize::wrapping_add));
    }

    /// Position of the first key that is not less than `key`; behind all when there is none.
    fn position<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        self.keys.partition_point(|own| own.borrow() < key)
    }

    /// Position of `key` itself.
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.keys.binary_search_by(|own| own.borrow().cmp(key))
    }

    /// What it holds, taken out.
    fn into_items(mut self) -> impl Iterator<Item = Arc<T>> {
        std::mem::take(&mut self.items).into_iter()
    }

    /// What may hold `key`.
    fn under<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&Arc<T>>
    where
        K: Borrow<Q>,
    {
        self.items.get(self.position(key))
    }
}

impl<K: Clone, T> Node<K, T> {
    fn insert(&mut self, at: usize, key: K, item: Arc<T>) {
        Arc::make_mut(&mut self.keys).insert(at, key);
        self.items.insert(at, item);
    }

    fn remove(&mut self, at: usize) -> Arc<T> {
        Arc::make_mut(&mut self.keys).remove(at);
        self.items.remove(at)
    }

    /// Where `key` belongs: what may hold it, or the last, which is asked first since most rows come in
    /// order.
    fn place(&self, key: &K) -> usize
    where
        K: Ord,
    {
        let last = self.items.len().saturating_sub(1);
        if self.keys.last().is_none_or(|greatest| greatest < key) { last } else { self.position(key) }
    }

    /// Raises the key at a position, when `key` is greater.
    fn raise(&mut self, at: usize, key: &K)
    where
        K: Ord,
    {
        if self.keys.get(at).is_some_and(|own| own < key)
            && let Some(own) = Arc::make_mut(&mut self.keys).get_mut(at)
        {
            *own = key.clone();
        }
    }

    /// Gives away what lies from a position on, and keeps no room for it.
    fn split_off(&mut self, at: usize) -> Self {
        let keys = Arc::make_mut(&mut self.keys);
        let upper = keys.split_off(at);
        keys.shrink_to_fit();
        let above = Self { keys: Arc::new(upper), items: self.items.split_off(at) };
        self.items.shrink_to_fit();
        above
    }
}

impl<K: Clone, T> Node<K, Node<K, T>> {
    /// Makes two of the child at a position when it holds more than `most`. Rows that come in key
    /// order leave full children behind, others halves.
    fn split_child(&mut self, at: usize, most: usize, in_order: bool) {
        let Some(child) = self.items.get_mut(at).filter(|child| child.items.len() > most) else { return };
        let middle = if in_order { most } else { child.items.len() / 2 };
        let above = Arc::make_mut(child).split_off(middle);
        let Some((middle, upper)) = child.keys.last().cloned().zip(self.keys.get(at).cloned()) else {
            return;
        };
        if let Some(own) = Arc::make_mut(&mut self.keys).get_mut(at) {
            *own = middle;
        }
        self.insert(at + 1, upper, Arc::new(above));
    }
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Self { root: Arc::clone(&self.root), len: self.len }
    }
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { root: Arc::default(), len: 0 }
    }
}

impl<K: fmt::Debug + Ord + Clone, V: fmt::Debug> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord + Clone, V> Table<K, V> {
    /// How many rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The row of `key`.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&Arc<V>>
    where
        K: Borrow<Q>,
    {
        let leaf = self.root.under(key)?.under(key)?;
        leaf.items.get(leaf.find(key).ok()?)
    }

    /// A key as the table has it: clones of that one are compared without being read.
    pub fn key<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&K>
    where
        K: Borrow<Q>,
    {
        let leaf = self.root.under(key)?.under(key)?;
        leaf.keys.get(leaf.find(key).ok()?)
    }

    /// Whether `key` has a row.
    pub fn contains<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// Every row in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Arc<V>)> {
        let leaves = self.root.items.iter().flat_map(|page| page.items.iter());
        leaves.flat_map(|leaf| leaf.keys.iter().zip(&leaf.items))
    }

    /// Every row in key order.
    pub fn values(&self) -> impl Iterator<Item = &Arc<V>> {
        self.iter().map(|(_, row)| row)
    }

    /// The row at a position in key order. Costs a look at each leaf before it.
    pub fn nth(&self, position: usize) -> Option<&Arc<V>> {
        let mut left = position;
        let leaves = self.root.items.iter().flat_map(|page| page.items.iter());
        for leaf in leaves {
            match leaf.items.get(left) {
                Some(row) => return Some(row),
                None => left = left.saturating_sub(leaf.items.len()),
            }
        }
        None
    }

    /// Rows from the first key that is not less than `start`, in key order.
    pub fn range_from<Q: Ord + ?Sized>(
        &self,
        start: &Q,
    ) -> impl Iterator<Item = (&K, &Arc<V>)> + use<'_, K, V, Q>
    where
        K: Borrow<Q>,
    {
        let at = self.root.position(start);
        let first = self.root.items.get(at);
        let leaf_at = first.map_or(0, |page| page.position(start));
        let skipped = first.and_then(|page| page.items.get(leaf_at)).map_or(0, |leaf| leaf.position(start));
        let later = self.root.items.iter().skip(at.saturating_add(1)).flat_map(|page| page.items.iter());
        let leaves = first.into_iter().flat_map(move |page| page.items.iter().skip(leaf_at)).chain(later);
        leaves.flat_map(|leaf| leaf.keys.iter().zip(&leaf.items)).skip(skipped)
    }

    /// Writes the row of `key`; gives back the row that was there.
    pub fn insert(&mut self, key: K, row: V) -> Option<Arc<V>> {
        let row = Arc::new(row);
        let root = Arc::make_mut(&mut self.root);
        if root.items.is_empty() {
            // A page that holds no leaf, and a leaf that holds no row, are taken out at once.
            root.insert(0, key.clone(), Arc::default());
        }
        let page_at = root.place(&key);
        root.raise(page_at, &key);
        let page = Arc::make_mut(root.items.get_mut(page_at)?);
        if page.items.is_empty() {
            page.insert(0, key.clone(), Arc::default());
        }
        let leaf_at = page.place(&key);
        page.raise(leaf_at, &key);
        let leaf = Arc::make_mut(page.items.get_mut(leaf_at)?);
        let is_last = leaf.keys.last().is_none_or(|last| *last < key);
        match if is_last { Err(leaf.items.len()) } else { leaf.find(&key) } {
            Ok(found) => return leaf.items.get_mut(found).map(|old| std::mem::replace(old, row)),
            Err(gap) => leaf.insert(gap, key, row),
        }
        self.len += 1;
        let is_last_leaf = leaf_at + 1 == page.items.len();
        page.split_child(leaf_at, LEAF_ROWS_MAX, is_last);
        root.split_child(page_at, PAGE_LEAVES_MAX, is_last && is_last_leaf);
        None
    }

    /// Takes the row of `key` out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
    {
        self.get(key)?;
        let root = Arc::make_mut(&mut self.root);
        let page_at = root.position(key);
        let page = Arc::make_mut(root.items.get_mut(page_at)?);
        let leaf_at = page.position(key);
        let leaf = Arc::make_mut(page.items.get_mut(leaf_at)?);
        let row = leaf.remove(leaf.find(key).ok()?);
        if leaf.items.is_empty() {
            page.remove(leaf_at);
            if page.items.is_empty() {
                root.remove(page_at);
            }
        }
        self.len -= 1;
        Some(row)
    }
}

impl<K: Ord + Clone, V: Clone> Table<K, V> {
    /// Every row in key order, taken out; copied where a snapshot still holds it.
    pub(super) fn into_rows(self) -> impl Iterator<Item = (K, V)> {
        let pages = Arc::unwrap_or_clone(self.root).into_items();
        let leaves = pages.flat_map(|page| Arc::unwrap_or_clone(page).into_items());
        leaves.flat_map(|leaf| {
            let mut leaf = Arc::unwrap_or_clone(leaf);
            let keys = Arc::unwrap_or_clone(std::mem::take(&mut leaf.keys));
            keys.into_iter().zip(leaf.into_items().map(Arc::unwrap_or_clone))
        })
    }

    /// The row of `key`, to be changed in place; other snapshots keep the old one.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let page_at = self.root.position(key);
        let page = self.root.items.get(page_at)?;
        let leaf_at = page.position(key);
        let found = page.items.get(leaf_at)?.find(key).ok()?;
        let page = Arc::make_mut(Arc::make_mut(&mut self.root).items.get_mut(page_at)?);
        let leaf = Arc::make_mut(page.items.get_mut(leaf_at)?);
        leaf.items.get_mut(found).map(Arc::make_mut)
    }
}

impl<K: Ord + Clone, V> FromIterator<(K, V)> for Table<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(rows: I) -> Self {
        let mut table = Self::default();
        for (key, row) in rows {
            table.insert(key, row);
        }
        table
    }
}

impl<K: Ord + Clone + PartialEq, V: PartialEq> PartialEq for Table<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Ord + Clone + Serialize, V: Serialize> Serialize for Table<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.len))?;
        for (key, row) in self.iter() {
            rows.serialize_element(&(key, &**row))?;
        }
        rows.end()
    }
}

impl<'de, K: Ord + Clone + Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Table<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rows<K, V>(std::marker::PhantomData<(K, V)>);
        impl<'de, K: Ord + Clone + Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for Rows<K, V> {
            type Value = Table<K, V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of rows")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Self::Value, A::Error> {
                let mut table = Table::default();
                while let Some((key, row)) = rows.next_element::<(K, V)>()? {
                    table.insert(key, row);
                }
                Ok(table)
            }
        }
        deserializer.deserialize_seq(Rows(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_an_ordered_map_and_snapshots_stay(steps in proptest::collection::vec((0u16..1500, any::<bool>()), 0..3000)) {
            let mut table: Table<u16, u16> = Table::default();
            let mut model: BTreeMap<u16, u16> = BTreeMap::new();
            let mut kept = Vec::new();
            for (at, (key, write)) in steps.iter().enumerate() {
                let value = u16::try_from(at).unwrap();
                if *write {
                    prop_assert_eq!(table.insert(*key, value).map(|row| *row), model.insert(*key, value));
                } else {
                    prop_assert_eq!(table.remove(key).map(|row| *row), model.remove(key));
                }
                if at % 500 == 0 {
                    kept.push((table.clone(), model.clone()));
                }
            }
            kept.push((table, model));
            for pair in kept.windows(2) {
                let [(old, old_model), (new, new_model)] = pair else { unreachable!() };
                let mut wanted: Vec<u16> = new_model.iter().filter(|(k, v)| old_model.get(k) != Some(v)).map(|(k, _)| *k).collect();
                wanted.extend(old_model.keys().filter(|key| !new_model.contains_key(key)));
                wanted.sort_unstable();
                prop_assert_eq!(new.written_since(old), wanted);
            }
            for (table, model) in kept {
                prop_assert_eq!(table.len(), model.len());
                prop_assert!(table.iter().map(|(k, v)| (*k, **v)).eq(model.iter().map(|(k, v)| (*k, *v))));
                for position in [0, 1, model.len() / 2, model.len().saturating_sub(1), model.len()] {
                    prop_assert_eq!(table.nth(position).map(|row| **row), model.values().nth(position).copied());
                }
                for probe in [0u16, 1, 700, 1499] {
                    prop_assert_eq!(table.get(&probe).map(|row| **row), model.get(&probe).copied());
                    prop_assert_eq!(table.key(&probe), model.get_key_value(&probe).map(|(key, _)| key));
                    prop_assert!(table.range_from(&probe).map(|(k, _)| *k).eq(model.range(probe..).map(|(k, _)| *k)));
                }
                let bytes = rmp_serde::to_vec_named(&table).unwrap();
                prop_assert!(rmp_serde::from_slice::<Table<u16, u16>>(&bytes).unwrap() == table);
            }
        }
    }

    #[test]
    fn change_in_place_leaves_snapshots_alone() {
        let mut table: Table<&str, u8> = [("a", 1), ("b", 2)].into_iter().collect();
        let before = table.clone();
        *table.get_mut("a").unwrap() = 9;
        assert_eq!((table.get("a").map(|v| **v), before.get("a").map(|v| **v)), (Some(9), Some(1)));
    }
}
