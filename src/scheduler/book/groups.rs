//! Apps and their contents: who waits, in what order, and where each app's instances are.

use std::collections::BTreeSet;

use super::counts::Counts;
use super::crowds::Crowds;
use super::demand::Demand;
use super::line::{Line, Ticket, Waiter};
use super::turn::Progress;
use crate::domain::{AppId, InstanceId, SpecVersion, Timestamp};
use crate::scheduler::names::Names;
use crate::state::{AppRow, InstanceRow};

/// Weight of an instance that moves away: more than an agent has instances of one app, so that
/// nothing of the app is put there meanwhile. Room for 4,095 of them on one agent.
pub(super) const MOVING: u32 = 1 << 20;

/// How many instances weigh so much, those that move away among them: they hold room as well.
pub(super) fn number_of(weight: u32) -> u32 {
    weight % MOVING + weight / MOVING
}

/// One app that has or had instances.
#[derive(Clone, Debug)]
pub(super) struct App {
    pub(super) id: AppId,
    /// Whether it is there; instances of removed apps wait for nothing.
    exists: bool,
    /// No launch before this moment.
    pub(super) delay_until: Option<Timestamp>,
    /// How many of its instances are on an agent, whichever content they run; those that move
    /// away weigh [`MOVING`] each.
    pub(super) siblings: Counts,
    /// Its contents with places in the list of groups.
    pub(super) groups: Vec<(SpecVersion, u32)>,
}

impl App {
    /// Takes the app as it is recorded now.
    pub(super) fn record(&mut self, row: Option<&AppRow>) {
        self.exists = row.is_some();
        self.delay_until = row.and_then(|row| row.delay).map(|delay| delay.until());
    }

    /// An instance more on an agent, or one less.
    pub(super) fn step(&mut self, agent: u32, weight: u32, more: bool) {
        self.siblings.weigh(agent, weight, more);
    }
}

/// One content of an app, for which something waits or waited.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) app: u32,
    pub(super) version: SpecVersion,
    /// Nothing while nobody asked for it, or the content is not there.
    pub(super) demand: Option<Demand>,
    /// Who waits; those whom the last cycle placed are not in it.
    pub(super) waiting: Line,
    /// How far its turns have come; nothing when that is worth nothing any more.
    pub(super) progress: Option<Progress>,
    /// For contents with soft wishes: who may be chosen. Good for as long as the content is the same.
    pub(super) crowds: Option<Crowds>,
    /// How much both of them remember.
    pub(super) remembered: usize,
    /// Its place in the queue.
    head: Option<Ticket>,
    /// How many of the queue's instances are its own.
    queued: usize,
    is_dirty: bool,
}

/// Every app, every group, and the queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    names: Names,
    apps: Vec<App>,
    groups: Vec<Group>,
    /// Places in the list of groups that nobody has.
    vacant: Vec<u32>,
    /// Groups that wait, the one whose first instance waits longest first.
    queue: BTreeSet<(Timestamp, InstanceId, u32)>,
    /// Instances that wait in the queue's groups.
    waiting: usize,
    /// Groups whose place in the queue may be wrong.
    dirty: Vec<u32>,
}

impl Groups {
    /// The number of an app that is known.
    pub(super) fn find(&self, id: &AppId) -> Option<u32> {
        self.names.find(id.as_str())
    }

