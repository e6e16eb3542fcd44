use super::*;
use crate::domain::Strategy;

fn master(edit: impl FnOnce(&mut MasterFlags)) -> Result<MasterSettings, String> {
    let mut flags = MasterFlags::default();
    edit(&mut flags);
    MasterSettings::from_flags(flags).map_err(|error| error.to_string())
}

fn agent(edit: impl FnOnce(&mut AgentFlags)) -> Result<AgentSettingsFlags, String> {
    let mut flags = AgentFlags::default();
    edit(&mut flags);
    AgentSettingsFlags::from_flags(flags).map_err(|error| error.to_string())
}

#[track_caller]
fn refused<T: std::fmt::Debug>(given: Result<T, String>, parts: &[&str]) {
    let text = given.unwrap_err();
    for part in parts {
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }
}

#[test]
fn defaults_stay_on_loopback() {
    let settings = master(|_| {}).unwrap();
    assert_eq!(settings.http.as_str(), "127.0.0.1:8080");
    assert_eq!(settings.advertise_cluster.as_str(), "127.0.0.1:5050");
    assert!(settings.masters.is_empty());
    assert_eq!(agent(|_| {}).unwrap().masters[0].as_str(), "127.0.0.1:5050");
}

#[test]
fn apps_are_spread_unless_packing_is_asked_for() {
    let strategy = |raw: Option<&str>| {
        master(|flags| flags.placement_strategy = raw.map(str::to_owned)).map(|said| said.placement_strategy)
    };
    assert_eq!(strategy(None), Ok(Strategy::Spread));
    assert_eq!(strategy(Some("binpack")), Ok(Strategy::Binpack));
    refused(strategy(Some("tight")), &["--placement-strategy", "\"tight\"", "spread or binpack"]);
}

#[test]
fn masters_are_one_three_or_five_distinct() {
    let three = "127.0.0.1:5050,127.0.0.1:5052,127.0.0.1:5053";
    assert_eq!(master(|flags| flags.masters = Some(three.into())).unwrap().masters.len(), 3);
    for (given, part) in [
        ("127.0.0.1:5050,127.0.0.1:5052", "got 2"),
        ("127.0.0.1:5050,127.0.0.1:5050,127.0.0.1:5052", "named twice"),
        ("127.0.0.1:5050,b,c", "\"b\" is not host:port"),
        ("127.0.0.1:0", "cannot be dialled"),
        ("127.0.0.1:5052,127.0.0.1:5053,127.0.0.1:5054", "does not name this master, 127.0.0.1:5050"),
    ] {
        refused(master(|flags| flags.masters = Some(given.into())), &["--masters", part]);
    }
}

#[test]
fn beyond_loopback_needs_consent() {
    let wide = |flags: &mut MasterFlags| {
        flags.http = Some("10.0.0.1:8080".into());
        flags.cluster = Some("10.0.0.1:5050".into());
    };
    refused(master(wide), &["--http", "10.0.0.1:8080", "--insecure"]);
    let with_consent = master(|flags| {
        wide(flags);
        flags.insecure = Some(true);
    });
    assert!(with_consent.is_ok());
    let secured = |passwords: bool| {
        master(|flags| {
            wide(flags);
            flags.cluster_secret_file = Some("secret".into());
            flags.http_credentials = passwords.then(|| "people".into());
        })
    };
    refused(secured(false), &["--http", "--http-credentials"]);
    assert!(secured(true).is_ok());
    refused(
        master(|flags| {
            wide(flags);
            flags.http_credentials = Some("people".into());
        }),
        &["--cluster", "--cluster-secret-file"],
    );
    refused(agent(|flags| flags.masters = Some("10.0.0.1:5050".into())), &["--masters", "--insecure"]);
}

#[test]
fn a_wildcard_needs_an_advertised_address() {
    let wildcard = |flags: &mut MasterFlags| {
        flags.http = Some("0.0.0.0:8080".into());
        flags.insecure = Some(true);
    };
    refused(master(wildcard), &["--http", "--advertise-http"]);
    let told = master(|flags| {
        wildcard(flags);
        flags.advertise_http = Some("m1.example:8080".into());
    });
    assert_eq!(told.unwrap().advertise_http.as_str(), "m1.example:8080");
}

