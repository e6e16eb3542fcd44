//! An ordered table with a snapshot that costs almost nothing.
//!
//! Rows lie in sorted chunks behind `Arc`. A clone shares all chunks; a write copies
//! only the chunk it touches, and only when a snapshot still holds it. Iteration is in
//! key order, so every master walks rows alike. Hides the choice of structure
//! (docs/decisions/0003-state-tables.md).

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Rows per chunk at most. A write copies at most this many key and row handles
/// (a few microseconds); the list of chunks stays short (a million rows: 8,000).
const CHUNK_ROWS_MAX: usize = 256;

type Chunk<K, V> = Vec<(K, Arc<V>)>;

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

/// A place in a table.
struct Cursor<'a, K, V> {
    /// Chunks from the current one on.
    chunks: &'a [Arc<Chunk<K, V>>],
    /// Rows of the current chunk that are still to come.
    rows: &'a [(K, Arc<V>)],
}

impl<'a, K, V> Cursor<'a, K, V> {
    fn of(table: &'a Table<K, V>) -> Self {
        let chunks = table.chunks.as_slice();
        Self { chunks, rows: chunks.first().map_or(&[], |chunk| chunk.as_slice()) }
    }

    fn row(&self) -> Option<(&'a K, &'a Arc<V>)> {
        self.rows.first().map(|(key, row)| (key, row))
    }

    fn step(&mut self) {
        self.skip(1);
    }

    /// Passes `count` rows of the current chunk.
    fn skip(&mut self, count: usize) {
        self.rows = self.rows.get(count..).unwrap_or_default();
        if self.rows.is_empty() {
            self.next_chunk();
        }
    }

    fn next_chunk(&mut self) {
        self.chunks = self.chunks.get(1..).unwrap_or_default();
        self.rows = self.chunks.first().map_or(&[], |chunk| chunk.as_slice());
    }

    fn is_at_start(&self, chunk: &Arc<Chunk<K, V>>) -> bool {
        self.rows.len() == chunk.len()
    }

    /// Passes rows that are one and the same in both. A row is never under two keys, so that
    /// its address will do.
    fn pass_shared(&mut self, other: &mut Self) {
        loop {
            if let (Some(a), Some(b)) = (self.chunks.first(), other.chunks.first())
                && Arc::ptr_eq(a, b)
                && self.is_at_start(a)
                && other.is_at_start(b)
            {
                self.next_chunk();
                other.next_chunk();
                continue;
            }
            let pairs = self.rows.iter().zip(other.rows);
            let same = pairs.take_while(|((_, a), (_, b))| Arc::ptr_eq(a, b)).count();
            if same == 0 {
                return;
            }
            self.skip(same);
            other.skip(same);
        }
    }
}

/// Rows by key, in key order.
pub struct Table<K, V> {
    chunks: Arc<Vec<Arc<Chunk<K, V>>>>,
    len: usize,
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Self { chunks: Arc::clone(&self.chunks), len: self.len }
    }
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { chunks: Arc::new(Vec::new()), len: 0 }
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
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let at = chunk.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        chunk.get(at).map(|(_, row)| row)
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
        self.chunks.iter().flat_map(|chunk| chunk.iter().map(|(key, row)| (key, row)))
    }

    /// Every row in key order.
    pub fn values(&self) -> impl Iterator<Item = &Arc<V>> {
        self.iter().map(|(_, row)| row)
    }

    /// Rows from the first key that is not less than `start`, in key order.
    pub fn range_from<Q: Ord + ?Sized>(
        &self,
        start: &Q,
    ) -> impl Iterator<Item = (&K, &Arc<V>)> + use<'_, K, V, Q>
    where
        K: Borrow<Q>,
    {
        let first = self.chunk_of(start);
        let before = |chunk: &Arc<Chunk<K, V>>| chunk.partition_point(|(key, _)| key.borrow() < start);
        let skipped = self.chunks.get(first).map_or(0, before);
        let later = self.chunks.iter().skip(first);
        later.flat_map(|chunk| chunk.iter()).skip(skipped).map(|(key, row)| (key, row))
    }

    /// Keys whose rows were written since `old`, an earlier clone of this table, in key order.
    /// Costs as [`Table::changes_since`].
    pub fn written_since(&self, old: &Self) -> Vec<K> {
        self.changes_since(old).iter().map(|change| change.key.clone()).collect()
    }

    /// Rows that were written since `old`, an earlier clone of this table, in key order. Right for
    /// any two tables, but cheap only for clones: chunks that both share are passed over, and of
    /// the others each row costs the comparison of two addresses.
    pub fn changes_since<'a>(&'a self, old: &'a Self) -> Vec<Change<'a, K, V>> {
        let mut changes = Vec::new();
        if Arc::ptr_eq(&self.chunks, &old.chunks) {
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

    /// Position of the only chunk that may hold `key`.
    fn chunk_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        self.chunks.partition_point(|chunk| chunk.last().is_some_and(|(last, _)| last.borrow() < key))
    }

    /// Writes the row of `key`; gives back the row that was there.
    pub fn insert(&mut self, key: K, row: V) -> Option<Arc<V>> {
        let row = Arc::new(row);
        let at = self.chunk_of(&key).min(self.chunks.len().saturating_sub(1));
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(chunk) = chunks.get_mut(at) else {
            chunks.push(Arc::new(vec![(key, row)]));
            self.len = 1;
            return None;
        };
        let chunk = Arc::make_mut(chunk);
        match chunk.binary_search_by(|(k, _)| k.cmp(&key)) {
            Ok(found) => chunk.get_mut(found).map(|(_, old)| std::mem::replace(old, row)),
            Err(gap) => {
                self.len += 1;
                if chunk.len() < CHUNK_ROWS_MAX {
                    chunk.insert(gap, (key, row));
                    return None;
                }
                // Rows that come in key order leave full chunks behind, others halves; neither
                // keeps room that it does not use.
                let is_last = gap == chunk.len();
                let mut upper = chunk.split_off(if is_last { gap } else { chunk.len() / 2 });
                let lower = chunk.len();
                if is_last || gap > lower {
                    upper.insert(gap - lower, (key, row));
                } else {
                    chunk.insert(gap, (key, row));
                }
                chunk.shrink_to_fit();
                chunks.insert(at + 1, Arc::new(upper));
                None
            }
        }
    }

    /// Takes the row of `key` out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
    {
        let at = self.chunk_of(key);
        let found = self.chunks.get(at)?.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = Arc::make_mut(chunks.get_mut(at)?);
        let (_, row) = chunk.remove(found);
        if chunk.is_empty() {
            chunks.remove(at);
        }
        self.len -= 1;
        Some(row)
    }
}

impl<K: Ord + Clone, V: Clone> Table<K, V> {
    /// Every row in key order, taken out; copied where a snapshot still holds it.
    pub(super) fn into_rows(self) -> impl Iterator<Item = (K, V)> {
        let chunks = Arc::unwrap_or_clone(self.chunks).into_iter();
        let rows = chunks.flat_map(Arc::unwrap_or_clone);
        rows.map(|(key, row)| (key, Arc::unwrap_or_clone(row)))
    }

    /// The row of `key`, to be changed in place; other snapshots keep the old one.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let at = self.chunk_of(key);
        let found = self.chunks.get(at)?.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = Arc::make_mut(chunks.get_mut(at)?);
        chunk.get_mut(found).map(|(_, row)| Arc::make_mut(row))
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
                for probe in [0u16, 1, 700, 1499] {
                    prop_assert_eq!(table.get(&probe).map(|row| **row), model.get(&probe).copied());
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
