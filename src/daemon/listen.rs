//! Binds addresses, and says in a sentence why one cannot be had.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::cli::{ExitError, exit_code};
use crate::settings::Address;
use crate::world::net::TcpListener;

/// How long an address may stay taken: a process that was killed and is started again at
/// once may find its own port still in the kernel's hands.
const TAKEN_MAX: Duration = Duration::from_secs(2);

/// Pause between two tries to have it.
const TAKEN_PAUSE: Duration = Duration::from_millis(50);

/// A bound address with the port that was chosen for it.
pub(super) struct Bound {
    pub(super) listener: TcpListener,
    pub(super) address: Address,
}

/// Binds the address that `flag` gave; one that is taken is tried again for two seconds.
///
/// # Errors
/// Why it cannot be had, with the exit code for that.
pub(super) async fn bind(flag: &str, address: &Address) -> Result<Bound, ExitError> {
    let until = Instant::now() + TAKEN_MAX;
    let listener = loop {
        match TcpListener::bind(address.as_str()).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => {
                sleep(TAKEN_PAUSE).await;
            }
            tried => break tried.map_err(|error| refused(flag, address, &error))?,
        }
    };
    let local = listener.local_addr().map_err(|error| refused(flag, address, &error))?;
    let address = if address.port() == 0 { address.with_port(local.port()) } else { address.clone() };
    Ok(Bound { listener, address })
}

fn refused(flag: &str, address: &Address, error: &io::Error) -> ExitError {
    let (code, advice) = match error.kind() {
        io::ErrorKind::AddrInUse => {
            (exit_code::PORT, "another process has it; stop that one, or give this one another address")
        }
        io::ErrorKind::AddrNotAvailable => (exit_code::USAGE, "it is no address of this machine"),
        io::ErrorKind::PermissionDenied => {
            (exit_code::PORT, "ports below 1024 need a capability; choose a higher one")
        }
        _ => (exit_code::FAILED, "check the address"),
    };
    ExitError::new(code, format!("cannot listen on {flag} {address}: {error}; {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken() -> (std::net::TcpListener, Address) {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::parse(&taken.local_addr().unwrap().to_string()).unwrap();
        (taken, address)
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_comes_free_is_had() {
        let (taken, address) = taken();
        let freeing = async {
            sleep(TAKEN_MAX / 2).await;
            drop(taken);
        };
        let (bound, ()) = tokio::join!(bind("--http", &address), freeing);
        assert_eq!(bound.unwrap().address, address);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_stays_taken_is_refused_in_bounded_time() {
        let (_taken, address) = taken();
        let began = Instant::now();
        let error = bind("--http", &address).await.err().unwrap();
        assert_eq!(error.code, exit_code::PORT);
        assert!(error.message.contains(address.as_str()), "{error}");
        assert!(began.elapsed() <= TAKEN_MAX + TAKEN_PAUSE, "{:?}", began.elapsed());
    }
}
