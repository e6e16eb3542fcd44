//! How fast the scheduler decides, on real cluster states of 1,000, 10,000 and 50,000 agents.
//!
//! `cargo bench --bench placements` prints one table; each figure is the median of [`ROUNDS`].
//! `cargo bench --bench placements -- WORDS` prints the rows whose names contain the words;
//! `-- --plot FILE` writes the cost of a placement against the size of the cluster as an SVG instead.
//!
//! Inside a figure is all that the leader's book does: it follows the state (what the last cycle
//! placed was recorded, new instances wait) and decides. Outside are the log and `apply`. Figures are
//! processor time of the one thread that decides, so that other work on the machine counts less.

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

mod cluster;
mod plot;

use std::collections::{BTreeSet, HashMap};
use std::hint::black_box;
use std::time::Duration;

use platformd::domain::{InstanceId, Strategy, Wishes};
use platformd::scheduler::{Book, CycleReport, PLACEMENTS_MAX, Suspects, explain};
use platformd::state::ClusterState;
use platformd::testkit::{AppBuilder, an_app};

use crate::cluster::Cluster;
use crate::plot::Curve;

/// As the binary allocates.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;
const SIZES: [usize; 3] = [1_000, 10_000, 50_000];
const PLOTTED: [usize; 7] = [100, 300, 1_000, 3_000, 10_000, 25_000, 50_000];

fn cycle(book: &mut Book, state: &ClusterState) -> (CycleReport, Duration) {
    let none = BTreeSet::new();
    let begun = processor_time();
    let report = book.cycle(state, &none, state.now);
    (report, processor_time() - begun)
}

/// Reads the whole state; apart, so that a profile shows it apart.
#[inline(never)]
fn begin(book: &mut Book, state: &ClusterState) {
    book.follow(state);
}

/// How long this thread has had a processor: a machine that is shared tells little by its clock.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
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
        begin(&mut book, &cluster.state);
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

/// Seconds for each of 100 apps that fit nowhere, in the cycle after one agent got room.
fn recheck(base: &Cluster) -> f64 {
    let mut cluster = base.clone();
    let other = an_app("/ends").instances(200);
    cluster.put(&other);
    cluster.create(&other.id(), 200);
    let mut book = Book::default();
    cluster.launch(cycle(&mut book, &cluster.state).0);
    let blocked: Vec<AppBuilder> = (0..100).map(|at| an_app(&format!("/huge-{at}")).cpus(100.0)).collect();
    for app in &blocked {
        cluster.put(app);
        cluster.create(&app.id(), 1);
    }
    let look = |cluster: &mut Cluster, book: &mut Book| {
        cluster.end_one(&other.id());
        let (report, took) = cycle(book, &cluster.state);
        assert_eq!(report.blocked.len(), blocked.len());
        took.as_secs_f64() / blocked.len() as f64
    };
    look(&mut cluster, &mut book);
    median((0..100).map(|_| look(&mut cluster, &mut book)).collect())
}

/// Seconds to explain one app that fits nowhere.
fn explaining(base: &Cluster) -> f64 {
    let mut cluster = base.clone();
    let app = an_app("/huge").cpus(100.0).constraint("rack", "UNLIKE", Some("r1"));
    cluster.put(&app);
    cluster.create(&app.id(), 1);
    explaining_in(&cluster, &app)
}

/// Seconds to explain one app that runs 500 times, ten of them with the best other agents.
fn explaining_places(base: &Cluster) -> f64 {
    let mut cluster = base.clone();
    let app = an_app("/runs").instances(500).constraint("hostname", "UNIQUE", None);
    cluster.put(&app);
    cluster.create(&app.id(), 500);
    let report = cycle(&mut Book::default(), &cluster.state).0;
    assert_eq!(report.placements.len(), 500);
    cluster.launch(report);
    explaining_in(&cluster, &app)
}

fn explaining_in(cluster: &Cluster, app: &AppBuilder) -> f64 {
    let one = || {
        let begun = processor_time();
        black_box(
            explain(&cluster.state, &app.id(), &Suspects::new(), cluster.state.now, Default::default())
                .unwrap(),
        );
        (processor_time() - begun).as_secs_f64()
    };
    median((0..ROUNDS).map(|_| one()).collect())
}

/// What a placement would cost by the plainest means: the freest of all agents that have room, by looking
/// at each. Per second.
fn scanning(base: &Cluster) -> f64 {
    let one = || {
        let begun = processor_time();
        let rows = base.state.agents.values();
        let with_room = rows.filter(|row| row.info.totals.minus(&row.used).cpus.thousandths() >= 100);
        black_box(with_room.max_by_key(|row| row.info.totals.cpus.minus(row.used.cpus)).unwrap());
        1.0 / (processor_time() - begun).as_secs_f64()
    };
    median((0..50).map(|_| one()).collect())
}

