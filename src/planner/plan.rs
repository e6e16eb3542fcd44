//! From an edit to steps. Source: spec 5.3.

use std::collections::{BTreeMap, BTreeSet};

use super::dependency_order::{CyclicDependencies, layers};
use crate::domain::{Action, ActionKind, AppId, Plan, RunSpec, SpecChange, Step};
use crate::state::ClusterState;

/// Says what happens, in which order, when each named app gets its new content; nothing
/// means that the app goes, and the flag asks to replace instances whatever changed.
///
/// Apps that stop go first, all at once; then new apps are started (which does nothing
/// and is kept for clients); then changed apps follow in layers of their dependencies,
/// counted over all apps and not only the changed ones. Empty steps are left out.
///
/// # Errors
/// [`CyclicDependencies`] when the apps would depend on each other in a circle.
pub fn plan_deployment(
    state: &ClusterState,
    target: &[(AppId, Option<(RunSpec, bool)>)],
) -> Result<Plan, CyclicDependencies> {
    let edits: BTreeMap<&AppId, &Option<(RunSpec, bool)>> =
        target.iter().map(|(id, edit)| (id, edit)).collect();
    let mut stops = Vec::new();
    let mut starts = Vec::new();
    let mut changes: BTreeMap<&AppId, ActionKind> = BTreeMap::new();
    for (app, edit) in &edits {
        let current = state.current(app).map(|content| &content.spec);
        match (current, edit) {
            (None, None) => {}
            (Some(_), None) => stops.push(action(app, ActionKind::Stop)),
            (None, Some(_)) => {
                starts.push(action(app, ActionKind::Start));
                changes.insert(app, ActionKind::Scale);
            }
            (Some(old), Some((new, restart))) => {
                changes.extend(kind_of(old, new, *restart).map(|kind| (*app, kind)));
            }
        }
    }
    let mut steps = vec![stops, starts];
    for layer in layers(&dependencies(state, &edits))? {
        steps.push(layer.iter().filter_map(|app| Some(action(app, *changes.get(app)?))).collect());
    }
    steps.retain(|actions| !actions.is_empty());
    Ok(Plan { steps: steps.into_iter().map(|actions| Step { actions }).collect() })
}

fn action(app: &AppId, kind: ActionKind) -> Action {
    Action { app: app.clone(), kind, sentenced: Vec::new() }
}

fn kind_of(old: &RunSpec, new: &RunSpec, restart: bool) -> Option<ActionKind> {
    match new.change_from(old) {
        SpecChange::Nothing if !restart => None,
        SpecChange::Scale if !restart => Some(ActionKind::Scale),
        _ if new.instances == 0 => Some(ActionKind::Scale),
        _ => Some(ActionKind::Restart),
    }
}

