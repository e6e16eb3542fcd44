//! What `platformd dev` tells whoever started it: where apps answer, or why they do not, and what to try.
//!
//! A handful of lines, whatever there is: a few apps have a line each as soon as it is known, many have
//! one together.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::domain::AppId;
use crate::state::ClusterState;
use crate::store::StateStore;
use crate::world::net::TcpStream;

/// Most apps that have a line of their own.
const TOLD_MAX: usize = 4;

/// Longest wait for first tasks, all together, before the reader is told where to look.
const RUNNING_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for a task that runs to listen on its port.
const LISTENING_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause between two looks, at a port or at many apps.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Says a line to whoever started this process; the cluster goes on when nobody reads it.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Tells of `apps`, and names something to try.
pub(super) async fn tell(
    store: &Arc<dyn StateStore>,
    http: &str,
    apps: &[AppId],
    say: &mut (dyn FnMut(&str) + Send),
) {
    tell_until(Instant::now() + RUNNING_TIMEOUT, store, http, apps, say).await;
    let Some(first) = apps.first() else {
        say(&format!(
            "Try      curl -s -X PUT -H 'Content-Type: application/json' {http}/v2/apps//hello -d '{{\"cmd\": \"exec sleep \
             1000\"}}'"
        ));
        return;
    };
    let view = store.snapshot();
    let running = apps.iter().find(|app| matches!(Standing::of(app, &view), Standing::Runs(_)));
    let app = running.unwrap_or(first);
    say(&format!("Try      curl -s '{http}/v2/apps/{app}?embed=app.tasks'"));
}

async fn tell_until(
    until: Instant,
    store: &Arc<dyn StateStore>,
    http: &str,
    apps: &[AppId],
    say: &mut (dyn FnMut(&str) + Send),
) {
    if apps.len() > TOLD_MAX {
        let counts = settled(until, store, apps).await;
        say(&format!("Apps     {}: curl -s {http}/v2/apps", summed_up(&counts)));
        if counts.contains_key(Standing::Waits.word()) {
            let one = apps.iter().find(|app| Standing::of(app, &store.snapshot()) == Standing::Waits);
            let one = one.map_or_else(|| "APP".to_owned(), AppId::to_string);
            say(&format!("         why they wait: {}", why(&one, http)));
        }
        return;
    }
    // All at once: one that waits takes nothing from the others' time.
    let asked = |app| async move { (app, timeout_at(until, found(store, app, http)).await) };
    let mut asked: FuturesUnordered<_> = apps.iter().map(asked).collect();
    while let Some((app, answer)) = asked.next().await {
        let fate =
            answer.unwrap_or_else(|_| Standing::of(app, &store.snapshot()).sentence(app.as_str(), http));
        say(&format!("App      {app} {fate}"));
    }
}

/// How an app fares.
#[derive(PartialEq, Eq)]
enum Standing {
    /// A task of it runs; where it should answer, if anywhere.
    Runs(Option<String>),
    ScaledToNone,
    Waits,
}

impl Standing {
    fn of(app: &AppId, state: &ClusterState) -> Self {
        let serving = state.instances_of(app).find(|row| row.is_serving(0));
        if let Some(task) = serving.and_then(|row| row.task.as_ref()) {
            return Self::Runs(task.ports.first().map(|port| format!("{}:{port}", task.hostname)));
        }
        match state.current(app) {
            Some(content) if content.spec.instances == 0 => Self::ScaledToNone,
            _ => Self::Waits,
        }
    }

    /// What to say of it without asking its port.
    fn sentence(&self, app: &str, http: &str) -> String {
        match self {
            Self::Runs(Some(place)) => format!("runs; nothing listens yet at {place}"),
            Self::Runs(None) => "runs, without a port".to_owned(),
            Self::ScaledToNone => "is scaled to no instance".to_owned(),
            Self::Waits => format!("waits; why: {}", why(app, http)),
        }
    }

    /// What to say of many.
    fn word(&self) -> &'static str {
        match self {
            Self::Runs(_) => "running",
            Self::ScaledToNone => "scaled to no instance",
            Self::Waits => "waiting",
        }
    }
}

/// What says why an app waits, also where nothing of it is queued yet.
fn why(app: &str, http: &str) -> String {
    format!("platformd explain {app} --url http://{http}")
}