#[test]
fn durations_have_units_and_bounds() {
    let settings = master(|flags| flags.agent_timeout = Some("1m".into())).unwrap();
    assert_eq!(settings.agent_timeout.as_secs(), 60);
    refused(master(|flags| flags.agent_timeout = Some("10".into())), &["--agent-timeout", "10s"]);
    refused(master(|flags| flags.agent_timeout = Some("5ms".into())), &["between 3 s"]);
    refused(master(|flags| flags.agent_timeout = Some("99999999999999999999h".into())), &["expected"]);
}

#[test]
fn resources_and_attributes_are_read_as_mesos_wrote_them() {
    let settings = agent(|flags| {
        flags.resources = Some("cpus:4; mem:8192;ports:[31000-31009,32000-32000]".into());
        flags.attributes = Some("rack:r1;zone:a;jdk:[6-7]".into());
        flags.allow = Some("privileged,host-volumes=/srv".into());
    })
    .unwrap();
    assert_eq!(settings.resources.cpus.unwrap().to_f64(), 4.0);
    assert_eq!(settings.resources.disk, None);
    assert_eq!(settings.resources.ports.unwrap().count(), 11);
    assert_eq!(settings.attributes.get("jdk").unwrap().to_string(), "[6-7]");
    assert_eq!(settings.allow.host_volumes, [std::path::PathBuf::from("/srv")]);
    assert!(settings.allow.privileged && !settings.allow.parameters);
}

#[test]
fn resources_for_roles_are_read_as_mesos_wrote_them() {
    let read = |given: &str| agent(|flags| flags.resources = Some(given.into())).map(|said| said.resources);
    let said = read("cpus:8;cpus(db):2;mem(*):16384;mem(db):4096;ports(db):[5000-5100];ports:[31000-32000]")
        .unwrap();
    assert_eq!((said.cpus.unwrap().to_f64(), said.mem.unwrap().to_f64(), said.disk), (8.0, 16_384.0, None));
    let db = &said.reserved["db"];
    assert_eq!((db.cpus.to_f64(), db.mem.to_f64(), db.ports.count()), (2.0, 4_096.0, 101));
    let said = read("cpus(db):2;cpus( ml ):1;ports(db):[1-2]").unwrap();
    assert_eq!((said.cpus.unwrap().to_f64(), said.mem), (0.0, None), "nothing is left to everybody");
    assert_eq!((said.reserved.len(), said.ports.unwrap().count()), (2, 0));
    for (given, part) in [
        ("cpus(db):1;cpus(db):2", "cpus(db) is named twice"),
        ("cpus(*):1;cpus:2", "cpus is named twice"),
        ("cpus(db:1", "names no role"),
        ("cpus():1", "must not be empty"),
        ("cpus(-a):1", "begin with -"),
        ("cpus(a b):1", "spaces"),
        ("cpus(db):NaN", "is no amount"),
        ("cpus(db):inf", "is more than any machine has"),
        ("mem(db):1e300", "is more than any machine has"),
        ("ports:[1-10];ports(db):[10-20]", "ports [10-10] of role db are named for others"),
        ("ports(db):[1-10];ports(ml):[5-6]", "ports [5-6] of role ml are named for others"),
        ("ports:[1-10,5-6]", "5-6 overlaps 1-10"),
    ] {
        refused(read(given), &["--resources", part]);
    }
}

#[test]
fn what_masters_would_refuse_is_refused_at_the_start() {
    let many: Vec<String> = (0..5_000).map(|at| format!("a{at}:x")).collect();
    refused(agent(|flags| flags.attributes = Some(many.join(";"))), &["--attributes", "5000 attributes"]);
    let long = agent(|flags| flags.resources = Some("x".repeat(100_000)));
    assert!(long.unwrap_err().len() < 400, "a sentence, not the whole of it");
}

#[test]
fn bad_agent_flags_name_themselves() {
    for given in ["cpus", "cpus:-1", "cpus:NaN", "cpus:1;cpus:2", "gas:1", "ports:31000", "ports:[0-9]"] {
        refused(agent(|flags| flags.resources = Some(given.into())), &["--resources", "expected"]);
    }
    refused(agent(|flags| flags.attributes = Some("rack".into())), &["--attributes", "rack:r1"]);
    refused(agent(|flags| flags.allow = Some("host-volumes=srv".into())), &["--allow", "/DIRECTORY"]);
    refused(agent(|flags| flags.runtime = Some("podman".into())), &["--runtime", "docker"]);
    refused(agent(|flags| flags.hostname = Some("a:80:b".into())), &["--hostname"]);
    refused(agent(|flags| flags.log_format = Some("xml".into())), &["--log-format", "json"]);
    refused(agent(|flags| flags.log = Some("info,=[".into())), &["--log", "expected"]);
}

