//! A full definition: defaults filled in, legacy forms translated. Source: spec 2.1, 2.3.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::super::decode::AppError;
use super::super::reader::{Fields, Item, Problems, items_at, text_at};
use super::{health, network, placement};
use crate::domain::{
    AppId, Backoff, Constraint, IdError, KillSelection, Millionths, Operator, RunSpec, Scalar, Timestamp,
    UnreachableStrategy, UpgradeStrategy,
};

/// Largest number that Marathon reads as a whole one.
pub(super) const INT_MAX: u32 = i32::MAX as u32;
/// Largest amount of cpus, mem or disk; [`Scalar`] holds no more.
const AMOUNT_MAX: f64 = 1e12;
/// Largest growth of a pause; [`Millionths`] holds no more.
const FACTOR_MAX: f64 = 1e9;

/// What only the server writes; clients send it back with what they got.
const READ_ONLY: [&str; 12] = [
    "versionInfo",
    "tasksStaged",
    "tasksRunning",
    "tasksHealthy",
    "tasksUnhealthy",
    "deployments",
    "tasks",
    "lastTaskFailure",
    "taskStats",
    "tasksStats",
    "readinessCheckResults",
    "storeUrls",
];

/// Whether a field is of the app's content, rather than naming it or telling of its standing.
pub(super) fn is_content(name: &str) -> bool {
    !["id", "version"].contains(&name) && !READ_ONLY.contains(&name)
}

/// A definition that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Its id, made absolute, if the body named one.
    pub id: Option<AppId>,
    /// Its content.
    pub spec: RunSpec,
    /// What was accepted and has no effect, such as `unknown field '/foo'`.
    pub warnings: Vec<String>,
}

/// Reads a full definition, as POST and full PUT send it. Relative ids are resolved
/// against `base_group`; rules of meaning are checked by `domain::validate::run_spec`.
///
/// # Errors
/// [`AppError`] with everything that is wrong.
pub fn decode_app(body: &Value, base_group: &str) -> Result<Decoded, AppError> {
    let problems = Problems::default();
    let read = read_app(body, "", base_group, &problems);
    let ((id, spec), warnings) = problems.settle(read)?;
    Ok(Decoded { id, spec, warnings })
}

/// Reads the definition that stands at `path` of a document.
pub(in super::super) fn read_app(
    value: &Value,
    path: &str,
    base_group: &str,
    problems: &Problems,
) -> Option<(Option<AppId>, RunSpec)> {
    let mut fields = Fields::open(value, path, problems)?;
    fields.skip(&READ_ONLY);
    // Of no effect here, yet a bad one is refused, as in Marathon.
    if let Some(Err(message)) = fields.text("version").map(|raw| parse_version(&raw)) {
        fields.refuse("version", message);
    }
    let id = read_id(&mut fields, base_group);
    let group = id.as_ref().map_or(base_group, AppId::parent).to_owned();

    let mut spec = RunSpec::default();
    read_process(&mut fields, &mut spec);
    read_amounts(&mut fields, &mut spec);
    read_placement(&mut fields, &mut spec);
    read_policies(&mut fields, &mut spec);
    spec.dependencies = read_dependencies(&mut fields, &group);
    spec.placement = placement::read(&mut fields, &group);
    let surroundings = network::read(&mut fields);
    spec.container = surroundings.container;
    spec.networks = surroundings.networks;
    spec.port_definitions = surroundings.port_definitions;
    spec.require_ports = surroundings.require_ports;
    spec.health_checks = health::read_all(&mut fields);
    refuse_what_is_not_built(&mut fields);
    fields.finish();
    Some((id, spec))
}

/// A version as clients write it, or what was expected. Source: the spec's preface.
pub(super) fn parse_version(raw: &str) -> Result<Timestamp, String> {
    let message = || format!("Invalid timestamp provided '{raw}'. Expecting ISO-8601 datetime string.");
    Timestamp::parse(raw).ok_or_else(message)
}

