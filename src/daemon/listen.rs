//! Binds addresses, and says in a sentence why one cannot be had.

use std::io;

use crate::cli::{ExitError, exit_code};
use crate::settings::Address;
use crate::world::net::TcpListener;

/// A bound address with the port that was chosen for it.
pub(super) struct Bound {
    pub(super) listener: TcpListener,
    pub(super) address: Address,
}

/// Binds the address that `flag` gave.
pub(super) async fn bind(flag: &str, address: &Address) -> Result<Bound, ExitError> {
    let listener =
        TcpListener::bind(address.as_str()).await.map_err(|error| refused(flag, address, &error))?;
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
