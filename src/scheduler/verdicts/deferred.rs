//! Copies that nobody asks a place for yet: a deployment has to do something else first.
//!
//! Source: spec 5.5; the planner decides what is first, and this says it.

use crate::domain::{AppId, Step};
use crate::state::{ClusterState, DeploymentRow, InstanceRow};

/// Apps that the note names.
const APPS_TOLD_MAX: usize = 5;

/// For people: which step comes first, and for which apps; nothing where none does.
pub(super) fn deferred(state: &ClusterState, app: &AppId) -> Option<String> {
    state.deployments.values().find_map(|deployment| later_in(state, deployment, app))
}

fn later_in(state: &ClusterState, deployment: &DeploymentRow, app: &AppId) -> Option<String> {
    let done = usize::try_from(deployment.steps_done).ok()?;
    let steps = &deployment.plan.steps;
    let concerns = |step: &&Step| step.actions.iter().any(|action| action.app == *app);
    let under_way = steps.get(done).filter(|step| !concerns(step))?;
    let later = steps.iter().skip(done).position(|step| concerns(&step))?;
    let all = || under_way.actions.iter().map(|action| &action.app);
    let open: Vec<&AppId> = all().filter(|app| !is_done(state, app)).collect();
    // The planner has not said yet that the step is done.
    let open = if open.is_empty() { all().collect() } else { open };
    let mut apps: Vec<&str> = open.into_iter().map(AppId::as_str).collect();
    apps.sort_unstable();
    apps.dedup();
    let told = apps.get(..APPS_TOLD_MAX).unwrap_or(&apps).join(", ");
    let more = match apps.len().saturating_sub(APPS_TOLD_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let first = apps.first()?;
    Some(format!(
        "Its deployment {} comes to it in step {} of {}. Step {} is under way, for {told}{more}: ask 'platformd \
         explain {first}' what holds that up.",
        deployment.id,
        done + later + 1,
        steps.len(),
        done + 1,
    ))
}

/// Whether an app is as it shall be: so many copies of its content serve, and no others are left.
fn is_done(state: &ClusterState, app: &AppId) -> bool {
    let live = || state.instances_of(app).filter(|row| row.is_live() && !row.expunged);
    let Some(content) = state.current(app) else { return live().next().is_none() };
    let checks = content.spec.health_checks.len();
    let is_good = |row: &InstanceRow| !state.is_outdated(row) && row.is_serving(checks);
    u32::try_from(live().count()) == Ok(content.spec.instances) && live().all(is_good)
}

#[cfg(test)]
mod tests {
    use crate::scheduler::Suspects;
    use crate::scheduler::verdicts::explain;
    use crate::testkit::{Playground, an_app};

    #[test]
    fn who_comes_later_is_told_after_whom() {
        let mut ground = Playground::with_agents(1);
        let db = an_app("/shop/db").cpus(100.0);
        let web = an_app("/shop/web").after("/shop/db");
        ground.deploy_together(&[db, web, an_app("/shop/free")]);
        ground.settle();
        let note = |app: &str| {
            let app = crate::domain::AppId::parse(app).unwrap();
            let cluster = crate::domain::Strategy::Spread;
            explain(&ground.state, &app, &Suspects::new(), ground.now(), cluster).unwrap().note
        };
        let told = note("/shop/web").unwrap();
        assert!(
            told.contains("step 3 of 3. Step 2 is under way, for /shop/db: ask 'platformd explain /shop/db'"),
            "{told}"
        );
        assert_eq!(note("/shop/db"), None);
    }
}