/// What is to be said of an app, once its first task runs and had time to listen.
async fn found(store: &Arc<dyn StateStore>, app: &AppId, http: &str) -> String {
    let mut applied = store.applied();
    loop {
        let standing = Standing::of(app, &store.snapshot());
        if let Standing::Runs(Some(place)) = &standing
            && timeout(LISTENING_TIMEOUT, listening(place)).await.is_ok()
        {
            return format!("answers at http://{place}");
        }
        // A store that ended has no news: whoever waits for it is stopped otherwise.
        if standing != Standing::Waits || applied.changed().await.is_err() {
            return standing.sentence(app.as_str(), http);
        }
    }
}

/// Ends when somebody takes a connection at `place`: a task runs a little before it listens.
async fn listening(place: &str) {
    while TcpStream::connect(place).await.is_err() {
        sleep(LOOK_PAUSE).await;
    }
}

/// How many apps fare how, once none waits or the time is over.
async fn settled(
    until: Instant,
    store: &Arc<dyn StateStore>,
    apps: &[AppId],
) -> BTreeMap<&'static str, usize> {
    loop {
        let view = store.snapshot();
        let mut counts = BTreeMap::new();
        for app in apps {
            *counts.entry(Standing::of(app, &view).word()).or_default() += 1;
        }
        if !counts.contains_key(Standing::Waits.word()) || Instant::now() >= until {
            return counts;
        }
        sleep(LOOK_PAUSE).await;
    }
}

fn summed_up(counts: &BTreeMap<&'static str, usize>) -> String {
    counts.iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::in_memory::InMemoryStore;
    use crate::testkit::{AppBuilder, Playground, an_agent, an_app};
    use crate::world::ManualClock;

    const SHORT: Duration = Duration::from_millis(300);

    /// Lines about apps of a cluster whose one agent is this machine with one port.
    async fn told(apps: &[AppBuilder], port: u16) -> Vec<String> {
        let mut ground = Playground::default();
        let mut info = an_agent("here").ports(port, port).info();
        info.hostname = "127.0.0.1".to_owned();
        ground.record(vec![crate::state::Command::RegisterAgent {
            info: Box::new(info),
            held_ports: Default::default(),
            proof: None,
        }]);
        apps.iter().for_each(|app| drop(ground.deploy(app)));
        ground.settle();
        let store = InMemoryStore::new(Arc::new(ManualClock::at(1))).holding(ground.state);
        let store: Arc<dyn StateStore> = Arc::new(store);
        let ids: Vec<AppId> = apps.iter().map(AppBuilder::id).collect();
        let mut lines = Vec::new();
        tell_until(Instant::now() + SHORT, &store, "api", &ids, &mut |line| lines.push(line.to_owned()))
            .await;
        lines
    }

    #[tokio::test]
    async fn an_app_that_waits_takes_nothing_from_those_that_run() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let apps = [an_app("/a-big").cpus(500.0), an_app("/hello").any_ports(1), an_app("/z").instances(0)];
        let mut lines = told(&apps, port).await;
        assert_eq!(
            lines.pop().unwrap(),
            "App      /a-big waits; why: platformd explain /a-big --url http://api"
        );
        lines.sort();
        let answers = format!("App      /hello answers at http://127.0.0.1:{port}");
        assert_eq!(lines, [answers, "App      /z is scaled to no instance".to_owned()]);
    }

    #[tokio::test]
    async fn an_app_that_runs_and_does_not_listen_by_the_end_is_no_app_that_waits() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let lines = told(&[an_app("/mute").any_ports(1)], port).await;
        assert_eq!(lines, [format!("App      /mute runs; nothing listens yet at 127.0.0.1:{port}")]);
    }

    #[tokio::test]
    async fn many_apps_are_summed_up() {
        let mut apps: Vec<AppBuilder> = (0..4).map(|n| an_app(&format!("/a{n}"))).collect();
        apps.push(an_app("/none").instances(0));
        assert_eq!(
            told(&apps, 31_000).await,
            ["Apps     4 running, 1 scaled to no instance: curl -s api/v2/apps"]
        );
        apps.push(an_app("/big").cpus(500.0));
        let lines = told(&apps, 31_000).await;
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].ends_with("1 waiting: curl -s api/v2/apps"), "{lines:?}");
        assert!(lines[1].ends_with("why they wait: platformd explain /big --url http://api"), "{lines:?}");
    }
}