#[test]
fn the_file_fills_what_flags_leave_open() {
    let file = SettingsFile::parse("[master]\nhttp = '127.0.0.1:1'\ncluster = '127.0.0.1:2'\n").unwrap();
    let flags = MasterFlags { http: Some("127.0.0.1:3".into()), ..MasterFlags::default() };
    let settings = MasterSettings::from_flags(flags.or(file.master)).unwrap();
    assert_eq!(settings.http.port(), 3);
    assert_eq!(settings.cluster.port(), 2);
}

#[test]
fn the_file_refuses_unknown_keys() {
    let error = SettingsFile::parse("[agent]\nmaster = 'a:1'\n").unwrap_err().to_string();
    assert!(error.contains("master") && error.contains("masters"), "{error}");
}

#[test]
fn dev_stays_on_loopback_with_one_or_three_masters() {
    let dev = |edit: fn(&mut DevFlags)| {
        let mut flags = DevFlags::default();
        edit(&mut flags);
        DevSettings::from_flags(flags).map_err(|error| error.to_string())
    };
    assert_eq!(dev(|_| {}).unwrap().agents, None);
    refused(dev(|flags| flags.masters = Some(2)), &["--masters", "1 or 3"]);
    refused(dev(|flags| flags.agents = Some(0)), &["--agents"]);
    let kept = |flags: &mut DevFlags| flags.resources = Some("ports:[3-9];ports(db):[1-2]".into());
    assert!(dev(kept).unwrap().check_shares(1).is_ok());
    refused(dev(kept).unwrap().check_shares(2).map_err(|error| error.to_string()), &["ports(ROLE)"]);
    refused(dev(|flags| flags.http = Some("0.0.0.0:80".into())), &["--http", "loopback"]);
}

#[test]
fn amounts_that_no_machine_has_are_refused_as_such() {
    let said = |raw: String| agent(|flags| flags.resources = Some(raw)).map(|settings| settings.resources);
    for raw in ["cpus:1e15", "cpus:2000000000;mem:1", "cpus(db):2000000000"] {
        refused(
            said(raw.into()),
            &["--resources", "is more than any machine has; expected at most 1000000000"],
        );
    }
    refused(said("mem:-1".into()), &["\"-1\" is no amount"]);
    assert_eq!(said("cpus:1000000000".into()).unwrap().cpus, Some(crate::domain::resources::CLAIM_MAX));
    let roles = |count: usize| (0..count).map(|n| format!("cpus(r{n}):1;")).collect::<String>();
    refused(said(roles(65)), &["65 roles; expected at most 64"]);
    assert_eq!(said(roles(64)).unwrap().reserved.len(), 64);
    let ports = |count: u16| (0..count).map(|n| format!("{0}-{0},", 2 * n + 1)).collect::<String>();
    refused(said(format!("ports:[{}]", ports(1_025))), &["1025 ranges", "expected at most 1024"]);
    assert!(said(format!("ports:[{}]", ports(1_024))).is_ok());
}

#[test]
fn attributes_that_no_constraint_sees_are_told_of() {
    let unseen = |raw: &str| {
        unseen_attributes(&agent(|flags| flags.attributes = Some(raw.to_owned())).unwrap().attributes)
    };
    assert_eq!(unseen("rack:r1;zone:a;region:e"), [""; 0]);
    let told = unseen("@zone:x;hostname:y;@hostname:z;rack:r1");
    assert_eq!(told.len(), 3, "{told:?}");
    for part in ["\"hostname\"", "--hostname", "\"@zone\"", "name it \"zone\""] {
        assert!(told.iter().any(|line| line.contains(part)), "{told:?} lacks {part}");
    }
}

#[test]
fn a_bad_file_is_told_in_one_line_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.toml");
    let told = |text: &str| {
        std::fs::write(&path, text).unwrap();
        SettingsFile::load(Some(&path)).unwrap_err().to_string()
    };
    for (text, part) in [
        ("[master]\nnonsense = 1\n", "line 2, column 1: unknown field `nonsense`"),
        ("[agent]\n\nhttp = \n", "line 3, column "),
        ("[dev]\nagents = -1\n", "line 2, column 10: "),
    ] {
        let said = told(text);
        assert!(said.contains(part) && !said.contains('\n'), "{said:?} lacks {part:?}");
    }
}
