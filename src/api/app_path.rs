//! What follows `/v2/apps/`: an id with slashes in it, and what hangs below the id.
//!
//! Split by hand, because ids contain slashes and sub-resources win over ids.
//! Source: spec 1.1.

use crate::domain::{AppId, TaskId};

/// What a path below `/v2/apps/` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppPath {
    /// `{id}`
    App(PathId),
    /// `{group}/*`: every app below a group; the group's path, `/` for the root.
    Group(String),
    /// `{id}/tasks`
    Tasks(PathId),
    /// `{group}/*/tasks`
    GroupTasks(String),
    /// `{id}/tasks/{task}`
    Task(PathId, TaskId),
    /// `{id}/versions`
    Versions(PathId),
    /// `{id}/versions/{version}`
    Version(PathId, String),
    /// `{id}/restart`
    Restart(PathId),
    /// `{id}/explain`
    Explain(PathId),
}

/// An app's id as it stands in a path: made absolute and tidy, but perhaps not an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathId(String);

impl PathId {
    /// Resolves `.` and `..`.
    fn of(segments: &[&str]) -> Self {
        let mut resolved: Vec<&str> = Vec::new();
        for segment in segments {
            match *segment {
                "." => {}
                ".." => drop(resolved.pop()),
                segment => resolved.push(segment),
            }
        }
        Self(format!("/{}", resolved.join("/")))
    }

    /// The id, if it is one. What is not an id names no app.
    pub fn app(&self) -> Option<AppId> {
        // Resolved already: one that is left was meant for a task or a version, which nobody has.
        let is_left = |segment: &str| matches!(segment, "." | "..");
        AppId::parse(&self.0).ok().filter(|_| !self.0.split('/').any(is_left))
    }

    /// As text, for people.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as if it were an app's: its last segment may be `restart`.
    fn child(&self, segment: &str) -> Self {
        Self(format!("{}/{segment}", self.0.trim_end_matches('/')))
    }
}

impl AppPath {
    /// Reads a decoded path; slashes collapse, and `.` and `..` are resolved within an id. They never
    /// turn what was said of a task into something said of its app.
    pub fn parse(rest: &str) -> Self {
        let segments: Vec<&str> = rest.split('/').filter(|segment| !segment.is_empty()).collect();
        match segments.as_slice() {
            [group @ .., "*"] => Self::Group(PathId::of(group).0),
            [group @ .., "*", "tasks"] => Self::GroupTasks(PathId::of(group).0),
            [id @ .., "tasks"] if !id.is_empty() => Self::Tasks(PathId::of(id)),
            [id @ .., "tasks", task] if !id.is_empty() => Self::Task(PathId::of(id), TaskId::new(*task)),
            [id @ .., "versions"] if !id.is_empty() => Self::Versions(PathId::of(id)),
            [id @ .., "versions", version] if !id.is_empty() => {
                Self::Version(PathId::of(id), (*version).to_owned())
            }
            [id @ .., "restart"] if !id.is_empty() => Self::Restart(PathId::of(id)),
            [id @ .., "explain"] if !id.is_empty() => Self::Explain(PathId::of(id)),
            id => Self::App(PathId::of(id)),
        }
    }

    /// The path as an app's id, for methods that the sub-resource does not have:
    /// `DELETE /v2/apps/foo/restart` deletes the app `/foo/restart`, and an app may be
    /// called `/a/tasks/b`. Nothing for what can never be an id.
    pub fn as_app(&self) -> Option<PathId> {
        match self {
            Self::App(id) => Some(id.clone()),
            Self::Task(id, task) => Some(id.child("tasks").child(task.as_str())),
            Self::Version(id, version) => Some(id.child("versions").child(version)),
            Self::Restart(id) => Some(id.child("restart")),
            Self::Explain(id) => Some(id.child("explain")),
            Self::Group(_) | Self::Tasks(_) | Self::GroupTasks(_) | Self::Versions(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> PathId {
        PathId(text.to_owned())
    }

    #[test]
    fn sub_resources_win_over_ids() {
        assert_eq!(AppPath::parse("/hello"), AppPath::App(id("/hello")));
        assert_eq!(AppPath::parse("//a///b/"), AppPath::App(id("/a/b")));
        assert_eq!(AppPath::parse("a/./x/../b"), AppPath::App(id("/a/b")));
        assert_eq!(AppPath::parse("a/b/tasks"), AppPath::Tasks(id("/a/b")));
        assert_eq!(AppPath::parse("a/tasks/t.1"), AppPath::Task(id("/a"), TaskId::new("t.1")));
        assert_eq!(AppPath::parse("a/versions"), AppPath::Versions(id("/a")));
        assert_eq!(AppPath::parse("a/versions/2020"), AppPath::Version(id("/a"), "2020".into()));
        assert_eq!(AppPath::parse("a/restart"), AppPath::Restart(id("/a")));
        assert_eq!(AppPath::parse("a/explain"), AppPath::Explain(id("/a")));
        assert_eq!(AppPath::parse("a/explain").as_app(), Some(id("/a/explain")));
        assert_eq!(AppPath::parse("a/tasks/b/c"), AppPath::App(id("/a/tasks/b/c")));
    }

    #[test]
    fn dots_do_not_lead_out_of_a_task() {
        for path in ["a/tasks/..", "a/tasks/.", "a/versions/.."] {
            let parsed = AppPath::parse(path);
            assert!(matches!(parsed, AppPath::Task(..) | AppPath::Version(..)), "{parsed:?}");
            assert_eq!(parsed.as_app().unwrap().app(), None, "{path}");
        }
        assert_eq!(AppPath::parse("a/b/../tasks"), AppPath::Tasks(id("/a")));
    }

    #[test]
    fn groups_end_in_a_star() {
        assert_eq!(AppPath::parse("*"), AppPath::Group("/".into()));
        assert_eq!(AppPath::parse("a/b/*"), AppPath::Group("/a/b".into()));
        assert_eq!(AppPath::parse("a/*/tasks"), AppPath::GroupTasks("/a".into()));
    }

    #[test]
    fn words_alone_are_ids() {
        assert_eq!(AppPath::parse("tasks"), AppPath::App(id("/tasks")));
        assert_eq!(id("/tasks").app(), None);
    }
}
