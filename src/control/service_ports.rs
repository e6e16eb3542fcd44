//! Chooses service ports for those that a definition leaves at 0. Source: spec 10.

use std::collections::BTreeSet;

use super::{ControlError, SERVICE_PORTS};
use crate::domain::{AppId, RunSpec};
use crate::state::ClusterState;

/// Every service port of every app.
pub(super) fn used(state: &ClusterState) -> BTreeSet<u16> {
    let contents = state.apps.values().filter_map(|row| state.current(&row.id));
    contents.flat_map(|content| content.spec.service_ports()).collect()
}

/// Fills in ports that are 0: first those that the app had and no longer names, then the
/// lowest free ones. Gives the newly taken ones, and adds them to `used`.
pub(super) fn assign(
    state: &ClusterState,
    app: &AppId,
    spec: &mut RunSpec,
    used: &mut BTreeSet<u16>,
) -> Result<Vec<u16>, ControlError> {
    let (from, to) = SERVICE_PORTS;
    let named: BTreeSet<u16> = spec.service_ports().into_iter().collect();
    let before = state.current(app).map(|content| content.spec.service_ports()).unwrap_or_default();
    let mut own = before.into_iter().filter(|port| (from..=to).contains(port) && !named.contains(port));
    let mut taken = Vec::new();
    for slot in spec.service_ports_mut().into_iter().filter(|port| **port == 0) {
        if let Some(port) = own.next() {
            *slot = port;
            continue;
        }
        let free = (from..=to).find(|port| !used.contains(port) && !named.contains(port));
        let Some(port) = free else { return Err(ControlError::PortsExhausted { from, to }) };
        used.insert(port);
        taken.push(port);
        *slot = port;
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AppVersion, PortDefinition, SpecVersion, Timestamp};
    use crate::state::AppRow;

    fn with_ports(ports: &[u16]) -> RunSpec {
        let definition = |port: &u16| PortDefinition { port: *port, ..PortDefinition::default() };
        RunSpec { port_definitions: ports.iter().map(definition).collect(), ..RunSpec::default() }
    }

    #[track_caller]
    fn check(before: &[u16], others: &[u16], asked: &[u16], wanted: &[u16]) {
        let app = AppId::parse("/a").unwrap();
        let mut state = ClusterState::default();
        let version = SpecVersion(Timestamp::from_millis(1));
        for (id, ports) in [(app.clone(), before), (AppId::parse("/other").unwrap(), others)] {
            let content = AppVersion {
                app: id.clone(),
                spec: with_ports(ports),
                last_scaling: version,
                last_config_change: version,
            };
            state.versions.insert((id.clone(), version), content);
            state.apps.insert(id.clone(), AppRow { id, version, delay: None, last_failure: None });
        }
        let mut spec = with_ports(asked);
        let mut used = used(&state);
        assign(&state, &app, &mut spec, &mut used).unwrap();
        assert_eq!(spec.service_ports(), wanted);
    }

    #[test]
    fn lowest_free_ports_are_chosen_in_order() {
        check(&[], &[10_000, 10_002], &[0, 0], &[10_001, 10_003]);
    }

    #[test]
    fn the_same_document_again_keeps_its_ports() {
        check(&[10_000, 10_001], &[], &[0, 0], &[10_000, 10_001]);
        check(&[10_010, 10_011], &[10_000], &[10_010, 0, 10_011], &[10_010, 10_001, 10_011]);
    }

    #[test]
    fn ports_asked_for_are_kept_even_when_others_have_them() {
        check(&[], &[80], &[80, 0], &[80, 10_000]);
    }
}
