//! Bytes that older versions wrote still mean the same.
//!
//! Files in `golden/log/` are never rewritten once a release has been made: a new format gets
//! new files beside them. To write those that do not exist yet:
//! `PLATFORMD_WRITE_GOLDEN=1 cargo test --test it golden`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use platformd::domain::{
    Action, ActionKind, Affinity, AgentId, AgentInfo, AppId, AppVersion, Attributes, ClusterId, DeploymentId,
    Goal, Hindrances, Incarnation, InstanceId, Plan, PortRanges, Preference, Reserved, Resources, RunSpec,
    Scalar, SpecVersion, Spread, Step, Strategy, Target, TaskId, TaskState, TaskStatus, Timestamp, Wanted,
    Wishes,
};
use platformd::raft::{self, RaftHandle, RaftSettings};
use platformd::state::{AppChange, Command, LogEntry, Placement, RequestKey, StartDeployment, codec};
use platformd::store::StateStore;
use platformd::world::ManualClock;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Where the golden data directory says that it is reached.
const ADDRESS: &str = "127.0.0.1:5050";

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden/log").join(name)
}

fn may_write() -> bool {
    std::env::var_os("PLATFORMD_WRITE_GOLDEN").is_some()
}

/// The file's bytes; written first when it is new and writing is asked for.
fn read_or_write(name: &str, now: &[u8]) -> Vec<u8> {
    let path = golden(name);
    if may_write() && !path.exists() {
        fs::write(&path, now).unwrap();
    }
    fs::read(&path).unwrap()
}

fn an_agent(id: &str) -> AgentInfo {
    AgentInfo {
        id: AgentId::new(id),
        hostname: format!("{id}.example"),
        http: "10.0.0.1:5051".into(),
        totals: Resources {
            cpus: Scalar::from_thousandths(4000),
            mem: Scalar::from_thousandths(8_192_000),
            ..Resources::default()
        },
        reserved: Default::default(),
        attributes: Attributes::default(),
        incarnation: Incarnation {
            boot_id: "boot".into(),
            started: Timestamp::from_millis(5),
            run: 2,
            place: String::new(),
        },
        has_docker: true,
        version: "0.1.0".into(),
    }
}

/// One entry with every command there is. A new command joins in a file of its own version.
fn every_command() -> LogEntry {
    let app = AppId::parse("/team/web").unwrap();
    let instance = InstanceId::new("team_web.instance-00000000-0000-4000-8000-000000000001");
    let task = TaskId::of(&instance, 1);
    let agent = AgentId::new("agent-1");
    let deployment = DeploymentId::new("d1");
    let version = SpecVersion(Timestamp::from_millis(1_767_225_600_000));
    let spec = RunSpec {
        cmd: Some("sleep 1000".into()),
        cpus: Scalar::from_thousandths(100),
        mem: Scalar::from_thousandths(32_000),
        ..RunSpec::default()
    };
    let content = AppVersion { app: app.clone(), spec, last_scaling: version, last_config_change: version };
    let action = Action { app: app.clone(), kind: ActionKind::Start, sentenced: vec![instance.clone()] };
    let start = StartDeployment {
        id: deployment.clone(),
        version,
        plan: Plan { steps: vec![Step { actions: vec![action] }] },
        changes: vec![AppChange { app: app.clone(), expected: None, content: Some(Box::new(content)) }],
        assigned_ports: vec![10_000],
        force: true,
        request: Some(RequestKey { key: "key".into(), digest: "digest".into() }),
    };
    let placement = Placement {
        instance: instance.clone(),
        attempt: 1,
        agent: agent.clone(),
        ports: vec![31_000],
        resources: Resources::default(),
        drawn: Default::default(),
    };
    let status = TaskStatus::new(TaskState::Running, Timestamp::from_millis(7), "started");
    let instances = || vec![instance.clone()];
    let commands = vec![
        Command::FoundCluster { cluster: ClusterId::new("c1"), epoch: 1 },
        Command::RegisterAgent {
            info: Box::new(an_agent("agent-1")),
            held_ports: PortRanges::default(),
            proof: None,
        },
        Command::SetHeldPorts { agent: agent.clone(), ports: PortRanges::default() },
        Command::MarkAgentUnreachable { agent: agent.clone(), run: 2, since: Timestamp::from_millis(6) },
        Command::StartDeployment(Box::new(start)),
        Command::FinishStep { deployment: deployment.clone(), step: 0 },
        Command::CancelDeployment { deployment },
        Command::CreateInstances { app: app.clone(), version, ids: instances() },
        Command::SetGoal { instances: instances(), goal: Goal::Decommissioned, reason: "scaled down".into() },
        Command::StopTasks { tasks: vec![task.clone()], reason: "asked to".into() },
        Command::LaunchTasks { placements: vec![placement], seen_at: 41 },
        Command::RecordStatuses { agent, statuses: vec![(task, status)] },
        Command::MarkInactive { instances: instances() },
        Command::Expunge { instances: instances() },
        Command::Readmit { instances: instances() },
        Command::ResetDelay { app },
        Command::Reap { requests_before: Timestamp::from_millis(8) },
    ];
    LogEntry { at: Timestamp::from_millis(1_767_225_600_001), commands }
}

