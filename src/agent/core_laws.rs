//! What holds under any order, repetition and loss: no task is started twice, statuses
//! never go back, nothing is stopped that was not named; and once all is well again,
//! everything wanted runs and everything ended is forgotten.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::core::{AgentCore, on_input};
use super::core_tests::{a_fence, a_handle, a_launch, an_agent};
use super::driver::{DriverError, Ended, Started};
use super::effect::{Effect, Input, Timer};
use super::record::TaskRecord;
use crate::domain::{Exit, TaskId, TaskState, Timestamp, UpdateId};
use crate::protocol::{Assignment, Fence, FromAgent, FromMaster};

/// Rounds of good weather in which everything has to come right.
const ROUNDS_MAX: usize = 60;

#[derive(Clone, Debug)]
enum Step {
    /// The master wants another task.
    Want,
    /// The master wants a task stopped.
    Unwant(usize),
    /// The master says everything anew.
    SayAll,
    /// A message of this connection arrives once more.
    Repeat(usize),
    /// An old leader speaks.
    Ghost(usize),
    /// The master commits and acknowledges what it heard.
    Acknowledge,
    /// An operation of the agent ends, well or not.
    Perform(usize, Luck),
    /// A time comes.
    Ring(usize),
    /// A task ends by itself.
    Exit(usize),
    /// All goes well for a while.
    Calm,
    /// The connection breaks, and another is made.
    Reconnect,
    /// Another leader takes over.
    Elect,
    /// The agent is killed, within the next turn or after it, and comes back.
    Crash(bool),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Luck {
    Good,
    Away,
    Refused,
    /// Done, but the answer says otherwise.
    DoneButAway,
    /// The means were not there to hear it.
    Unreachable,
}

/// The world around one agent.
struct World {
    core: AgentCore,
    disk: BTreeMap<TaskId, TaskRecord>,
    disk_fence: Option<Fence>,
    crash_in_next_turn: bool,
    /// What runs or ran here and was not removed; how it ended.
    machine: BTreeMap<TaskId, Option<Exit>>,
    starts: BTreeMap<TaskId, u32>,
    operations: Vec<Effect>,
    timers: Vec<Timer>,
    term: u64,
    index: u64,
    /// Tasks by what the master wants and knows.
    wanted: BTreeMap<TaskId, (bool, TaskState)>,
    said: Vec<FromMaster>,
    heard: Vec<UpdateId>,
    named: BTreeSet<TaskId>,
    last_told: BTreeMap<TaskId, (u64, TaskState)>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            core: AgentCore::new(an_agent("boot"), None, Vec::new()),
            disk: BTreeMap::new(),
            disk_fence: None,
            crash_in_next_turn: false,
            machine: BTreeMap::new(),
            starts: BTreeMap::new(),
            operations: Vec::new(),
            timers: Vec::new(),
            term: 1,
            index: 0,
            wanted: BTreeMap::new(),
            said: Vec::new(),
            heard: Vec::new(),
            named: BTreeSet::new(),
            last_told: BTreeMap::new(),
        };
        world.give(Input::Began);
        world.reconnect();
        world
    }

    fn give(&mut self, input: Input) {
        let effects = on_input(&mut self.core, input, Timestamp::from_millis(0));
        for effect in &effects {
            match effect {
                Effect::SaveFence(fence) => self.disk_fence = Some(fence.clone()),
                Effect::Save(record) => {
                    self.disk.insert(record.task().clone(), TaskRecord::clone(record));
                }
                _ => {}
            }
        }
        if std::mem::take(&mut self.crash_in_next_turn) {
            return self.crash();
        }
        for effect in effects {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Send(FromAgent::Status { updates }) => {
                for update in updates {
                    self.hear(&update.id, update.status.state);
                }
            }
            Effect::Forget(task) => {
                self.disk.remove(&task);
            }
            Effect::After { timer, .. } => self.timers.push(timer),
            Effect::Stop { ref handle, .. } => {
                assert!(self.named.contains(&handle.task), "{} was stopped unnamed", handle.task);
                self.operations.push(effect);
            }
            Effect::Start { .. } | Effect::Wait(_) | Effect::Remove(_) | Effect::List => {
                self.operations.push(effect);
            }
            _ => {}
        }
    }

    fn hear(&mut self, id: &UpdateId, state: TaskState) {
        let known = self.disk.get(&id.task).is_some_and(|record| record.seq >= id.seq);
        assert!(known, "{id:?} was told before it was saved");
        if let Some((seq, last)) = self.last_told.get(&id.task)
            && id.seq > *seq
        {
            let forward = state.may_follow(*last) || state == *last;
            assert!(forward, "{} went from {last:?} back to {state:?}", id.task);
        }
        let newest = self.last_told.get(&id.task).is_none_or(|(seq, _)| id.seq > *seq);
        if newest {
            self.last_told.insert(id.task.clone(), (id.seq, state));
        }
        self.heard.push(id.clone());
        if let Some((_, known)) = self.wanted.get_mut(&id.task)
            && state.may_follow(*known)
        {
            *known = state;
        }
    }

    fn fence(&mut self) -> Fence {
        self.index += 1;
        a_fence(self.term, self.index)
    }

    fn say(&mut self, message: FromMaster) {
        self.said.push(message.clone());
        self.give(Input::Heard(message));
    }

    fn say_all(&mut self) {
        let live = self.wanted.iter().filter(|(_, (_, state))| !state.is_terminal());
        let tasks = live
            .map(|(task, (runs, _))| {
                if *runs {
                    Assignment::Run(Box::new(a_launch(task.as_str())))
                } else {
                    Assignment::Stop { task: task.clone(), reason: "unwanted".to_owned() }
                }
            })
            .collect();
        let fence = self.fence();
        self.say(FromMaster::Assign { fence, full: true, tasks });
    }

    fn acknowledge(&mut self) {
        let updates = std::mem::take(&mut self.heard);
        let fence = self.fence();
        self.say(FromMaster::Acknowledge { fence, updates });
    }

    /// What an earlier connection carried cannot arrive on the next one.
    fn reconnect(&mut self) {
        self.said.clear();
        self.heard.clear();
        self.give(Input::Disconnected);
        self.give(Input::Connected);
        let fence = self.fence();
        self.say(FromMaster::Welcome { protocol: 1, fence, heartbeat_millis: 1000 });
        self.say_all();
    }

    fn crash(&mut self) {
        self.operations.clear();
        self.timers.clear();
        let records = self.disk.values().cloned().collect();
        self.core = AgentCore::new(an_agent("boot"), self.disk_fence.clone(), records);
        self.give(Input::Began);
        self.reconnect();
    }

    fn perform_one(&mut self, at: usize, luck: Luck) {
        if self.operations.is_empty() {
            return;
        }
        let at = at % self.operations.len();
        let made_nothing = luck == Luck::Unreachable;
        let away = || DriverError::Unavailable { means: "fake", reason: "away".to_owned(), made_nothing };
        let is_done = luck == Luck::Good || luck == Luck::DoneButAway;
        let answer = |result| if luck == Luck::Good { result } else { Err(away()) };
        if let Effect::Wait(handle) = &self.operations[at] {
            // Somebody who waits goes on waiting while the task runs.
            if matches!(self.machine.get(&handle.task), Some(None)) && luck == Luck::Good {
                return;
            }
        }
        match self.operations.remove(at) {
            Effect::Start { launch, .. } => {
                let task = launch.task.clone();
                if luck == Luck::Refused {
                    let result = Err(DriverError::Refused("no".to_owned()));
                    // A refusal says that nothing was made; an earlier try may have made it.
                    let result = if self.machine.contains_key(&task) { Err(away()) } else { result };
                    return self.give(Input::Started { task, result });
                }
                if is_done && !self.machine.contains_key(&task) {
                    self.machine.insert(task.clone(), None);
                    *self.starts.entry(task.clone()).or_default() += 1;
                }
                let started = Started { handle: a_handle(task.as_str()), ip_addresses: Vec::new() };
                let result = if luck == Luck::Good { Ok(started) } else { Err(away()) };
                self.give(Input::Started { task, result });
            }
            Effect::Stop { handle, .. } => {
                if is_done && let Some(end) = self.machine.get_mut(&handle.task) {
                    end.get_or_insert(Exit { signal: Some(15), ..Exit::default() });
                }
                self.give(Input::StopPassed { task: handle.task, result: answer(Ok(())) });
            }
            Effect::Wait(handle) => {
                let result = match self.machine.get(&handle.task) {
                    _ if luck != Luck::Good => Err(away()),
                    Some(Some(exit)) => Ok(Ended { exit: *exit, at: None, message: String::new() }),
                    _ => Err(DriverError::Missing),
                };
                self.give(Input::Ended { task: handle.task, result });
            }
            Effect::Remove(handle) => {
                if is_done {
                    let end = self.machine.remove(&handle.task);
                    assert_ne!(end, Some(None), "{} was removed while it ran", handle.task);
                }
                self.give(Input::Removed { task: handle.task, result: answer(Ok(())) });
            }
            Effect::List => {
                let handles = self.machine.keys().map(|task| a_handle(task.as_str())).collect();
                let result = if luck == Luck::Good { Ok(handles) } else { Err(away()) };
                self.give(Input::Listed(result));
            }
            other => panic!("{other:?}"),
        }
    }

    fn step(&mut self, step: Step) {
        let nth = |names: Vec<TaskId>, at: usize| names.get(at % names.len().max(1)).cloned();
        match step {
            Step::Want => {
                let task = TaskId::new(format!("t{:03}", self.wanted.len()));
                self.wanted.insert(task, (true, TaskState::Staging));
                self.say_all();
            }
            Step::Unwant(at) => {
                let Some(task) = nth(self.wanted.keys().cloned().collect(), at) else { return };
                if let Some((runs, _)) = self.wanted.get_mut(&task) {
                    *runs = false;
                }
                self.named.insert(task);
                self.say_all();
            }
            Step::SayAll => self.say_all(),
            Step::Repeat(at) => {
                let Some(message) = self.said.get(at % self.said.len().max(1)).cloned() else { return };
                self.give(Input::Heard(message));
            }
            Step::Ghost(at) => {
                let Some(task) = nth(self.wanted.keys().cloned().collect(), at) else { return };
                let stop = Assignment::Stop { task: task.clone(), reason: "ghost".to_owned() };
                let run = Assignment::Run(Box::new(a_launch("ghost")));
                let fence = a_fence(0, self.index + 1000);
                self.give(Input::Heard(FromMaster::Assign { fence, full: true, tasks: vec![stop, run] }));
            }
            Step::Acknowledge => self.acknowledge(),
            Step::Perform(at, luck) => self.perform_one(at, luck),
            Step::Ring(at) => {
                if !self.timers.is_empty() {
                    let timer = self.timers.remove(at % self.timers.len());
                    self.give(Input::Timer(timer));
                }
            }
            Step::Exit(at) => {
                let Some(task) = nth(self.machine.keys().cloned().collect(), at) else { return };
                if let Some(end) = self.machine.get_mut(&task) {
                    end.get_or_insert(Exit { code: Some(0), ..Exit::default() });
                }
            }
            Step::Calm => self.calm(),
            Step::Reconnect => self.reconnect(),
            Step::Elect => {
                self.term += 1;
                self.reconnect();
            }
            Step::Crash(true) => self.crash_in_next_turn = true,
            Step::Crash(false) => self.crash(),
        }
    }

    fn calm(&mut self) {
        for _ in 0..self.operations.len() + 1 {
            let is_ready = |effect: &Effect| match effect {
                Effect::Wait(handle) => !matches!(self.machine.get(&handle.task), Some(None)),
                _ => true,
            };
            if let Some(at) = self.operations.iter().position(is_ready) {
                self.perform_one(at, Luck::Good);
            }
        }
        self.acknowledge();
    }

    fn heal(&mut self) {
        self.reconnect();
        for _ in 0..ROUNDS_MAX {
            self.calm();
            for timer in std::mem::take(&mut self.timers) {
                self.give(Input::Timer(timer));
            }
        }
    }

    fn check_at_rest(&self) {
        for (task, (runs, state)) in &self.wanted {
            let is_running = self.machine.get(task) == Some(&None);
            assert_eq!(is_running, *runs && !state.is_terminal(), "{task} is {state:?}, wanted: {runs}");
            assert!(*runs || state.is_terminal(), "{task} never ended");
        }
        let live: Vec<_> = self.disk.values().filter(|record| record.is_ended()).collect();
        assert!(live.is_empty(), "not forgotten: {live:?}");
    }
}

