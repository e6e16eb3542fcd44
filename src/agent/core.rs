//! Decides what an agent does. Pure: no clock, no disk, no sockets.
//!
//! Way in: [`on_input`]. Here: introduction, assignments, strangers; what happens to one
//! task is in `tasks`, whom to heed in `fences`, the order of effects in `turn`. Tests: `core_tests` (sentences), `core_laws` (any order).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::driver::{DriverError, TaskHandle};
use super::effect::{Effect, Input, Timer};
use super::fences::{Fences, Standing};
use super::record::{StopAsked, TaskRecord};
use super::tasks::Task;
use super::turn::Turn;
use crate::domain::{
    AgentInfo, Hindrances, MAY_RUN_MAX, PortRanges, TaskId, TaskLaunch, TaskState, TaskStatus, Timestamp,
    hindrance,
};
use crate::protocol::{Assignment, Fence, FromAgent, FromMaster, PROTOCOL_VERSION, Proof, Register};

/// Pause before what was not acknowledged is said again: far longer than a commit takes.
pub(crate) const RESEND_AFTER: Duration = Duration::from_secs(5);

/// Pause before drivers that did not answer are asked again for what they know of.
pub(crate) const LIST_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Ended tasks of which the names are remembered, so that a late word does not start them
/// again. A word that late is stopped by its fence; this guards against restored masters.
const FORGOTTEN_MAX: usize = 4096;

/// Longest task id: it becomes the name of files and containers.
const TASK_ID_BYTES_MAX: usize = 240;

/// What the agent knows.
pub(crate) struct AgentCore {
    pub(super) info: AgentInfo,
    pub(super) tasks: BTreeMap<TaskId, Task>,
    fences: Fences,
    /// What was last acted on in this run. Kept apart from `fences`, which decides, so that
    /// people and tests can see a wrong decision.
    heeded: Option<Fence>,
    link: Link,
    proof: Proof,
    /// A master refused us since one last welcomed us.
    was_refused: bool,
    held: PortRanges,
    hindrances: Hindrances,
    strangers: Option<BTreeMap<TaskId, TaskHandle>>,
    stops_waiting: BTreeMap<TaskId, String>,
    forgotten: VecDeque<(TaskId, TaskStatus)>,
    resends: bool,
    pub(super) is_ending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Away,
    Introduced,
    Registered,
}

/// Takes in one thing that happened and says what to do about it, in order: what must be
/// durable, then what to tell, then what to do.
pub(crate) fn on_input(core: &mut AgentCore, input: Input, now: Timestamp) -> Vec<Effect> {
    let mut turn = Turn::at(now);
    core.take_in(input, &mut turn);
    core.finish(turn)
}

impl AgentCore {
    /// An agent as its disk remembers it.
    pub(crate) fn new(info: AgentInfo, seen: Option<Fence>, records: Vec<TaskRecord>) -> Self {
        let tasks = records.into_iter().map(|record| (record.task().clone(), Task::of(record))).collect();
        Self {
            info,
            tasks,
            fences: Fences::new(seen),
            heeded: None,
            link: Link::Away,
            proof: Proof::default(),
            was_refused: false,
            held: PortRanges::default(),
            hindrances: Hindrances::default(),
            strangers: None,
            stops_waiting: BTreeMap::new(),
            forgotten: VecDeque::new(),
            resends: false,
            is_ending: false,
        }
    }

    /// The same, with what proves to masters that it is this agent.
    pub(crate) fn proved_by(self, proof: Proof) -> Self {
        Self { proof, ..self }
    }

    /// Ports that our own tasks may hold.
    pub(crate) fn own_ports(&self) -> PortRanges {
        let live = self.tasks.values().filter(|task| !task.record.is_ended());
        PortRanges::new(live.flat_map(|task| {
            let launch = &task.record.launch;
            let bound = launch.ports.iter().map(|port| (port.host, port.host));
            launch.resources.ports.ranges().iter().copied().chain(bound).collect::<Vec<_>>()
        }))
    }

    /// Tasks that have not ended.
    pub(crate) fn live(&self) -> usize {
        self.tasks.values().filter(|task| !task.record.is_ended()).count()
    }

    /// The longest time that a live task may take from TERM to KILL.
    pub(crate) fn longest_grace(&self) -> Duration {
        let live = self.tasks.values().filter(|task| !task.record.is_ended());
        live.map(|task| task.record.launch.kill_grace).max().unwrap_or_default()
    }

    fn is_all_told(&self) -> bool {
        self.tasks.values().all(|task| task.record.unacknowledged.is_empty())
    }