    /// The number of an app; `row` gives its row when it is new.
    pub(super) fn number<'a>(&mut self, id: &AppId, row: impl FnOnce() -> Option<&'a AppRow>) -> u32 {
        let number = self.names.number(id.as_str());
        if number as usize == self.apps.len() {
            let mut app = App {
                id: id.clone(),
                exists: false,
                delay_until: None,
                siblings: Counts::default(),
                groups: Vec::new(),
            };
            app.record(row());
            self.apps.push(app);
        }
        number
    }

    pub(super) fn app(&mut self, app: u32) -> Option<&mut App> {
        self.apps.get_mut(app as usize)
    }

    /// A group and its app.
    pub(super) fn group(&mut self, group: u32) -> Option<(&mut Group, &mut App)> {
        let group = self.groups.get_mut(group as usize)?;
        let app = self.apps.get_mut(group.app as usize)?;
        Some((group, app))
    }

    /// Instances of an app by agent.
    pub(super) fn siblings(&self, app: u32) -> Option<&Counts> {
        self.apps.get(app as usize).map(|app| &app.siblings)
    }

    /// Groups of an app.
    pub(super) fn groups_of(&self, app: u32) -> Vec<u32> {
        let app = self.apps.get(app as usize);
        app.map(|app| app.groups.iter().map(|(_, group)| *group).collect()).unwrap_or_default()
    }

    /// Whether a rule of any of an app's contents asks which instance came first.
    pub(super) fn asks_seniority(&self, app: u32) -> bool {
        self.apps.get(app as usize).is_some_and(|app| {
            app.groups.iter().any(|(_, group)| {
                let demand = self.groups.get(*group as usize).and_then(|group| group.demand.as_ref());
                demand.is_some_and(Demand::asks_seniority)
            })
        })
    }

    /// The group of a content, if there is one.
    pub(super) fn group_of(&self, app: u32, version: SpecVersion) -> Option<u32> {
        let mut groups = self.apps.get(app as usize)?.groups.iter();
        groups.find(|(of, _)| *of == version).map(|(_, group)| *group)
    }

    fn group_for(&mut self, app: u32, version: SpecVersion) -> u32 {
        if let Some(group) = self.group_of(app, version) {
            return group;
        }
        let group = Group {
            app,
            version,
            demand: None,
            waiting: Line::default(),
            progress: None,
            crowds: None,
            remembered: 0,
            head: None,
            queued: 0,
            is_dirty: false,
        };
        let place = self.vacant.pop().unwrap_or_else(|| u32::try_from(self.groups.len()).unwrap_or(u32::MAX));
        match self.groups.get_mut(place as usize) {
            Some(vacant) => *vacant = group,
            None => self.groups.push(group),
        }
        if let Some(app) = self.apps.get_mut(app as usize) {
            app.groups.push((version, place));
        }
        place
    }

    /// Puts an instance into the queue.
    pub(super) fn enqueue(&mut self, app: u32, row: &InstanceRow) {
        let group = self.group_for(app, row.version);
        let attempt = row.task.as_ref().map_or(0, |task| task.attempt).saturating_add(1);
        if let Some(group) = self.groups.get_mut(group as usize) {
            let ticket = (row.waiting_since, row.id.clone());
            group.waiting.join(Waiter { ticket, attempt });
        }
        self.mark(group);
    }

    /// Takes an instance out of the queue.
    pub(super) fn dequeue(&mut self, app: u32, row: &InstanceRow) {
        let Some(place) = self.group_of(app, row.version) else { return };
        if let Some(group) = self.groups.get_mut(place as usize) {
            group.waiting.leave((row.waiting_since, row.id.clone()));
        }
        self.mark(place);
    }

    /// Has a group looked at before the next cycle.
    pub(super) fn mark(&mut self, group: u32) {
        if let Some(marked) = self.groups.get_mut(group as usize)
            && !std::mem::replace(&mut marked.is_dirty, true)
        {
            self.dirty.push(group);
        }
    }

    /// Groups that were marked.
    pub(super) fn take_marked(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.dirty)
    }

    /// Gives a group its place in the queue. Says whether it has one.
    pub(super) fn settle(&mut self, place: u32) -> bool {
        let Some(group) = self.groups.get_mut(place as usize) else { return false };
        let exists = self.apps.get(group.app as usize).is_some_and(|app| app.exists);
        group.is_dirty = false;
        let may_queue = exists && group.demand.is_some();
        group.waiting.settle();
        let head = group.waiting.head().filter(|_| may_queue);
        if head != group.head.as_ref() {
            let head = head.cloned();
            if let Some((since, id)) = std::mem::replace(&mut group.head, head.clone()) {
                self.queue.remove(&(since, id, place));
            }
            if let Some((since, id)) = head {
                self.queue.insert((since, id, place));
            }
        }
        let queued = if may_queue { group.waiting.len() } else { 0 };
        self.waiting = self.waiting.saturating_sub(group.queued).saturating_add(queued);
        group.queued = queued;
        queued > 0
    }

    /// Forgets a group that nobody waits in and whose content is gone.
    pub(super) fn drop_idle(&mut self, place: u32) {
        self.settle(place);
        let app = self.groups.get(place as usize).map(|group| group.app);
        if let Some(app) = app.and_then(|app| self.apps.get_mut(app as usize)) {
            let before = app.groups.len();
            app.groups.retain(|(_, group)| *group != place);
            if app.groups.len() < before {
                self.vacant.push(place);
            }
        }
    }

    /// Forgets how far the turns of every content have come.
    pub(super) fn forget_progress(&mut self) {
        for group in &mut self.groups {
            (group.progress, group.crowds, group.remembered) = (None, None, 0);
        }
    }

    /// Groups in the order of the queue.
    pub(super) fn in_order(&self) -> Vec<u32> {
        self.queue.iter().map(|(.., group)| *group).collect()
    }

    /// Instances that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }
}
