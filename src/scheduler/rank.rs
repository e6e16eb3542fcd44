//! Which of the suitable agents is best: instances spread, load evens out.
//!
//! Fewest instances of the app first; of those the largest score; of equal ones the smallest id.

use super::fingerprint::{fingerprint, scattered};
use crate::domain::{AgentId, Scalar};

/// What settles between agents that are equally full: drawn by the id, so that every master and
/// every explanation draws alike.
pub(super) fn lot(agent: &AgentId) -> u16 {
    u16::try_from(scattered(fingerprint(agent.as_str())) >> 48).unwrap_or(0)
}

/// How good an agent is for anybody; larger is better. The upper half is its free share, of cpus
/// or of memory, whichever is scarcer; the lower half its [`lot`]. Without a lot equal agents
/// would be taken in the order of their names, and with it rack by rack.
///
/// `totals` and `spare` are cpus and memory.
pub(super) fn score(totals: (Scalar, Scalar), spare: (Scalar, Scalar), lot: u16) -> u32 {
    of(load(totals, spare), lot)
}

/// The same of one that is so full, in millionths.
pub(super) fn of(load: u64, lot: u16) -> u32 {
    u32::from(free(load)) << 16 | u32::from(lot)
}

/// The free share of an agent that is so full, as scores have it.
pub(super) fn free(load: u64) -> u16 {
    let free = 1_000_000_u64.saturating_sub(load) * u64::from(u16::MAX) / 1_000_000;
    u16::try_from(free).unwrap_or(u16::MAX)
}

/// The lot that is in a score.
pub(super) fn lot_of(score: u32) -> u16 {
    u16::try_from(score & u32::from(u16::MAX)).unwrap_or(0)
}

/// How full an agent is, of cpus or of memory, whichever is fuller; in millionths.
pub(super) fn load(totals: (Scalar, Scalar), spare: (Scalar, Scalar)) -> u64 {
    share(totals.0, spare.0).max(share(totals.1, spare.1))
}

/// The same of what tasks hold: more than a million where they hold more than there is, as on an agent
/// that came back smaller.
pub(super) fn held(totals: (Scalar, Scalar), taken: (Scalar, Scalar)) -> u64 {
    of_total(totals.0, taken.0).max(of_total(totals.1, taken.1))
}

/// How much of `total` is not spare, in millionths.
fn share(total: Scalar, spare: Scalar) -> u64 {
    of_total(total, total.minus(spare))
}

fn of_total(total: Scalar, taken: Scalar) -> u64 {
    let (total, taken) = (total.thousandths(), taken.thousandths());
    match taken.checked_mul(1_000_000) {
        Some(taken) => taken.checked_div(total).unwrap_or(0),
        None => {
            let share = (u128::from(taken) * 1_000_000).checked_div(u128::from(total));
            share.and_then(|share| u64::try_from(share).ok()).unwrap_or(0)
        }
    }
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
        assert_eq!(share(amount(500), amount(600)), 0);
        assert_eq!(of_total(amount(500), amount(2_500)), 5_000_000);
    }

    #[test]
    fn the_scarcer_of_cpus_and_memory_counts_before_the_lot() {
        let of = |cpus, mem| (Scalar::from_thousandths(cpus), Scalar::from_thousandths(mem));
        let score = |cpus, mem, lot| score(of(1_000, 1_000), of(cpus, mem), lot);
        assert!(score(900, 500, 0) > score(400, 1_000, u16::MAX));
        assert!(score(500, 900, 2) > score(900, 500, 1));
    }
}