fn a_step() -> impl Strategy<Value = Step> {
    let luck = prop_oneof![
        6 => Just(Luck::Good),
        1 => Just(Luck::Away),
        1 => Just(Luck::Refused),
        1 => Just(Luck::DoneButAway),
        1 => Just(Luck::Unreachable),
    ];
    prop_oneof![
        3 => Just(Step::Want),
        2 => (0usize..8).prop_map(Step::Unwant),
        1 => Just(Step::SayAll),
        3 => (0usize..64).prop_map(Step::Repeat),
        1 => (0usize..8).prop_map(Step::Ghost),
        3 => Just(Step::Acknowledge),
        12 => (0usize..16, luck).prop_map(|(at, luck)| Step::Perform(at, luck)),
        4 => (0usize..16).prop_map(Step::Ring),
        2 => (0usize..8).prop_map(Step::Exit),
        4 => Just(Step::Calm),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Elect),
        1 => any::<bool>().prop_map(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_order_starts_once_moves_forward_and_comes_to_rest(
        steps in proptest::collection::vec(a_step(), 1..120)
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            let twice = world.starts.iter().find(|(_, count)| **count > 1);
            prop_assert!(twice.is_none(), "started more than once: {twice:?}");
        }
        world.heal();
        world.check_at_rest();
    }
}
