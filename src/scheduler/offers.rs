//! Offers: what each agent has to spare now, fully used agents included.

use std::collections::BTreeSet;

use super::SchedulingView;
use super::ground::{Ground, Plot};
use crate::domain::{Offer, OfferId, Reserved};
use crate::state::ClusterState;

/// One offer per agent that can be reached, in id order. Derived from the state alone, so
/// that every master shows the same at the same index.
pub fn make_offers(state: &ClusterState) -> Vec<Offer> {
    let ground = Ground::of(&SchedulingView::of(state, BTreeSet::new()));
    ground.plots.iter().map(|plot| offer_of(state.index, plot)).collect()
}

pub(super) fn offer_of(index: u64, plot: &Plot<'_>) -> Offer {
    let info = &plot.agent.info;
    let (spare, reserved) = match &plot.pools {
        Some(pools) => (pools.unreserved.clone(), pools.reserved.clone()),
        None => (plot.spare.clone(), Reserved::new()),
    };
    Offer {
        id: OfferId::new(format!("{}-O{index}", info.id)),
        agent: info.id.clone(),
        hostname: info.hostname.clone(),
        spare,
        reserved,
        attributes: info.attributes.clone(),
        has_docker: info.has_docker,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Playground, an_app};

    #[test]
    fn an_offer_is_what_tasks_and_strangers_leave() {
        let mut ground = Playground::with_agents(2);
        ground.put(&an_app("/web").cpus(8.0).any_ports(1).instances(1));
        ground.settle();
        let offers = make_offers(&ground.state);
        assert_eq!(offers.len(), 2);
        assert_eq!(offers.iter().filter(|offer| offer.spare.cpus.thousandths() == 0).count(), 1);
        assert_eq!(offers.iter().map(|offer| offer.spare.ports.count()).sum::<u32>(), 1_999);
        assert!(offers.iter().all(|offer| offer.reserved.is_empty()));
        assert_eq!(offers[0].id.as_str(), format!("a1-O{}", ground.state.index));
    }

    #[test]
    fn agents_out_of_reach_offer_nothing() {
        let mut ground = Playground::with_agents(2);
        ground.agent_lost("a1");
        let offers = make_offers(&ground.state);
        assert_eq!(offers.iter().map(|offer| offer.agent.as_str()).collect::<Vec<_>>(), ["a2"]);
    }
}
