//! How the process ends: a code for supervisors and a sentence for people.

use std::fmt;
use std::process::ExitCode;

use crate::settings::BadSetting;

/// Exit codes; the same table is in `docs/operations.md`.
pub mod exit_code {
    /// Did what was asked.
    pub const OK: u8 = 0;
    /// Anything without a code of its own.
    pub const FAILED: u8 = 1;
    /// A flag, its environment twin or the settings file cannot be used. Restarting does not help.
    pub const USAGE: u8 = 2;
    /// The data directory is in use, unreadable or corrupt. Restarting does not help.
    pub const DATA: u8 = 3;
    /// An address to listen on is taken.
    pub const PORT: u8 = 4;
    /// What was asked about would leave something waiting.
    pub const WAITS: u8 = 5;
}

/// Why the process ends now.
#[derive(Clone, PartialEq, Eq)]
pub struct ExitError {
    /// One of [`exit_code`].
    pub code: u8,
    /// What happened, on what, what was expected, one thing to do.
    pub message: String,
}

impl ExitError {
    /// Ends with `code` and a sentence.
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn from_clap(error: &clap::Error) -> Self {
        let code = if error.use_stderr() { exit_code::USAGE } else { exit_code::OK };
        Self::new(code, error.render().to_string().trim_end())
    }

    /// Says it, to standard output when all is well and to standard error otherwise.
    pub fn report(&self) -> ExitCode {
        use std::io::Write as _;
        // Nobody may be listening any more; the code still tells.
        let _ = if self.code == exit_code::OK {
            writeln!(std::io::stdout(), "{}", self.message)
        } else if self.message.starts_with("error: ") {
            writeln!(std::io::stderr(), "{}", self.message)
        } else {
            writeln!(std::io::stderr(), "error: {}", self.message)
        };
        ExitCode::from(self.code)
    }
}

impl From<BadSetting> for ExitError {
    fn from(bad: BadSetting) -> Self {
        Self::new(exit_code::USAGE, bad.to_string())
    }
}

impl fmt::Display for ExitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for ExitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {}: {}", self.code, self.message)
    }
}

impl std::error::Error for ExitError {}