#[test]
fn a_log_entry_of_version_1_still_reads() {
    let entry = every_command();
    let bytes = read_or_write("entry-1.bin", &codec::encode(&entry));
    let read: LogEntry = codec::decode("log entry", &bytes).unwrap();
    assert_eq!(read, entry);
}

/// Commands that came after version 1.
fn later_commands() -> LogEntry {
    let instance = InstanceId::new("team_web.instance-00000000-0000-4000-8000-000000000001");
    let commands = vec![
        Command::MoveInstances { instances: vec![(instance.clone(), "drained".into())] },
        Command::KeepInstances { instances: vec![instance] },
    ];
    LogEntry { at: Timestamp::from_millis(1_767_225_600_002), commands }
}

#[test]
fn a_log_entry_that_moves_instances_still_reads() {
    let entry = later_commands();
    let bytes = read_or_write("entry-moves.bin", &codec::encode(&entry));
    let read: LogEntry = codec::decode("log entry", &bytes).unwrap();
    assert_eq!(read, entry);
}

#[test]
fn a_log_entry_that_tells_of_hindrances_still_reads() {
    let hindrances = Hindrances { tasks: Some("its disk is full".into()), ..Hindrances::default() };
    let commands = vec![Command::SetHindrances { agent: AgentId::new("agent-1"), hindrances }];
    let entry = LogEntry { at: Timestamp::from_millis(1_767_225_600_003), commands };
    let bytes = read_or_write("entry-hindrances.bin", &codec::encode(&entry));
    let read: LogEntry = codec::decode("log entry", &bytes).unwrap();
    assert_eq!(read, entry);
}

#[test]
fn a_log_entry_that_tells_of_tasks_that_may_run_still_reads() {
    let hindrances = Hindrances {
        tasks: Some("its disk is full".into()),
        may_run: [TaskId::new("web.1"), TaskId::new("web.2")].into(),
        ..Hindrances::default()
    };
    let commands = vec![Command::SetHindrances { agent: AgentId::new("agent-1"), hindrances }];
    let entry = LogEntry { at: Timestamp::from_millis(1_767_225_600_004), commands };
    let bytes = read_or_write("entry-may-run.bin", &codec::encode(&entry));
    let read: LogEntry = codec::decode("log entry", &bytes).unwrap();
    assert_eq!(read, entry);
}

/// One entry with what came in version 2: resources of roles and soft wishes.
fn roles_and_wishes() -> LogEntry {
    let mut entry = every_command();
    let cpus = |amount| Resources { cpus: Scalar::from_thousandths(amount), ..Resources::default() };
    let by_role = |amount| Reserved::from([("db".to_owned(), cpus(amount))]);
    for command in &mut entry.commands {
        match command {
            Command::RegisterAgent { info, .. } => info.reserved = by_role(2_000),
            Command::LaunchTasks { placements, .. } => {
                for placement in placements {
                    placement.resources = cpus(600);
                    placement.drawn = by_role(500);
                }
            }
            Command::StartDeployment(start) => {
                let content = start.changes.iter_mut().find_map(|change| change.content.as_mut()).unwrap();
                content.spec.role = "db".into();
                content.spec.accepted_resource_roles = vec!["db".into(), "*".into()];
                let wish = |wanted, weight| Preference { attribute: "disk".into(), wanted, weight };
                content.spec.placement = Some(Wishes {
                    strategy: Some(Strategy::Binpack),
                    preferences: vec![
                        wish(Wanted::Value("ssd".into()), 50),
                        wish(Wanted::Pattern("old.*".into()), -100),
                    ],
                    spread: vec![Spread {
                        attribute: "zone".into(),
                        weight: 30,
                        targets: vec![Target { value: "a".into(), percent: 60 }],
                    }],
                    affinity: vec![Affinity {
                        app: AppId::parse("/cache").unwrap(),
                        attribute: "hostname".into(),
                        weight: -20,
                    }],
                });
            }
            _ => {}
        }
    }
    entry
}

