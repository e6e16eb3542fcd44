//! Counts results of health checks and says when a task has failed too often.
//!
//! Way in: [`judge`]. Pure; probes run in `health`. Source: spec 6.2 and 6.3.

use crate::domain::{HealthCheck, HealthProtocol, HealthResult, LaunchCheck, Timestamp};

/// Every failure up to this many in a row is told; later ones at powers of two, so that
/// a check that fails for ever does not fill the log.
const FAILURES_TOLD_MAX: u32 = 8;

/// Cause of the HTTPS kinds' failures.
pub(super) const NO_HTTPS: &str =
    "HTTPS checks are not supported by this agent; use an HTTP, TCP or COMMAND check";

/// One answer of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// Which check of the spec, counted from 0.
    pub(crate) check: u32,
    /// Nothing, or what went wrong.
    pub(crate) failure: Option<String>,
    /// Asked ahead of the schedule, to see a first success sooner: a failure says nothing.
    pub(crate) is_early: bool,
}

/// What one answer means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The masters should hear of it.
    pub(crate) is_news: bool,
    /// The task has failed too often; the cause.
    pub(crate) kill: Option<String>,
}

/// Whether Mesos' rules hold, rather than those of Marathon's own checks.
pub(crate) fn is_agent_run(protocol: HealthProtocol) -> bool {
    match protocol {
        HealthProtocol::Http | HealthProtocol::Https | HealthProtocol::Tcp => false,
        HealthProtocol::Command
        | HealthProtocol::MesosHttp
        | HealthProtocol::MesosHttps
        | HealthProtocol::MesosTcp => true,
    }
}

/// Whether failures may end a task: not those of checks that we cannot perform.
fn may_kill(protocol: HealthProtocol) -> bool {
    !matches!(protocol, HealthProtocol::Https | HealthProtocol::MesosHttps)
}

/// The checks that are executed: all of Marathon's kinds, the first of Mesos' kinds.
pub(crate) fn executed(checks: &[LaunchCheck]) -> Vec<LaunchCheck> {
    let mut has_agent_run = false;
    let wanted = |launch: &&LaunchCheck| {
        let is_first = !has_agent_run;
        let agent_run = is_agent_run(launch.check.protocol);
        has_agent_run |= agent_run;
        !agent_run || is_first
    };
    checks.iter().filter(wanted).cloned().collect()
}

/// Enters `probe` into `results`. Failures before the first success are ignored within
/// the grace period, which counts from `running_since`.
pub(crate) fn judge(
    check: &HealthCheck,
    results: &mut Vec<HealthResult>,
    probe: &Probe,
    running_since: Timestamp,
    now: Timestamp,
) -> Verdict {
    let at = results.iter().position(|result| result.check == probe.check);
    let mut result = at.and_then(|at| results.get(at).cloned()).unwrap_or_default();
    result.check = probe.check;
    let verdict = match &probe.failure {
        None => succeed(&mut result, now),
        Some(cause) => {
            let is_young = now.since(running_since) < check.grace_period;
            if probe.is_early || (result.first_success.is_none() && is_young) {
                return Verdict::default();
            }
            fail(&mut result, cause, check, now)
        }
    };
    let is_first = at.is_none();
    match at.and_then(|at| results.get_mut(at)) {
        Some(place) => *place = result,
        None => results.push(result),
    }
    Verdict { is_news: verdict.is_news || is_first, ..verdict }
}

fn succeed(result: &mut HealthResult, now: Timestamp) -> Verdict {
    let was_alive = result.alive;
    result.alive = true;
    result.consecutive_failures = 0;
    result.first_success.get_or_insert(now);
    result.last_success = Some(now);
    Verdict { is_news: !was_alive, kill: None }
}

