//! How fast the scheduler decides, on real cluster states of 1,000, 10,000 and 50,000 agents.
//!
//! `cargo bench --bench placements` prints one table; each figure is the median of [`ROUNDS`].
//! Inside a figure is all that the leader's book does: it follows the state (what the last cycle
//! placed was recorded, new instances wait) and decides. Outside are the log and `apply`.

#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a benchmark may end at once"
)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use platformd::domain::{AgentId, AppId, DeploymentId, InstanceId, Scalar, Timestamp};
use platformd::scheduler::{Book, CycleReport, PLACEMENTS_MAX};
use platformd::state::{ClusterState, Command, LogEntry, apply};
use platformd::testkit::{AppBuilder, an_agent, an_app};

const ROUNDS: usize = 5;
const SIZES: [usize; 3] = [1_000, 10_000, 50_000];
const RACKS: usize = 40;

/// A state, and hands to change it.
#[derive(Clone)]
struct Cluster {
    state: ClusterState,
    minted: u128,
    dice: u64,
}

impl Cluster {
    /// Agents of 32 or 64 cpus, 30 to 70 % taken, in 40 racks and 4 zones, of 120 kinds.
    fn of(agents: usize) -> Self {
        let mut cluster = Self { state: ClusterState::default(), minted: 0, dice: 7 };
        let one = |at: usize| {
            let cpus = if at.is_multiple_of(2) { 32.0 } else { 64.0 };
            let agent = an_agent(&format!(
                "{:032x}",
                (at as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
            ));
            let agent = agent.cpus(cpus).mem(cpus * 4_096.0).attribute("zone", &format!("z{}", at % 4));
            agent
                .attribute("rack", &format!("r{}", at % RACKS))
                .attribute("kind", &format!("k{}", at / RACKS % 120))
                .register()
        };
        let commands: Vec<Command> = (0..agents).map(one).collect();
        cluster.record(commands);
        let ids: Vec<AgentId> = cluster.state.agents.iter().map(|(id, _)| id.clone()).collect();
        for id in ids {
            let (cpus, mem) = (30 + cluster.roll(40), 30 + cluster.roll(40));
            let row = cluster.state.agents.get_mut(&id).unwrap();
            let part =
                |total: Scalar, percent: u64| Scalar::from_thousandths(total.thousandths() * percent / 100);
            row.used.cpus = part(row.info.totals.cpus, cpus);
            row.used.mem = part(row.info.totals.mem, mem);
        }
        cluster
    }

    fn roll(&mut self, below: u64) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % below
    }

    fn record(&mut self, commands: Vec<Command>) {
        let index = self.state.index + 1;
        let at = Timestamp::from_millis(i64::try_from(index).unwrap());
        let applied = apply(&mut self.state, index, &LogEntry { at, commands });
        assert_eq!(applied.refusals, []);
    }

    fn put(&mut self, app: &AppBuilder) {
        self.minted += 1;
        let deployment = DeploymentId::new(format!("d{}", self.minted));
        let put = app.put(&self.state, deployment.clone());
        self.record(vec![put]);
        self.record(vec![Command::CancelDeployment { deployment }]);
    }

    fn create(&mut self, app: &AppId, count: usize) {
        let version = self.state.apps.get(app).unwrap().version;
        let mut mint = || {
            self.minted += 1;
            let scattered = self.minted.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            InstanceId::mint(app, uuid::Uuid::from_u128(scattered))
        };
        let ids = (0..count).map(|_| mint()).collect();
        self.record(vec![Command::CreateInstances { app: app.clone(), version, ids }]);
    }

    fn launch(&mut self, report: CycleReport) {
        let seen_at = self.state.index;
        self.record(vec![Command::LaunchTasks { placements: report.placements, seen_at }]);
    }
}

fn cycle(book: &mut Book, state: &ClusterState) -> (CycleReport, Duration) {
    let none = BTreeSet::new();
    let begun = Instant::now();
    let report = book.cycle(state, &none, state.now);
    (report, begun.elapsed())
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Placements per second: in each cycle so many of each app wait, `cycles` times.
fn rate(base: &Cluster, apps: &[AppBuilder], each: usize, cycles: usize, blocked: &[AppBuilder]) -> f64 {
    let mut base = base.clone();
    for app in blocked.iter().chain(apps) {
        base.put(app);
    }
    for app in blocked {
        base.create(&app.id(), 1);
    }
    let round = || {
        let mut cluster = base.clone();
        let mut book = Book::default();
        // The first of each is not counted: values are judged, classes formed.
        let (mut placed, mut took) = (0, Duration::ZERO);
        for at in 0..=cycles {
            apps.iter().for_each(|app| cluster.create(&app.id(), if at == 0 { 1 } else { each }));
            let (report, time) = cycle(&mut book, &cluster.state);
            assert_eq!(report.left, blocked.len(), "all but the blocked are placed");
            if at > 0 {
                placed += report.placements.len();
                took += time;
            }
            cluster.launch(report);
        }
        placed as f64 / took.as_secs_f64()
    };
    median((0..ROUNDS).map(|_| round()).collect())
}

/// Seconds of a first refusal, and of looking again with nothing changed since.
fn refusal(base: &Cluster, app: &AppBuilder) -> (f64, f64) {
    let mut base = base.clone();
    if !base.state.apps.contains(&app.id()) {
        base.put(app);
    }
    base.create(&app.id(), 1);
    let mut book = Book::default();
    book.follow(&base.state);
    let (mut first, mut again) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut book = book.clone();
        let (report, took) = cycle(&mut book, &base.state);
        assert_eq!((report.placements.len(), report.blocked.len()), (0, 1));
        first.push(took.as_secs_f64());
        let mut looks = Vec::new();
        for _ in 0..100 {
            looks.push(cycle(&mut book, &base.state).1.as_secs_f64());
        }
        again.push(median(looks));
    }
    (median(first), median(again))
}