#[test]
fn a_log_entry_of_version_2_still_reads() {
    let entry = roles_and_wishes();
    let bytes = read_or_write("entry-2.bin", &codec::encode(&entry));
    let read: LogEntry = codec::decode("log entry", &bytes).unwrap();
    assert_eq!(read, entry);
}

/// An older reader of an entry without roles and wishes meets no field that it does not know.
#[test]
fn what_has_no_roles_and_no_wishes_does_not_name_them() {
    let names = |entry: &LogEntry, name: &str| {
        let bytes = codec::encode(entry);
        // Names lie behind their length: `placement` is not the beginning of `placements`.
        let text = [&[0xa0 | u8::try_from(name.len()).unwrap()], name.as_bytes()].concat();
        bytes.windows(text.len()).any(|found| found == text)
    };
    for name in ["reserved", "drawn", "placement"] {
        assert!(names(&roles_and_wishes(), name), "{name}");
        assert!(!names(&every_command(), name), "{name}");
    }
}

/// Starts the only master of `dir` and waits until it leads.
async fn start(dir: &Path) -> RaftHandle {
    let mut settings = RaftSettings::new(dir.to_owned(), vec![ADDRESS.into()], ADDRESS.into(), "http".into());
    settings.segment_bytes = 4096;
    let raft = raft::start(settings, Arc::new(ManualClock::at(1_767_225_600_000))).await.unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while !raft.store().leadership().borrow().leads {
        assert!(Instant::now() < until, "it does not lead");
        sleep(Duration::from_millis(5)).await;
    }
    raft
}

async fn register(raft: &RaftHandle, name: &str) {
    let info = Box::new(an_agent(name));
    let command = Command::RegisterAgent { info, held_ports: PortRanges::default(), proof: None };
    raft.store().propose(vec![command], None).await.unwrap();
}

/// A directory with a snapshot, a purged log in several segments, and entries behind them.
async fn write_data_directory(target: &Path) {
    let raft = start(target).await;
    for n in 0..10 {
        register(&raft, &format!("before-{n}")).await;
    }
    raft.trigger_snapshot().await;
    let until = Instant::now() + Duration::from_secs(20);
    while raft.stats().snapshots == 0 {
        assert!(Instant::now() < until, "no snapshot");
        sleep(Duration::from_millis(5)).await;
    }
    for n in 0..10 {
        register(&raft, &format!("after-{n}")).await;
    }
    raft.shutdown().await;
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &target);
        } else {
            fs::copy(item.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_of_version_1_still_starts_with_all_it_knows() {
    let kept = golden("data-1");
    if may_write() && !kept.exists() {
        let fresh = TempDir::new().unwrap();
        write_data_directory(fresh.path()).await;
        fs::remove_file(fresh.path().join("lock")).unwrap();
        let _ = fs::remove_file(fresh.path().join("log/next.wal.tmp"));
        copy(fresh.path(), &kept);
    }
    let dir = TempDir::new().unwrap();
    copy(&kept, dir.path());
    let raft = start(dir.path()).await;
    let state = raft.store().fresh_snapshot().await.unwrap();
    for n in 0..10 {
        for name in [format!("before-{n}"), format!("after-{n}")] {
            let row = state.agents.get(&AgentId::new(name.as_str()));
            assert_eq!(row.map(|row| &*row.info), Some(&an_agent(&name)), "{name}");
        }
    }
    register(&raft, "new").await;
    assert_eq!(raft.store().snapshot().agents.len(), 21);
    raft.shutdown().await;
}
