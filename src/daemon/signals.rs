//! Hears TERM and INT from the first moment of a process that runs until it is asked to stop.
//!
//! Way in: [`Stop::hear`], before anything else is done. The first signal is kept until
//! somebody waits for it, however far the start has come; a second one ends the process
//! at once, whatever holds up the stop. What comes right behind the first is the same wish.

use std::io;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cli::{ExitError, exit_code};

/// Signals this soon after the first one are part of it: GNU `timeout` tells the process and then its
/// group, a supervisor and a terminal may both pass one on. Nobody can read what the first did by then.
const SAME_WISH: Duration = Duration::from_millis(500);

/// Somebody's wish that the process should stop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop(CancellationToken);

impl Stop {
    /// Takes the signals over. From now on they only set this.
    ///
    /// # Errors
    /// When the kernel grants no thread, or no way to hear signals.
    pub fn hear() -> Result<Self, ExitError> {
        Self::listen().map_err(|error| {
            let advice = "raise the limits of processes and open files";
            ExitError::new(exit_code::FAILED, format!("cannot hear signals: {error}; {advice}"))
        })
    }

    fn listen() -> io::Result<Self> {
        // Of its own, so that a second signal is heard while everything else hangs.
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let (mut term, mut interrupt) = {
            let _inside = runtime.enter();
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
        };
        let stop = Self(CancellationToken::new());
        let asked = stop.0.clone();
        let hear = async move {
            let mut first = None;
            loop {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if is_second_wish(&mut first, Instant::now()) {
                    leave();
                }
                asked.cancel();
            }
        };
        let thread = std::thread::Builder::new().name("platformd-stop".to_owned());
        thread.spawn(move || runtime.block_on(hear))?;
        Ok(stop)
    }

    /// For what ends by itself: signals do what they always do.
    pub fn never() -> Self {
        Self(CancellationToken::new())
    }

    /// Waits until the process is asked to stop; at once when it was already.
    pub(super) async fn asked(&self) {
        self.0.cancelled().await;
    }
}

/// Whether a signal that comes now is another wish than the first, which is remembered.
fn is_second_wish(first: &mut Option<Instant>, now: Instant) -> bool {
    now.duration_since(*first.get_or_insert(now)) >= SAME_WISH
}

fn leave() -> ! {
    let sentence =
        "asked to stop a second time: left at once; what still runs is found again by the next start";
    let _ = ExitError::new(exit_code::FAILED, sentence).report();
    std::process::exit(i32::from(exit_code::FAILED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_in_quick_succession_are_one_wish() {
        let (mut first, begin) = (None, Instant::now());
        assert!(!is_second_wish(&mut first, begin));
        assert!(!is_second_wish(&mut first, begin + Duration::from_millis(10)));
        assert!(!is_second_wish(&mut first, begin + SAME_WISH - Duration::from_millis(1)));
        assert!(is_second_wish(&mut first, begin + SAME_WISH));
    }
}
