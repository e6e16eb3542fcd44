//! What is said of an agent's machine, in Mesos' own syntax: `--resources` and `--attributes`.

use std::collections::BTreeMap;

use super::BadSetting;
use crate::domain::resources::{CLAIM_MAX, RANGES_MAX};
use crate::domain::{
    ANY_ROLE, AttributeValue, Attributes, HOSTNAME, PortRanges, Reserved, Resources, Scalar, claim, role,
    seen_instead_of,
};

/// Most characters of a wrong value that a sentence gives back.
const SHOWN_CHARS_MAX: usize = 100;

/// Amounts that were said; what is absent is measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceSettings {
    /// Processors.
    pub cpus: Option<Scalar>,
    /// Memory in MiB.
    pub mem: Option<Scalar>,
    /// Disk in MiB.
    pub disk: Option<Scalar>,
    /// Graphics processors.
    pub gpus: Option<Scalar>,
    /// Host ports for tasks.
    pub ports: Option<PortRanges>,
    /// What is kept for roles, beside all that.
    pub reserved: Reserved,
}

/// Reads `cpus:4;mem:8192;disk:10000;gpus:1;ports:[31000-32000]`, where `cpus(db):2` is kept for
/// the role `db`. What is said only for roles has nothing that is unreserved, and is not measured.
/// Source: Mesos, "Attributes and resources", "Roles".
pub(super) fn resources(given: Option<String>) -> Result<ResourceSettings, BadSetting> {
    let Some(raw) = given else { return Ok(ResourceSettings::default()) };
    let bad = |expected: String| BadSetting::new("--resources", shown(&raw), expected);
    let mut by_role: BTreeMap<&str, ResourceSettings> = BTreeMap::new();
    for item in raw.split(';').map(str::trim).filter(|item| !item.is_empty()) {
        let Some((key, value)) = item.split_once(':') else {
            return Err(bad(format!(
                "{:?} has no colon; expected 'cpus:4;mem:8192;ports:[31000-32000]'",
                shown(item)
            )));
        };
        let (name, role) = role_of(key.trim()).map_err(&bad)?;
        let is_repeated = by_role.entry(role).or_default().put(name, value.trim()).map_err(&bad)?;
        if is_repeated {
            return Err(bad(format!("{} is named twice; expected it once", shown(key.trim()))));
        }
    }
    let mut said = by_role.remove(ANY_ROLE).unwrap_or_default();
    if by_role.len() > claim::ROLES_MAX {
        return Err(bad(format!(
            "keeps something for {} roles; expected at most {}",
            by_role.len(),
            claim::ROLES_MAX
        )));
    }
    for (role, part) in by_role {
        said.keep(role, part).map_err(&bad)?;
    }
    Ok(said)
}

/// `cpus(db)` is cpus for the role db, `cpus` is for everybody.
fn role_of(key: &str) -> Result<(&str, &str), String> {
    let Some((name, rest)) = key.split_once('(') else { return Ok((key, ANY_ROLE)) };
    let wrong = || format!("{:?} names no role; expected cpus or cpus(ROLE)", shown(key));
    let role = rest.strip_suffix(')').ok_or_else(wrong)?.trim();
    match role::role_fault(role) {
        Some(fault) => Err(format!("{:?} cannot be: {fault}", shown(key))),
        None => Ok((name.trim(), role)),
    }
}

impl ResourceSettings {
    /// Takes one amount as it was said; says whether it was said before.
    fn put(&mut self, name: &str, value: &str) -> Result<bool, String> {
        Ok(match name {
            "cpus" => self.cpus.replace(amount(value)?).is_some(),
            "mem" => self.mem.replace(amount(value)?).is_some(),
            "disk" => self.disk.replace(amount(value)?).is_some(),
            "gpus" => self.gpus.replace(amount(value)?).is_some(),
            "ports" => self.ports.replace(port_ranges(value)?).is_some(),
            other => {
                return Err(format!(
                    "{:?} is no resource known here; expected cpus, mem, disk, gpus or ports",
                    shown(other)
                ));
            }
        })
    }