fn read_id(fields: &mut Fields, base_group: &str) -> Option<AppId> {
    let raw = fields.filled_text("id")?;
    match AppId::resolve(&raw, base_group) {
        Ok(id) => Some(id),
        Err(IdError::Segment(_)) => {
            fields.fault("id", "error.pattern");
            None
        }
        Err(error) => {
            fields.refuse("id", error.to_string());
            None
        }
    }
}

fn read_process(fields: &mut Fields, spec: &mut RunSpec) {
    spec.cmd = fields.filled_text("cmd");
    spec.args = fields.texts("args").unwrap_or_default();
    spec.user = fields.text("user");
    spec.env = read_env(fields);
    spec.labels = fields.text_map("labels").unwrap_or_default();
    spec.executor = fields.text("executor").unwrap_or_default();
    spec.tty = fields.flag("tty").unwrap_or_default();
    spec.kill_grace = seconds(fields, "taskKillGracePeriodSeconds");
}

/// Texts by name; `{"secret": ...}` is told apart from a plain mistake.
fn read_env(fields: &mut Fields) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let Some(value) = fields.value("env") else { return env };
    let Some(map) = value.as_object() else {
        fields.fault("env", "error.expected.jsobject");
        return env;
    };
    for (name, value) in map {
        let path = format!("{}/{name}", fields.path_of("env"));
        if value.get("secret").is_some() {
            fields.problems().semantic(&path, "secrets are not supported by this version yet; give a text");
        } else if let Some(text) = text_at(value, &path, fields.problems()) {
            env.insert(name.clone(), text);
        }
    }
    env
}

fn read_amounts(fields: &mut Fields, spec: &mut RunSpec) {
    let amount = |number: Option<f64>, default: Scalar| number.and_then(Scalar::from_f64).unwrap_or(default);
    spec.instances = fields.whole("instances", 0, INT_MAX).unwrap_or(spec.instances);
    spec.cpus = amount(fields.number("cpus", 0.001, AMOUNT_MAX), spec.cpus);
    spec.mem = amount(fields.number("mem", 0.0, AMOUNT_MAX), spec.mem);
    spec.disk = amount(fields.number("disk", 0.0, AMOUNT_MAX), spec.disk);
    let gpus = fields.whole("gpus", 0, INT_MAX).unwrap_or_default();
    spec.gpus = Scalar::from_thousandths(u64::from(gpus) * 1000);
}

fn read_placement(fields: &mut Fields, spec: &mut RunSpec) {
    let items = fields.list("constraints").unwrap_or_default();
    spec.constraints = items.iter().filter_map(|item| read_constraint(item, fields.problems())).collect();
    spec.role = fields.text("role").unwrap_or_else(|| "*".to_owned());
    if let Some(roles) = fields.texts("acceptedResourceRoles") {
        if roles.is_empty() {
            fields.refuse("acceptedResourceRoles", "must not be empty; name roles or leave it out");
        }
        spec.accepted_resource_roles = roles;
    }
}

/// `[field, operator]` or `[field, operator, operand]`. Source: spec 4, 4.2.
fn read_constraint(item: &Item, problems: &Problems) -> Option<Constraint> {
    let parts: Vec<String> = items_at(item.value, &item.path, problems)?
        .iter()
        .filter_map(|part| text_at(part.value, &part.path, problems))
        .collect();
    if parts.len() != item.value.as_array().map_or(0, Vec::len) {
        return None; // Some part is not a text; that was noted.
    }
    let (field, operator, operand) = match parts.as_slice() {
        [field, operator] => (field, operator, None),
        [field, operator, operand] => (field, operator, Some(operand.clone())),
        _ => {
            problems.semantic(&item.path, "Each constraint must have either 2 or 3 fields");
            return None;
        }
    };
    let Some(operator) = Operator::parse(operator) else {
        problems.semantic(
            &item.path,
            "operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS",
        );
        return None;
    };
    Some(Constraint { field: field.clone(), operator, operand })
}