/// What nobody can do without: each id that waits is put into a hash map, and taken out with its
/// agent's id counted. Per second.
fn counting(base: &Cluster) -> f64 {
    let agents: Vec<_> = base.state.agents.iter().map(|(id, _)| id.clone()).collect();
    let ids: Vec<InstanceId> =
        (0..10_240).map(|at| InstanceId::new(format!("app.instance-{at:032x}"))).collect();
    let one = || {
        let mut map = HashMap::new();
        let begun = processor_time();
        for part in ids.chunks(PLACEMENTS_MAX) {
            for (at, id) in part.iter().enumerate() {
                map.insert(id.clone(), agents[at * 7_919 % agents.len()].clone());
            }
            part.iter().for_each(|id| drop(black_box(map.remove(id))));
        }
        ids.len() as f64 / (processor_time() - begun).as_secs_f64()
    };
    median((0..ROUNDS).map(|_| one()).collect())
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

fn packed(app: AppBuilder) -> AppBuilder {
    app.wish(Wishes { strategy: Some(Strategy::Binpack), ..Wishes::default() })
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
    if rate < 10_000.0 { format!("{:.2} k/s", rate / 1e3) } else { format!("{:.0} k/s", rate / 1e3) }
}

fn time(seconds: f64) -> String {
    if seconds < 1e-3 { format!("{:.2} us", seconds * 1e6) } else { format!("{:.2} ms", seconds * 1e3) }
}

/// The name of a row and how one of its figures is measured.
type Single = (&'static str, fn(&Cluster) -> String);

/// Microseconds a placement against the size of the cluster.
fn curves() -> Vec<Curve> {
    let full = PLACEMENTS_MAX / 8;
    let rule = |field: &'static str, operator: &'static str, operand: Option<&'static str>| {
        sizes(move |app| app.constraint(field, operator, operand), 8)
    };
    let kinds = [
        ("plain", sizes(|app| app, 8)),
        ("UNIQUE", rule("hostname", "UNIQUE", None)),
        ("GROUP_BY 40 racks", rule("rack", "GROUP_BY", Some("40"))),
    ];
    let mut curves: Vec<Curve> = kinds.iter().map(|(name, _)| Curve { name, points: Vec::new() }).collect();
    for agents in PLOTTED {
        let cluster = Cluster::of(agents);
        for (curve, (name, apps)) in curves.iter_mut().zip(&kinds) {
            // Small clusters are full after fewer.
            let (each, cycles) = if agents < 1_000 { (full / 16, 8) } else { (full, 6) };
            let cost = 1e6 / rate(&cluster, apps, each, cycles, &[]);
            println!("{agents:>7} agents, {name}: {cost:.2} us");
            curve.points.push((agents, cost));
        }
    }
    curves
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [flag, file] = words.as_slice()
        && flag == "--plot"
    {
        std::fs::write(file, plot::svg(&curves())).unwrap();
        return;
    }
    let wanted = words.first().cloned().unwrap_or_default();
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
    // Few cycles: these may cost what there are agents.
    show("packed", &sizes(packed, 8), full, 2);
    show("soft: prefers a rack", &sizes(|app| app.prefer("rack", "r7", 20), 8), full, 2);
    show("soft: spread over zones", &sizes(|app| app.spread("zone", 50, &[]), 8), full, 2);
    show("packed, turns of one instance", &sizes(packed, 10), 1, 20);
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
                let begun = processor_time();
                Book::default().follow(&clusters[at].state);
                (processor_time() - begun).as_secs_f64()
            };
            time(median((0..ROUNDS).map(|_| rebuild()).collect()))
        });
        line("a new book", figures);
    }
    let singles: [Single; 5] = [
        ("one of 100 blocked apps, after growth", |cluster| time(recheck(cluster))),
        ("explain an app", |cluster| time(explaining(cluster))),
        ("explain an app that runs", |cluster| time(explaining_places(cluster))),
        ("beside: the freest agent, by a scan", |cluster| per_second(scanning(cluster))),
        ("beside: ids into a hash map and out", |cluster| per_second(counting(cluster))),
    ];
    for (what, measure) in singles.iter().filter(|(what, _)| chosen(what)) {
        line(what, [0, 1, 2].map(|at| measure(&clusters[at])));
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
