//! A router over an in-memory store, and short ways to ask it things.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use futures_util::future::{BoxFuture, FutureExt};
use http_body_util::BodyExt;
use platformd::api::{
    Abdicate, Attendance, Context, Member, Members, Readiness, ReplaceError, Replaced, router,
};
use platformd::control::Control;
use platformd::domain::{
    AgentId, AgentInfo, AppId, Incarnation, InstanceId, PortRanges, Resources, Scalar, TaskId, TaskState,
    TaskStatus, Timestamp,
};
use platformd::forecast::Resilience;
use platformd::scheduler::Suspects;
use platformd::state::{Applied, ClusterState, Command, Placement};
use platformd::store::in_memory::InMemoryStore;
use platformd::store::{Leadership, Master, ProposeError, ReadError, StateStore, View};
use platformd::telemetry::Registry;
use platformd::world::{Clock, ManualClock};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt;

/// 2020-09-13T12:26:40.000Z
pub const START_MILLIS: i64 = 1_600_000_000_000;

/// This master is not there to take anybody's place.
pub const AWAY: u64 = 404;

/// Replacing this master panics.
pub const PANICS: u64 = 666;

/// One master, its store and its API.
pub struct Bench {
    pub router: Router,
    pub store: Arc<Led>,
    pub clock: Arc<ManualClock>,
    pub outside: Arc<Outside>,
    pub resilience: watch::Sender<Option<Arc<Resilience>>>,
}

/// A store whose leadership a test decides.
pub struct Led {
    inner: InMemoryStore,
    pub leadership: watch::Sender<Leadership>,
    pub quorum_is_lost: Mutex<bool>,
    /// Another master was elected, which nobody was told yet.
    pub is_deposed: Mutex<bool>,
}

/// What the daemon would provide.
#[derive(Default)]
pub struct Outside {
    pub missing: Mutex<Option<String>>,
    pub outside: Mutex<Option<String>>,
    pub unheard: Mutex<Option<String>>,
    pub abdications: Mutex<u32>,
    pub replaced: Mutex<Vec<(u64, u64)>>,
    pub suspects: Mutex<Suspects>,
}

impl StateStore for Led {
    fn snapshot(&self) -> View {
        self.inner.snapshot()
    }

    fn fresh_snapshot(&self) -> BoxFuture<'_, Result<View, ReadError>> {
        if *self.quorum_is_lost.lock().unwrap() {
            return std::future::ready(Err(ReadError::NoQuorum)).boxed();
        }
        if *self.is_deposed.lock().unwrap() {
            return std::future::ready(Err(ReadError::NotLeader)).boxed();
        }
        self.inner.fresh_snapshot()
    }

    fn propose(
        &self,
        commands: Vec<Command>,
        term: Option<u64>,
    ) -> BoxFuture<'_, Result<Applied, ProposeError>> {
        if *self.quorum_is_lost.lock().unwrap() {
            let lost = ProposeError::OutcomeUnknown("no majority answered".into());
            return std::future::ready(Err(lost)).boxed();
        }
        self.inner.propose(commands, term)
    }

    fn applied(&self) -> watch::Receiver<u64> {
        self.inner.applied()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }
}

impl Readiness for Outside {
    fn missing(&self) -> Option<String> {
        self.missing.lock().unwrap().clone()
    }
}

impl Members for Outside {
    fn list(&self) -> Vec<Member> {
        vec![Member { master: master(1, "127.0.0.1:8080"), votes: true }]
    }

    fn replace(&self, old: u64, new: u64) -> BoxFuture<'_, Result<Replaced, ReplaceError>> {
        assert_ne!(old, PANICS, "asked to panic");
        let answer = match old {
            1 if new == AWAY => Err(ReplaceError::Conflict(format!("Master {new} is not there."))),
            1 => {
                self.replaced.lock().unwrap().push((old, new));
                Ok(Replaced::Now)
            }
            _ if new == 1 => Ok(Replaced::Before),
            _ => Err(ReplaceError::NotAMember(format!("Master {old} is no member."))),
        };
        std::future::ready(answer).boxed()
    }

    fn outside(&self) -> Option<String> {
        self.outside.lock().unwrap().clone()
    }

    fn unheard(&self) -> Option<String> {
        self.unheard.lock().unwrap().clone()
    }
}

impl Attendance for Outside {
    fn suspects(&self, _: &ClusterState) -> Suspects {
        self.suspects.lock().unwrap().clone()
    }
}

impl Abdicate for Outside {
    fn abdicate(&self) {
        *self.abdications.lock().unwrap() += 1;
    }
}

pub fn master(node: u64, http: &str) -> Master {
    Master { node, http: http.to_owned(), cluster: "127.0.0.1:5050".to_owned() }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {:?}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub fn expect(self, status: u16, body: Value) -> Self {
        assert_eq!((self.status.as_u16(), self.json()), (status, body));
        self
    }

    #[track_caller]
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }
}

impl Default for Bench {
    fn default() -> Self {
        let me = master(1, "127.0.0.1:8080");
        let leads = Leadership { term: 1, leads: true, leader: Some(me.clone()) };
        Self::with(me, leads)
    }
}

