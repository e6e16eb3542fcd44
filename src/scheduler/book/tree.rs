//! A tree of maxima over agents, so that whole crowds that cannot serve a demand are skipped.
//!
//! Implicit: node `i` has the children `2i` and `2i + 1`, leaves lie side by side. No rotations,
//! so that its shape depends on its size alone.

use crate::domain::Resources;
use crate::scheduler::matcher::Need;

/// Where the score lies.
const SCORE: usize = 6;

/// Amounts in coarse units, rounded so that nobody who fits looks too small: what is there is
/// rounded up, what is asked is rounded down. Memory and disk are in whole MiB, because 4 TiB
/// in thousandths do not fit into 32 bits. The exact amounts are asked at the leaf.
///
/// In order: cpus, memory, disk, gpus, ports; the most of a standard slice (one cpu with 4 GiB)
/// that fits, which keeps an agent with many cpus and its neighbour with much memory from looking
/// like one agent with both; the score; and 1 for a leaf that may be chosen, so that a demand
/// for nothing at all does not find an empty leaf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(align(32))]
pub(super) struct Node([u32; 8]);

impl Node {
    /// Of an agent with this to spare.
    pub(super) fn of_spare(spare: &Resources, ports: u32, score: u32) -> Self {
        let up = |amount: u64, unit: u64| narrow(amount.div_ceil(unit));
        let (cpus, mem) = (spare.cpus.thousandths(), spare.mem.thousandths());
        Self([
            narrow(cpus),
            up(mem, 1_000),
            up(spare.disk.thousandths(), 1_000),
            narrow(spare.gpus.thousandths()),
            ports,
            narrow(cpus.min(mem.div_ceil(4_096))),
            score,
            1,
        ])
    }

    /// Of a demand; any score will do.
    pub(super) fn of_need(need: &Need, ports: u32) -> Self {
        let (cpus, mem) = (need.cpus.thousandths(), need.mem.thousandths());
        Self([
            narrow(cpus),
            narrow(mem / 1_000),
            narrow(need.disk.thousandths() / 1_000),
            narrow(need.gpus.thousandths()),
            ports,
            narrow(cpus.min(mem / 4_096)),
            0,
            1,
        ])
    }

    /// Whether a demand may fit below, with a score not under the one it asks for.
    pub(super) fn covers(&self, need: &Self) -> bool {
        self.0.iter().zip(&need.0).fold(true, |covers, (has, asked)| covers & (has >= asked))
    }

    pub(super) fn score(&self) -> u32 {
        self.0[SCORE]
    }

    /// The same demand, for better than a score only.
    pub(super) fn ask_score(&mut self, score: u32) {
        self.0[SCORE] = score;
    }

    fn max(&self, other: &Self) -> Self {
        let mut most = *self;
        for (most, other) in most.0.iter_mut().zip(&other.0) {
            *most = (*most).max(*other);
        }
        most
    }
}

/// The nearest number of 32 bits; the largest stands for "at least so much" on both sides.
fn narrow(amount: u64) -> u32 {
    u32::try_from(amount).unwrap_or(u32::MAX)
}

/// Position of the root.
pub(super) const ROOT: usize = 1;

/// Two neighbours, which are always asked together: side by side in one line of memory.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Pair([Node; 2]);

impl Pair {
    fn most(&self) -> Node {
        let [left, right] = &self.0;
        left.max(right)
    }

    fn of(&self, at: usize) -> Node {
        let [left, right] = self.0;
        if at.is_multiple_of(2) { left } else { right }
    }
}

/// The tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    /// Leaves that there is room for; a power of two.
    capacity: usize,
    pairs: Vec<Pair>,
    len: usize,
}