    /// Keeps `part` for a role. What is said for roles alone has no unreserved rest.
    fn keep(&mut self, role: &str, part: Self) -> Result<(), String> {
        fn said<T: Clone + Default>(all: &mut Option<T>, part: Option<T>) -> T {
            if part.is_some() {
                all.get_or_insert_with(T::default);
            }
            part.unwrap_or_default()
        }
        let kept = Resources {
            cpus: said(&mut self.cpus, part.cpus),
            mem: said(&mut self.mem, part.mem),
            disk: said(&mut self.disk, part.disk),
            gpus: said(&mut self.gpus, part.gpus),
            ports: said(&mut self.ports, part.ports),
        };
        let others = self
            .reserved
            .values()
            .fold(self.ports.clone().unwrap_or_default(), |sum, other| sum.plus(&other.ports));
        let shared = kept.ports.minus(&kept.ports.minus(&others));
        if shared != PortRanges::default() {
            return Err(format!(
                "ports {shared} of role {role} are named for others, too; expected each once"
            ));
        }
        self.reserved.insert(role.to_owned(), kept);
        Ok(())
    }
}

/// As much of what was given as a line holds.
fn shown(raw: &str) -> String {
    let start: String = raw.chars().take(SHOWN_CHARS_MAX).collect();
    if start.len() < raw.len() { format!("{start}...") } else { start }
}

fn amount(raw: &str) -> Result<Scalar, String> {
    let number = raw.parse::<f64>().ok().filter(|number| *number >= 0.0).ok_or_else(|| {
        let raw = shown(raw);
        format!("{raw:?} is no amount; expected a number of 0 or more, memory and disk in MiB")
    })?;
    let amount = Scalar::from_f64(number).filter(|amount| *amount <= CLAIM_MAX);
    amount.ok_or_else(|| {
        let raw = shown(raw);
        format!("{raw:?} is more than any machine has; expected at most {CLAIM_MAX}, memory and disk in MiB")
    })
}

fn port_ranges(raw: &str) -> Result<PortRanges, String> {
    let wrong =
        || format!("{:?} are no ports; expected ranges such as [31000-31999,32500-32600]", shown(raw));
    let inner = raw.strip_prefix('[').and_then(|raw| raw.strip_suffix(']')).ok_or_else(wrong)?;
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for part in inner.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').ok_or_else(wrong)?;
        let (Ok(from), Ok(to)) = (from.trim().parse::<u16>(), to.trim().parse::<u16>()) else {
            return Err(wrong());
        };
        if from == 0 || from > to {
            return Err(wrong());
        }
        if let Some((other, end)) = ranges.iter().find(|(other, end)| from <= *end && *other <= to) {
            return Err(format!("{from}-{to} overlaps {other}-{end}; expected each port once"));
        }
        ranges.push((from, to));
    }
    let ports = PortRanges::new(ranges);
    let many = ports.ranges().len();
    if many > RANGES_MAX {
        return Err(format!("{many} ranges of ports are too many; expected at most {RANGES_MAX}"));
    }
    Ok(ports)
}

/// Reads `rack:r1;zone:a;jdk:[6-7]`.
pub(super) fn attributes(given: Option<String>) -> Result<Attributes, BadSetting> {
    let mut facts = Attributes::new();
    let Some(raw) = given else { return Ok(facts) };
    for item in raw.split(';').map(str::trim).filter(|item| !item.is_empty()) {
        let pair = item.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
        let Some((name, value)) = pair.filter(|(name, value)| !name.is_empty() && !value.is_empty()) else {
            let expected = format!("{:?} is no fact; expected 'rack:r1;zone:a'", shown(item));
            return Err(BadSetting::new("--attributes", shown(&raw), expected));
        };
        if facts.insert(name.to_owned(), AttributeValue::parse(value)).is_some() {
            let expected = format!("{} is named twice; expected it once", shown(name));
            return Err(BadSetting::new("--attributes", shown(&raw), expected));
        }
    }
    match claim::attributes_fault(&facts) {
        Some(fault) => Err(BadSetting::new("--attributes", shown(&raw), fault)),
        None => Ok(facts),
    }
}

/// Says of each attribute that no constraint can see why that is so.
pub fn unseen_attributes(facts: &Attributes) -> Vec<String> {
    let unseen = facts.keys().filter_map(|name| Some((name, seen_instead_of(name)?)));
    unseen
        .map(|(name, instead)| match instead {
            HOSTNAME => format!(
                "--attributes: no constraint sees {name:?}, which means the agent's host name there; say that \
                 with --hostname, or give the attribute another name"
            ),
            other => format!(
                "--attributes: no constraint sees {name:?}, which means the attribute {other:?} there; name it \
                 {other:?}"
            ),
        })
        .collect()
}