    /// Whether a leader has all the news, and nothing of any task is left here.
    pub(crate) fn is_all_removed(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Updates that no leader has acknowledged.
    pub(crate) fn unacknowledged(&self) -> u64 {
        let counts = self.tasks.values().map(|task| task.record.unacknowledged.len());
        counts.map(|count| u64::try_from(count).unwrap_or(u64::MAX)).sum()
    }

    /// Ports that strangers hold.
    pub(crate) fn held_ports(&self) -> &PortRanges {
        &self.held
    }

    /// Fence of the latest message that was acted on in this run of the agent.
    pub(crate) fn heeded(&self) -> Option<&Fence> {
        self.heeded.as_ref()
    }

    /// Whether a leader answered our introduction.
    pub(crate) fn is_registered(&self) -> bool {
        self.link == Link::Registered
    }

    fn take_in(&mut self, input: Input, turn: &mut Turn) {
        match input {
            Input::Began => self.begin(turn),
            Input::Connected => self.introduce(turn),
            Input::Disconnected => self.link = Link::Away,
            Input::Heard(message) => self.hear(message, turn),
            Input::Listed(result) => self.learn_strangers(result, turn),
            Input::HeldPorts(ports) => self.learn_held_ports(&ports, turn),
            Input::EngineLooked(why) => {
                let containers = why.as_deref().map(hindrance);
                self.learn_hindrances(Hindrances { containers, ..self.hindrances.clone() }, turn);
            }
            Input::DiskTried(room) => {
                let tasks = room.hindrance(self.hindrances.tasks.is_some()).map(hindrance);
                self.learn_hindrances(Hindrances { tasks, ..self.hindrances.clone() }, turn);
            }
            Input::Timer(Timer::Resend) => self.resend(turn),
            Input::Timer(Timer::List) => turn.then.push(Effect::List),
            Input::StopAll => self.stop_all(turn),
            Input::PortsTaken { task, taken } => {
                // The task has then ended, so that its ports count as a stranger's.
                self.with(&task, |known| known.on_ports_taken(&taken, turn));
                let found = PortRanges::of(taken.iter().map(|held| held.port));
                self.learn_held_ports(&self.held.plus(&found), turn);
            }
            Input::NoRoom { task, reason } => {
                let what = format!("room for its record: {reason}");
                self.with(&task, |known| known.on_not_begun(&what, turn));
            }
            Input::Started { task, result } => self.with(&task, |known| known.on_started(result, turn)),
            Input::Ended { task, result } => {
                let boot = self.info.incarnation.boot_id.clone();
                self.with(&task, |known| known.on_ended(result, &boot, turn));
            }
            Input::StopPassed { task, result } => {
                self.with(&task, |known| known.on_stop_passed(result, turn));
            }
            Input::Removed { task, result } => self.on_removed(&task, result, turn),
            Input::Probed { task, probe } => self.with(&task, |known| known.on_probed(&probe, turn)),
            Input::Timer(
                timer @ (Timer::Start(_)
                | Timer::GiveBack(_)
                | Timer::SlowStart(_)
                | Timer::Wait(_)
                | Timer::Stop(_)
                | Timer::Remove(_)),
            ) => self.on_task_timer(&timer, turn),
        }
        if !self.hindrances.is_empty() {
            // Of which tasks nothing can be told may have changed.
            self.learn_hindrances(self.hindrances.clone(), turn);
        }
    }

    fn with(&mut self, task: &TaskId, act: impl FnOnce(&mut Task)) {
        if let Some(known) = self.tasks.get_mut(task) {
            act(known);
        }
    }

    fn on_task_timer(&mut self, timer: &Timer, turn: &mut Turn) {
        let is_ending = self.is_ending;
        match timer {
            Timer::Start(task) => self.with(task, |known| known.retry_start(is_ending, turn)),
            Timer::GiveBack(task) => self.with(task, |known| known.lose_patience(turn)),
            Timer::SlowStart(task) => self.with(task, |known| known.tell_slow_start(turn)),
            Timer::Wait(task) => self.with(task, |known| known.wait(turn)),
            Timer::Stop(task) => self.with(task, |known| known.retry_stop(turn)),
            Timer::Remove(task) => self.with(task, |known| known.remove(turn)),
            Timer::Resend | Timer::List => {}
        }
    }

    fn begin(&mut self, turn: &mut Turn) {
        let boot = self.info.incarnation.boot_id.clone();
        for task in self.tasks.values_mut() {
            task.resume(&boot, turn);
        }
        turn.then.push(Effect::List);
    }

    fn introduce(&mut self, turn: &mut Turn) {
        self.link = Link::Introduced;
        let told = |task: &&Task| !(task.record.is_ended() && task.record.unacknowledged.is_empty());
        turn.then.push(Effect::Send(FromAgent::Register(Register {
            protocol: PROTOCOL_VERSION,
            cluster: self.fences.seen().map(|seen| seen.cluster.clone()),
            seen: self.fences.seen().cloned(),
            agent: self.info.clone(),
            proof: self.proof.clone(),
            yields: self.was_refused,
            held_ports: self.held.clone(),
            tasks: self.tasks.values().filter(told).map(|task| task.record.report()).collect(),
        })));
    }

    fn hear(&mut self, message: FromMaster, turn: &mut Turn) {
        match message {
            FromMaster::Welcome { fence, .. } => {
                if self.heed(&fence, turn) {
                    self.link = Link::Registered;
                    self.was_refused = false;
                    // An earlier run may have told of some that are over.
                    self.tell_hindrances(turn);
                    self.say_again(turn);
                }
            }
            FromMaster::Assign { fence, full, tasks } => {
                if self.heed(&fence, turn) && self.fences.takes_list(&fence) {
                    self.assign(full, tasks, turn);
                }
            }
            FromMaster::Acknowledge { fence, updates } => {
                if self.heed(&fence, turn) {
                    for id in updates {
                        self.with(&id.task, |known| known.acknowledge(id.seq, turn));
                    }
                }
            }
            FromMaster::HeartbeatAck { fence, .. } => {
                self.heed(&fence, turn);
            }
            FromMaster::Refuse { .. } => self.was_refused = true,
            // About addresses, which are the link's business.
            FromMaster::Redirect { .. } => {}
        }
    }

    /// Whether whoever sent `fence` may command us; a master that may not is left.
    fn heed(&mut self, fence: &Fence, turn: &mut Turn) -> bool {
        match self.fences.meet(fence) {
            Standing::Known => {}
            Standing::Newer => turn.fence = Some(fence.clone()),
            Standing::Over(reason) => {
                turn.then.push(Effect::Disconnect(reason));
                return false;
            }
        }
        self.heeded = Some(fence.clone());
        true
    }

    fn assign(&mut self, full: bool, wanted: Vec<Assignment>, turn: &mut Turn) {
        if full {
            self.warn_of_unnamed(&wanted, turn);
        }
        for one in wanted {
            match one {
                Assignment::Run(launch) => self.run(*launch, turn),
                Assignment::Stop { task, reason } => self.stop(&task, &reason, turn),
            }
        }
    }

    /// Nothing stops because a list does not name it; people are told.
    fn warn_of_unnamed(&self, wanted: &[Assignment], turn: &mut Turn) {
        let named: BTreeSet<&TaskId> = wanted.iter().map(Assignment::task).collect();
        let unnamed = self.tasks.values().filter(|task| !task.record.is_ended());
        for task in unnamed.map(|task| task.record.task()).filter(|task| !named.contains(task)) {
            turn.warn(format!(
                "task {task} runs here and the masters do not name it yet; it runs until they decide"
            ));
        }
    }

    fn run(&mut self, launch: TaskLaunch, turn: &mut Turn) {
        let id = launch.task.clone();
        if self.is_ending || self.tasks.contains_key(&id) {
            return;
        }
        if !may_name_files(&id) {
            turn.warn(format!("task id {id:?} cannot name a file; the task is not started"));
            return;
        }
        let boot = &self.info.incarnation.boot_id;
        if let Some((_, end)) = self.forgotten.iter().find(|(task, _)| *task == id) {
            let mut task = Task::of(TaskRecord::accepted(launch, boot, turn.now));
            turn.tell(task.record.tell(end.clone()));
            self.tasks.insert(id, task);
            return;
        }
        let was_there = self.strangers.as_mut().map(|known| known.remove(&id).is_some());
        let mut task = Task::of(TaskRecord::accepted(launch, boot, turn.now));
        // Before the drivers have said what there is, nobody is sure.
        task.may_exist = was_there != Some(false);
        task.start(was_there != Some(true), turn);
        self.tasks.insert(id, task);
    }

    fn stop(&mut self, id: &TaskId, reason: &str, turn: &mut Turn) {
        let wanted = || StopAsked::Wanted { reason: reason.to_owned() };
        if let Some(task) = self.tasks.get_mut(id) {
            return task.ask_stop(wanted(), turn);
        }
        if !may_name_files(id) {
            return;
        }
        let Some(strangers) = &mut self.strangers else {
            // Whether it runs here is not known before the drivers have answered.
            self.stops_waiting.insert(id.clone(), reason.to_owned());
            return;
        };
        let mut record = TaskRecord::nameless(id, &self.info.incarnation.boot_id, turn.now);
        record.handle = strangers.remove(id);
        let is_here = record.handle.is_some();
        let mut task = Task::of(record);
        if is_here {
            task.ask_stop(wanted(), turn);
        } else {
            let text = format!("{reason}; the task was not on this agent any more");
            task.end(TaskState::Killed, &text, None, turn);
        }
        self.tasks.insert(id.clone(), task);
    }

    fn learn_strangers(&mut self, result: Result<Vec<TaskHandle>, DriverError>, turn: &mut Turn) {
        let handles = match result {
            Ok(handles) => handles,
            Err(error) => {
                turn.warn(format!("cannot look for tasks without a record: {error}"));
                return turn.after(LIST_AGAIN_AFTER, Timer::List);
            }
        };
        let unknown = handles.into_iter().filter(|handle| !self.tasks.contains_key(&handle.task));
        let strangers: BTreeMap<_, _> = unknown.map(|handle| (handle.task.clone(), handle)).collect();
        for task in strangers.keys() {
            turn.warn(format!(
                "task {task} is here without a record; it is left alone until a master names it"
            ));
        }
        self.strangers = Some(strangers);
        for (task, reason) in std::mem::take(&mut self.stops_waiting) {
            self.stop(&task, &reason, turn);
        }
    }

    fn learn_held_ports(&mut self, found: &PortRanges, turn: &mut Turn) {
        let held = found.minus(&self.own_ports());
        if held == self.held {
            return;
        }
        self.held = held.clone();
        if self.is_registered() {
            turn.before_news.push(Effect::Send(FromAgent::HeldPorts { ports: held }));
        }
    }

    fn learn_hindrances(&mut self, now: Hindrances, turn: &mut Turn) {
        let now = Hindrances { may_run: self.may_run(&now), ..now };
        if now == self.hindrances {
            return;
        }
        let before = std::mem::replace(&mut self.hindrances, now);
        if self.is_registered() {
            self.tell_hindrances(turn);
        }
        self.retry_what_waited(&before, turn);
    }

    /// Tasks that `hindrances` keep from telling that they run, or us from finding out.
    fn may_run(&self, hindrances: &Hindrances) -> BTreeSet<TaskId> {
        let concerns = |task: &&Task| {
            let is_container = task.record.launch.container.is_some();
            hindrances.tasks.is_some() || (hindrances.containers.is_some() && is_container)
        };
        let may_run = |task: &&Task| !task.record.is_ended() && task.has_begun() && !task.is_known_to_run();
        let tasks = self.tasks.values().filter(concerns).filter(may_run);
        tasks.map(|task| task.record.task().clone()).take(MAY_RUN_MAX).collect()
    }

    /// Tries again what waited for an engine or a disk that is back.
    fn retry_what_waited(&mut self, before: &Hindrances, turn: &mut Turn) {
        let has_room = before.tasks.is_some() && self.hindrances.tasks.is_none();
        let has_engine = before.containers.is_some() && self.hindrances.containers.is_none();
        for task in self.tasks.values_mut() {
            if has_room || (has_engine && task.record.launch.container.is_some()) {
                task.retry_at_once(self.is_ending, turn);
            }
        }
    }

    fn tell_hindrances(&self, turn: &mut Turn) {
        let hindrances = self.hindrances.clone();
        turn.before_news.push(Effect::Send(FromAgent::Hindered { hindrances }));
    }

    fn on_removed(&mut self, task: &TaskId, result: Result<(), DriverError>, turn: &mut Turn) {
        let Some(known) = self.tasks.get_mut(task) else { return };
        if !known.on_removed(result, turn) {
            return;
        }
        let Some(known) = self.tasks.remove(task) else { return };
        turn.then.push(Effect::Forget(task.clone()));
        self.forgotten.push_back((task.clone(), known.record.status));
        if self.forgotten.len() > FORGOTTEN_MAX {
            self.forgotten.pop_front();
        }
    }

    fn resend(&mut self, turn: &mut Turn) {
        self.resends = false;
        if self.is_registered() {
            self.say_again(turn);
        }
    }

    fn say_again(&self, turn: &mut Turn) {
        turn.news = self.tasks.values().flat_map(|task| task.record.unacknowledged.iter().cloned()).collect();
    }

    fn stop_all(&mut self, turn: &mut Turn) {
        self.is_ending = true;
        for task in self.tasks.values_mut() {
            task.ask_stop(
                StopAsked::Wanted { reason: "the agent ends and stops its tasks".to_owned() },
                turn,
            );
        }
    }

    fn finish(&mut self, turn: Turn) -> Vec<Effect> {
        let mut effects = turn.into_effects(&self.tasks, self.is_registered());
        if !self.resends && self.is_registered() && !self.is_all_told() {
            self.resends = true;
            effects.push(Effect::After { delay: RESEND_AFTER, timer: Timer::Resend });
        }
        effects
    }
}

/// Task ids name files and containers; ours always may.
fn may_name_files(task: &TaskId) -> bool {
    let text = task.as_str();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !text.is_empty()
        && text.len() <= TASK_ID_BYTES_MAX
        && !text.starts_with('.')
        && text.bytes().all(is_plain)
}
