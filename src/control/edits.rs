//! Changes of apps: from an edit to a recorded deployment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{
    Control, ControlError, DEPLOYMENTS_MAX, Edit, REPLANS_MAX, Started, WriteOptions, is_worth_replanning,
    service_ports,
};
use crate::domain::{
    AppId, AppVersion, DeploymentId, InstanceId, RunSpec, SpecChange, SpecVersion, Violation, validate,
};
use crate::planner;
use crate::state::{AppChange, ClusterState, Command, RequestKey, StartDeployment};
use crate::world::{self, random_uuid};

/// Different regular expressions that one request may bring: reading them takes 0.3 s at worst, in which
/// other changes wait for their turn.
const PATTERNS_MAX: usize = 256;

/// Instances that a scale down must take, per app.
pub(super) type Sentenced = BTreeMap<AppId, Vec<InstanceId>>;

impl Control {
    /// Changes apps together, as one deployment.
    ///
    /// # Errors
    /// Every [`ControlError`]; nothing was recorded except with `OutcomeUnknown`.
    pub async fn edit_apps(
        &self,
        edits: Vec<(AppId, Edit)>,
        options: WriteOptions,
    ) -> Result<Started, ControlError> {
        self.edit_with_sentenced(edits, Sentenced::new(), options).await
    }

    pub(super) async fn edit_with_sentenced(
        &self,
        edits: Vec<(AppId, Edit)>,
        sentenced: Sentenced,
        options: WriteOptions,
    ) -> Result<Started, ControlError> {
        let (edits, sentenced) = (Arc::new(edits), Arc::new(sentenced));
        let _turn = self.turn.lock().await;
        let id = DeploymentId::new(random_uuid().hyphenated().to_string());
        let mut tries = 0;
        loop {
            let view = self.store.snapshot();
            if let Some(earlier) = earlier_answer(&view, options.request.as_ref())? {
                return Ok(earlier);
            }
            if view.deployments.len() >= DEPLOYMENTS_MAX {
                return Err(ControlError::TooManyDeployments(DEPLOYMENTS_MAX));
            }
            let version = self.next_version(&view);
            let (edits, sentenced) = (Arc::clone(&edits), Arc::clone(&sentenced));
            // Many apps, each with its rules to be read, take a while.
            let work = move || {
                let each: Vec<(&AppId, &Edit)> = edits.iter().map(|(app, edit)| (app, edit)).collect();
                plan(&view, &each, &sentenced, version)
            };
            let planned = world::blocking(work).await?;
            let start = StartDeployment {
                id: id.clone(),
                version,
                plan: planned.plan,
                changes: planned.changes,
                assigned_ports: planned.assigned_ports,
                force: options.force,
                request: options.request.clone(),
            };
            let applied = self.propose(vec![Command::StartDeployment(Box::new(start))]).await?;
            if let Some(row) = applied.answered {
                return Ok(Started {
                    deployment: row.deployment,
                    version: row.version,
                    created: row.created,
                    index: row.index,
                    app: None,
                });
            }
            let Some((_, refusal)) = applied.refusals.into_iter().next() else {
                let (created, app) = (planned.created, planned.asked);
                return Ok(Started { deployment: id, version, created, index: applied.index, app });
            };
            tries += 1;
            if !is_worth_replanning(&refusal) || tries >= REPLANS_MAX {
                return Err(refusal.into());
            }
        }
    }
}

fn earlier_answer(
    state: &ClusterState,
    request: Option<&RequestKey>,
) -> Result<Option<Started>, ControlError> {
    let Some(request) = request else { return Ok(None) };
    let Some(row) = state.requests.get(&request.key) else { return Ok(None) };
    if row.digest != request.digest {
        return Err(ControlError::KeyReused);
    }
    Ok(Some(Started {
        deployment: row.deployment.clone(),
        version: row.version,
        created: row.created,
        index: row.index,
        app: None,
    }))
}

/// A request, thought through on one state.
pub(super) struct Planned {
    pub(super) plan: crate::domain::Plan,
    pub(super) changes: Vec<AppChange>,
    pub(super) assigned_ports: Vec<u16>,
    created: bool,
    asked: Option<AppVersion>,
}

/// What one edit wants: new content and whether to replace instances regardless; nothing when the app goes.
type Target = Option<(RunSpec, bool)>;

