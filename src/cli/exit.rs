//! How the process ends: a code for supervisors and a sentence for people.

use std::fmt;
use std::io;
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

/// Begins the last line.
const MARK: &str = "error: ";

/// What helps when a data directory cannot be used.
pub fn disk_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on its disk",
        io::ErrorKind::PermissionDenied => "check its owner and mode",
        io::ErrorKind::ReadOnlyFilesystem => "mount its disk for writing",
        // It, or what it would be in, is a file.
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => "a directory is expected there",
        _ => "check its owner, mode and free space",
    }
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
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

    /// Help as it is; of what cannot be used, what clap advises and then, in the last line, what is wrong.
    pub(super) fn from_clap(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let text = text.trim_end();
        if !error.use_stderr() {
            return Self::new(exit_code::OK, text);
        }
        let Some(what) = text.strip_prefix(MARK) else {
            let missing = "no command was given; expected one of those above";
            return Self::new(exit_code::USAGE, format!("{text}\n\n{MARK}{missing}"));
        };
        let (what, advice) = what.split_once("\n\n").unwrap_or((what, ""));
        let advice = advice.split("\n\n").filter(|part| !part.starts_with("For more information"));
        let advice: String = advice.map(|part| format!("{part}\n\n")).collect();
        let what = one_line(what);
        Self::new(exit_code::USAGE, format!("{advice}{MARK}{what}; see --help"))
    }

    /// What is said: of an end that is not well, the last line begins with `error:`.
    fn said(&self) -> String {
        if self.code == exit_code::OK || self.message.lines().last().is_some_and(|it| it.starts_with(MARK)) {
            self.message.clone()
        } else {
            format!("{MARK}{}", one_line(&self.message))
        }
    }

    /// Says it, to standard output when all is well and to standard error otherwise.
    pub fn report(&self) -> ExitCode {
        use std::io::Write as _;
        // Nobody may be listening any more; the code still tells.
        let _ = if self.code == exit_code::OK {
            writeln!(std::io::stdout(), "{}", self.said())
        } else {
            writeln!(std::io::stderr(), "{}", self.said())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, wanted: &str) {
        assert_eq!(ExitError::new(exit_code::FAILED, message).said(), wanted);
    }

    #[test]
    fn the_last_line_is_the_error() {
        check("cannot do it", "error: cannot do it");
        check("error: known", "error: known");
        check("two\n  lines\n", "error: two lines");
        check("Usage: x\n\nerror: what", "Usage: x\n\nerror: what");
        check("error: first\nand more", "error: error: first and more");
        assert_eq!(ExitError::new(exit_code::OK, "help\nand more").said(), "help\nand more");
    }

    #[test]
    fn a_full_disk_is_not_a_matter_of_owner_and_mode() {
        let advice = |errno: rustix::io::Errno| disk_advice(&errno.into());
        assert!(advice(rustix::io::Errno::NOSPC).contains("room"));
        assert!(advice(rustix::io::Errno::ACCESS).contains("owner"));
        assert!(advice(rustix::io::Errno::IO).contains("free space"));
    }
}
