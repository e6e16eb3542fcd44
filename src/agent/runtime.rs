//! The agent's loop: gather one input, ask the core, perform the effects.
//!
//! Way in: [`Runtime::run`]. Knows no rule: what to do is the core's business, how is
//! `perform`'s, `link`'s and `checkpoint`'s.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::checkpoint::Checkpoints;
use super::core::{AgentCore, on_input};
use super::driver::DriverError;
use super::effect::{Effect, Input};
use super::full_disk::{FullDisk, SAVE_AGAIN_AFTER};
use super::home::AgentHome;
use super::link::{self, LinkEvent};
use super::perform::Operations;
use super::record::TaskRecord;
use super::reserve::Room;
use super::view::AgentView;
use crate::domain::{PortRanges, Timestamp};
use crate::line::Security;
use crate::protocol::FromAgent;
use crate::world::{self, Clock};

/// Outcomes that wait for the loop; beyond it operations wait to hand theirs in.
pub(super) const INPUTS_MAX: usize = 1024;
/// Messages of masters that wait for the loop; beyond it nothing more is read.
const LINK_EVENTS_MAX: usize = 64;
/// How often strangers are looked for on our ports, the engine of containers is asked whether it
/// answers, and the disk tried.
const LOOKS_AROUND_EVERY: Duration = Duration::from_secs(5);
/// When the agent ends with its tasks: time beyond the longest grace until it gives up.
const ENDING_MARGIN: Duration = Duration::from_secs(5);
/// And time to tell the leader of their ends and to remove what they left, such as containers.
const LEAVING_MAX: Duration = Duration::from_secs(5);

pub(super) struct Runtime {
    pub(super) core: AgentCore,
    pub(super) home: AgentHome,
    pub(super) checkpoints: Checkpoints,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) operations: Operations,
    pub(super) view: Arc<AgentView>,
    pub(super) inputs: mpsc::Receiver<Input>,
    pub(super) masters: Vec<String>,
    pub(super) security: Security,
    pub(super) all_ports: PortRanges,
    pub(super) stop_tasks_on_shutdown: bool,
    pub(super) outbox: Option<mpsc::Sender<FromAgent>>,
    /// Effects that wait for a disk that takes records again.
    pub(super) withheld: Vec<Effect>,
    /// When those are tried again.
    pub(super) save_again_at: Option<Instant>,
    /// Set while the disk takes nothing.
    pub(super) full_disk: Option<FullDisk>,
    /// Since when the engine of containers does not answer.
    pub(super) engine_away: Option<Instant>,
}

/// What the loop hears.
enum Heard {
    Input(Box<Input>),
    Link(LinkEvent),
    OperationEnded,
    LookAround,
    SaveAgain,
    Shutdown,
    TimeIsUp,
}

impl Runtime {
    /// Runs until `shutdown`, and then until tasks are stopped where that is wanted.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let (events, mut link) = mpsc::channel(LINK_EVENTS_MAX);
        let linking =
            world::spawn(link::run(std::mem::take(&mut self.masters), self.security.clone(), events));
        let mut looks = interval(LOOKS_AROUND_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.turn(Input::Began).await;
        let mut ends_at: Option<Instant> = None;
        loop {
            let heard = self.next(&mut link, &mut looks, &shutdown, ends_at).await;
            match heard {
                Heard::Input(input) => self.on_result(*input).await,
                Heard::Link(event) => self.on_link(event).await,
                Heard::OperationEnded => {}
                Heard::LookAround => {
                    let among = self.all_ports.minus(&self.core.own_ports());
                    self.operations.look_at_ports(among);
                    self.operations.look_at_engine();
                    // What waits is tried more often, and tells as much.
                    if self.withheld.is_empty() {
                        self.operations.look_at_disk(self.checkpoints.clone(), self.full_disk.is_some());
                    }
                }
                Heard::SaveAgain => self.save_again().await,
                Heard::Shutdown => {
                    if !self.stop_tasks_on_shutdown {
                        break;
                    }
                    let longest = self.core.longest_grace();
                    ends_at = Some(Instant::now() + longest + ENDING_MARGIN);
                    self.turn(Input::StopAll).await;
                }
                Heard::TimeIsUp => break,
            }
            ends_at = self.soon_done(ends_at);
        }
        if self.stop_tasks_on_shutdown && self.core.live() > 0 {
            tracing::warn!(tasks = self.core.live(), "tasks did not end in time and are left running");
        }
        linking.abort();
        let _ = linking.await;
        self.operations.shut_down().await;
        self.view.leave();
    }