/// An app with `UNIQUE` on every agent.
fn everywhere(base: &Cluster) -> (Cluster, AppBuilder) {
    let mut cluster = base.clone();
    let app = an_app("/everywhere").constraint("hostname", "UNIQUE", None);
    cluster.put(&app);
    cluster.create(&app.id(), cluster.state.agents.len());
    let mut book = Book::default();
    loop {
        let (report, _) = cycle(&mut book, &cluster.state);
        if report.placements.is_empty() {
            return (cluster, app);
        }
        cluster.launch(report);
    }
}

fn sizes(constrain: impl Fn(AppBuilder) -> AppBuilder, count: usize) -> Vec<AppBuilder> {
    let app = |at: usize| {
        let size = (at % 8 + 1) as f64;
        constrain(an_app(&format!("/app-{at}")).cpus(0.02 * size).mem(48.0 * size).instances(5_000))
    };
    (0..count).map(app).collect()
}

fn line(what: &str, figures: [String; 3]) {
    println!("{what:<44} {:>12} {:>12} {:>12}", figures[0], figures[1], figures[2]);
}

fn per_second(rate: f64) -> String {
    format!("{:.0} k/s", rate / 1_000.0)
}

fn time(seconds: f64) -> String {
    if seconds < 1e-3 { format!("{:.2} us", seconds * 1e6) } else { format!("{:.2} ms", seconds * 1e3) }
}

fn main() {
    let wanted = std::env::args().nth(1).filter(|word| !word.starts_with("--")).unwrap_or_default();
    let chosen = |what: &str| what.contains(&wanted);
    let clusters = SIZES.map(Cluster::of);
    line("medians of 5 rounds; agents:", ["1,000".to_owned(), "10,000".to_owned(), "50,000".to_owned()]);
    let full = PLACEMENTS_MAX / 8;
    let show = |what: &str, apps: &[AppBuilder], each: usize, cycles: usize| {
        if chosen(what) {
            line(what, [0, 1, 2].map(|at| per_second(rate(&clusters[at], apps, each, cycles, &[]))));
        }
    };
    let rule = |field: &'static str, operator: &'static str, operand: Option<&'static str>| {
        move |app: AppBuilder| app.constraint(field, operator, operand)
    };
    show("plain, 8 sizes interleaved", &sizes(|app| app, 8), full, 12);
    show("plain, 2 dynamic ports each", &sizes(|app| app.any_ports(2), 8), full, 12);
    show("LIKE rack (11 of 40)", &sizes(rule("rack", "LIKE", Some("r1.?")), 8), full, 12);
    show("UNIQUE hostname", &sizes(rule("hostname", "UNIQUE", None), 8), full, 6);
    show("GROUP_BY 40 racks, numbered", &sizes(rule("rack", "GROUP_BY", Some("40")), 8), full, 6);
    show("GROUP_BY 40 racks, no number", &sizes(rule("rack", "GROUP_BY", None), 8), full, 6);
    show("MAX_PER hostname 2", &sizes(rule("hostname", "MAX_PER", Some("2")), 8), full, 12);
    show("UNIQUE, turns of one instance", &sizes(rule("hostname", "UNIQUE", None), 10), 1, 500);
    show("MAX_PER 2, turns of one instance", &sizes(rule("hostname", "MAX_PER", Some("2")), 10), 1, 500);
    show("plain, turns of one instance", &sizes(|app| app, 10), 1, 500);
    if chosen("plain among 4,800 classes") {
        let figures = [0, 1, 2].map(|at| {
            let mut cluster = clusters[at].clone();
            let app = an_app("/classes").constraint("rack", "LIKE", Some(".*")).constraint(
                "kind",
                "LIKE",
                Some(".*"),
            );
            cluster.put(&app);
            cluster.create(&app.id(), 1);
            per_second(rate(&cluster, &sizes(|app| app, 8), full, 12, &[an_app("/huge").cpus(1_000.0)]))
        });
        line("plain among 4,800 classes", figures);
    }
    if chosen("plain beside 100 blocked apps") {
        let blocked: Vec<AppBuilder> =
            (0..100).map(|at| an_app(&format!("/huge-{at}")).cpus(100.0)).collect();
        let figures =
            [0, 1, 2].map(|at| per_second(rate(&clusters[at], &sizes(|app| app, 8), full, 12, &blocked)));
        line("plain beside 100 blocked apps", figures);
    }
    if chosen("rebuild") {
        let figures = [0, 1, 2].map(|at| {
            let rebuild = || {
                let begun = Instant::now();
                Book::default().follow(&clusters[at].state);
                begun.elapsed().as_secs_f64()
            };
            time(median((0..ROUNDS).map(|_| rebuild()).collect()))
        });
        line("a new book", figures);
    }
    let refusals = |what: &str, app: &AppBuilder, clusters: &[Cluster; 3]| {
        if chosen(what) {
            let figures = [0, 1, 2].map(|at| refusal(&clusters[at], app));
            line(&format!("{what}: first refusal"), figures.map(|(first, _)| time(first)));
            line(&format!("{what}: again"), figures.map(|(_, again)| time(again)));
        }
    };
    refusals("too large for anyone", &an_app("/huge").cpus(100.0), &clusters);
    refusals("a port that nobody has", &an_app("/port").exact_ports(&[80]), &clusters);
    if chosen("UNIQUE everywhere") {
        let full = [0, 1, 2].map(|at| everywhere(&clusters[at]));
        let app = full[0].1.clone();
        refusals("UNIQUE everywhere", &app, &full.map(|(cluster, _)| cluster));
    }
}
