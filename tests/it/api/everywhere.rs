//! What is true of every answer: headers, codes of unknown things, and the paths beside `/v2`.

use axum::http::Method;
use serde_json::{Value, json};

use super::bench::{AWAY, Bench, PANICS};

#[tokio::test]
async fn every_answer_forbids_caching_and_names_the_leader() {
    let bench = Bench::default();
    for uri in ["/v2/apps", "/v2/apps/nope", "/nope", "/ping", "/", "/ui/", "/metrics"] {
        let answer = bench.get(uri).await;
        assert_eq!(answer.header("cache-control"), "no-cache, no-store, must-revalidate", "{uri}");
        assert_eq!(answer.header("pragma"), "no-cache", "{uri}");
        assert_eq!(answer.header("expires"), "0", "{uri}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{uri}");
        assert_eq!(answer.header("x-xss-protection"), "1; mode=block", "{uri}");
        assert_eq!(answer.header("x-marathon-leader"), "http://127.0.0.1:8080", "{uri}");
    }
}

#[tokio::test]
async fn unknown_things_have_marathons_bodies() {
    let bench = Bench::default();
    let unknown = json!({"message": "URI not found"});
    for uri in ["/nope", "/v2", "/v2/nope", "/v2/events", "/v2/queue/x", "/v2/info/x"] {
        let answer = if uri.contains("queue/") { bench.delete(uri).await } else { bench.get(uri).await };
        answer.expect(404, unknown.clone());
    }
    let not_allowed = json!({"message": "Method Not Allowed"});
    for (method, uri) in [
        ("DELETE", "/v2/apps"),
        ("POST", "/v2/apps/x"),
        ("PUT", "/v2/apps/x/tasks"),
        ("DELETE", "/v2/apps/x/versions"),
        ("PUT", "/v2/apps/x/*"),
        ("POST", "/v2/info"),
        ("GET", "/v2/tasks/delete"),
        ("BREW", "/v2/apps"),
        ("DELETE", "/ping"),
    ] {
        let answer = bench.ask(method, uri, &[]).await;
        answer.expect(405, not_allowed.clone());
    }
    bench
        .get("/v2/plugins/mine/x")
        .await
        .expect(404, json!({"message": "No plugin with this pluginId: mine", "details": []}));
}

#[tokio::test]
async fn a_slash_at_the_end_changes_nothing() {
    let bench = Bench::default();
    for uri in ["/v2/apps/", "/v2/tasks/", "/v2/deployments/", "/v2/queue/", "/v2/info/", "/v2/leader/"] {
        bench.get(uri).await.expect_status(200);
    }
    bench.delete("/v2/deployments/%ff").await.expect_status(404).json();
}

#[tokio::test]
async fn bodies_are_json_or_unsupported() {
    let bench = Bench::default();
    let unsupported = json!({"message": "Unsupported Media Type"});
    let app = r#"{"id":"/a","cmd":"sleep 1"}"#;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/xml"] {
        for (method, uri) in
            [("POST", "/v2/apps"), ("PUT", "/v2/apps/a"), ("PATCH", "/v2/apps/a"), ("PUT", "/v2/apps")]
        {
            let answer = bench.send_text(method, uri, &[("content-type", kind)], app).await;
            answer.expect(415, unsupported.clone());
        }
    }
    assert!(bench.state().apps.is_empty());
    let utf8 = [("content-type", "application/json; charset=utf-8")];
    bench.send_text("POST", "/v2/apps", &utf8, app).await.expect_status(201);
    bench.send_text("PUT", "/v2/apps/a", &[], r#"{"instances":0}"#).await.expect_status(409);
}

#[tokio::test]
async fn ping_comes_in_three_forms_and_waits_for_readiness() {
    let bench = Bench::default();
    let ping = async |accept: &str| {
        let answer = bench.ask("GET", "/ping", &[("accept", accept)]).await;
        (answer.status.as_u16(), answer.text.clone(), answer.header("content-type").to_owned())
    };
    assert_eq!(ping("*/*").await, (200, "pong".into(), "text/plain".into()));
    assert_eq!(ping("application/json").await, (200, "\"pong\"".into(), "application/json".into()));
    assert_eq!(ping("text/html;q=0.9,*/*;q=0.1").await, (200, "pong".into(), "text/html".into()));
    assert_eq!(ping("image/png").await.0, 204);
    bench.get("/ready").await.expect(200, json!({"ready": true}));
    *bench.outside.missing.lock().unwrap() = Some("no agent has registered".into());
    assert_eq!(ping("*/*").await, (503, "not ready: no agent has registered".into(), "text/plain".into()));
    bench.get("/ready").await.expect(503, json!({"ready": false, "message": "no agent has registered"}));
}