    /// Once every task has ended the leader is left to be told; what it has acknowledged is
    /// removed. Without a leader ended tasks stay, for the next start to tell of.
    fn soon_done(&self, ends_at: Option<Instant>) -> Option<Instant> {
        let ends_at = ends_at?;
        if self.core.live() > 0 {
            return Some(ends_at);
        }
        let is_left = self.core.is_all_removed() || !self.core.is_registered();
        let now = Instant::now();
        Some(if is_left { now } else { ends_at.min(now + LEAVING_MAX) })
    }

    async fn next(
        &mut self,
        link: &mut mpsc::Receiver<LinkEvent>,
        looks: &mut Interval,
        shutdown: &CancellationToken,
        ends_at: Option<Instant>,
    ) -> Heard {
        let is_ending = ends_at.is_some();
        let save_again_at = self.save_again_at;
        let now = Instant::now();
        tokio::select! {
            biased;
            () = shutdown.cancelled(), if !is_ending => Heard::Shutdown,
            () = sleep_until(ends_at.unwrap_or(now)), if is_ending => Heard::TimeIsUp,
            Some(input) = self.inputs.recv() => Heard::Input(Box::new(input)),
            Some(event) = link.recv() => Heard::Link(event),
            () = self.operations.next_ended(), if !self.operations.is_idle() => Heard::OperationEnded,
            _ = looks.tick() => Heard::LookAround,
            () = sleep_until(save_again_at.unwrap_or(now)), if save_again_at.is_some() => Heard::SaveAgain,
        }
    }

    /// Takes in what came of an operation.
    async fn on_result(&mut self, input: Input) {
        match &input {
            Input::EngineLooked(why) => self.tell_engine(why.as_deref()),
            Input::DiskTried(room) => match room.hindrance(self.full_disk.is_some()) {
                Some(_) => self.tell_no_room(room),
                // The look is older than what a record met meanwhile.
                None if !self.withheld.is_empty() => return,
                None => self.tell_room(),
            },
            Input::Started { result: Err(DriverError::Unavailable { .. }), .. }
                if self.engine_away.is_none() =>
            {
                // The sooner the masters know, the less they send here.
                self.operations.look_at_engine();
            }
            _ => {}
        }
        self.turn(input).await;
    }

    fn tell_engine(&mut self, why: Option<&str>) {
        match (why, self.engine_away) {
            (Some(why), None) => {
                self.engine_away = Some(Instant::now());
                tracing::warn!(
                    why,
                    "the engine of containers is away: what it runs may go on, no container is started"
                );
            }
            (None, Some(since)) => {
                self.engine_away = None;
                tracing::info!(after = ?since.elapsed(), "the engine of containers is back");
            }
            _ => {}
        }
    }

