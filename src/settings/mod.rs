//! Top: flags, environment and file become checked settings.
//!
//! Way in: [`MasterSettings::from_flags`], [`AgentSettingsFlags::from_flags`] and
//! [`DevSettings::from_flags`]. A flag wins over its environment twin, that over the
//! file, that over the default. No other room reads these: `daemon` takes them apart
//! and hands each room its own.

mod address;
mod agent;
mod dev;
mod file;
mod flags;
mod machine;
mod master;
mod values;

pub use address::Address;
pub use agent::{AgentSettingsFlags, Allow, Runtime};
pub use dev::{AGENTS_MAX, DevSettings};
pub use file::SettingsFile;
pub use flags::{AgentFlags, DevFlags, MasterFlags};
pub use machine::{ResourceSettings, unseen_attributes};
pub use master::MasterSettings;
pub use values::LogSettings;

/// A flag, or its twin in the environment or the file, that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{flag} {value:?}: {expected}")]
pub struct BadSetting {
    /// The flag with its dashes.
    pub flag: &'static str,
    /// What was given.
    pub value: String,
    /// What is wrong, what was expected, and one thing to do.
    pub expected: String,
}

impl BadSetting {
    fn new(flag: &'static str, value: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { flag, value: value.into(), expected: expected.into() }
    }
}

#[cfg(test)]
mod tests;