#[tokio::test]
async fn a_master_outside_the_cluster_lives_but_is_not_ready_and_shows_nothing_of_its_own() {
    let bench = Bench::default();
    let why = "This master is no member.";
    *bench.outside.outside.lock().unwrap() = Some(why.into());
    bench.get("/ping").await.expect_status(200);
    bench.get("/ready").await.expect(503, json!({"ready": false, "message": why}));
    for uri in ["/v2/apps", "/v2/apps/a", "/v2/apps/a/explain", "/v2/tasks", "/v2/queue", "/v1/agents"] {
        let answer = bench.get(&format!("{uri}?stale=true")).await.expect(503, json!({"message": why}));
        assert_eq!(answer.header("retry-after"), "1", "{uri}");
    }
    bench.get("/v1/members").await.expect_status(200);
}

#[tokio::test]
async fn a_master_without_a_leader_since_its_start_is_not_ready_but_shows_its_copy_when_asked_to() {
    let bench = Bench::default();
    let why = "This master has heard of no leader.";
    *bench.outside.unheard.lock().unwrap() = Some(why.into());
    bench.get("/ping").await.expect_status(200);
    bench.get("/ready").await.expect(503, json!({"ready": false, "message": why}));
    bench.get("/v2/apps?stale=true").await.expect_status(200);
}

#[tokio::test]
async fn the_root_leads_to_the_page() {
    let bench = Bench::default();
    for uri in ["/", "/ui"] {
        let answer = bench.get(uri).await.expect_status(302);
        assert_eq!(answer.header("location"), "/ui/");
    }
    let page = bench.get("/ui/").await.expect_status(200);
    assert!(page.header("content-type").starts_with("text/html"));
    for link in ["/v2/apps", "/metrics", "documentation"] {
        assert!(page.text.contains(link), "{link}");
    }
}

