//! What an agent may say of itself, and what no machine can have.
//!
//! The agent asks at its start; masters ask again, because what is recorded is in every master's
//! memory and an agent may lie.

use super::AgentInfo;
use super::attribute::{AttributeValue, Attributes};
use super::hindrance::{HINDRANCE_CHARS_MAX, Hindrances, MAY_RUN_MAX};
use super::id::TaskId;
use super::resources::{CLAIM_MAX, HELD_RANGES_MAX, PortRanges, RANGES_MAX, Resources};
use super::role;

/// Most attributes of an agent; each is read for every rule that asks for it.
pub const ATTRIBUTES_MAX: usize = 256;
/// Longest name of an attribute, in bytes.
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 256;
/// Longest value of an attribute as rules compare it, in bytes.
pub const ATTRIBUTE_VALUE_BYTES_MAX: usize = 1_024;
/// Most roles that an agent keeps something for.
pub const ROLES_MAX: usize = 64;
/// Longest id, host name, address, boot id or version that an agent may have, in bytes.
pub const NAME_BYTES_MAX: usize = 256;

impl AgentInfo {
    /// What of this cannot be, for people; nothing when it may be recorded.
    pub fn fault(&self) -> Option<String> {
        if self.hostname.is_empty() {
            return Some("has an empty hostname; give it --hostname".to_owned());
        }
        let names = [
            ("id", self.id.as_str()),
            ("hostname", &self.hostname),
            ("address for HTTP", &self.http),
            ("boot id", &self.incarnation.boot_id),
            ("place", &self.incarnation.place),
            ("version", &self.version),
        ];
        for (what, name) in names {
            if name.len() > NAME_BYTES_MAX {
                let bytes = name.len();
                return Some(format!("has a {what} of {bytes} bytes, at most {NAME_BYTES_MAX} are allowed"));
            }
            if name.contains(char::is_control) {
                return Some(format!("has a control character in its {what}"));
            }
        }
        attributes_fault(&self.attributes).or_else(|| self.resources_fault())
    }

    fn resources_fault(&self) -> Option<String> {
        if let Some(fault) = amounts_fault(&self.totals) {
            return Some(format!("{fault}; check --resources"));
        }
        if self.reserved.len() > ROLES_MAX {
            let roles = self.reserved.len();
            return Some(format!("keeps resources for {roles} roles, at most {ROLES_MAX} are allowed"));
        }
        let mut left = self.totals.clone();
        for (name, part) in &self.reserved {
            let fault =
                if name == role::ANY_ROLE { Some("* is nobody's role") } else { role::role_fault(name) };
            if let Some(fault) = fault {
                return Some(format!("keeps resources for a role that cannot be: {fault}"));
            }
            if let Some(fault) = amounts_fault(part) {
                return Some(format!("{fault} for role {name}; check --resources"));
            }
            if !left.contains(part) {
                return Some(format!(
                    "keeps more for its roles than it has, or a port for two of them, at role {name}; \
                     check --resources"
                ));
            }
            left = left.minus(part);
        }
        None
    }
}

fn amounts_fault(resources: &Resources) -> Option<String> {
    let amounts = [
        ("cpus", resources.cpus),
        ("mem", resources.mem),
        ("disk", resources.disk),
        ("gpus", resources.gpus),
    ];
    let absurd = amounts.iter().find(|(_, amount)| *amount > CLAIM_MAX);
    absurd
        .map(|(name, amount)| format!("has {amount} {name}, at most {CLAIM_MAX} are allowed"))
        .or_else(|| resources.ports.fault(RANGES_MAX))
}

/// What is wrong with ports that strangers are said to hold, for people.
pub fn held_ports_fault(held: &PortRanges) -> Option<String> {
    held.fault(HELD_RANGES_MAX).map(|fault| format!("tells of held ports and {fault}"))
}

