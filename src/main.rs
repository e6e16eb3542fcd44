//! The one binary.

use std::process::ExitCode;

// A leader makes and drops a few small things for every word of every agent.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(not(feature = "sim"))]
fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    // First of all and without any runtime: a shim is the small parent of one task.
    if let [command, dir] = arguments.as_slice()
        && command == "shim"
    {
        std::process::exit(platformd::agent::shim::main(std::path::Path::new(dir)));
    }
    match begin(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

#[cfg(not(feature = "sim"))]
fn begin(arguments: &[std::ffi::OsString]) -> Result<(), platformd::cli::ExitError> {
    use platformd::daemon::{self, Stop};
    // Before settings are read: a wish to stop that comes early is one all the same.
    let stop = if platformd::cli::runs_until_stopped(arguments) { Stop::hear()? } else { Stop::never() };
    daemon::run(platformd::cli::parse()?, &stop)
}

#[cfg(feature = "sim")]
fn main() -> ExitCode {
    ExitCode::FAILURE // A build for the simulator serves nobody; see tests/sim.
}
