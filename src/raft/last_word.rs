//! When a leader last wrote to this master: a frozen leader closes no connection, and openraft
//! holds on to one until another is elected, which a minority cannot do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// A leader that is silent for so long counts as none. Heartbeats come many times a second, and
/// an election is over within half of one: this is beyond any hiccup of a busy machine.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// When a leader that still counts last wrote.
#[derive(Debug)]
pub(crate) struct LastWord {
    at: Mutex<Instant>,
    is_missed: AtomicBool,
    came: Notify,
}

impl LastWord {
    /// As if one had written just now.
    pub(crate) fn new() -> Self {
        Self { at: Mutex::new(Instant::now()), is_missed: AtomicBool::new(false), came: Notify::new() }
    }

    /// One wrote.
    pub(crate) fn note(&self) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        // Hardly ever: nobody has to wake up for every heartbeat.
        if self.is_missed.swap(false, Ordering::AcqRel) {
            self.came.notify_one();
        }
    }

    /// Time until the silence is too long; nothing when it is. Who hears that can await
    /// [`LastWord::came`].
    pub(crate) fn left(&self) -> Option<Duration> {
        let at = *self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let left = SILENCE_MAX.checked_sub(at.elapsed()).filter(|left| !left.is_zero());
        self.is_missed.store(left.is_none(), Ordering::Release);
        left
    }

    /// Comes once a leader wrote after the silence had become too long.
    pub(crate) async fn came(&self) {
        self.came.notified().await;
    }
}

#[cfg(all(test, not(feature = "sim")))]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silence_is_told_and_so_is_its_end() {
        let word = LastWord::new();
        assert_eq!(word.left(), Some(SILENCE_MAX));
        tokio::time::advance(SILENCE_MAX - Duration::from_millis(1)).await;
        assert_eq!(word.left(), Some(Duration::from_millis(1)));
        word.note();
        assert!(
            tokio::time::timeout(Duration::from_millis(1), word.came()).await.is_err(),
            "nobody missed it"
        );
        tokio::time::advance(SILENCE_MAX).await;
        assert_eq!(word.left(), None);
        word.note();
        word.came().await;
        assert_eq!(word.left(), Some(SILENCE_MAX));
    }
}
