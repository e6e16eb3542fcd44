//! Apps through their lives. Source: spec 1.3 to 1.6.

use serde_json::{Value, json};

use super::bench::Bench;

#[tokio::test]
async fn a_post_creates_and_shows_the_app_before_ports_are_assigned() {
    let bench = Bench::default();
    let created = bench.post("/v2/apps", json!({"id": "app", "cmd": "sleep 100"})).await.expect_status(201);
    let body = created.json();
    let deployment = body["deployments"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(created.header("marathon-deployment-id"), deployment);
    assert_eq!(created.header("location"), "http://127.0.0.1:8080/app");
    assert_eq!(created.header("x-platformd-index"), "1");
    assert_eq!(body["id"], "/app");
    assert_eq!(body["portDefinitions"][0]["port"], 0);
    assert_eq!(body["tasksRunning"], 0);
    assert_eq!(body.get("versionInfo"), None);
    let shown = bench.get("/v2/apps//app").await.expect_status(200).json();
    let app = &shown["app"];
    assert_eq!(app["portDefinitions"][0]["port"], 10_000);
    assert_eq!(app["deployments"], json!([{"id": deployment}]));
    assert_eq!(app["tasks"], json!([]));
    assert_eq!(app["version"], "2020-09-13T12:26:40.000Z");
    assert_eq!(app.get("lastTaskFailure"), None);
}

#[tokio::test]
async fn locations_use_the_host_that_the_client_asked() {
    let bench = Bench::default();
    let headers = [("host", "paas.example:80"), ("content-type", "application/json")];
    let answer = bench.send_text("POST", "/v2/apps", &headers, r#"{"id":"/a/b","cmd":"x"}"#).await;
    assert_eq!(answer.header("location"), "http://paas.example:80/a/b");
}

#[tokio::test]
async fn a_second_post_conflicts() {
    let bench = Bench::default();
    bench.app("/x", 1).await;
    let again = bench.post("/v2/apps", json!({"id": "/x", "cmd": "sleep 1"})).await;
    again.expect(409, json!({"message": "An app with id [/x] already exists."}));
}

#[tokio::test]
async fn a_put_creates_with_201_and_changes_with_200() {
    let bench = Bench::default();
    let created = bench.put("/v2/apps/a", json!({"cmd": "sleep 1"})).await.expect_status(201);
    assert_eq!(created.header("location"), "http://127.0.0.1:8080/a");
    let version = created.json()["version"].as_str().unwrap().to_owned();
    assert_eq!(created.json()["deploymentId"], created.header("marathon-deployment-id"));
    bench.settle();
    let changed =
        bench.put("/v2/apps//a", json!({"id": "/ignored", "instances": 3})).await.expect_status(200);
    assert_eq!(changed.header("location"), "");
    assert_ne!(changed.json()["version"], version.as_str());
    let app = bench.get("/v2/apps/a").await.json()["app"].clone();
    assert_eq!((app["cmd"].as_str(), app["instances"].as_u64()), (Some("sleep 1"), Some(3)));
    bench.settle();
    bench.put("/v2/apps/a?partialUpdate=false", json!({"cmd": "sleep 2"})).await.expect_status(200);
    let app = bench.get("/v2/apps/a").await.json()["app"].clone();
    assert_eq!((app["cmd"].as_str(), app["instances"].as_u64()), (Some("sleep 2"), Some(1)));
}

#[tokio::test]
async fn an_app_under_deployment_is_locked_until_forced() {
    let bench = Bench::default();
    let created = bench.post("/v2/apps", json!({"id": "/a", "cmd": "sleep 1"})).await;
    let id = created.header("marathon-deployment-id");
    let locked = json!({
        "message": "App is locked by one or more deployments. Override with the option '?force=true'. \
                    View details at '/v2/deployments/<DEPLOYMENT_ID>'.",
        "deployments": [{"id": id}],
    });
    bench.put("/v2/apps/a", json!({"instances": 2})).await.expect(409, locked.clone());
    bench.post("/v2/apps/a/restart", json!({})).await.expect(409, locked.clone());
    bench.put("/v2/apps/a?force=false", json!({"instances": 2})).await.expect(409, locked);
    bench.put("/v2/apps/a?force=True", json!({"instances": 2})).await.expect_status(200);
    assert_eq!(bench.get("/v2/deployments").await.json().as_array().unwrap().len(), 1);
    // DELETE forces unless told otherwise.
    bench.delete("/v2/apps/a?force=false").await.expect_status(409);
    bench.delete("/v2/apps/a").await.expect_status(200);
}

#[tokio::test]
async fn missing_apps_are_404_with_details_only_from_look_ups() {
    let bench = Bench::default();
    let message = "App '/x' does not exist";
    let looked_up = json!({"message": message, "details": []});
    for uri in
        ["/v2/apps/x", "/v2/apps/x/tasks", "/v2/apps/x/versions", "/v2/apps/x/versions/2020-01-01T00:00:00Z"]
    {
        bench.get(uri).await.expect(404, looked_up.clone());
    }
    bench.delete("/v2/apps/x/tasks").await.expect(404, looked_up.clone());
    bench.delete("/v2/apps/x/tasks/x.instance-1._app.1").await.expect(404, looked_up);
    let updated = json!({"message": message});
    bench.patch("/v2/apps/x", json!({"instances": 2})).await.expect(404, updated.clone());
    bench.post("/v2/apps/x/restart", json!({})).await.expect(404, updated.clone());
    bench.delete("/v2/apps/x").await.expect(404, updated);
    bench.get("/v2/apps/Not_An_Id").await.expect_status(404);
    bench.delete("/v2/apps/x/restart").await.expect_status(404);
    bench
        .get("/v2/apps/x/*")
        .await
        .expect(404, json!({"message": "Group '/x' does not exist", "details": []}));
    bench.get("/v2/apps/*").await.expect(200, json!({"*": []}));
}

#[tokio::test]
async fn versions_come_newest_first_and_can_be_returned_to() {
    let bench = Bench::default();
    bench.app("/a", 1).await;
    bench.clock.advance(std::time::Duration::from_secs(1));
    bench.put("/v2/apps/a", json!({"instances": 5})).await.expect_status(200);
    bench.settle();
    let versions = bench.get("/v2/apps/a/versions").await.json();
    assert_eq!(versions, json!({"versions": ["2020-09-13T12:26:41.000Z", "2020-09-13T12:26:40.000Z"]}));
    let first = bench.get("/v2/apps/a/versions/2020-09-13T14:26:40%2B02:00").await.expect_status(200).json();
    assert_eq!(first["instances"], 1);
    assert_eq!(first.get("tasksRunning"), None);
    let back = json!({"version": "2020-09-13T12:26:40.000Z"});
    bench.put("/v2/apps/a", back).await.expect_status(200);
    assert_eq!(bench.get("/v2/apps/a").await.json()["app"]["instances"], 1);
    bench.get("/v2/apps/a/versions/2019-01-01T00:00:00Z").await.expect(
        404,
        json!({"message": "App '/a' does not exist in version 2019-01-01T00:00:00.000Z", "details": []}),
    );
    bench.get("/v2/apps/a/versions/soon").await.expect(
        422,
        json!({"message": "Invalid timestamp provided 'soon'. Expecting ISO-8601 datetime string."}),
    );
}

#[tokio::test]
async fn lists_are_filtered() {
    let bench = Bench::default();
    bench.app("/web/front", 0).await;
    bench
        .put("/v2/apps/db", json!({"cmd": "Postgres -D x", "labels": {"tier": "data"}}))
        .await
        .expect_status(201);
    let ids = async |query: &str| {
        let apps = bench.get(&format!("/v2/apps{query}")).await.expect_status(200).json();
        let ids = apps["apps"].as_array().unwrap().iter().map(|app| app["id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(ids("").await, "/db /web/front");
    assert_eq!(ids("?id=FRONT").await, "/web/front");
    assert_eq!(ids("?cmd=postgres").await, "/db");
    assert_eq!(ids("?label=tier%3D%3Ddata").await, "/db");
    assert_eq!(ids("?label=tier+notin+(data)").await, "");
    let group = bench.get("/v2/apps/web/*").await.json();
    assert_eq!(group["*"][0]["id"], "/web/front");
    let broken = bench.get("/v2/apps?label=a%3D%3D%3D").await.expect_status(422).json();
    assert!(broken["message"].as_str().unwrap().starts_with("Can not parse label selector a===. Reason: "));
}

#[tokio::test]
async fn embeds_add_what_they_name() {
    let bench = Bench::default();
    bench.app("/a", 1).await;
    let task = bench.run("/a", "host-1").remove(0);
    let app = async |query: &str| bench.get(&format!("/v2/apps{query}")).await.json()["apps"][0].clone();
    let plain = app("").await;
    assert_eq!((plain.get("tasks"), plain["tasksRunning"].as_u64()), (None, Some(1)));
    assert_eq!(app("?embed=apps.tasks").await["tasks"][0]["id"], task.as_str());
    let both = app("?embed=app.tasks&embed=apps.taskStats&embed=unknown").await;
    assert_eq!(both["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(both["taskStats"]["totalSummary"]["stats"]["counts"]["running"], 1);
}

#[tokio::test]
async fn many_apps_change_together_or_not_at_all() {
    let bench = Bench::default();
    bench.app("/a", 1).await;
    let body = json!([{"id": "/a", "instances": 2}, {"id": "/b", "cmd": "sleep 1"}]);
    let missing = bench.patch("/v2/apps", body.clone()).await;
    missing.expect(404, json!({"message": "App '/b' does not exist"}));
    assert_eq!(bench.get("/v2/apps/a").await.json()["app"]["instances"], 1);
    let answer = bench.put("/v2/apps", body).await.expect_status(200);
    assert_eq!(answer.json()["deploymentId"], answer.header("marathon-deployment-id"));
    assert_eq!(bench.get("/v2/apps/a").await.json()["app"]["instances"], 2);
    bench.get("/v2/apps/b").await.expect_status(200);
    let wrong = bench.put("/v2/apps", json!([{"id": "/a"}, {"cmd": "x"}])).await.expect_status(422).json();
    assert_eq!(wrong["details"][0]["path"], "(1)/id");
    bench.put("/v2/apps", json!([{"id": "/a"}, {"id": "a"}])).await.expect_status(422);
    bench.put("/v2/apps", json!({"id": "/a"})).await.expect_status(422);
}

#[tokio::test]
async fn a_restart_starts_a_deployment_for_unchanged_content() {
    let bench = Bench::default();
    bench.app("/a", 1).await;
    let answer = bench.ask("POST", "/v2/apps/a/restart", &[]).await.expect_status(200);
    let deployments = bench.get("/v2/deployments").await.json();
    assert_eq!(deployments[0]["id"], answer.json()["deploymentId"]);
    assert_eq!(deployments[0]["affectedApps"], json!(["/a"]));
    assert_eq!(deployments[0]["steps"][0]["actions"][0]["action"], "RestartApplication");
}

#[tokio::test]
async fn deployments_are_undone_or_only_cancelled() {
    let bench = Bench::default();
    bench.app("/a", 1).await;
    let change = async || {
        let answer = bench.put("/v2/apps/a?force=true", json!({"cmd": "sleep 7"})).await.expect_status(200);
        answer.json()["deploymentId"].as_str().unwrap().to_owned()
    };
    let first = change().await;
    let undo = bench.delete(&format!("/v2/deployments/{first}")).await.expect_status(200);
    assert_ne!(undo.json()["deploymentId"], first.as_str());
    assert_eq!(bench.get("/v2/apps/a").await.json()["app"]["cmd"], "sleep 100");
    let second = change().await;
    let cancelled = bench.delete(&format!("/v2/deployments/{second}?force=true")).await.expect_status(202);
    assert_eq!(cancelled.text, "");
    assert_eq!(bench.get("/v2/apps/a").await.json()["app"]["cmd"], "sleep 7");
    assert_eq!(bench.get("/v2/deployments").await.json(), json!([]));
    bench.delete(&format!("/v2/deployments/{first}")).await.expect_status(404);
}

#[tokio::test]
async fn a_repeat_under_the_same_key_does_nothing_twice() {
    let bench = Bench::default();
    let send = async |key: &str, body: Value| {
        let headers = [("idempotency-key", key), ("content-type", "application/json")];
        bench.send_text("POST", "/v2/apps", &headers, &body.to_string()).await
    };
    let body = json!({"id": "/a", "cmd": "sleep 1"});
    let first = send("k1", body.clone()).await.expect_status(201);
    let again = send("k1", body.clone()).await.expect_status(201);
    assert_eq!(first.json(), again.json());
    for name in ["marathon-deployment-id", "x-platformd-index", "location"] {
        assert_eq!(first.header(name), again.header(name));
    }
    let other = send("k1", json!({"id": "/b", "cmd": "sleep 1"})).await.expect_status(422).json();
    assert!(other["message"].as_str().unwrap().contains("Idempotency-Key"));
    send("k2", body.clone()).await.expect_status(409);
    for key in ["", "with space", &"k".repeat(256)] {
        send(key, body.clone()).await.expect_status(400);
    }
}

#[tokio::test]
async fn unknown_fields_are_accepted_and_named() {
    let bench = Bench::default();
    let body = json!({"id": "/a", "cmd": "sleep 1", "instnces": 3, "backoff": 1,
        "portDefinitions": [{"typo": 1}]});
    let answer = bench.post("/v2/apps", body).await.expect_status(201);
    let warnings: Vec<_> =
        answer.headers.get_all("warning").iter().map(|it| it.to_str().unwrap().to_owned()).collect();
    assert!(warnings.contains(&"299 platformd \"unknown field '/instnces'\"".to_owned()), "{warnings:?}");
    assert!(
        warnings.contains(&"299 platformd \"unknown field '/portDefinitions(0)/typo'\"".to_owned()),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn an_id_in_the_body_yields_to_the_path_and_is_told_of() {
    let bench = Bench::default();
    let put = async |path: &str, id: serde_json::Value| {
        let answer = bench.put(path, json!({"id": id, "cmd": "x", "instances": 0})).await;
        bench.settle();
        (answer.status.as_u16(), answer.header("warning").to_owned())
    };
    let told = |path: &str| format!("299 platformd \"field '/id' is ignored: the path names '{path}'\"");
    assert_eq!(put("/v2/apps/g/a", json!("/other")).await, (201, told("/g/a")));
    assert_eq!(put("/v2/apps/g/a", json!(7)).await, (200, told("/g/a")));
    for same in [json!("/g/a"), json!("g/a"), json!("a"), json!(null)] {
        assert_eq!(put("/v2/apps/g/a", same).await, (200, String::new()));
    }
    let full = json!({"id": "/other", "cmd": "y"});
    let answer = bench.put("/v2/apps/g/a?partialUpdate=false", full).await.expect_status(200);
    assert_eq!(answer.header("warning"), told("/g/a"));
    bench.settle();
    let answer = bench.patch("/v2/apps/g/a", json!({"id": "/other", "cmd": "z"})).await.expect_status(200);
    assert_eq!(answer.header("warning"), told("/g/a"));
    assert_eq!(bench.state().apps.len(), 1);
}

#[tokio::test]
async fn the_hundred_and_first_deployment_waits() {
    let bench = Bench::default();
    for at in 0..100 {
        bench.post("/v2/apps", json!({"id": format!("/a{at}"), "cmd": "x"})).await.expect_status(201);
    }
    let answer = bench.post("/v2/apps", json!({"id": "/b", "cmd": "x"})).await.expect_status(403).json();
    let message = answer["message"].as_str().unwrap();
    assert!(
        message.starts_with("Max number (100) of running deployments is achieved. Wait for "),
        "{message}"
    );
}
