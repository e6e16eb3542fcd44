//! Layers of apps: each layer depends only on earlier ones.
//!
//! Way in: [`layers`]. A dependency names an app, or a group: then every app below it.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::AppId;

/// Apps that wait for each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("apps depend on each other in a circle: {}", names(.0))]
pub struct CyclicDependencies(
    /// Every app in or behind the circle, sorted.
    pub Vec<AppId>,
);

fn names(apps: &[AppId]) -> String {
    apps.iter().map(AppId::as_str).collect::<Vec<&str>>().join(", ")
}

/// Sorts apps by the length of their longest chain of dependencies; within a layer by id.
/// Names that match no app are passed over.
///
/// # Errors
/// [`CyclicDependencies`] when there is no such order.
pub(super) fn layers(
    apps: &BTreeMap<&AppId, &BTreeSet<String>>,
) -> Result<Vec<Vec<AppId>>, CyclicDependencies> {
    let ids: Vec<&AppId> = apps.keys().copied().collect();
    let mut missing: BTreeMap<&AppId, usize> = BTreeMap::new();
    let mut dependents: BTreeMap<&AppId, Vec<&AppId>> = BTreeMap::new();
    for (app, names) in apps {
        let needed: BTreeSet<&AppId> = names.iter().flat_map(|name| named(&ids, name, app)).collect();
        missing.insert(app, needed.len());
        for other in needed {
            dependents.entry(other).or_default().push(app);
        }
    }
    let mut layers = Vec::new();
    let mut layer: Vec<&AppId> =
        missing.iter().filter(|(_, count)| **count == 0).map(|(app, _)| *app).collect();
    while !layer.is_empty() {
        let mut next = Vec::new();
        for app in &layer {
            missing.remove(app);
            for dependent in dependents.get(app).into_iter().flatten() {
                let Some(count) = missing.get_mut(dependent) else { continue };
                *count = count.saturating_sub(1);
                if *count == 0 {
                    next.push(*dependent);
                }
            }
        }
        next.sort();
        layers.push(layer.into_iter().cloned().collect());
        layer = next;
    }
    if missing.is_empty() {
        return Ok(layers);
    }
    Err(CyclicDependencies(missing.into_keys().cloned().collect()))
}

/// The app called `name`, and every app below the group `name`; an app may sit inside a
/// group that it names without waiting for itself.
fn named<'a>(ids: &[&'a AppId], name: &str, asker: &AppId) -> Vec<&'a AppId> {
    let mut found: Vec<&AppId> = ids.iter().copied().filter(|id| id.as_str() == name).collect();
    let folder = if name.ends_with('/') { name.to_owned() } else { format!("{name}/") };
    let start = ids.partition_point(|id| id.as_str() < folder.as_str());
    let below = ids.iter().skip(start).take_while(|id| id.as_str().starts_with(&folder));
    found.extend(below.copied().filter(|id| *id != asker));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a:b c` is an app and what it depends on.
    #[track_caller]
    fn check(apps: &[&str], wanted: Result<&[&str], &[&str]>) {
        let parsed: Vec<(AppId, BTreeSet<String>)> = apps
            .iter()
            .map(|text| {
                let (id, names) = text.split_once(':').unwrap_or((text, ""));
                (AppId::parse(id).unwrap(), names.split_whitespace().map(str::to_owned).collect())
            })
            .collect();
        let got = layers(&parsed.iter().map(|(id, names)| (id, names)).collect());
        let line = |ids: &Vec<AppId>| ids.iter().map(AppId::as_str).collect::<Vec<_>>().join(" ");
        match (got, wanted) {
            (Ok(got), Ok(wanted)) => assert_eq!(got.iter().map(line).collect::<Vec<_>>(), wanted),
            (Err(got), Err(wanted)) => assert_eq!(line(&got.0), wanted.join(" ")),
            (got, wanted) => panic!("{got:?} is not {wanted:?}"),
        }
    }

    #[test]
    fn an_app_comes_after_its_longest_chain() {
        check(&["/c:/a /b", "/b:/a", "/a", "/z"], Ok(&["/a /z", "/b", "/c"]));
    }

    #[test]
    fn a_group_stands_for_every_app_below_it() {
        check(
            &["/web:/db", "/db/one", "/db/sub/two", "/dbx:/web"],
            Ok(&["/db/one /db/sub/two", "/web", "/dbx"]),
        );
        check(&["/db/one:/db", "/db/two"], Ok(&["/db/two", "/db/one"]));
    }

    #[test]
    fn names_of_nothing_are_passed_over() {
        check(&["/a:/nowhere"], Ok(&["/a"]));
    }

    #[test]
    fn circles_are_named() {
        check(&["/a:/b", "/b:/a", "/c"], Err(&["/a", "/b"]));
        check(&["/a:/a"], Err(&["/a"]));
    }
}