/// What every app will depend on, once the edits are made.
fn dependencies<'a>(
    state: &'a ClusterState,
    edits: &BTreeMap<&'a AppId, &'a Option<(RunSpec, bool)>>,
) -> BTreeMap<&'a AppId, &'a BTreeSet<String>> {
    let present = state.apps.iter().filter_map(|(id, _)| Some((id, &state.current(id)?.spec.dependencies)));
    let mut all: BTreeMap<&AppId, &BTreeSet<String>> =
        present.filter(|(id, _)| !edits.contains_key(id)).collect();
    all.extend(edits.iter().filter_map(|(id, edit)| Some((*id, &edit.as_ref()?.0.dependencies))));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{AppBuilder, Playground, an_app};

    /// `Stop /x` and the like, one line per step.
    fn told(plan: &Plan) -> Vec<String> {
        let one = |action: &Action| format!("{:?} {}", action.kind, action.app);
        let line = |step: &Step| step.actions.iter().map(one).collect::<Vec<_>>().join(", ");
        plan.steps.iter().map(line).collect()
    }

    #[track_caller]
    fn check(before: &[AppBuilder], edits: &[(&str, Option<AppBuilder>)], steps: &[&str]) {
        let mut ground = Playground::default();
        for app in before {
            ground.put(app);
        }
        let target: Vec<_> = edits
            .iter()
            .map(|(id, app)| (AppId::parse(id).unwrap(), app.clone().map(|app| (app.spec(), false))))
            .collect();
        assert_eq!(told(&plan_deployment(&ground.state, &target).unwrap()), steps);
    }

    #[test]
    fn a_new_app_starts_and_scales() {
        check(&[], &[("/web", Some(an_app("/web")))], &["Start /web", "Scale /web"]);
        check(&[], &[("/web", Some(an_app("/web").instances(0)))], &["Start /web", "Scale /web"]);
    }

    #[test]
    fn nothing_changed_is_no_step() {
        check(&[an_app("/web")], &[("/web", Some(an_app("/web")))], &[]);
    }

    #[test]
    fn only_the_number_of_instances_scales_and_anything_else_restarts() {
        check(&[an_app("/web")], &[("/web", Some(an_app("/web").instances(4)))], &["Scale /web"]);
        check(&[an_app("/web")], &[("/web", Some(an_app("/web").cmd("b").instances(4)))], &["Restart /web"]);
        check(&[an_app("/web")], &[("/web", Some(an_app("/web").cmd("b").instances(0)))], &["Scale /web"]);
    }

    #[test]
    fn a_removed_app_stops() {
        check(&[an_app("/web")], &[("/web", None)], &["Stop /web"]);
        check(&[], &[("/web", None)], &[]);
    }

    #[test]
    fn independent_updates_share_a_step_and_chains_follow_each_other() {
        let old = [an_app("/mongo"), an_app("/service").after("/mongo")];
        let new = |id: &str| Some(an_app(id).cmd("new"));
        let service = Some(an_app("/service").after("/mongo").cmd("new"));
        check(
            &[an_app("/a"), an_app("/b")],
            &[("/a", new("/a")), ("/b", new("/b"))],
            &["Restart /a, Restart /b"],
        );
        check(
            &old,
            &[("/mongo", new("/mongo")), ("/service", service)],
            &["Restart /mongo", "Restart /service"],
        );
        check(&old, &[("/mongo", new("/mongo"))], &["Restart /mongo"]);
    }

    #[test]
    fn stops_starts_and_layers_come_in_marathons_order() {
        let old =
            [an_app("/mongo"), an_app("/service").after("/mongo"), an_app("/independent"), an_app("/x")];
        let edits = [
            ("/x", None),
            ("/mongo", Some(an_app("/mongo").cmd("new"))),
            ("/service", Some(an_app("/service").after("/mongo").cmd("new"))),
            ("/independent", Some(an_app("/independent").cmd("new"))),
            ("/new", Some(an_app("/new").after("/service"))),
        ];
        let steps = [
            "Stop /x",
            "Start /new",
            "Restart /independent, Restart /mongo",
            "Restart /service",
            "Scale /new",
        ];
        check(&old, &edits, &steps);
    }

    #[test]
    fn a_restart_needs_no_change_and_nothing_to_restart_scales() {
        let mut ground = Playground::default();
        ground.put(&an_app("/web"));
        let restart = |instances| {
            let spec = an_app("/web").instances(instances).spec();
            told(
                &plan_deployment(&ground.state, &[(AppId::parse("/web").unwrap(), Some((spec, true)))])
                    .unwrap(),
            )
        };
        assert_eq!(restart(1), ["Restart /web"]);
        assert_eq!(restart(0), ["Scale /web"]);
    }

    #[test]
    fn circles_are_refused() {
        let mut ground = Playground::default();
        ground.put(&an_app("/a").after("/b"));
        let target = [(AppId::parse("/b").unwrap(), Some((an_app("/b").after("/a").spec(), false)))];
        assert!(plan_deployment(&ground.state, &target).is_err());
    }
}
