//! Offers: what each agent has to spare now, fully used agents included.

use super::ground::{Ground, Plot};
use super::{SchedulingView, Suspects, feasibility};
use crate::domain::{AgentId, Offer, OfferId, Reserved};
use crate::state::ClusterState;

/// What agents offer, and which of them offer nothing though they are recorded as registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offers {
    /// In id order of their agents.
    pub offers: Vec<Offer>,
    /// In id order.
    pub withheld: Vec<Withheld>,
}

/// An agent whose offer is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// Which.
    pub agent: AgentId,
    /// Its machine.
    pub hostname: String,
    /// Why, for people.
    pub why: String,
}

/// One offer per agent that can be reached, is not suspect and can start tasks. The same state and suspects give
/// the same offers.
pub fn make_offers(state: &ClusterState, suspects: &Suspects) -> Offers {
    let ground = Ground::of(&SchedulingView::without(state, suspects));
    let (mut offers, mut withheld) = (Vec::new(), Vec::new());
    for plot in &ground.plots {
        let info = &plot.agent.info;
        let hindrance = || plot.agent.hindrances.tasks.as_deref().map(feasibility::cannot_start);
        match suspects.get(&info.id).map(|why| why.sentence()).or_else(hindrance) {
            Some(why) => {
                withheld.push(Withheld { agent: info.id.clone(), hostname: info.hostname.clone(), why });
            }
            None => offers.push(offer_of(state.index, plot)),
        }
    }
    Offers { offers, withheld }
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
        has_docker: plot.agent.takes_containers(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::Suspicion;
    use crate::testkit::{Playground, an_app};

    #[test]
    fn an_offer_is_what_tasks_and_strangers_leave() {
        let mut ground = Playground::with_agents(2);
        ground.put(&an_app("/web").cpus(8.0).any_ports(1).instances(1));
        ground.settle();
        let offers = make_offers(&ground.state, &Suspects::new()).offers;
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
        let offers = make_offers(&ground.state, &Suspects::new()).offers;
        assert_eq!(offers.iter().map(|offer| offer.agent.as_str()).collect::<Vec<_>>(), ["a2"]);
    }
    #[test]
    fn a_suspect_offers_nothing_and_is_named() {
        let ground = Playground::with_agents(2);
        let suspects = Suspects::from([(AgentId::new("a1"), Suspicion::NotYetBack)]);
        let Offers { offers, withheld } = make_offers(&ground.state, &suspects);
        assert_eq!(offers.iter().map(|offer| offer.agent.as_str()).collect::<Vec<_>>(), ["a2"]);
        assert_eq!((withheld.len(), withheld[0].agent.as_str()), (1, "a1"));
    }
}