pub(super) fn plan(
    state: &ClusterState,
    edits: &[(&AppId, &Edit)],
    sentenced: &Sentenced,
    version: SpecVersion,
) -> Result<Planned, ControlError> {
    let mut used = service_ports::used(state);
    let mut planned = Planned {
        plan: crate::domain::Plan::default(),
        changes: Vec::new(),
        assigned_ports: Vec::new(),
        created: false,
        asked: None,
    };
    let mut targets: Vec<(AppId, Target)> = Vec::new();
    let mut patterns = BTreeSet::new();
    for (app, edit) in edits.iter().copied() {
        let target = target_of(state, app, edit)?;
        let Some((mut spec, restart)) = target else {
            targets.push((app.clone(), None));
            planned.changes.push(AppChange {
                app: app.clone(),
                expected: version_of(state, app),
                content: None,
            });
            continue;
        };
        patterns.extend(spec.patterns().map(str::to_owned));
        if patterns.len() > PATTERNS_MAX {
            return Err(ControlError::Violations(vec![too_many_patterns()]));
        }
        let broken = validate::run_spec(app, &spec);
        if !broken.is_empty() {
            return Err(ControlError::Violations(broken));
        }
        if let Edit::Create(_) = edit {
            planned.asked = Some(content(app, spec.clone(), None, version, restart));
        }
        planned.assigned_ports.extend(service_ports::assign(state, app, &mut spec, &mut used)?);
        let current = state.current(app);
        planned.created |= current.is_none();
        if restart || current.is_none_or(|current| current.spec != spec) {
            let content = content(app, spec.clone(), current, version, restart);
            let expected = version_of(state, app);
            planned.changes.push(AppChange { app: app.clone(), expected, content: Some(Box::new(content)) });
        }
        targets.push((app.clone(), Some((spec, restart))));
    }
    check_paths(state, &targets)?;
    planned.plan = planner::plan_deployment(state, &targets)
        .map_err(|error| ControlError::Violations(vec![Violation::new("/", error.to_string())]))?;
    for action in planned.plan.steps.iter_mut().flat_map(|step| &mut step.actions) {
        if let Some(ids) = sentenced.get(&action.app) {
            action.sentenced = ids.clone();
        }
    }
    Ok(planned)
}

fn too_many_patterns() -> Violation {
    let message = format!(
        "the constraints of all apps in one request may have at most {PATTERNS_MAX} different regular expressions; \
         send the apps in several requests"
    );
    Violation::new("/", message)
}

/// A path is an app or a folder of apps, never both. Source: spec 8.
fn check_paths(state: &ClusterState, targets: &[(AppId, Target)]) -> Result<(), ControlError> {
    let mut apps: BTreeSet<&AppId> = state.apps.iter().map(|(id, _)| id).collect();
    for (app, target) in targets {
        match target {
            Some(_) => apps.insert(app),
            None => apps.remove(app),
        };
    }
    let is_new = |app: &AppId| !state.apps.contains(app);
    for (app, _) in targets.iter().filter(|(app, target)| target.is_some() && is_new(app)) {
        let below = format!("{app}/");
        let has_apps_below = apps.iter().any(|other| other.as_str().starts_with(&below));
        let is_below_an_app = ancestors(app).any(|path| apps.contains(&path));
        if has_apps_below || is_below_an_app {
            let message = "Groups and Applications may not have the same identifier.";
            return Err(ControlError::Violations(vec![Violation::new("/id", message)]));
        }
    }
    Ok(())
}

/// Paths above an app, without the root.
fn ancestors(app: &AppId) -> impl Iterator<Item = AppId> {
    let path = app.as_str();
    path.match_indices('/').skip(1).filter_map(move |(at, _)| AppId::parse(path.get(..at)?).ok())
}

fn version_of(state: &ClusterState, app: &AppId) -> Option<SpecVersion> {
    state.apps.get(app).map(|row| row.version)
}

fn target_of(state: &ClusterState, app: &AppId, edit: &Edit) -> Result<Target, ControlError> {
    let current = state.current(app).map(|content| &content.spec);
    let missing = || ControlError::NotFound(format!("App '{app}' does not exist"));
    match edit {
        Edit::Create(_) if current.is_some() => Err(ControlError::AppExists(app.clone())),
        Edit::Create(spec) => Ok(Some(((**spec).clone(), false))),
        Edit::Put(merge) => Ok(Some((merge(current)?, false))),
        Edit::Patch(merge) => Ok(Some((merge(Some(current.ok_or_else(missing)?))?, false))),
        Edit::Rollback(version) => {
            let missing =
                || ControlError::NotFound(format!("App '{app}' does not exist in version {version}"));
            let content = state.versions.get(&(app.clone(), *version)).ok_or_else(missing)?;
            Ok(Some((content.spec.clone(), false)))
        }
        Edit::Restart => Ok(Some((current.ok_or_else(missing)?.clone(), true))),
        Edit::Remove => current.map(|_| None).ok_or_else(missing),
    }
}

/// New content with its bookkeeping. Source: spec 5.2.
fn content(
    app: &AppId,
    spec: RunSpec,
    current: Option<&AppVersion>,
    version: SpecVersion,
    restart: bool,
) -> AppVersion {
    let change = current.map_or(SpecChange::Replace, |current| spec.change_from(&current.spec));
    let (mut last_scaling, mut last_config_change) =
        current.map_or((version, version), |current| (current.last_scaling, current.last_config_change));
    match change {
        SpecChange::Replace => (last_scaling, last_config_change) = (version, version),
        SpecChange::Scale => last_scaling = version,
        SpecChange::Nothing => {}
    }
    if restart {
        last_config_change = version;
    }
    AppVersion { app: app.clone(), spec, last_scaling, last_config_change }
}
