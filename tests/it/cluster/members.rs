//! A master that lost its disk, and the one that an operator puts in its place.

use std::process::Output;

use serde_json::{Value, json};

use super::rig::{Cluster, Process, eventually, get, http};
use crate::spawned::platformd;

/// Runs `platformd members` against one master; gives its exit code and all that it said.
fn members(url: &str, words: &[&str]) -> (Option<i32>, String) {
    let url = format!("http://{url}");
    let words = [&["members"], words, &["--url", &url]].concat();
    let Output { status, stdout, stderr } = platformd(&words).output().unwrap();
    let said = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (status.code(), said)
}

/// Makes an app without instances through any master, and waits until that is acknowledged.
fn write(cluster: &Cluster, id: &str) {
    let body = json!({"cmd": "true", "instances": 0}).to_string();
    eventually("a write is acknowledged", || {
        let mut masters = cluster.http.iter();
        masters.find_map(|master| {
            let answer = http(master, "PUT", &format!("/v2/apps{id}"), &[("Idempotency-Key", id)], &body)?;
            (answer.status < 300).then_some(())
        })
    });
}

/// What a master says of its being ready: status and words.
fn ready(master: &str) -> Option<(u16, String)> {
    let answer = get(master, "/ready")?;
    Some((answer.status, answer.json()["message"].as_str().unwrap_or_default().to_owned()))
}

/// Apps in the state of this very master, however far it is; nothing from one that says that it
/// has no state of the cluster.
fn apps_of(master: &str) -> Option<usize> {
    Some(get(master, "/v2/apps?stale=true")?.json()["apps"].as_array()?.len())
}

/// What `asked` says of the master at a cluster address.
fn listed(asked: &str, cluster: &str) -> Vec<Value> {
    let answer = get(asked, "/v1/members").unwrap().json();
    let all = answer["members"].as_array().unwrap();
    all.iter().filter(|member| member["cluster"] == cluster).cloned().collect()
}

/// A cluster of which one master, no leader, lost its process and its disk; who it was.
fn with_a_lost_master() -> (Cluster, usize) {
    let mut cluster = Cluster::start(3, 0, "process");
    for n in 0..5 {
        write(&cluster, &format!("/written/n{n}"));
    }
    let lost = (cluster.leader() + 1) % 3;
    cluster.masters[lost].as_mut().unwrap().kill();
    cluster.wipe_master(lost);
    (cluster, lost)
}

#[test]
fn a_new_master_takes_the_place_of_a_lost_one() {
    let (mut cluster, lost) = with_a_lost_master();
    let old = cluster.cluster_address(lost).to_owned();
    cluster.move_master(lost);
    cluster.start_master(lost);
    let new = cluster.cluster_address(lost).to_owned();
    let leader = cluster.leader();
    let asked = cluster.http[leader].clone();
    eventually("the new master introduces itself", || (!listed(&asked, &new).is_empty()).then_some(()));
    assert_eq!(listed(&asked, &new)[0]["votes"], false);

    let (code, said) = members(&asked, &["replace", &old, &new]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("took the place of"), "{said}");
    assert_eq!(listed(&asked, &new)[0]["votes"], true);
    assert_eq!(listed(&asked, &old).iter().filter(|member| member["votes"] == true).count(), 0);
    eventually("it has a full copy", || {
        assert_eq!(apps_of(&cluster.http[lost])?, 5, "it shows a part");
        Some(())
    });
    eventually("it is ready", || (ready(&cluster.http[lost])?.0 == 200).then_some(()));
    let (code, said) = members(&asked, &["replace", &old, &new]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("a member already"), "{said}");

    // Its voice counts: with one of the old ones gone it makes the majority.
    let other = (0..3).find(|n| *n != lost && *n != leader).unwrap();
    cluster.masters[other].as_mut().unwrap().kill();
    write(&cluster, "/after");
    eventually("it has the new write", || (apps_of(&cluster.http[lost])? == 6).then_some(()));
    eventually("nobody lists the lost one", || {
        let (code, said) = members(&asked, &["list"]);
        (code == Some(0) && !said.contains(&old)).then_some(())
    });
}

