//! A state in parts of few bytes, for snapshots: a million instances in a fifth of the bytes and of the
//! time that named fields take.
//!
//! Ways in: [`pack`] and [`Unpacking`]. The first part is the state without its instances, in named
//! fields. Each further one holds instances in key order: those of the usual kind as short lists of
//! numbers, which refer to contents and agents by position, all others as rows in named fields. So a
//! row may gain a field as ever: where it says something, `Packing::plain` leaves the row to the named form.

use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use super::by_agent::ByAgent;
use super::codec::{self, DecodeError};
use super::{ClusterState, InstanceRow, Table, TaskRow};
use crate::domain::{
    AgentId, AppId, Goal, HealthResult, InstanceId, PortRanges, Reserved, Resources, Scalar, SpecVersion,
    TaskId, TaskState, TaskStatus, Timestamp,
};

/// Instances in one part: about 300 KiB, so that neither side holds much beside the state.
const ROWS_PER_PART: usize = 4_096;

/// Contents, amounts, instances of the usual kind, and all others.
#[derive(Default, Serialize, Deserialize)]
struct Part(Vec<(AppId, SpecVersion)>, Vec<[Scalar; 4]>, Vec<Plain>, Vec<InstanceRow>);

/// An instance that is wanted and not hidden: content, both halves of its id's number, when it was
/// created, how much later it began to wait, and its attempt.
#[derive(Serialize, Deserialize)]
struct Plain(u32, u64, u64, i64, i64, Option<PlainTask>);

/// An attempt that nobody asked to stop, on an agent within reach: number, agent, amounts, ports,
/// when it was placed and, as distances from that, when it first ran and when its agent said so; its
/// state, and more that the agent said.
#[derive(Serialize, Deserialize)]
struct PlainTask(u32, u32, u32, Vec<u16>, i64, Option<i64>, i64, u8, Option<PlainStatus>);

/// Message, health and addresses.
#[derive(Serialize, Deserialize)]
struct PlainStatus(String, Vec<HealthResult>, Vec<String>);

/// The parts of a state, in order.
pub fn pack(state: &ClusterState) -> impl Iterator<Item = Vec<u8>> + '_ {
    let head = ClusterState {
        instances: Table::default(),
        by_agent: ByAgent::default(),
        ..ClusterState::clone(state)
    };
    let numbers = Numbers::of(state);
    let mut rows = state.instances.values();
    let parts = std::iter::from_fn(move || {
        let mut packing = Packing::default();
        rows.by_ref().take(ROWS_PER_PART).for_each(|row| packing.add(state, &numbers, row));
        (!packing.is_empty()).then(|| codec::encode(&packing.part))
    });
    std::iter::once(codec::encode(&head)).chain(parts)
}

/// Positions of agents in their table.
struct Numbers<'a> {
    /// By where their ids lie in memory: rows mostly share the id that the table has.
    by_address: Vec<(usize, u32)>,
    by_name: Vec<(&'a AgentId, &'a str)>,
}

fn address(id: &AgentId) -> usize {
    id.as_str().as_ptr().addr()
}

impl<'a> Numbers<'a> {
    fn of(state: &'a ClusterState) -> Self {
        let by_name: Vec<_> =
            state.agents.values().map(|row| (&row.info.id, row.info.hostname.as_str())).collect();
        let mut by_address: Vec<_> = (0..).zip(&by_name).map(|(at, (id, _))| (address(id), at)).collect();
        by_address.sort_unstable();
        Self { by_address, by_name }
    }

    /// The number of an agent that has this name now.
    fn find(&self, id: &AgentId, hostname: &str) -> Option<u32> {
        let at = address(id);
        let near = self.by_address.binary_search_by_key(&at, |(address, _)| *address).ok();
        let number = match near.and_then(|near| self.by_address.get(near)) {
            Some((_, number)) => *number,
            None => u32::try_from(self.by_name.binary_search_by_key(&id, |(id, _)| *id).ok()?).ok()?,
        };
        let (_, known) = self.by_name.get(number as usize)?;
        (*known == hostname).then_some(number)
    }
}

/// A part, and what its instances' ids begin with, by content.
#[derive(Default)]
struct Packing {
    part: Part,
    starts: Vec<InstanceId>,
}

impl Packing {
    fn is_empty(&self) -> bool {
        self.part.2.is_empty() && self.part.3.is_empty()
    }

    fn add(&mut self, state: &ClusterState, numbers: &Numbers<'_>, row: &InstanceRow) {
        match self.plain(state, numbers, row) {
            Some(plain) => self.part.2.push(plain),
            None => self.part.3.push(row.clone()),
        }
    }