fn read_policies(fields: &mut Fields, spec: &mut RunSpec) {
    let default = Backoff::default();
    let factor = fields.number("backoffFactor", 1.0, FACTOR_MAX).and_then(Millionths::from_f64);
    spec.backoff = Backoff {
        initial: seconds(fields, "backoffSeconds").unwrap_or(default.initial),
        factor: factor.unwrap_or(default.factor),
        max: seconds(fields, "maxLaunchDelaySeconds").unwrap_or(default.max),
    };
    spec.upgrade = read_upgrade(fields).unwrap_or_default();
    spec.unreachable = read_unreachable(fields).unwrap_or_default();
    spec.kill_selection = fields
        .choice("killSelection", |word| match word.to_ascii_uppercase().as_str() {
            "YOUNGEST_FIRST" => Some(KillSelection::YoungestFirst),
            "OLDEST_FIRST" => Some(KillSelection::OldestFirst),
            _ => None,
        })
        .unwrap_or_default();
}

fn read_upgrade(fields: &mut Fields) -> Option<UpgradeStrategy> {
    let mut inner = fields.object("upgradeStrategy")?;
    let mut share = |name| {
        let number = inner.number(name, 0.0, 1.0);
        inner.required(name, number).and_then(Millionths::from_f64)
    };
    let minimum = share("minimumHealthCapacity");
    let maximum = share("maximumOverCapacity");
    inner.finish();
    Some(UpgradeStrategy { minimum_health_capacity: minimum?, maximum_over_capacity: maximum? })
}

/// `"disabled"` or an object.
fn read_unreachable(fields: &mut Fields) -> Option<UnreachableStrategy> {
    if let Some(word) = fields.value("unreachableStrategy")?.as_str() {
        if !word.eq_ignore_ascii_case("disabled") {
            fields.fault("unreachableStrategy", "error.unknown.enum.literal");
        }
        return Some(UnreachableStrategy::Disabled);
    }
    let mut inner = fields.object("unreachableStrategy")?;
    let inactive = seconds(&mut inner, "inactiveAfterSeconds").unwrap_or_default();
    let expunge = seconds(&mut inner, "expungeAfterSeconds").unwrap_or_default();
    inner.finish();
    Some(UnreachableStrategy::After { inactive, expunge })
}

fn read_dependencies(fields: &mut Fields, group: &str) -> BTreeSet<String> {
    let mut dependencies = BTreeSet::new();
    for item in fields.list("dependencies").unwrap_or_default() {
        let Some(raw) = text_at(item.value, &item.path, fields.problems()) else { continue };
        match AppId::resolve(&raw, group) {
            Ok(id) => {
                dependencies.insert(id.to_string());
            }
            Err(IdError::Segment(_)) => fields.problems().json(&item.path, "error.pattern"),
            Err(error) => fields.problems().semantic(&item.path, error.to_string()),
        }
    }
    dependencies
}

/// Parts of Marathon's definition that a run spec has no place for: said, never dropped.
/// The list is docs/decisions/gaps.md.
fn refuse_what_is_not_built(fields: &mut Fields) {
    let both = |fields: &mut Fields, name| {
        fields.value(name).and_then(Value::as_array).is_some_and(|list| !list.is_empty())
    };
    if both(fields, "uris") && both(fields, "fetch") {
        fields.refuse("uris", "may not be set in conjunction with fetch");
    }
    fields.unsupported("fetch", "artifacts to fetch are");
    fields.unsupported("uris", "artifacts to fetch are");
    fields.unsupported("readinessChecks", "readiness checks are");
    fields.unsupported("check", "checks are");
    fields.unsupported("secrets", "secrets are");
    fields.unsupported("resourceLimits", "resource limits are");
    fields.unsupported("executorResources", "resources of executors are");
    fields.unsupported_even_empty("residency", "persistent volumes and residency are");
}

/// A number of whole seconds.
pub(super) fn seconds(fields: &mut Fields, name: &'static str) -> Option<Duration> {
    fields.whole(name, 0, INT_MAX).map(|seconds| Duration::from_secs(u64::from(seconds)))
}