#[test]
fn an_emptied_master_at_its_old_address_is_a_stranger_until_it_replaces_itself() {
    let (mut cluster, lost) = with_a_lost_master();
    cluster.start_master(lost);
    let at = cluster.cluster_address(lost).to_owned();
    // Any master takes the question; this one passes it on.
    let standby = (0..3).find(|n| *n != lost && *n != cluster.leader()).unwrap();
    let asked = cluster.http[standby].clone();
    let stranger = eventually("the emptied master introduces itself", || {
        listed(&asked, &at).into_iter().find(|member| member["votes"] == false)
    });
    write(&cluster, "/meanwhile");
    let refused = get(&cluster.http[lost], "/v2/apps?stale=true").unwrap();
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.json()["message"].as_str().unwrap().contains("members replace"), "{}", refused.body);
    let (status, said) = ready(&cluster.http[lost]).unwrap();
    assert!(status == 503 && said.contains("no member"), "{status} {said}");
    assert_eq!(get(&cluster.http[lost], "/ping").unwrap().status, 200);
    let told = get(&cluster.http[lost], "/v1/members").unwrap().json();
    let voters = told["members"].as_array().unwrap().iter().filter(|it| it["votes"] == true);
    assert_eq!(voters.filter(|it| it["id"] != stranger["id"]).count(), 3, "{told}");

    let (code, said) = members(&asked, &["replace", &at, &at]);
    assert_eq!(code, Some(0), "{said}");
    eventually("it alone has the place, and votes", || {
        let now = listed(&asked, &at);
        (now.len() == 1 && now[0]["id"] == stranger["id"] && now[0]["votes"] == true).then_some(())
    });
    eventually("it has a full copy", || {
        assert_eq!(apps_of(&cluster.http[lost])?, 6, "it shows a part");
        Some(())
    });
    let (code, said) = members(&asked, &["replace", &at, &at]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("a member already"), "{said}");
    let (code, said) = members(&asked, &["replace", "12345", "54321"]);
    assert_eq!(code, Some(2), "{said}");
}

