//! The turn of a content with soft wishes: everybody who has room is weighed once, and looked at
//! again for each instance. Costs as much as there are agents, which trees and walks spare the
//! contents without wishes.

use std::cmp::Reverse;

use super::counts::Counts;
use super::demand::Demand;
use super::fleet::Fleet;
use super::groups::{MOVING, number_of};
use crate::domain::AgentId;
use crate::scheduler::judge::{Face, Judge};

/// Who may be chosen in one turn.
pub(super) struct Soft {
    judge: Judge,
    /// In the order of their numbers.
    candidates: Vec<Candidate>,
}

struct Candidate {
    agent: u32,
    face: Face,
    /// Points that only its own load and instances change.
    local: i64,
}

impl Soft {
    /// Weighs everybody who has room for an instance, whatever the rules say now.
    pub(super) fn start(mut judge: Judge, fleet: &Fleet, demand: &Demand, siblings: &Counts) -> Self {
        let open = (0..).zip(&fleet.agents).filter(|(_, agent)| demand.has_room_on(agent));
        let candidates = open.filter_map(|(number, agent)| {
            let own = Some(siblings.get(number)).filter(|own| *own < MOVING)?;
            let face = judge.face_of(&agent.row.as_ref()?.info);
            let local = judge.local(&face, agent.load(), own);
            Some(Candidate { agent: number, face, local })
        });
        let candidates = candidates.collect();
        Self { judge, candidates }
    }

    /// The agent with the most points that suits now.
    pub(super) fn find(&self, fleet: &Fleet, demand: &Demand) -> Option<u32> {
        let mut best: Option<(i64, u16, Reverse<&AgentId>, u32)> = None;
        for candidate in &self.candidates {
            let points = candidate.local + self.judge.shared(&candidate.face);
            if best.is_some_and(|(most, ..)| points < most) {
                continue;
            }
            let Some(agent) = fleet.agent(candidate.agent) else { continue };
            let found = (points, agent.lot(), Reverse(&agent.id), candidate.agent);
            if best.is_none_or(|best| found > best) && demand.suits(fleet, agent) {
                best = Some(found);
            }
        }
        best.map(|(.., agent)| agent)
    }

    /// An instance was given to an agent.
    pub(super) fn note(&mut self, fleet: &Fleet, siblings: &Counts, number: u32) {
        let found = self.candidates.binary_search_by_key(&number, |candidate| candidate.agent);
        let Some(candidate) = found.ok().and_then(|at| self.candidates.get_mut(at)) else { return };
        self.judge.note_face(&candidate.face, 1);
        if let Some(agent) = fleet.agent(number) {
            candidate.local =
                self.judge.local(&candidate.face, agent.load(), number_of(siblings.get(number)));
        }
    }
}
