//! Who waits to be launched, in what order, and who is backing off until when.

use std::collections::BTreeMap;

use crate::domain::{AppId, AppVersion, InstanceId, SpecVersion, Timestamp};
use crate::state::{ClusterState, InstanceRow};

/// Waiting instances of one content of one app: the same demand so many times over.
#[derive(Clone, Debug)]
pub struct Queued<'a> {
    /// Whose.
    pub app: &'a AppId,
    /// Which content.
    pub version: SpecVersion,
    /// The content.
    pub content: &'a AppVersion,
    /// Who waits, longest first, then by id.
    pub instances: Vec<&'a InstanceRow>,
    /// No launch before this moment, when that is later than now.
    pub backing_off_until: Option<Timestamp>,
}

impl Queued<'_> {
    /// Since when the first of them waits, and who that is.
    fn head(&self) -> Option<(Timestamp, &InstanceId)> {
        self.instances.first().map(|row| (row.waiting_since, &row.id))
    }

    /// Since when the first of them waits.
    pub fn since(&self) -> Timestamp {
        self.head().map(|(since, _)| since).unwrap_or_default()
    }
}

/// Everything that waits, grouped by content so that its demand is judged once; the group
/// whose first instance waits longest comes first. Instances of removed apps wait for nothing.
pub fn waiting(state: &ClusterState, now: Timestamp) -> Vec<Queued<'_>> {
    grouped(state, state.instances.values().map(|row| &**row), now)
}

/// The same of one app alone; costs what the app has.
pub(super) fn waiting_of<'a>(state: &'a ClusterState, app: &'a AppId, now: Timestamp) -> Vec<Queued<'a>> {
    grouped(state, state.instances_of(app), now)
}

fn grouped<'a>(
    state: &'a ClusterState,
    rows: impl Iterator<Item = &'a InstanceRow>,
    now: Timestamp,
) -> Vec<Queued<'a>> {
    let mut groups: BTreeMap<(&AppId, SpecVersion), Vec<&InstanceRow>> = BTreeMap::new();
    for row in rows.filter(|row| row.is_waiting()) {
        groups.entry((&row.app, row.version)).or_default().push(row);
    }
    let mut queue: Vec<Queued<'_>> = groups
        .into_iter()
        .filter_map(|((app, version), mut instances)| {
            let delay = state.apps.get(app)?.delay;
            let content = instances.first().and_then(|row| state.content_of(row))?;
            instances.sort_by_key(|row| (row.waiting_since, &row.id));
            let backing_off_until = delay.map(|delay| delay.until()).filter(|until| *until > now);
            Some(Queued { app, version, content, instances, backing_off_until })
        })
        .collect();
    queue.sort_by(|a, b| a.head().cmp(&b.head()));
    queue
}
