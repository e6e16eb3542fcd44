//! The agent's data directory: its lock, its identity and the highest fence it has seen.
//!
//! Way in: [`AgentHome::open`]. The state is one small file with a copy beside it, so that
//! a damaged one costs neither the identity nor the tasks that hang on it.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::reserve::Reserve;
use super::sealed;
use crate::domain::{AgentId, Incarnation, Timestamp};
use crate::protocol::{Fence, Proof};
use crate::world::{self, Clock, fs};

const STATE: &str = "agent.state";
const COPY: &str = "agent.state.copy";
#[cfg(not(feature = "sim"))]
const LOCK: &str = "agent.lock";

/// Why an agent could not take up its data directory.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Another process has it.
    #[error(
        "use data directory {0}: already in use by another process; stop that agent, or give this one a --data-dir of its own"
    )]
    InUse(PathBuf),
    /// Both copies of the state are damaged.
    #[error(
        "read {0}: it and its copy are damaged ({1}); restore one of them, or move the directory away to begin as a new agent"
    )]
    Damaged(PathBuf, String),
    /// The file system said no.
    #[error("use data directory {path}")]
    Io {
        /// Which directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// What is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    id: AgentId,
    /// Counts the starts of the agent's process.
    run: u64,
    #[serde(default)]
    seen: Option<Fence>,
    /// What no other machine knows; minted once, told to masters alone.
    #[serde(default)]
    proof: Proof,
}

/// A data directory that is ours alone while this value lives.
#[derive(Debug)]
pub struct AgentHome {
    path: PathBuf,
    state: State,
    started: Timestamp,
    /// See [`Incarnation::place`].
    place: String,
    #[cfg(not(feature = "sim"))]
    _lock: std::fs::File,
}

impl AgentHome {
    /// Takes the directory, makes it if need be, and counts this start.
    ///
    /// # Errors
    /// [`HomeError::InUse`], [`HomeError::Damaged`], or what the file system says.
    pub fn open(path: &Path, clock: &dyn Clock) -> Result<Self, HomeError> {
        let io = |source| HomeError::Io { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(io)?;
        #[cfg(not(feature = "sim"))]
        let lock = lock(path)?;
        #[cfg(not(feature = "sim"))]
        let place = place_of(&lock).map_err(io)?;
        #[cfg(feature = "sim")]
        let place = String::new();
        let mut state = match read(path)? {
            Some(state) => state,
            None => State { id: mint(), run: 0, seen: None, proof: Proof::default() },
        };
        if state.proof.expose().is_empty() {
            state.proof = mint_proof();
        }
        state.run += 1;
        write(path, &state).map_err(io)?;
        Ok(Self {
            path: path.to_owned(),
            state,
            started: Timestamp::from_millis(clock.now_millis()),
            place,
            #[cfg(not(feature = "sim"))]
            _lock: lock,
        })
    }

    /// Who this agent is, for ever.
    pub fn agent_id(&self) -> &AgentId {
        &self.state.id
    }

    /// Where it lives.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// This run of the agent's process, in boot `boot_id` of the machine.
    pub fn incarnation(&self, boot_id: &str) -> Incarnation {
        Incarnation {
            boot_id: boot_id.to_owned(),
            started: self.started,
            run: self.state.run,
            place: self.place.clone(),
        }
    }

    pub(super) fn proof(&self) -> &Proof {
        &self.state.proof
    }

    pub(super) fn seen(&self) -> Option<&Fence> {
        self.state.seen.as_ref()
    }

    /// Keeps the highest fence; durable on return.
    pub(super) fn save_fence(&mut self, fence: &Fence) -> io::Result<()> {
        let state = State { seen: Some(fence.clone()), ..self.state.clone() };
        write(&self.path, &state)?;
        self.state = state;
        Ok(())
    }
}

fn mint() -> AgentId {
    AgentId::new(world::random_uuid().hyphenated().to_string())
}

/// 256 bits.
fn mint_proof() -> Proof {
    Proof::new((0..4).map(|_| format!("{:016x}", world::random_u64())).collect())
}

fn read(path: &Path) -> Result<Option<State>, HomeError> {
    let mut damage = None;
    for name in [STATE, COPY] {
        match fs::read(path.join(name)) {
            Ok(bytes) => match sealed::open(&bytes) {
                Ok(state) => {
                    if let Some(reason) = damage {
                        tracing::warn!(%reason, "{STATE} is damaged; its copy is used");
                    }
                    return Ok(Some(state));
                }
                Err(error) => damage = Some(error.to_string()),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(HomeError::Io { path: path.to_owned(), source }),
        }
    }
    damage.map_or(Ok(None), |reason| Err(HomeError::Damaged(path.join(STATE), reason)))
}

fn write(path: &Path, state: &State) -> io::Result<()> {
    let bytes = sealed::seal(state)?;
    let reserve = Reserve::at(path);
    reserve.replace(&path.join(STATE), &bytes)?;
    reserve.replace(&path.join(COPY), &bytes)
}

#[cfg(not(feature = "sim"))]
fn lock(path: &Path) -> Result<std::fs::File, HomeError> {
    use rustix::fs::{FlockOperation, flock};
    let io = |source| HomeError::Io { path: path.to_owned(), source };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path.join(LOCK)).map_err(io)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(HomeError::InUse(path.to_owned())),
        Err(errno) => Err(io(errno.into())),
    }
}

