//! The optional TOML file: one table per subcommand, keys as the flags without dashes.

use std::path::Path;

use serde::Deserialize;

use super::{AgentFlags, BadSetting, DevFlags, MasterFlags};

/// Everything a settings file may hold. Unknown tables and keys are refused.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SettingsFile {
    /// For `platformd master`.
    pub master: MasterFlags,
    /// For `platformd agent`.
    pub agent: AgentFlags,
    /// For `platformd dev`.
    pub dev: DevFlags,
}

impl SettingsFile {
    /// Reads `path`; without one, an empty file.
    ///
    /// # Errors
    /// The file cannot be read, or holds what is no setting; the text names line and key.
    pub fn load(path: Option<&Path>) -> Result<Self, BadSetting> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(path).map_err(|error| bad(path, &error.to_string()))?;
        Self::parse(&text).map_err(|error| bad(path, &sentence(&error, &text)))
    }

    /// Reads the text of a settings file.
    ///
    /// # Errors
    /// What is wrong, with line and key.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

/// `line 3, column 7: what is wrong`, in one line: the parser's own form is a drawing.
fn sentence(error: &toml::de::Error, text: &str) -> String {
    let what = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return what };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: {what}")
}

fn bad(path: &Path, reason: &str) -> BadSetting {
    BadSetting::new("--config", path.display().to_string(), reason)
}