impl Bench {
    /// The master `me`, which knows this of leadership.
    pub fn with(me: Master, leadership: Leadership) -> Self {
        let clock = Arc::new(ManualClock::at(START_MILLIS));
        let store = Arc::new(Led {
            inner: InMemoryStore::new(clock.clone() as Arc<dyn Clock>),
            leadership: watch::channel(leadership).0,
            quorum_is_lost: Mutex::default(),
            is_deposed: Mutex::default(),
        });
        let outside = Arc::new(Outside::default());
        let resilience = watch::channel(None).0;
        let context = Context {
            control: Arc::new(Control::new(store.clone(), clock.clone(), Default::default())),
            clock: clock.clone(),
            me,
            strategy: Default::default(),
            ready: outside.clone(),
            metrics: Arc::new(Registry::master()),
            members: outside.clone(),
            abdicate: outside.clone(),
            resilience: resilience.subscribe(),
            attendance: outside.clone(),
        };
        Self { router: router(context), store, clock, outside, resilience }
    }

    pub fn state(&self) -> View {
        self.store.snapshot()
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    /// Without a body; `headers` as `name: value`.
    pub async fn ask(&self, method: &str, uri: &str, headers: &[(&str, &str)]) -> Answer {
        self.send_text(method, uri, headers, "").await
    }

    pub async fn send_text(&self, method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    pub async fn get(&self, uri: &str) -> Answer {
        self.ask("GET", uri, &[]).await
    }

    pub async fn delete(&self, uri: &str) -> Answer {
        self.ask("DELETE", uri, &[]).await
    }

    pub async fn post(&self, uri: &str, body: Value) -> Answer {
        self.send_text("POST", uri, &[("content-type", "application/json")], &body.to_string()).await
    }

    pub async fn put(&self, uri: &str, body: Value) -> Answer {
        self.send_text("PUT", uri, &[("content-type", "application/json")], &body.to_string()).await
    }

    pub async fn patch(&self, uri: &str, body: Value) -> Answer {
        self.send_text("PATCH", uri, &[("content-type", "application/json")], &body.to_string()).await
    }

    /// Creates an app that sleeps, and lets its deployment end.
    pub async fn app(&self, id: &str, instances: u32) {
        let body = json!({"id": id, "cmd": "sleep 100", "instances": instances});
        self.post("/v2/apps", body).await.expect_status(201);
        self.settle();
    }

    /// Ends every deployment, as the leader would in time.
    pub fn settle(&self) {
        for row in self.state().deployments.values() {
            for step in row.steps_done..u32::try_from(row.plan.steps.len()).unwrap() {
                self.record(Command::FinishStep { deployment: row.id.clone(), step });
            }
        }
        assert!(self.state().deployments.is_empty());
    }

    #[track_caller]
    pub fn record(&self, command: Command) {
        let applied = self.store.inner.record(vec![command]);
        assert_eq!(applied.refusals, []);
    }

    /// Gives an app the instances that it wants, running on an agent of the name `host`.
    pub fn run(&self, app: &str, host: &str) -> Vec<TaskId> {
        let tasks = self.launch(app, host);
        let at = self.state().now;
        let statuses =
            tasks.iter().map(|id| (id.clone(), TaskStatus::new(TaskState::Running, at, ""))).collect();
        self.record(Command::RecordStatuses { agent: AgentId::new(host), statuses });
        tasks
    }

    /// As [`Bench::run`], up to TASK_STAGING.
    pub fn launch(&self, app: &str, host: &str) -> Vec<TaskId> {
        self.agent(host);
        let ids = self.wait_for_launch(app);
        let state = self.state();
        let content = state.current(&AppId::parse(app).unwrap()).unwrap();
        let ports_each = content.spec.port_demands().len();
        let placement = |(at, instance): (usize, &InstanceId)| {
            let first = 31_000 + at * ports_each;
            let ports: Vec<u16> =
                (first..first + ports_each).map(|port| u16::try_from(port).unwrap()).collect();
            Placement {
                instance: instance.clone(),
                attempt: 1,
                agent: AgentId::new(host),
                resources: Resources { ports: PortRanges::of(ports.clone()), ..Resources::default() },
                drawn: Default::default(),
                ports,
            }
        };
        let placements = ids.iter().enumerate().map(placement).collect();
        self.record(Command::LaunchTasks { placements, seen_at: 0 });
        ids.iter().map(|id| TaskId::of(id, 1)).collect()
    }

    /// Gives an app the instances that it wants, waiting.
    pub fn wait_for_launch(&self, app: &str) -> Vec<InstanceId> {
        let app = AppId::parse(app).unwrap();
        let state = self.state();
        let version = state.apps.get(&app).unwrap().version;
        let count = state.current(&app).unwrap().spec.instances;
        let mint = |at| InstanceId::mint(&app, uuid::Uuid::from_u128(u128::from(at) + 1));
        let ids: Vec<InstanceId> = (0..count).map(mint).collect();
        self.record(Command::CreateInstances { app, version, ids: ids.clone() });
        ids
    }

    pub fn agent(&self, host: &str) {
        let totals = Resources {
            cpus: Scalar::from_thousandths(4_000),
            mem: Scalar::from_thousandths(4_096_000),
            ports: PortRanges::new([(31_000, 32_000)]),
            ..Resources::default()
        };
        let info = AgentInfo {
            id: AgentId::new(host),
            hostname: host.to_owned(),
            http: format!("{host}:5051"),
            totals,
            reserved: Default::default(),
            attributes: [("rack".to_owned(), platformd::domain::AttributeValue::parse("r1"))].into(),
            incarnation: Incarnation {
                boot_id: "boot".into(),
                started: Timestamp::from_millis(START_MILLIS),
                run: 1,
                place: String::new(),
            },
            has_docker: false,
            version: "0.1.0".into(),
        };
        self.record(Command::RegisterAgent {
            info: Box::new(info),
            held_ports: PortRanges::default(),
            proof: None,
        });
    }
}
