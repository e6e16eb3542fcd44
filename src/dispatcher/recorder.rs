//! Records what many agents say together: one log entry for all that waits.
//!
//! Way in: [`Recorder::record`]. Each word alone would cost an entry, a sync on every master and
//! a new view; together they cost one. Nothing is held back for company: what comes while
//! earlier words are being recorded goes with the next entry.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::state::Command;
use crate::store::{ProposeError, StateStore};

/// Statuses in one entry at most, beyond which no further command joins: about 300 KiB.
const ENTRY_STATUSES_MAX: usize = 2_048;

/// Entries under way at once. With two the log writes one while the next gathers; with more
/// they would only be smaller.
const ENTRIES_UNDER_WAY_MAX: usize = 2;

/// Commands that wait for their entry; sessions beyond it wait for a place.
const WAITING_MAX: usize = 4_096;

/// A command, and who waits for it to be recorded.
struct Waiting {
    command: Command,
    term: u64,
    answer: oneshot::Sender<Outcome>,
}

/// Index of the entry, or why nothing was recorded.
pub(super) type Outcome = Result<u64, ProposeError>;

/// The door of sessions. Cheap to clone.
#[derive(Clone)]
pub(super) struct Recorder {
    waiting: mpsc::Sender<Waiting>,
}

/// The other end of [`Recorder`].
pub(super) struct Recording {
    waiting: mpsc::Receiver<Waiting>,
    /// Taken and not fitting the entry that was gathered.
    left: Option<Waiting>,
}

/// A door and its other end.
pub(super) fn pair() -> (Recorder, Recording) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (Recorder { waiting: sender }, Recording { waiting: receiver, left: None })
}

impl Recorder {
    /// Records a command in a term; answers once it is committed and applied here. What several
    /// commands of one entry refuse is not told apart.
    pub(super) async fn record(&self, command: Command, term: u64) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let ended = || ProposeError::OutcomeUnknown("this master is ending".into());
        self.waiting.send(Waiting { command, term, answer }).await.map_err(|_| ended())?;
        outcome.await.unwrap_or_else(|_| Err(ended()))
    }
}

impl Recording {
    /// Records until `shutdown`.
    pub(super) async fn run(mut self, store: Arc<dyn StateStore>, shutdown: CancellationToken) {
        let mut under_way: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Some(()) = under_way.next(), if !under_way.is_empty() => {}
                first = self.next(), if under_way.len() < ENTRIES_UNDER_WAY_MAX => {
                    let Some(first) = first else { return };
                    let together = self.gather(first);
                    under_way.push(Box::pin(propose(Arc::clone(&store), together)));
                }
            }
        }
    }

    async fn next(&mut self) -> Option<Waiting> {
        match self.left.take() {
            Some(left) => Some(left),
            None => self.waiting.recv().await,
        }
    }

    /// What waits already and fits the entry that begins with `first`.
    fn gather(&mut self, first: Waiting) -> Vec<Waiting> {
        let mut room = ENTRY_STATUSES_MAX.saturating_sub(weight(&first.command));
        let mut together = vec![first];
        while let Ok(next) = self.waiting.try_recv() {
            let is_fit = together.first().is_none_or(|first| first.term == next.term);
            let Some(rest) = room.checked_sub(weight(&next.command)).filter(|_| is_fit) else {
                self.left = Some(next);
                break;
            };
            room = rest;
            together.push(next);
        }
        together
    }
}

fn weight(command: &Command) -> usize {
    match command {
        Command::RecordStatuses { statuses, .. } => statuses.len().max(1),
        _ => 1,
    }
}

async fn propose(store: Arc<dyn StateStore>, together: Vec<Waiting>) {
    let term = together.first().map(|first| first.term);
    let (commands, answers): (Vec<Command>, Vec<oneshot::Sender<Outcome>>) =
        together.into_iter().map(|waiting| (waiting.command, waiting.answer)).unzip();
    let result = store.propose(commands, term).await;
    if let Ok(applied) = &result {
        for (_, refusal) in &applied.refusals {
            tracing::debug!(%refusal, "an agent's word was refused");
        }
    }
    let outcome = result.map(|applied| applied.index);
    for answer in answers {
        let _ = answer.send(outcome.clone()); // A session that ended meanwhile does not ask.
    }
}

#[cfg(all(test, not(feature = "sim")))]
mod tests {
    use std::time::Duration;

    use tokio::task::JoinSet;
    use tokio::time::timeout;

    use super::*;
    use crate::domain::{AgentId, PortRanges};
    use crate::store::in_memory::InMemoryStore;
    use crate::world::ManualClock;

    const DEADLINE: Duration = Duration::from_secs(5);

    fn word(agent: usize) -> Command {
        Command::SetHeldPorts { agent: AgentId::new(format!("a{agent}")), ports: PortRanges::default() }
    }

    /// What `count` commands in these terms are answered, and how many entries they became.
    async fn recorded(terms: impl Iterator<Item = u64>) -> (Vec<Outcome>, u64) {
        let store = Arc::new(InMemoryStore::new(Arc::new(ManualClock::at(1_000))));
        let (recorder, recording) = pair();
        let mut asked = JoinSet::new();
        for (at, term) in terms.enumerate() {
            let recorder = recorder.clone();
            asked.spawn(async move { (at, recorder.record(word(at), term).await) });
        }
        while recorder.waiting.capacity() + asked.len() > WAITING_MAX {
            tokio::task::yield_now().await;
        }
        let shutdown = CancellationToken::new();
        let running =
            crate::world::spawn(recording.run(Arc::clone(&store) as Arc<dyn StateStore>, shutdown.clone()));
        let mut outcomes = timeout(DEADLINE, asked.join_all()).await.unwrap();
        outcomes.sort_by_key(|(at, _)| *at);
        shutdown.cancel();
        running.await.unwrap();
        (outcomes.into_iter().map(|(_, outcome)| outcome).collect(), store.snapshot().index)
    }

    #[tokio::test]
    async fn what_waits_together_is_one_entry() {
        let (outcomes, entries) = recorded((0..1_000).map(|_| 1)).await;
        assert!(outcomes.iter().all(|outcome| *outcome == Ok(1)), "{outcomes:?}");
        assert_eq!(entries, 1);
    }

    #[tokio::test]
    async fn an_entry_is_bounded_and_of_one_term() {
        let (outcomes, entries) = recorded((0..3_000).map(|_| 1)).await;
        assert!(outcomes.iter().all(Result::is_ok));
        assert_eq!(entries, 2);
        let (outcomes, entries) = recorded([1, 2, 1].into_iter()).await;
        assert_eq!(outcomes, [Ok(1), Err(ProposeError::TermEnded), Ok(2)]);
        assert_eq!(entries, 2);
    }
}
