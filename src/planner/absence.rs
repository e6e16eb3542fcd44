//! What becomes of instances whose agent is away, and of those that come back.
//! Source: spec 5.12.

use std::time::Duration;

use super::Intent;
use super::roster::{Roster, is_away, serves};
use crate::domain::{InstanceId, Timestamp, UnreachableStrategy};
use crate::state::{ClusterState, InstanceRow};

/// Wishes about absent instances, and when to look again.
#[derive(Default)]
pub(super) struct Absence {
    pub(super) given_up: Vec<InstanceId>,
    pub(super) expunged: Vec<InstanceId>,
    pub(super) readmitted: Vec<InstanceId>,
    pub(super) surplus: Vec<InstanceId>,
    pub(super) next_look: Option<Timestamp>,
}

impl Absence {
    /// Adds what one app's absent and returned instances want. `target` is its wanted number.
    pub(super) fn note(&mut self, state: &ClusterState, roster: &Roster<'_>, target: u32, now: Timestamp) {
        // Told to go and out of reach: nobody waits for it, and it is stopped should it return.
        self.expunged.extend(roster.leaving_away.iter().map(|row| row.id.clone()));
        for row in roster.counted.iter().chain(&roster.given_up) {
            self.note_absent(state, row, now);
        }
        self.note_returned(state, roster, target);
    }

    fn note_absent(&mut self, state: &ClusterState, row: &InstanceRow, now: Timestamp) {
        let Some(task) = row.task.as_ref().filter(|_| is_away(row)) else { return };
        let Some(since) = task.unreachable_since else { return };
        let strategy = state.content_of(row).map(|content| content.spec.unreachable).unwrap_or_default();
        let UnreachableStrategy::After { inactive, expunge } = strategy else { return };
        if self.is_due(since, expunge, now) {
            self.expunged.push(row.id.clone());
        } else if !task.inactive && self.is_due(since, inactive, now) {
            self.given_up.push(row.id.clone());
        }
    }

    /// Whether `wait` after `since` is over; if not, remembers to look then.
    fn is_due(&mut self, since: Timestamp, wait: Duration, now: Timestamp) -> bool {
        let due = since.plus(wait);
        if due > now {
            self.next_look = Some(self.next_look.map_or(due, |other| other.min(due)));
        }
        due <= now
    }

    /// A hidden instance that is back stays, unless enough others serve already; the one
    /// started in its place then goes, as the cheaper one. One that does not serve itself
    /// yields to any that counts.
    fn note_returned(&mut self, state: &ClusterState, roster: &Roster<'_>, target: u32) {
        if roster.returned.is_empty() {
            return;
        }
        let target = usize::try_from(target).unwrap_or(usize::MAX);
        let mut serving = roster.counted.iter().filter(|row| serves(state, row)).count();
        let mut counted = roster.counted.len();
        for row in &roster.returned {
            let does_serve = serves(state, row);
            let is_needed = if does_serve { serving < target } else { counted < target };
            if !is_needed {
                self.surplus.push(row.id.clone());
                continue;
            }
            serving += usize::from(does_serve);
            counted += 1;
            self.readmitted.push(row.id.clone());
        }
    }

    /// As intents.
    pub(super) fn into_intents(self) -> Vec<Intent> {
        let surplus = Intent::Decommission { ids: self.surplus, reason: "returned after it was replaced" };
        let wishes = [
            Intent::Readmit(self.readmitted),
            surplus,
            Intent::Expunge(self.expunged),
            Intent::GiveUp(self.given_up),
        ];
        let is_wish = |intent: &Intent| match intent {
            Intent::Readmit(ids) | Intent::Expunge(ids) | Intent::GiveUp(ids) => !ids.is_empty(),
            Intent::Decommission { ids, .. } => !ids.is_empty(),
            Intent::Create { .. } | Intent::FinishStep { .. } => true,
        };
        wishes.into_iter().filter(is_wish).collect()
    }
}
