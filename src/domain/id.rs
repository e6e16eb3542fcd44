//! Names of things: apps, instances, tasks, agents, deployments, clusters.
//!
//! An id is an immutable, cheaply cloned text. Parsing is the only place that
//! judges what an id may look like; forms that Marathon's clients see are kept
//! to the letter (docs/marathon.md, "Ids").

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Eq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        // Clones of one id are very often compared; they need not be read.
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.hash(state);
            }
        }

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

macro_rules! free_id {
    ($(#[$doc:meta])* $name:ident) => {
        text_id!($(#[$doc])* $name);

        impl $name {
            /// Takes any text as this id; it was minted by us or by a peer we trust.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }
        }
    };
}

text_id!(
    /// Absolute path of an app, such as `/team/web`.
    AppId
);
free_id!(
    /// One wanted copy of an app: `team_web.instance-<uuid>`. Outlives attempts.
    InstanceId
);
free_id!(
    /// One attempt to run an instance: `<instance id>._app.<attempt>`.
    TaskId
);
free_id!(
    /// A machine that runs tasks; minted once by the agent and kept on its disk.
    AgentId
);
free_id!(
    /// One deployment, a UUID.
    DeploymentId
);
free_id!(
    /// One life of one cluster; minted when the first leader starts it.
    ClusterId
);
free_id!(
    /// Names one offer: agent and state index.
    OfferId
);

/// Why a text is not an app id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// No segment at all.
    #[error("must not be empty")]
    Empty,
    /// One segment breaks Marathon's rule for path segments.
    #[error("segment '{0}' must match lower case letters, digits, hyphens and dots")]
    Segment(String),
    /// The last segment would hide a sub-resource of the API.
    #[error("must not end with '{0}'")]
    ReservedEnd(String),
    /// Longer than [`APP_ID_BYTES_MAX`].
    #[error("must not be longer than {APP_ID_BYTES_MAX} bytes")]
    TooLong,
}

/// Longest app id: container names, cgroup directories and file names derive from it
/// and have to stay under the 255 bytes that file systems allow.
pub const APP_ID_BYTES_MAX: usize = 160;

/// Last segments that the API keeps for itself.
/// Source: spec 1.1, ids may not end in these.
const RESERVED_ENDS: [&str; 5] = ["restart", "tasks", "versions", ".", ".."];

impl AppId {
    /// Reads an app id, absolute or relative to the root; duplicate slashes
    /// collapse, `.` and `..` are resolved.
    ///
    /// # Errors
    /// [`IdError`] says which rule the text breaks.
    pub fn parse(raw: &str) -> Result<Self, IdError> {
        Self::resolve(raw, "/")
    }

    /// Reads an app id that may be relative to the group `base`.
    ///
    /// # Errors
    /// As [`AppId::parse`].
    pub fn resolve(raw: &str, base: &str) -> Result<Self, IdError> {
        if raw.len() > APP_ID_BYTES_MAX {
            return Err(IdError::TooLong);
        }
        let mut segments: Vec<&str> = Vec::new();
        if !raw.starts_with('/') {
            segments.extend(base.split('/').filter(|s| !s.is_empty()));
        }
        for segment in raw.split('/').filter(|s| !s.is_empty()) {
            match segment {
                "." => {}
                ".." => {
                    segments.pop();
                }
                _ if is_segment(segment) => segments.push(segment),
                _ => return Err(IdError::Segment(segment.to_owned())),
            }
        }
        let Some(last) = segments.last() else { return Err(IdError::Empty) };
        if RESERVED_ENDS.contains(last) {
            return Err(IdError::ReservedEnd((*last).to_owned()));
        }
        let text = format!("/{}", segments.join("/"));
        if text.len() > APP_ID_BYTES_MAX {
            return Err(IdError::TooLong);
        }
        Ok(Self(text.into()))
    }

    /// The path joined with `_`, as instance ids and Marathon's file names use it.
    pub fn safe(&self) -> String {
        self.0.trim_start_matches('/').replace('/', "_")
    }

    /// The enclosing group: `/team` for `/team/web`, `/` for `/web`.
    pub fn parent(&self) -> &str {
        match self.0.rfind('/') {
            Some(0) | None => "/",
            Some(at) => self.0.get(..at).unwrap_or("/"),
        }
    }
}

/// One path segment: dot-separated labels of lower case letters, digits and inner hyphens.
fn is_segment(segment: &str) -> bool {
    segment.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    })
}

impl InstanceId {
    /// Mints the id of a new instance of `app`; `uuid` is chosen by the proposer.
    pub fn mint(app: &AppId, uuid: uuid::Uuid) -> Self {
        Self(format!("{}.instance-{}", app.safe(), uuid.hyphenated()).into())
    }

    /// What the ids of an app's instances begin with. So may those of another app, whose last
    /// segment holds `.instance-`.
    pub fn start_of(app: &AppId) -> Self {
        Self(format!("{}.instance-", app.safe()).into())
    }
}

impl TaskId {
    /// The id of the `attempt`-th attempt (from 1) to run `instance`.
    pub fn of(instance: &InstanceId, attempt: u32) -> Self {
        Self(format!("{instance}._app.{attempt}").into())
    }

    /// Splits the id into its instance and attempt; nothing if it was not minted by us.
    pub fn parts(&self) -> Option<(InstanceId, u32)> {
        let (instance, attempt) = self.0.rsplit_once("._app.")?;
        if !instance.contains(".instance-") {
            return None;
        }
        Some((InstanceId::new(instance), attempt.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, wanted: Result<&str, IdError>) {
        let got = AppId::parse(raw);
        assert_eq!(got.as_ref().map(AppId::as_str), wanted.as_ref().copied());
    }

    #[test]
    fn paths_are_made_absolute_and_tidy() {
        check("web", Ok("/web"));
        check("//team///web/", Ok("/team/web"));
        check("/team/./x/../web", Ok("/team/web"));
        check("/a.b-c/9", Ok("/a.b-c/9"));
    }

    #[test]
    fn bad_ids_say_which_segment() {
        check("", Err(IdError::Empty));
        check("/", Err(IdError::Empty));
        check("/Team", Err(IdError::Segment("Team".into())));
        check("/a_b", Err(IdError::Segment("a_b".into())));
        check("/-a", Err(IdError::Segment("-a".into())));
        check("/a/tasks", Err(IdError::ReservedEnd("tasks".into())));
        check(&"a".repeat(200), Err(IdError::TooLong));
    }

    #[test]
    fn relative_ids_resolve_against_their_group() {
        assert_eq!(AppId::resolve("../db", "/team/web").map(|id| id.to_string()), Ok("/team/db".to_owned()));
    }

    #[test]
    fn task_ids_name_instance_and_attempt() {
        let app = AppId::parse("/a/b").unwrap();
        let instance = InstanceId::mint(&app, uuid::Uuid::nil());
        let task = TaskId::of(&instance, 3);
        assert_eq!(task.as_str(), "a_b.instance-00000000-0000-0000-0000-000000000000._app.3");
        assert_eq!(task.parts(), Some((instance, 3)));
        assert_eq!(TaskId::new("nonsense").parts(), None);
    }
}