fn fail(result: &mut HealthResult, cause: &str, check: &HealthCheck, now: Timestamp) -> Verdict {
    let before = result.consecutive_failures;
    let count = before.saturating_add(1);
    let was_alive = result.alive;
    result.alive = false;
    result.consecutive_failures = count;
    result.last_failure = Some(now);
    result.last_failure_cause = Some(cause.to_owned());
    let most = check.max_consecutive_failures;
    let is_limit =
        if is_agent_run(check.protocol) { count >= most.max(1) } else { most > 0 && before >= most };
    let kills = is_limit && may_kill(check.protocol);
    let is_told = was_alive || kills || count <= FAILURES_TOLD_MAX || count.is_power_of_two();
    Verdict { is_news: is_told, kill: kills.then(|| cause.to_owned()) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn a_check(protocol: HealthProtocol, max_consecutive_failures: u32, grace: u64) -> HealthCheck {
        HealthCheck {
            protocol,
            path: None,
            port_index: Some(0),
            port: None,
            command: None,
            grace_period: Duration::from_secs(grace),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            max_consecutive_failures,
            delay: Duration::ZERO,
            ignore_http_1xx: false,
            ipv6: false,
        }
    }

    /// Feeds one letter per second (`+` success, `-` failure, `.` early failure) and
    /// gives the number of the letter that kills, from 1, with the numbers that are told.
    fn play(check: &HealthCheck, answers: &str) -> (Option<usize>, Vec<usize>) {
        let mut results = Vec::new();
        let mut told = Vec::new();
        for (at, answer) in answers.chars().enumerate() {
            let failure = (answer != '+').then(|| "500 Internal Server Error".to_owned());
            let probe = Probe { check: 0, failure, is_early: answer == '.' };
            let now = Timestamp::from_millis(i64::try_from(at).unwrap() * 1000);
            let verdict = judge(check, &mut results, &probe, Timestamp::from_millis(0), now);
            if verdict.is_news {
                told.push(at + 1);
            }
            if verdict.kill.is_some() {
                return (Some(at + 1), told);
            }
        }
        (None, told)
    }

    #[track_caller]
    fn check(protocol: HealthProtocol, most: u32, grace: u64, answers: &str, killed_at: Option<usize>) {
        assert_eq!(play(&a_check(protocol, most, grace), answers).0, killed_at, "{answers}");
    }

    #[test]
    fn marathons_kinds_kill_at_one_more_than_the_limit() {
        check(HealthProtocol::Http, 3, 0, "---", None);
        check(HealthProtocol::Http, 3, 0, "----", Some(4));
        check(HealthProtocol::Tcp, 1, 0, "-+--", Some(4));
    }

    #[test]
    fn marathons_kinds_never_kill_at_limit_zero() {
        check(HealthProtocol::Http, 0, 0, "+-------------------", None);
    }

    #[test]
    fn mesos_kinds_kill_at_the_limit_and_at_once_for_zero_and_one() {
        check(HealthProtocol::MesosHttp, 3, 0, "---", Some(3));
        check(HealthProtocol::Command, 0, 0, "+-", Some(2));
        check(HealthProtocol::MesosTcp, 1, 0, "+-", Some(2));
    }

    #[test]
    fn checks_that_we_cannot_perform_kill_nothing() {
        check(HealthProtocol::Https, 1, 0, "-----", None);
        check(HealthProtocol::MesosHttps, 1, 0, "-----", None);
    }

    #[test]
    fn grace_hides_failures_until_the_first_success() {
        check(HealthProtocol::MesosHttp, 1, 3, "---", None);
        check(HealthProtocol::MesosHttp, 1, 3, "----", Some(4));
        check(HealthProtocol::MesosHttp, 1, 30, "+-", Some(2));
    }

    #[test]
    fn early_failures_say_nothing() {
        check(HealthProtocol::MesosHttp, 1, 0, "...+-", Some(5));
        check(HealthProtocol::MesosHttp, 1, 0, "....", None);
    }

    #[test]
    fn only_changes_and_few_failures_are_told() {
        let told = play(&a_check(HealthProtocol::Http, 0, 0), "+++--++").1;
        assert_eq!(told, [1, 4, 5, 6]);
        let told = play(&a_check(HealthProtocol::Http, 0, 0), &"-".repeat(100)).1;
        assert_eq!(told, [1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64]);
    }

    #[test]
    fn only_the_first_of_mesos_kinds_is_executed() {
        let kinds =
            [HealthProtocol::Http, HealthProtocol::Command, HealthProtocol::MesosTcp, HealthProtocol::Tcp];
        let launch = |(index, kind): (u32, &HealthProtocol)| LaunchCheck {
            index,
            check: a_check(*kind, 3, 0),
            host_port: None,
        };
        let checks: Vec<LaunchCheck> = (0u32..).zip(&kinds).map(launch).collect();
        let left: Vec<u32> = executed(&checks).iter().map(|check| check.index).collect();
        assert_eq!(left, [0, 1, 3]);
    }
}
