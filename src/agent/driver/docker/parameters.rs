//! Raw `docker run` options that users put into `parameters`.
//!
//! Way in: [`apply`]. The engine's interface has no such list, so each option is translated;
//! one we do not know is refused by name rather than dropped.

use bollard::models::{ContainerCreateBody, HostConfig, ResourcesUlimits};

use crate::agent::driver::DriverError;

/// What [`apply`] understands, for the refusal.
const KNOWN: &str = "add-host, cap-add, cap-drop, cpu-shares, cpus, dns, dns-option, dns-search, entrypoint, env, \
                     group-add, hostname, init, ipc, label, log-driver, log-opt, memory-swap, net, network, pid, \
                     pids-limit, privileged, read-only, security-opt, shm-size, stop-signal, sysctl, tmpfs, ulimit, \
                     user, userns, uts, volume, workdir";

/// Applies options in order over what the launch says.
///
/// # Errors
/// [`DriverError::Refused`] naming the option that cannot be applied.
pub(super) fn apply(
    parameters: &[(String, String)],
    body: &mut ContainerCreateBody,
    host: &mut HostConfig,
) -> Result<(), DriverError> {
    parameters.iter().try_for_each(|(key, value)| apply_one(key, value, body, host))
}

fn apply_one(
    key: &str,
    value: &str,
    body: &mut ContainerCreateBody,
    host: &mut HostConfig,
) -> Result<(), DriverError> {
    let bad = || DriverError::Refused(format!("docker parameter {key}={value} cannot be understood"));
    let pair = || value.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
    let number = || value.parse::<i64>().map_err(|_| bad());
    let flag = || value.parse::<bool>().map_err(|_| bad());
    let text = || Some(value.to_owned());
    match key {
        "hostname" => body.hostname = text(),
        "user" => body.user = text(),
        "workdir" => body.working_dir = text(),
        "stop-signal" => body.stop_signal = text(),
        "entrypoint" => body.entrypoint = Some(vec![value.to_owned()]),
        "env" => push(&mut body.env, value),
        "label" => {
            let (name, content) = pair().unwrap_or((value.to_owned(), String::new()));
            if name.starts_with(super::LABEL_PREFIX) {
                return Err(DriverError::Refused(format!(
                    "docker parameter label={value}: labels of ours cannot be set"
                )));
            }
            body.labels.get_or_insert_default().insert(name, content);
        }
        "add-host" => push(&mut host.extra_hosts, value),
        "cap-add" => push(&mut host.cap_add, value),
        "cap-drop" => push(&mut host.cap_drop, value),
        "dns" => push(&mut host.dns, value),
        "dns-option" => push(&mut host.dns_options, value),
        "dns-search" => push(&mut host.dns_search, value),
        "group-add" => push(&mut host.group_add, value),
        "security-opt" => push(&mut host.security_opt, value),
        "volume" => push(&mut host.binds, value),
        "sysctl" => {
            let (name, content) = pair().ok_or_else(bad)?;
            host.sysctls.get_or_insert_default().insert(name, content);
        }
        "tmpfs" => {
            let (path, options) = value.split_once(':').unwrap_or((value, ""));
            host.tmpfs.get_or_insert_default().insert(path.to_owned(), options.to_owned());
        }
        "ulimit" => host.ulimits.get_or_insert_default().push(ulimit(value).ok_or_else(bad)?),
        "log-driver" => {
            let log = host.log_config.get_or_insert_default();
            log.typ = text();
            // Options of one driver mean nothing to another.
            log.config = None;
        }
        "log-opt" => {
            let (name, content) = pair().ok_or_else(bad)?;
            host.log_config.get_or_insert_default().config.get_or_insert_default().insert(name, content);
        }
        "net" | "network" => host.network_mode = text(),
        "ipc" => host.ipc_mode = text(),
        "pid" => host.pid_mode = text(),
        "uts" => host.uts_mode = text(),
        "userns" => host.userns_mode = text(),
        "init" => host.init = Some(flag()?),
        "privileged" => host.privileged = Some(flag()?),
        "read-only" => host.readonly_rootfs = Some(flag()?),
        "cpu-shares" => host.cpu_shares = Some(number()?),
        "pids-limit" => host.pids_limit = Some(number()?),
        "cpus" => host.nano_cpus = Some(nano_cpus(value).ok_or_else(bad)?),
        "shm-size" => host.shm_size = Some(bytes(value).ok_or_else(bad)?),
        "memory-swap" => host.memory_swap = Some(bytes(value).ok_or_else(bad)?),
        _ => {
            return Err(DriverError::Refused(format!(
                "docker parameter '{key}' is not supported; known are {KNOWN}"
            )));
        }
    }
    Ok(())
}

fn push(list: &mut Option<Vec<String>>, value: &str) {
    list.get_or_insert_default().push(value.to_owned());
}

/// `nofile=1024:2048`, or one number for both.
fn ulimit(text: &str) -> Option<ResourcesUlimits> {
    let (name, limits) = text.split_once('=')?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    Some(ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(soft.parse().ok()?),
        hard: Some(hard.parse().ok()?),
    })
}

fn nano_cpus(text: &str) -> Option<i64> {
    let cpus: f64 = text.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "range checked below")]
    let nanos = (cpus * 1e9) as i64;
    (0.001..=4096.0).contains(&cpus).then_some(nanos)
}

/// `64m`, `1g`, `1024`; -1 for no bound.
fn bytes(text: &str) -> Option<i64> {
    let text = text.trim().trim_end_matches(['b', 'B']);
    let (number, shift) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (text.get(..at)?, 10),
        (at, 'm' | 'M') => (text.get(..at)?, 20),
        (at, 'g' | 'G') => (text.get(..at)?, 30),
        _ => (text, 0),
    };
    number.parse::<i64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(key: &str, value: &str) -> Result<(ContainerCreateBody, HostConfig), DriverError> {
        let (mut body, mut host) = (ContainerCreateBody::default(), HostConfig::default());
        apply(&[(key.to_owned(), value.to_owned())], &mut body, &mut host)?;
        Ok((body, host))
    }

    #[test]
    fn options_reach_their_field() {
        assert_eq!(applied("hostname", "web").unwrap().0.hostname.as_deref(), Some("web"));
        assert_eq!(applied("shm-size", "64m").unwrap().1.shm_size, Some(64 << 20));
        assert_eq!(applied("cpus", "1.5").unwrap().1.nano_cpus, Some(1_500_000_000));
        let ulimit = applied("ulimit", "nofile=10:20").unwrap().1.ulimits.unwrap().remove(0);
        assert_eq!((ulimit.soft, ulimit.hard), (Some(10), Some(20)));
        assert_eq!(applied("label", "a=b=c").unwrap().0.labels.unwrap()["a"], "b=c");
    }

    #[test]
    fn what_cannot_be_applied_is_named() {
        for (key, value) in
            [("rm", "true"), ("ulimit", "nofile"), ("cpus", "-1"), ("label", "platformd.agent=x")]
        {
            let Err(DriverError::Refused(text)) = applied(key, value) else { panic!("{key} was taken") };
            assert!(text.contains(key), "{text}");
        }
    }

    #[test]
    fn the_list_of_known_options_is_true() {
        for key in KNOWN.split(", ") {
            let values = ["1", "true", "a=1", "64m"];
            assert!(values.iter().any(|value| applied(key, value).is_ok()), "{key}");
        }
    }
}