impl Tree {
    /// One leaf more, of nobody yet. Gives its number.
    pub(super) fn push(&mut self) -> u32 {
        let leaf = self.len;
        self.len += 1;
        if leaf >= self.capacity {
            let old: Vec<Pair> = self.pairs.get(self.capacity / 2..).unwrap_or_default().to_vec();
            self.capacity = (self.capacity * 2).max(4);
            self.pairs = vec![Pair::default(); self.capacity];
            for (pair, old) in self.pairs.iter_mut().skip(self.capacity / 2).zip(old) {
                *pair = old;
            }
            for at in (ROOT..self.capacity).rev() {
                self.put(at, self.most_below(at));
            }
        }
        u32::try_from(leaf).unwrap_or(u32::MAX)
    }

    /// Writes a leaf, and its ancestors up to the first that stays as it is. Says whether the
    /// root changed.
    pub(super) fn set(&mut self, leaf: u32, node: Node) -> bool {
        let mut at = self.capacity + leaf as usize;
        if self.node(at) == node {
            return false;
        }
        self.put(at, node);
        while at > ROOT {
            at /= 2;
            let most = self.most_below(at);
            if self.node(at) == most {
                return false;
            }
            self.put(at, most);
        }
        true
    }

    fn put(&mut self, at: usize, node: Node) {
        if let Some(Pair([left, right])) = self.pairs.get_mut(at / 2) {
            *(if at.is_multiple_of(2) { left } else { right }) = node;
        }
    }

    /// The maxima over the children of a node.
    fn most_below(&self, at: usize) -> Node {
        self.pairs.get(at).map(Pair::most).unwrap_or_default()
    }

    /// Leaves that there is room for; nodes have other positions when it changes.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// A node by its position.
    pub(super) fn node(&self, at: usize) -> Node {
        self.pairs.get(at / 2).map(|pair| pair.of(at)).unwrap_or_default()
    }

    /// The maxima over all.
    pub(super) fn root(&self) -> Node {
        self.node(ROOT)
    }

    /// A leaf by its number.
    pub(super) fn leaf(&self, leaf: u32) -> Node {
        self.node(self.capacity + leaf as usize)
    }

    /// The number of the leaf at a position, if one is there.
    pub(super) fn leaf_at(&self, at: usize) -> Option<u32> {
        at.checked_sub(self.capacity).and_then(|leaf| u32::try_from(leaf).ok())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::Scalar;

    fn node(cpus: u64, mem: u64) -> Node {
        let amount = Scalar::from_thousandths;
        Node::of_spare(&Resources { cpus: amount(cpus), mem: amount(mem), ..Resources::default() }, 0, 5)
    }

    #[test]
    fn who_fits_never_looks_too_small() {
        let tib = 1_048_576_000_u64;
        for (cpus, mem) in [(0, 0), (1, 1), (999, 4_095), (1_000, 999), (96_000, 9 * tib)] {
            let need =
                Node([narrow(cpus), narrow(mem / 1_000), 0, 0, 0, narrow(cpus.min(mem / 4_096)), 0, 1]);
            assert!(node(cpus, mem).covers(&need), "{cpus} {mem}");
            assert!(!Node::default().covers(&need), "nobody there");
        }
        assert!(!node(1_000, 4 * tib).covers(&Node([0, narrow(8 * tib / 1_000), 0, 0, 0, 0, 0, 1])));
    }

    proptest! {
        #[test]
        fn the_root_is_the_maximum_over_the_leaves(steps in proptest::collection::vec((0u32..40, 0u64..50, 0u64..50), 1..200)) {
            let mut tree = Tree::default();
            let mut leaves = vec![Node::default(); 40];
            (0..40).for_each(|at| assert_eq!(tree.push(), at));
            for (leaf, cpus, mem) in steps {
                let new = if cpus == 0 { Node::default() } else { node(cpus, mem * 1_000) };
                let before = tree.root();
                let changed = tree.set(leaf, new);
                leaves[leaf as usize] = new;
                let most = leaves.iter().fold(Node::default(), |most, leaf| most.max(leaf));
                prop_assert_eq!(tree.root(), most);
                prop_assert_eq!(changed, before != most);
                prop_assert_eq!(tree.leaf(leaf), new);
            }
        }
    }
}