/// What is wrong with what an agent says to keep it from starting tasks, for people.
pub fn hindrances_fault(hindrances: &Hindrances) -> Option<String> {
    let is_bad = |text: &&String| {
        text.is_empty() || text.chars().count() > HINDRANCE_CHARS_MAX || text.contains(char::is_control)
    };
    if hindrances.all().any(|text| is_bad(&text)) {
        return Some(format!(
            "tells of a hindrance that is empty, longer than {HINDRANCE_CHARS_MAX} characters or has control \
             characters"
        ));
    }
    let is_long = |task: &TaskId| task.as_str().len() > HINDRANCE_CHARS_MAX;
    (hindrances.may_run.len() > MAY_RUN_MAX || hindrances.may_run.iter().any(is_long)).then(|| {
        format!("names more than {MAY_RUN_MAX} tasks beside its hindrances, or one that no task is called")
    })
}

/// What is wrong with attributes, for people.
pub fn attributes_fault(attributes: &Attributes) -> Option<String> {
    if attributes.len() > ATTRIBUTES_MAX {
        let many = attributes.len();
        return Some(format!("has {many} attributes, at most {ATTRIBUTES_MAX} are allowed"));
    }
    for (name, value) in attributes {
        let start: String = name.chars().take(40).collect();
        if name.is_empty() || name.len() > ATTRIBUTE_NAME_BYTES_MAX || name.contains(char::is_control) {
            return Some(format!(
                "has an attribute {start:?} whose name is empty, longer than {ATTRIBUTE_NAME_BYTES_MAX} bytes \
                 or has control characters"
            ));
        }
        let parts = match value {
            AttributeValue::Ranges(ranges) => ranges.len(),
            AttributeValue::Set(items) => items.len(),
            AttributeValue::Text(_) | AttributeValue::Scalar(_) => 1,
        };
        // No part takes less than a byte, so that a huge one is not even written out.
        if parts > ATTRIBUTE_VALUE_BYTES_MAX || value.to_string().len() > ATTRIBUTE_VALUE_BYTES_MAX {
            return Some(format!(
                "has an attribute {start:?} whose value is longer than {ATTRIBUTE_VALUE_BYTES_MAX} bytes"
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AgentId, Incarnation, Reserved, Scalar, Timestamp};

    fn an_agent() -> AgentInfo {
        let amount = Scalar::from_thousandths;
        AgentInfo {
            id: AgentId::new("a1"),
            hostname: "a1.local".to_owned(),
            http: String::new(),
            totals: Resources {
                cpus: amount(8_000),
                ports: PortRanges::new([(31_000, 31_999)]),
                ..Resources::default()
            },
            reserved: Reserved::new(),
            attributes: Attributes::new(),
            incarnation: Incarnation {
                boot_id: "b".to_owned(),
                started: Timestamp::from_millis(1),
                run: 1,
                place: String::new(),
            },
            has_docker: false,
            version: String::new(),
        }
    }

    /// What is said of an agent that is good but for `change`.
    #[track_caller]
    fn check(change: impl FnOnce(&mut AgentInfo), wanted: Option<&str>) {
        let mut info = an_agent();
        change(&mut info);
        let fault = info.fault();
        match (&fault, wanted) {
            (Some(fault), Some(part)) => {
                assert!(fault.contains(part) && fault.len() < 300, "{fault:?} lacks {part:?}");
            }
            (fault, wanted) => assert_eq!(fault.is_none(), wanted.is_none(), "{fault:?}"),
        }
    }

    /// Ranges as a stranger may write them.
    fn raw_ports(ranges: &[(u16, u16)]) -> PortRanges {
        rmp_serde::from_slice(&rmp_serde::to_vec(ranges).unwrap()).unwrap()
    }

    fn keep(info: &mut AgentInfo, role: &str, cpus: u64, ports: &[(u16, u16)]) {
        let cpus = Scalar::from_thousandths(cpus);
        let part = Resources { cpus, ports: raw_ports(ports), ..Resources::default() };
        info.reserved.insert(role.to_owned(), part);
    }

    #[test]
    fn absurd_claims_are_named() {
        check(|_| {}, None);
        check(|info| info.hostname.clear(), Some("empty hostname"));
        check(|info| info.hostname = "x".repeat(10_000), Some("a hostname of 10000 bytes"));
        check(|info| info.http = "x".repeat(257), Some("address for HTTP"));
        check(|info| info.id = AgentId::new("x".repeat(300)), Some("an id of".trim_start_matches("an ")));
        check(|info| info.hostname.push('\n'), Some("control character in its hostname"));
        check(|info| info.totals.cpus = Scalar::from_thousandths(u64::MAX), Some("cpus, at most"));
        check(|info| info.totals.mem = CLAIM_MAX.plus(Scalar::from_thousandths(1)), Some("mem, at most"));
        check(|info| info.totals.mem = CLAIM_MAX, None);
        check(|info| info.totals.ports = raw_ports(&[(10, 20), (15, 30)]), Some("10-20 and 15-30"));
        check(|info| info.totals.ports = raw_ports(&[(30, 40), (10, 20)]), Some("out of order"));
        check(|info| info.totals.ports = raw_ports(&[(20, 10)]), Some("20-10, which end before they begin"));
        check(|info| info.totals.ports = raw_ports(&[(0, 65_535); 70_000]), Some("70000 ranges of ports"));
    }

    #[test]
    fn reservations_are_parts_of_what_there_is() {
        check(|info| keep(info, "db", 8_000, &[(31_000, 31_010)]), None);
        check(|info| keep(info, "db", 8_001, &[]), Some("more for its roles than it has"));
        check(|info| keep(info, "db", 0, &[(80, 80)]), Some("at role db"));
        check(
            |info| {
                keep(info, "db", 1_000, &[(31_000, 31_010)]);
                keep(info, "ml", 1_000, &[(31_010, 31_020)]);
            },
            Some("a port for two of them, at role ml"),
        );
        check(|info| keep(info, "*", 1, &[]), Some("nobody's role"));
        check(|info| keep(info, "a b", 1, &[]), Some("spaces"));
        check(|info| (0..65).for_each(|at| keep(info, &format!("r{at}"), 1, &[])), Some("65 roles"));
        check(|info| keep(info, "db", u64::MAX, &[]), Some("for role db"));
    }

    #[test]
    fn tasks_named_beside_hindrances_are_few_and_short() {
        let of = |count: usize, bytes: usize| {
            let may_run = (0..count).map(|at| TaskId::new(format!("{at:0bytes$}"))).collect();
            hindrances_fault(&Hindrances { may_run, ..Hindrances::default() }).is_some()
        };
        assert_eq!((of(MAY_RUN_MAX, 240), of(MAY_RUN_MAX + 1, 240), of(1, 4_000)), (false, true, true));
    }

    #[test]
    fn attributes_are_few_and_short() {
        let text = |text: String| AttributeValue::Text(text);
        let add = |info: &mut AgentInfo, name: &str, value: AttributeValue| {
            info.attributes.insert(name.to_owned(), value);
        };
        check(|info| (0..256).for_each(|at| add(info, &format!("a{at}"), text("x".to_owned()))), None);
        check(
            |info| (0..5_000).for_each(|at| add(info, &format!("a{at}"), text("x".to_owned()))),
            Some("5000 attributes, at most 256"),
        );
        check(|info| add(info, "", text("x".to_owned())), Some("whose name is empty"));
        check(|info| add(info, &"n".repeat(100_000), text("x".to_owned())), Some("whose name"));
        check(|info| add(info, "a", text("x".repeat(1_024))), None);
        check(|info| add(info, "a", text("x".repeat(1_025))), Some("value is longer"));
        check(
            |info| add(info, "a", AttributeValue::Ranges(vec![(i64::MIN, i64::MAX); 1_000_000])),
            Some("value is longer"),
        );
        check(|info| add(info, "a", AttributeValue::Scalar(i64::MIN)), None);
    }
}