/// Names the file that locks a directory as the kernel does, so that no copy of it has the same
/// name while this one is there.
#[cfg(not(feature = "sim"))]
fn place_of(lock: &std::fs::File) -> io::Result<String> {
    use std::os::unix::fs::MetadataExt as _;
    let file = lock.metadata()?;
    Ok(format!("{:x}:{:x}", file.dev(), file.ino()))
}

#[cfg(all(test, not(feature = "sim")))]
mod tests {
    use super::*;
    use crate::domain::ClusterId;
    use crate::world::ManualClock;

    #[test]
    fn identity_lasts_and_starts_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(5);
        let mut home = AgentHome::open(dir.path(), &clock).unwrap();
        let id = home.agent_id().clone();
        let fence = Fence { cluster: ClusterId::new("c"), epoch: 1, term: 7, index: 3 };
        home.save_fence(&fence).unwrap();
        assert_eq!(home.incarnation("b").run, 1);
        drop(home);
        let home = AgentHome::open(dir.path(), &clock).unwrap();
        assert_eq!((home.agent_id(), home.incarnation("b").run, home.seen()), (&id, 2, Some(&fence)));
    }

    #[test]
    fn a_directory_serves_one_agent_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(5);
        let _home = AgentHome::open(dir.path(), &clock).unwrap();
        let error = AgentHome::open(dir.path(), &clock).unwrap_err();
        assert!(matches!(error, HomeError::InUse(_)), "{error}");
    }

    #[test]
    fn a_copy_of_a_directory_is_the_same_agent_in_another_place() {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(5);
        let (first, second) = (dir.path().join("a"), dir.path().join("b"));
        let home = AgentHome::open(&first, &clock).unwrap();
        std::fs::create_dir(&second).unwrap();
        for name in [STATE, COPY, LOCK] {
            std::fs::copy(first.join(name), second.join(name)).unwrap();
        }
        let copy = AgentHome::open(&second, &clock).unwrap();
        assert_eq!((home.agent_id(), home.proof()), (copy.agent_id(), copy.proof()));
        assert!(home.incarnation("b").is_elsewhere(&copy.incarnation("b")));
        let before = home.incarnation("b");
        drop(home);
        let again = AgentHome::open(&first, &clock).unwrap();
        assert!(!before.is_elsewhere(&again.incarnation("b")));
    }

    #[test]
    fn a_damaged_state_is_read_from_its_copy() {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(5);
        let id = AgentHome::open(dir.path(), &clock).unwrap().agent_id().clone();
        for damage in [&b""[..], b"random bytes of some length"] {
            std::fs::write(dir.path().join(STATE), damage).unwrap();
            assert_eq!(*AgentHome::open(dir.path(), &clock).unwrap().agent_id(), id);
        }
        std::fs::remove_file(dir.path().join(STATE)).unwrap();
        assert_eq!(*AgentHome::open(dir.path(), &clock).unwrap().agent_id(), id);
        std::fs::write(dir.path().join(STATE), b"x").unwrap();
        std::fs::write(dir.path().join(COPY), b"y").unwrap();
        let error = AgentHome::open(dir.path(), &clock).unwrap_err();
        assert!(matches!(error, HomeError::Damaged(..)), "{error}");
    }
}