    fn plain(&mut self, state: &ClusterState, numbers: &Numbers<'_>, row: &InstanceRow) -> Option<Plain> {
        // Every field is named: whoever adds one decides here what becomes of it.
        let InstanceRow { id, app, version, goal, created_at, waiting_since, task, expunged, shall_move } =
            row;
        if *goal != Goal::Running || *expunged || shall_move.is_some() || !state.apps.contains(app) {
            return None;
        }
        let content = self.content(app, *version)?;
        let number = number_of(id, self.starts.get(content as usize)?)?;
        let task = match task {
            Some(task) => Some(self.task(numbers, id, task)?),
            None => None,
        };
        let (high, low) = number.as_u64_pair();
        let created = created_at.as_millis();
        Some(Plain(content, high, low, created, waiting_since.as_millis().wrapping_sub(created), task))
    }

    fn task(&mut self, numbers: &Numbers<'_>, instance: &InstanceId, task: &TaskRow) -> Option<PlainTask> {
        let TaskRow {
            id,
            attempt,
            agent,
            hostname,
            ports,
            resources,
            drawn,
            staged_at,
            started_at,
            status,
            stop,
            unreachable_since,
            inactive,
        } = task;
        let TaskStatus { state, at, message, exit, health, ip_addresses } = status;
        let is_usual = drawn.is_empty()
            && stop.is_none()
            && unreachable_since.is_none()
            && !inactive
            && exit.is_none()
            && is_attempt(id, instance, *attempt)
            && resources.ports == PortRanges::of(ports.iter().copied());
        if !is_usual {
            return None;
        }
        let agent = numbers.find(agent, hostname)?;
        let amounts = self.amounts([resources.cpus, resources.mem, resources.disk, resources.gpus])?;
        let staged = staged_at.as_millis();
        let later = |at: Timestamp| at.as_millis().wrapping_sub(staged);
        let state = u8::try_from(TaskState::ALL.iter().position(|one| one == state)?).ok()?;
        let is_short = message.is_empty() && health.is_empty() && ip_addresses.is_empty();
        let more = (!is_short).then(|| PlainStatus(message.clone(), health.clone(), ip_addresses.clone()));
        let (started, at) = (started_at.map(later), later(*at));
        Some(PlainTask(*attempt, agent, amounts, ports.clone(), staged, started, at, state, more))
    }

    fn content(&mut self, app: &AppId, version: SpecVersion) -> Option<u32> {
        // Instances of one content mostly lie side by side.
        let known = self.part.0.iter().rposition(|known| known.1 == version && known.0 == *app);
        let at = known.unwrap_or_else(|| {
            self.part.0.push((app.clone(), version));
            self.starts.push(InstanceId::start_of(app));
            self.part.0.len() - 1
        });
        u32::try_from(at).ok()
    }

    fn amounts(&mut self, amounts: [Scalar; 4]) -> Option<u32> {
        let at = self.part.1.iter().rposition(|known| *known == amounts).unwrap_or_else(|| {
            self.part.1.push(amounts);
            self.part.1.len() - 1
        });
        u32::try_from(at).ok()
    }
}

/// The number in an instance's id, where the id can be made from it again.
fn number_of(id: &InstanceId, start: &InstanceId) -> Option<uuid::Uuid> {
    let text = id.as_str().strip_prefix(start.as_str())?;
    let number = uuid::Uuid::try_parse(text).ok()?;
    (number.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()) == text).then_some(number)
}

fn is_attempt(task: &TaskId, instance: &InstanceId, attempt: u32) -> bool {
    let number = task.as_str().strip_prefix(instance.as_str()).and_then(|rest| rest.strip_prefix("._app."));
    number.is_some_and(|number| !number.starts_with(['0', '+']) && number.parse() == Ok(attempt))
}

/// A state that is being read, part by part.
pub struct Unpacking {
    state: ClusterState,
    /// Agents by number, with their names.
    agents: Vec<(AgentId, String)>,
    /// Instances that live on each agent, by its number.
    live: Vec<Vec<InstanceId>>,
    /// Those that live on agents that are not recorded.
    astray: Vec<(AgentId, InstanceId)>,
}

/// A reference that leads nowhere.
fn broken(what: &str) -> DecodeError {
    let source = rmp_serde::decode::Error::custom(format!("there is no such {what}"));
    DecodeError { what: "state", source }
}

impl Unpacking {
    /// From the first part.
    ///
    /// # Errors
    /// When the bytes are no such part.
    pub fn begin(head: &[u8]) -> Result<Self, DecodeError> {
        let state: ClusterState = codec::decode("state", head)?;
        let agents: Vec<_> =
            state.agents.values().map(|row| (row.info.id.clone(), row.info.hostname.clone())).collect();
        let live = vec![Vec::new(); agents.len()];
        Ok(Self { state, agents, live, astray: Vec::new() })
    }