#[test]
fn a_replacement_that_cannot_be_says_what_to_do_first() {
    let (mut cluster, lost) = with_a_lost_master();
    let leader = cluster.leader();
    let asked = cluster.http[leader].clone();
    let id = |member: &Value| member["id"].as_str().unwrap().to_owned();
    let old = id(&listed(&asked, cluster.cluster_address(lost))[0]);
    let own = id(&listed(&asked, cluster.cluster_address(leader))[0]);
    let refuse = |old: &str, new: &str, status: u16, parts: &[&str]| {
        let body = json!({"old": old, "new": new}).to_string();
        let answer = http(&asked, "POST", "/v1/members/replace", &[], &body).unwrap();
        assert_eq!(answer.status, status, "{}", answer.body);
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        for part in parts {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
    };
    refuse("12345", "54321", 422, &["member 12345", "list the members"]);
    refuse(&old, "12345", 409, &["master 12345", "--masters"]);
    refuse(&own, "12345", 409, &[&own, "while it leads", "DELETE /v2/leader"]);
    refuse(&old, &own, 409, &[&own, "a member already"]);

    // One that introduced itself and went away again.
    cluster.move_master(lost);
    cluster.start_master(lost);
    let at = cluster.cluster_address(lost).to_owned();
    let new = id(&eventually("it introduces itself", || listed(&asked, &at).first().cloned()));
    cluster.masters[lost].as_mut().unwrap().kill();
    refuse(&old, &new, 409, &[&new, &at, "see that it runs"]);

    // One that is alone in a cluster of its own.
    cluster.wipe_master(lost);
    let dir = cluster.data_dir(&format!("master{lost}"));
    let alone = ["master", "--data-dir", &dir, "--http", &cluster.http[lost], "--cluster", &at];
    let mut founder = Process::start(&alone);
    eventually("it leads alone", || get(&cluster.http[lost], "/v2/leader").filter(|it| it.status == 200));
    founder.kill();
    cluster.start_master(lost);
    let new = id(&eventually("it introduces itself", || {
        listed(&asked, &at).into_iter().find(|member| id(member) != new)
    }));
    refuse(&old, &new, 409, &[&new, "another cluster", "empty"]);
}

#[test]
fn a_replaced_master_on_its_old_disk_is_neither_ready_nor_shows_what_it_has() {
    let mut cluster = Cluster::start(3, 0, "process");
    write(&cluster, "/old");
    let leader = cluster.leader();
    let lost = (leader + 1) % 3;
    eventually("the write is everywhere", || (apps_of(&cluster.http[lost])? == 1).then_some(()));
    cluster.masters[lost].as_mut().unwrap().kill();
    let (old, old_http) = (cluster.cluster_address(lost).to_owned(), cluster.http[lost].clone());
    let start_old = cluster.succeed_master(lost);
    cluster.start_master(lost);
    let new = cluster.cluster_address(lost).to_owned();
    let asked = cluster.http[leader].clone();
    eventually("the new master introduces itself", || (!listed(&asked, &new).is_empty()).then_some(()));
    let (code, said) = members(&asked, &["replace", &old, &new]);
    assert_eq!(code, Some(0), "{said}");
    // Whoever hears that it is done may count on it.
    assert_eq!(ready(&cluster.http[lost]), Some((200, String::new())));
    write(&cluster, "/new");

    let _returned = start_old();
    eventually("it learns that it was replaced", || {
        assert_eq!(apps_of(&old_http), None, "it shows old state");
        let (status, said) = ready(&old_http)?;
        assert_eq!(status, 503, "it says that it is ready");
        said.contains("was replaced").then_some(())
    });
    let others = |key: &str| {
        let listed = get(&old_http, "/v1/members")?.json();
        let listed = listed["members"].as_array()?.clone();
        Some(listed.into_iter().filter(|member| member[key] == true).collect::<Vec<_>>())
    };
    eventually("it names the members, and who leads", || {
        let votes = others("votes")?;
        let is_new = |member: &Value| member["cluster"] == new.as_str();
        (votes.len() == 3 && votes.iter().any(is_new) && others("leads")?.len() == 1).then_some(())
    });
    // Also after another one took over, it passes on what it cannot answer.
    for _ in 0..2 {
        let before = cluster.leader();
        assert_eq!(http(&cluster.http[before], "DELETE", "/v2/leader", &[], "").unwrap().status, 200);
        eventually("another master leads", || (cluster.leader() != before).then_some(()));
        eventually("it passes on", || {
            let apps = get(&old_http, "/v2/apps").filter(|answer| answer.status == 200)?.json();
            (apps["apps"].as_array()?.len() == 2).then_some(())
        });
    }
}

#[test]
fn the_same_replacement_asked_for_by_many_at_once_is_done_once() {
    let (mut cluster, lost) = with_a_lost_master();
    let old = cluster.cluster_address(lost).to_owned();
    cluster.move_master(lost);
    cluster.start_master(lost);
    let new = cluster.cluster_address(lost).to_owned();
    let asked = cluster.http[cluster.leader()].clone();
    let id = |at: &str| Some(listed(&asked, at).first()?["id"].as_str()?.to_owned());
    let new = eventually("the new master introduces itself", || id(&new));
    let body = json!({"old": id(&old).unwrap(), "new": new}).to_string();
    let ask = || http(&asked, "POST", "/v1/members/replace", &[], &body).unwrap();
    let answers = std::thread::scope(|scope| {
        let asking = std::array::from_fn::<_, 6, _>(|_| scope.spawn(ask));
        asking.map(|asking| asking.join().unwrap())
    });
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

#[test]
fn a_master_that_returns_alone_is_not_ready_but_shows_its_copy_until_it_hears_a_leader() {
    let mut cluster = Cluster::start(3, 0, "process");
    write(&cluster, "/a");
    let alone = cluster.leader();
    for master in cluster.masters.iter_mut().flatten() {
        master.kill();
    }
    cluster.start_master(alone);
    let why = eventually("it knows that nobody answers", || {
        let (status, said) = ready(&cluster.http[alone])?;
        assert_eq!(status, 503, "it says that it is ready");
        said.contains("no leader").then_some(said)
    });
    assert!(why.contains("stale=true"), "{why}");
    assert_eq!(apps_of(&cluster.http[alone]), Some(1));
    let listed = get(&cluster.http[alone], "/v1/members").unwrap().json();
    let listed = listed["members"].as_array().unwrap();
    assert!(
        listed.len() == 3 && listed.iter().all(|it| it["leads"] == false),
        "its disk knows of a leader: {listed:?}"
    );
    cluster.start_master((alone + 1) % 3);
    for n in [alone, (alone + 1) % 3] {
        eventually("it is ready again", || (ready(&cluster.http[n])?.0 == 200).then_some(()));
    }
}
