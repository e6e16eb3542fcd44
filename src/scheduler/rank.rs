//! Which of the suitable agents is best: instances spread, load evens out.

use super::ground::Plot;
use super::matcher::Need;
use crate::domain::Scalar;

/// Order of agents for one demand; the smallest is best. Ends with the agent's position,
/// which follows its id, so that the order is total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Instances of the same app that are there already: few are safer than many.
    pub(super) siblings: u32,
    /// The fuller of cpus and memory once the demand is there, in millionths.
    pub(super) load: u64,
    /// Position of the agent in id order.
    pub(super) position: usize,
}

impl Rank {
    pub(super) fn of(need: &Need, plot: &Plot<'_>, position: usize, siblings: u32) -> Self {
        let totals = &plot.agent.info.totals;
        let cpus = share(totals.cpus, plot.spare.cpus.minus(need.cpus));
        let mem = share(totals.mem, plot.spare.mem.minus(need.mem));
        Self { siblings, load: cpus.max(mem), position }
    }
}

/// How much of `total` is not spare, in millionths.
fn share(total: Scalar, spare: Scalar) -> u64 {
    let (total, used) = (u128::from(total.thousandths()), u128::from(total.minus(spare).thousandths()));
    (used * 1_000_000).checked_div(total).and_then(|share| u64::try_from(share).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_total_and_nothing_of_nothing_is_nothing() {
        let amount = Scalar::from_thousandths;
        assert_eq!(share(amount(4_000), amount(1_000)), 750_000);
        assert_eq!(share(amount(0), amount(0)), 0);
        assert_eq!(share(amount(u64::MAX), amount(0)), 1_000_000);
    }
}