    /// Takes one further part.
    ///
    /// # Errors
    /// When the bytes are no such part, or refer to what is not there.
    pub fn add(&mut self, part: &[u8]) -> Result<(), DecodeError> {
        let Part(contents, amounts, plain, others) = codec::decode("instances", part)?;
        let shared = |app: AppId| self.state.apps.get(&app).map_or(app, |row| row.id.clone());
        let contents: Vec<Content> = contents
            .into_iter()
            .map(|(app, version)| {
                let start = InstanceId::start_of(&app).as_str().to_owned();
                Content { app: shared(app), version, start }
            })
            .collect();
        let mut others = others.into_iter().peekable();
        for plain in plain {
            let (row, agent) = self.row(&contents, &amounts, plain)?;
            while let Some(other) = others.next_if(|other| other.id < row.id) {
                self.add_other(other);
            }
            if let Some(live) = agent.and_then(|agent| self.live.get_mut(agent as usize)) {
                live.push(row.id.clone());
            }
            self.state.instances.insert(row.id.clone(), row);
        }
        others.for_each(|other| self.add_other(other));
        Ok(())
    }

    /// A row of the usual kind, and the number of the agent that it lives on.
    fn row(
        &self,
        contents: &[Content],
        amounts: &[[Scalar; 4]],
        Plain(content, high, low, created, waiting, task): Plain,
    ) -> Result<(InstanceRow, Option<u32>), DecodeError> {
        let content = contents.get(content as usize).ok_or_else(|| broken("content"))?;
        let mut text = content.start.clone();
        let number = uuid::Uuid::from_u64_pair(high, low);
        text.push_str(number.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()));
        let id = InstanceId::new(text.as_str());
        let (task, agent) = match task {
            Some(task) => self.task(amounts, text, task).map(|(task, agent)| (Some(task), agent))?,
            None => (None, None),
        };
        let row = InstanceRow {
            id,
            app: content.app.clone(),
            version: content.version,
            goal: Goal::Running,
            created_at: Timestamp::from_millis(created),
            waiting_since: Timestamp::from_millis(created.wrapping_add(waiting)),
            task,
            expunged: false,
            shall_move: None,
        };
        Ok((row, agent))
    }

    fn task(
        &self,
        amounts: &[[Scalar; 4]],
        mut text: String,
        PlainTask(attempt, number, taken, ports, staged, started, at, state, more): PlainTask,
    ) -> Result<(TaskRow, Option<u32>), DecodeError> {
        let (agent, hostname) = self.agents.get(number as usize).ok_or_else(|| broken("agent"))?;
        let [cpus, mem, disk, gpus] = *amounts.get(taken as usize).ok_or_else(|| broken("amount"))?;
        let state = *TaskState::ALL.get(usize::from(state)).ok_or_else(|| broken("state of a task"))?;
        text.push_str("._app.");
        text.push_str(&attempt.to_string());
        let later = |millis: i64| Timestamp::from_millis(staged.wrapping_add(millis));
        let mut status = TaskStatus::new(state, later(at), "");
        if let Some(PlainStatus(message, health, ip_addresses)) = more {
            status = TaskStatus { message, health, ip_addresses, ..status };
        }
        let task = TaskRow {
            id: TaskId::new(text.as_str()),
            attempt,
            agent: agent.clone(),
            hostname: hostname.clone(),
            resources: Resources { cpus, mem, disk, gpus, ports: PortRanges::of(ports.iter().copied()) },
            ports,
            drawn: Reserved::new(),
            staged_at: Timestamp::from_millis(staged),
            started_at: started.map(later),
            status,
            stop: None,
            unreachable_since: None,
            inactive: false,
        };
        let lives_on = task.is_live().then_some(number);
        Ok((task, lives_on))
    }

    fn add_other(&mut self, mut row: InstanceRow) {
        if let Some(app) = self.state.apps.get(&row.app) {
            row.app = app.id.clone();
        }
        let id = row.id.clone();
        let is_live = row.is_live();
        if let Some(task) = &mut row.task {
            let number = self.agents.binary_search_by(|(agent, _)| agent.cmp(&task.agent)).ok();
            if let Some((agent, _)) = number.and_then(|number| self.agents.get(number)) {
                task.agent = agent.clone();
            }
            match number.and_then(|number| self.live.get_mut(number)).filter(|_| is_live) {
                Some(live) => live.push(id.clone()),
                None if is_live => self.astray.push((task.agent.clone(), id.clone())),
                None => {}
            }
        }
        self.state.instances.insert(id, row);
    }

    /// The whole state.
    pub fn end(self) -> ClusterState {
        let Self { mut state, agents, live, astray } = self;
        let own = agents.into_iter().zip(live).map(|((agent, _), ids)| (agent, ids));
        state.by_agent = ByAgent::of_each(own.filter(|(_, ids)| !ids.is_empty()));
        astray.into_iter().for_each(|(agent, id)| state.by_agent.insert(&agent, id));
        state
    }
}

struct Content {
    app: AppId,
    version: SpecVersion,
    /// What ids of its instances begin with.
    start: String,
}

#[cfg(test)]
mod tests;
