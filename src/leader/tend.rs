//! Wakes one controller when there is reason to look, and never in a hurry without one.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Controller, LeaderStore, Unrecorded};

/// First wait after a proposal that failed or changed nothing; doubles each time.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// Longest such wait: a store that comes back is used again within this time.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A controller that looks at everything rests so many times as long as its look computed, and
/// so uses a twentieth of a processor however much there is to look at.
const REST: u32 = 19;

/// Shorter rests are not taken: where a look takes less than 5 ms, the next step is not delayed.
const REST_MIN: Duration = Duration::from_millis(100);

/// Longest rest: what a change asks for begins within this time.
const REST_MAX: Duration = Duration::from_secs(2);

/// What a controller waits for.
enum Wake {
    Ended,
    Look,
}

/// Looks whenever the state changed, an agent came or went, or the time has come that the
/// controller named. Ends with the term. Wake-ups during a look become one further look.
pub(super) async fn tend(
    mut controller: Box<dyn Controller>,
    store: LeaderStore,
    mut agents: watch::Receiver<u64>,
    ended: CancellationToken,
) {
    let mut applied = store.applied();
    let mut failures = 0;
    loop {
        applied.borrow_and_update();
        agents.borrow_and_update();
        let (began, waited) = (Instant::now(), store.waited());
        let looked = tokio::select! {
            biased;
            () = ended.cancelled() => return,
            looked = controller.reconcile() => looked,
        };
        let next_look = match looked {
            Ok(next_look) => {
                failures = 0;
                next_look
            }
            Err(Unrecorded::TermEnded) => return,
            Err(Unrecorded::NotNow(error)) => {
                failures += 1;
                tracing::warn!(controller = controller.name(), %error, failures, "looks again after a proposal failed");
                Some(Instant::now())
            }
        };
        let computed = began.elapsed().saturating_sub(store.waited().saturating_sub(waited));
        let waits = failures.max(store.fruitless());
        if waits > 0 && pause(waits, &ended).await {
            return;
        }
        if controller.looks_at_everything() && rest(computed, &ended).await {
            return;
        }
        match next(&mut applied, &mut agents, next_look, &ended).await {
            Wake::Ended => return,
            Wake::Look => {}
        }
    }
}

async fn next(
    applied: &mut watch::Receiver<u64>,
    agents: &mut watch::Receiver<u64>,
    next_look: Option<Instant>,
    ended: &CancellationToken,
) -> Wake {
    let timer = async {
        match next_look {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = ended.cancelled() => Wake::Ended,
        changed = applied.changed() => if changed.is_ok() { Wake::Look } else { Wake::Ended },
        changed = agents.changed() => if changed.is_ok() { Wake::Look } else { Wake::Ended },
        () = timer => Wake::Look,
    }
}

/// Waits longer with every time in a row; says whether the term ended meanwhile.
async fn pause(times: u32, ended: &CancellationToken) -> bool {
    let wait = PAUSE_MIN.saturating_mul(1 << times.saturating_sub(1).min(10)).min(PAUSE_MAX);
    tokio::time::timeout(wait, ended.cancelled()).await.is_ok()
}

/// Waits in proportion to what a look computed; says whether the term ended meanwhile.
async fn rest(computed: Duration, ended: &CancellationToken) -> bool {
    let rest = computed.saturating_mul(REST).min(REST_MAX);
    rest >= REST_MIN && tokio::time::timeout(rest, ended.cancelled()).await.is_ok()
}