    async fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up(outbox) => {
                self.outbox = Some(outbox);
                self.turn(Input::Connected).await;
            }
            LinkEvent::Heard(message) => self.turn(Input::Heard(message)).await,
            LinkEvent::Down => {
                self.outbox = None;
                self.turn(Input::Disconnected).await;
            }
        }
    }

    async fn turn(&mut self, input: Input) {
        let now = Timestamp::from_millis(self.clock.now_millis());
        let effects = on_input(&mut self.core, input, now);
        self.view.observe(&self.core);
        self.perform(effects).await;
    }

    /// Saves first: nothing is told or done before what it rests on is durable. While the
    /// disk takes nothing, only what ends or observes tasks is done.
    pub(super) async fn perform(&mut self, effects: Vec<Effect>) {
        if self.withheld.is_empty() {
            match self.save(&effects).await {
                Ok(has_room) => {
                    if has_room && self.full_disk.is_some() {
                        self.operations.look_at_disk(self.checkpoints.clone(), true);
                    }
                    return effects.into_iter().for_each(|effect| self.do_one(effect));
                }
                Err(error) => self.meet_full_disk(&error),
            }
        }
        self.save_again_at.get_or_insert_with(|| Instant::now() + SAVE_AGAIN_AFTER);
        for effect in self.save_ends(effects).await {
            self.do_without_disk(effect);
        }
        self.view.note_withheld(self.withheld.len());
    }

    /// Whether the disk was asked for room, and had it.
    async fn save(&mut self, effects: &[Effect]) -> std::io::Result<bool> {
        let mut records: Vec<TaskRecord> = Vec::new();
        for effect in effects {
            match effect {
                Effect::SaveFence(fence) => self.home.save_fence(fence)?,
                Effect::Save(record) => {
                    records.retain(|earlier| earlier.task() != record.task());
                    records.push(TaskRecord::clone(record));
                }
                _ => {}
            }
        }
        if records.is_empty() {
            return Ok(false);
        }
        Ok(self.saved_by(Checkpoints::save, records).await? == Room::Free)
    }

    /// What `save` says of records, away from the threads that serve. They are shown from then on.
    pub(super) async fn saved_by<T: Send + 'static>(
        &mut self,
        save: fn(&Checkpoints, &[TaskRecord]) -> T,
        records: Vec<TaskRecord>,
    ) -> T {
        let checkpoints = self.checkpoints.clone();
        let (records, result) = world::blocking(move || {
            let result = save(&checkpoints, &records);
            (records, result)
        })
        .await;
        records.iter().for_each(|record| self.view.enter(record));
        result
    }

    pub(super) fn do_one(&mut self, effect: Effect) {
        match effect {
            Effect::SaveFence(_) | Effect::Save(_) => {} // Saved together, before.
            Effect::Forget(task) => {
                self.view.forget(&task);
                if let Err(error) = self.checkpoints.forget(&task) {
                    tracing::warn!(%task, %error, "failed to drop a task's record");
                }
            }
            Effect::Send(message) => self.send(message),
            Effect::Disconnect(reason) => {
                tracing::warn!(reason, "leaving this master");
                self.outbox = None;
            }
            // Its record may be there; room for what it makes is not, and the next record of it may find none.
            Effect::Start { launch, check_ports } => match &self.full_disk {
                Some(disk) => self.operations.no_room_to_start(launch.task, disk.why.clone()),
                None => self.operations.start(launch, check_ports),
            },
            Effect::GiveUpStart(task) => self.operations.give_up_start(&task),
            Effect::Wait(handle) => self.operations.wait(handle),
            Effect::Stop { handle, grace } => self.operations.stop(handle, grace),
            Effect::Remove(handle) => self.operations.remove(handle),
            Effect::List => self.operations.list(),
            Effect::StartChecks { handle, checks, is_new } => {
                self.operations.start_checks(&handle, checks, is_new);
            }
            Effect::StopChecks(task) => self.operations.stop_checks(&task),
            Effect::After { delay, timer } => self.operations.after(delay, timer),
            Effect::Warn(text) => tracing::warn!("{text}"),
        }
    }

    /// What is not taken is told again: by the timer, or to the next master.
    pub(super) fn send(&mut self, message: FromAgent) {
        let Some(outbox) = &self.outbox else { return };
        if outbox.try_send(message).is_err() {
            tracing::warn!("the master takes no more messages; leaving it");
            self.outbox = None;
        }
    }
}
