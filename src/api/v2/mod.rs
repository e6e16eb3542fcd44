//! Marathon's API. Source: spec 1.5 to 1.9.

pub(super) mod app_path;
pub(super) mod app_tasks;
pub(super) mod app_writes;
pub(super) mod apps;
pub(super) mod deployments;
pub(super) mod explain;
pub(super) mod info;
pub(super) mod leader;
pub(super) mod queue;
pub(super) mod tasks;
