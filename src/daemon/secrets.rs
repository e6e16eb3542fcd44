//! Reads the files of secrets and passwords that settings name, and prints new ones.

use std::path::Path;
use std::sync::Arc;

use crate::api::Credentials;
use crate::cli::ask::print;
use crate::cli::{ExitError, exit_code};
use crate::line::{AgentSecret, ClusterSecret, SecretError, Security};

/// How a master speaks with others.
pub(super) fn of_master(file: Option<&Path>) -> Result<Security, ExitError> {
    let Some(path) = file else { return Ok(Security::off()) };
    let security = ClusterSecret::load(path).and_then(|secret| Security::of_master(&secret));
    security.map_err(|error| unusable(path, &error))
}

/// How an agent speaks with masters.
pub(super) fn of_agent(file: Option<&Path>) -> Result<Security, ExitError> {
    let Some(path) = file else { return Ok(Security::off()) };
    let security = AgentSecret::load(path).and_then(|secret| Security::of_agent(&secret));
    security.map_err(|error| unusable(path, &error))
}

/// Who may use an HTTP server.
pub(super) fn credentials(file: Option<&Path>) -> Result<Option<Arc<Credentials>>, ExitError> {
    let Some(path) = file else { return Ok(None) };
    let credentials = Credentials::load(path).map_err(|error| refused("--http-credentials", path, &error))?;
    Ok(Some(Arc::new(credentials)))
}

/// Prints a fresh secret of a cluster.
pub(super) fn create() -> Result<(), ExitError> {
    let secret = ClusterSecret::generate();
    let secret = secret.map_err(|error| ExitError::new(exit_code::FAILED, format!("a secret {error}")))?;
    print(&format!("{secret}\n"))
}

/// Prints what agents are given of the cluster's secret in `path`.
pub(super) fn agent(path: &Path) -> Result<(), ExitError> {
    let text = ClusterSecret::load(path).and_then(|secret| secret.agents_text());
    print(&text.map_err(|error| unusable(path, &error))?)
}

fn unusable(path: &Path, error: &SecretError) -> ExitError {
    refused("--cluster-secret-file", path, error)
}

fn refused(flag: &str, path: &Path, error: &dyn std::error::Error) -> ExitError {
    ExitError::new(exit_code::USAGE, format!("{flag} {:?}: {error}", path.display().to_string()))
}
