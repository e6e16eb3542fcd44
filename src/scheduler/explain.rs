//! Why an app waits: every offer through the cycle's own questions. Source: spec 5.8.

use std::collections::BTreeMap;

use super::ground::Ground;
use super::matcher::Need;
use super::offers::offer_of;
use super::{Reason, SchedulingView, Suspects, feasibility};
use crate::domain::{AppId, AppVersion, Offer};
use crate::state::ClusterState;

/// What became of every offer, for one more instance of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Funnel {
    /// State index that was looked at.
    pub index: u64,
    /// Offers looked at.
    pub processed: u32,
    /// Offers that would suit.
    pub suitable: u32,
    /// All ten reasons in funnel order.
    pub summary: Vec<ReasonCount>,
    /// Offers that do not suit, in id order of their agents; no more than were asked for.
    pub unused: Vec<Unused>,
}

/// How many offers came to one question of the funnel, and how many fell there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonCount {
    /// The question.
    pub reason: Reason,
    /// Offers that fell.
    pub declined: u32,
    /// Offers that came to it.
    pub processed: u32,
}

/// An offer that does not suit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unused {
    /// The offer.
    pub offer: Offer,
    /// First reason why not.
    pub reason: Reason,
}

/// Puts every offer to one more instance of an app: of the content that waits, or else of
/// the current one. Suspects get nothing. Shows at most `unused_max` that do not suit. Nothing for an
/// app that does not exist.
pub fn funnel(state: &ClusterState, app: &AppId, suspects: &Suspects, unused_max: usize) -> Option<Funnel> {
    let need = Need::of(state, content_that_waits(state, app)?);
    let ground = Ground::of(&SchedulingView::without(state, suspects));
    let mut unused = Vec::new();
    let mut fell: BTreeMap<Reason, u32> = BTreeMap::new();
    for plot in &ground.plots {
        let Err(reason) = feasibility::check(&need, plot) else { continue };
        *fell.entry(reason).or_default() += 1;
        if unused.len() < unused_max {
            unused.push(Unused { offer: offer_of(state.index, plot), reason });
        }
    }
    let processed = u32::try_from(ground.plots.len()).unwrap_or(u32::MAX);
    let mut left = processed;
    let count = |reason: Reason| {
        let declined = fell.get(&reason).copied().unwrap_or(0);
        let count = ReasonCount { reason, declined, processed: left };
        left = left.saturating_sub(declined);
        count
    };
    let summary = Reason::ALL.into_iter().map(count).collect();
    Some(Funnel { index: state.index, processed, suitable: left, summary, unused })
}

fn content_that_waits<'a>(state: &'a ClusterState, app: &'a AppId) -> Option<&'a AppVersion> {
    let waiting = state.instances_of(app).find(|row| row.is_waiting());
    waiting.and_then(|row| state.content_of(row)).or_else(|| state.current(app))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::AgentId;
    use crate::scheduler::Suspicion;
    use crate::testkit::{Playground, an_agent, an_app};

    const ALL: usize = usize::MAX;

    #[test]
    fn each_offer_falls_at_its_first_reason_and_the_rest_goes_on() {
        let mut ground = Playground::default();
        ground.record(vec![
            an_agent("a1").without_docker().register(),
            an_agent("a2").cpus(0.5).register(),
            an_agent("a3").cpus(0.5).mem(1.0).register(),
            an_agent("a4").mem(64.0).register(),
        ]);
        let app = an_app("/web").bridged("x:1", &[0]).cpus(1.0).mem(64.0);
        ground.put(&app);
        let funnel = funnel(&ground.state, &app.id(), &Suspects::new(), ALL).unwrap();
        assert_eq!((funnel.processed, funnel.suitable), (4, 1));
        let declined: Vec<(u32, u32)> = funnel.summary.iter().map(|c| (c.declined, c.processed)).collect();
        let wanted = [(0, 4), (1, 4), (0, 3), (0, 3), (2, 3), (0, 1), (0, 1), (0, 1), (0, 1), (0, 1)];
        assert_eq!(declined, wanted);
        let reasons: Vec<Reason> = funnel.unused.iter().map(|unused| unused.reason).collect();
        let wanted = [Reason::UnfulfilledConstraint, Reason::InsufficientCpus, Reason::InsufficientCpus];
        assert_eq!(reasons, wanted);
    }

    #[test]
    fn what_is_kept_for_others_falls_at_the_first_question() {
        let mut ground = Playground::default();
        ground.record(vec![
            an_agent("a1").cpus(4.0).keep("db", 2.0, 64.0, None).register(),
            an_agent("a2").cpus(2.0).register(),
            an_agent("a3").ports(31_000, 31_003).keep("db", 0.0, 0.0, Some((31_000, 31_002))).register(),
            an_agent("a4").cpus(9.0).register(),
        ]);
        let app = an_app("/web").cpus(3.0).any_ports(2);
        ground.put(&app);
        let of_web = funnel(&ground.state, &app.id(), &Suspects::new(), ALL).unwrap();
        assert_eq!((of_web.summary[0].declined, of_web.suitable), (2, 1));
        let app = an_app("/db/one").role("db").accepts(&["db"]).cpus(2.0);
        ground.put(&app);
        let of_db = funnel(&ground.state, &app.id(), &Suspects::new(), ALL).unwrap();
        assert_eq!((of_db.summary[0].reason, of_db.summary[0].declined), (Reason::UnfulfilledRole, 3));
    }

    #[test]
    fn a_suspect_is_counted_as_one_that_takes_no_new_tasks() {
        let mut ground = Playground::with_agents(2);
        let app = an_app("/web");
        ground.put(&app);
        let suspects = Suspects::from([(AgentId::new("a2"), Suspicion::NotYetBack)]);
        let funnel = funnel(&ground.state, &app.id(), &suspects, ALL).unwrap();
        assert_eq!((funnel.processed, funnel.suitable), (2, 1));
        assert_eq!(funnel.unused[0].reason, Reason::AgentMaintenance);
    }

    #[test]
    fn all_are_counted_and_no_more_shown_than_asked_for() {
        let mut ground = Playground::with_agents(3);
        let app = an_app("/web").cpus(1_000.0);
        ground.put(&app);
        for (asked, shown) in [(0, 0), (2, 2), (ALL, 3)] {
            let funnel = funnel(&ground.state, &app.id(), &Suspects::new(), asked).unwrap();
            assert_eq!((funnel.processed, funnel.suitable, funnel.unused.len()), (3, 0, shown));
        }
    }

    #[test]
    fn an_unknown_app_has_no_funnel() {
        assert_eq!(
            funnel(&ClusterState::default(), &AppId::parse("/web").unwrap(), &Suspects::new(), ALL),
            None
        );
    }
}