#[tokio::test]
async fn metrics_speak_three_languages_and_count_by_route_template() {
    let bench = Bench::default();
    bench.get("/v2/apps/some/app").await.expect_status(404);
    let text = bench.get("/metrics").await.expect_status(200);
    assert!(text.header("content-type").starts_with("text/plain; version=0.0.4"));
    assert!(text.text.contains("route=\"/v2/apps/{*rest}\""), "{}", text.text);
    assert!(!text.text.contains("some/app"));
    let open = bench.ask("GET", "/metrics", &[("accept", "application/openmetrics-text")]).await;
    assert!(open.header("content-type").starts_with("application/openmetrics-text"));
    let json = bench.ask("GET", "/metrics", &[("accept", "application/json")]).await;
    assert!(json.json()["gauges"].is_object());
    let prometheus = bench.ask("GET", "/metrics/prometheus", &[("accept", "application/json")]).await;
    assert!(prometheus.header("content-type").starts_with("text/plain"));
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_can_read_it() {
    let bench = Bench::default();
    let request = axum::http::Request::builder().uri("/ui/").header("accept-encoding", "gzip");
    let request = request.body(axum::body::Body::empty()).unwrap();
    let response = tower::ServiceExt::oneshot(bench.router.clone(), request).await.unwrap();
    assert_eq!(response.headers().get("content-encoding").unwrap(), "gzip");
    assert_eq!(bench.get("/ui/").await.header("content-encoding"), "");
}

#[tokio::test]
async fn info_and_leader_name_the_same_master() {
    let bench = Bench::default();
    let info = bench.get("/v2/info").await.expect_status(200).json();
    assert_eq!(info["name"], "marathon");
    assert_eq!(info["version"], "1.11.24");
    assert_eq!(info["elected"], true);
    assert_eq!(info["leader"], "127.0.0.1:8080");
    assert_eq!(info["http_config"]["http_port"], 8080);
    assert_eq!(info["marathon_config"]["local_port_min"], 10_000);
    assert_eq!(info["zookeeper_config"]["zk"], Value::Null);
    bench.get("/v2/leader").await.expect(200, json!({"leader": "127.0.0.1:8080"}));
    bench.get("/v2/plugins").await.expect(200, json!({"plugins": []}));
}

#[tokio::test]
async fn deleting_the_leader_hands_over_half_a_second_later() {
    let bench = Bench::default();
    bench.delete("/v2/leader").await.expect(200, json!({"message": "Leadership abdicated", "details": []}));
    assert_eq!(*bench.outside.abdications.lock().unwrap(), 0);
    let began = tokio::time::Instant::now();
    while *bench.outside.abdications.lock().unwrap() == 0 {
        assert!(began.elapsed() < std::time::Duration::from_secs(5));
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(began.elapsed() > std::time::Duration::from_millis(300));
    bench.delete("/v2/leader?restore=file:///x").await.expect_status(400);
}

#[tokio::test]
async fn without_a_majority_nothing_fresh_is_answered() {
    let bench = Bench::default();
    bench.app("/a", 1).await;
    *bench.store.quorum_is_lost.lock().unwrap() = true;
    let answer = bench.get("/v2/apps").await.expect_status(503);
    assert_eq!(answer.header("retry-after"), "1");
    assert!(answer.json()["message"].as_str().unwrap().contains("no majority"));
    let stale = bench.get("/v2/apps?stale=true").await.expect_status(200).json();
    assert_eq!(stale["apps"][0]["id"], "/a");
    let write = bench.put("/v2/apps/a", json!({"instances": 2})).await.expect_status(503).json();
    assert!(write["message"].as_str().unwrap().contains("Idempotency-Key"));
}

#[tokio::test]
async fn our_own_paths_refuse_what_they_do_not_know() {
    let bench = Bench::default();
    bench.agent("host-1");
    let agents = bench.get("/v1/agents").await.expect_status(200).json();
    let agent = &agents["agents"][0];
    assert_eq!(agents["index"], 1);
    assert_eq!(agent["hostname"], "host-1");
    assert_eq!(agent["presence"], "registered");
    assert_eq!(agent["totals"]["cpus"], 4.0);
    assert_eq!(agent["attributes"], json!({"rack": "r1"}));
    bench.get("/v1/agents?hostname=x").await.expect_status(400);
    let members = bench.get("/v1/members").await.expect_status(200).json();
    assert_eq!(members["members"][0]["id"], "1");
    assert_eq!(members["members"][0]["leads"], true);
    bench.post("/v1/members/replace", json!({"old": "1", "new": 7})).await.expect_status(200);
    assert_eq!(*bench.outside.replaced.lock().unwrap(), [(1, 7)]);
    let again = json!({"message": "Master 1 is a member already and 7 is none: nothing to do."});
    bench.post("/v1/members/replace", json!({"old": 7, "new": 1})).await.expect(200, again);
}

#[tokio::test]
async fn a_bad_request_to_replace_a_master_is_told_in_words_with_paths() {
    let bench = Bench::default();
    let path = "/v1/members/replace";
    let is_what = "expected the id of a master as text or number, such as \"4711\"";
    let check = |body, status, message: &str, details: &[(&str, &str)]| {
        let (bench, message) = (&bench, message.to_owned());
        let details: Vec<_> =
            details.iter().map(|(path, error)| json!({"path": path, "errors": [error]})).collect();
        async move {
            let found = bench.post(path, body).await.expect_status(status).json();
            assert_eq!(found["message"], message);
            assert_eq!(found["details"], if details.is_empty() { json!(null) } else { json!(details) });
        }
    };
    check(
        json!({"old": -1, "x": 1}),
        422,
        &format!("/old: {is_what}; /new: is missing, {is_what}; /x: is not known; expected old and new"),
        &[
            ("/old", is_what),
            ("/new", &format!("is missing, {is_what}")),
            ("/x", "is not known; expected old and new"),
        ],
    )
    .await;
    let object = "expected an object, {\"old\": id, \"new\": id}";
    check(json!([]), 422, &format!("/: {object}"), &[("/", object)]).await;
    check(json!({"old": 2, "new": 7}), 422, "Master 2 is no member.", &[("/old", "Master 2 is no member.")])
        .await;
    check(json!({"old": 1, "new": AWAY}), 409, "Master 404 is not there.", &[]).await;

    let type_of = [("content-type", "application/json")];
    let empty = bench.send_text("POST", path, &type_of, " ").await.expect_status(400).json();
    let ask = "Send {\"old\": id, \"new\": id} with ids as 'platformd members list' shows them.";
    assert_eq!(empty["message"], format!("The body is empty. {ask}"));
    let broken = bench.send_text("POST", path, &type_of, "{\"old\":").await.expect_status(400).json();
    assert_eq!(broken["message"], format!("The body is not JSON: it breaks off at line 1, column 7. {ask}"));
    let broken = bench.send_text("POST", path, &type_of, "old=1").await.expect_status(400).json();
    assert_eq!(broken["message"], format!("The body is not JSON at line 1, column 1. {ask}"));
}

#[tokio::test]
async fn a_head_is_a_get_without_body() {
    let bench = Bench::default();
    let answer = bench.ask(Method::HEAD.as_str(), "/v2/apps", &[]).await.expect_status(200);
    assert_eq!(answer.text, "");
}

#[tokio::test]
async fn a_bug_fails_one_request_and_not_the_process() {
    let bench = Bench::default();
    let answer = bench.post("/v1/members/replace", json!({"old": PANICS, "new": 7})).await.expect_status(500);
    assert_eq!(answer.header("cache-control"), "no-cache, no-store, must-revalidate");
    assert!(answer.json()["message"].as_str().unwrap().starts_with("Internal error."));
    bench.get("/v2/apps").await.expect_status(200);
}
