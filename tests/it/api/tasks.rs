//! Tasks and the queue. Source: spec 1.5, 1.8, 5.8, 9.

use std::time::Duration;

use serde_json::json;

use super::bench::Bench;
use platformd::domain::{AgentId, AppId, Goal, TaskState, TaskStatus};
use platformd::scheduler::Suspicion;
use platformd::state::Command;
use platformd::store::Leadership;

#[tokio::test]
async fn tasks_are_listed_with_service_ports_only_in_the_whole_list() {
    let bench = Bench::default();
    bench.app("/a", 1).await;
    let id = bench.run("/a", "host-1").remove(0);
    let all = bench.get("/v2/tasks").await.expect_status(200).json();
    let task = &all["tasks"][0];
    assert_eq!(task["id"], id.as_str());
    assert_eq!(
        (&task["state"], &task["host"], &task["slaveId"]),
        (&json!("TASK_RUNNING"), &json!("host-1"), &json!("host-1"))
    );
    assert_eq!((&task["ports"], &task["servicePorts"]), (&json!([31_000]), &json!([10_000])));
    let own = bench.get("/v2/apps/a/tasks").await.json();
    assert_eq!(own["tasks"][0]["servicePorts"], json!([]));
    assert_eq!(bench.get("/v2/apps/*/tasks").await.json(), own);
}

#[tokio::test]
async fn tasks_are_filtered_by_status() {
    let bench = Bench::default();
    bench.app("/a", 1).await;
    bench.app("/b", 1).await;
    bench.run("/a", "host-1");
    bench.launch("/b", "host-2");
    let count = async |query: &str| {
        bench.get(&format!("/v2/tasks{query}")).await.json()["tasks"].as_array().unwrap().len()
    };
    assert_eq!(count("").await, 2);
    assert_eq!(count("?status=running").await, 1);
    assert_eq!(count("?status%5B%5D=running&status[]=staging").await, 2);
    assert_eq!(count("?status=nonsense").await, 2);
    let odd = bench.get("/v2/tasks?status=zz&status[]=RUNNING").await;
    assert_eq!(odd.header("warning"), "299 platformd \"unknown value 'status=zz'\"");
    assert_eq!(odd.json()["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(bench.get("/v2/tasks?status=staging").await.header("warning"), "");
}

#[tokio::test]
async fn tasks_of_a_removed_app_are_shown_until_they_have_ended() {
    let bench = Bench::default();
    bench.app("/a", 1).await;
    let id = bench.run("/a", "host-1").remove(0);
    bench.delete("/v2/apps/a").await.expect_status(200);
    bench.get("/v2/apps/a").await.expect_status(404);
    let say = |state| {
        let status = TaskStatus::new(state, bench.state().now, "");
        bench.record(Command::RecordStatuses {
            agent: AgentId::new("host-1"),
            statuses: vec![(id.clone(), status)],
        });
    };
    say(TaskState::Killing);
    let all = bench.get("/v2/tasks").await.expect_status(200).json();
    let task = &all["tasks"][0];
    assert_eq!((&task["id"], &task["appId"]), (&json!(id.as_str()), &json!("/a")));
    assert_eq!((&task["state"], &task["servicePorts"]), (&json!("TASK_KILLING"), &json!([])));
    say(TaskState::Killed);
    bench.get("/v2/tasks").await.expect(200, json!({"tasks": []}));
}

/// That nothing came of an agent for four seconds.
fn silent() -> Suspicion {
    Suspicion::Silent { lasts: Duration::from_secs(4), limit: Duration::from_secs(10) }
}

#[tokio::test]
async fn agents_that_the_cycle_avoids_are_told_of_wherever_people_ask_why() {
    let bench = Bench::default();
    bench.app("/a", 1).await;
    bench.agent("host-1");
    bench.wait_for_launch("/a");
    *bench.outside.suspects.lock().unwrap() = [(AgentId::new("host-1"), silent())].into();

    let explained = bench.get("/v2/apps/a/explain").await.expect_status(200).json();
    assert_eq!(explained["suitable"], 0);
    assert_eq!(explained["verdicts"][0]["lacks"][0], json!({"what": "contact", "why": silent().sentence()}));
    assert_eq!(explained["changes"][0]["change"], "return");
    assert_eq!((&explained["placed"], &explained["placedLeftOut"]), (&json!([]), &json!(0)));

    let queue = bench.get("/v2/queue?embed=lastUnusedOffers").await.expect_status(200).json();
    let summary = &queue["queue"][0]["processedOffersSummary"];
    assert_eq!((&summary["processedOffersCount"], &summary["unusedOffersCount"]), (&json!(1), &json!(1)));
    assert_eq!(queue["queue"][0]["lastUnusedOffers"][0]["reason"], json!(["AgentMaintenance"]));

    let offers = bench.get("/v1/offers").await.expect_status(200).json();
    assert_eq!(offers["offers"], json!([]));
    let withheld = json!([{"agentId": "host-1", "hostname": "host-1", "why": silent().sentence()}]);
    assert_eq!(offers["withheld"], withheld);

    // Agents speak to the leader alone: no other master suspects them.
    let known = bench.store.leadership.borrow().clone();
    bench.store.leadership.send_replace(Leadership { leads: false, ..known });
    let stale = bench.get("/v2/apps/a/explain?stale=true").await.expect_status(200).json();
    assert_eq!(stale["suitable"], 1);
}

#[tokio::test]
async fn old_bridges_get_text() {
    let bench = Bench::default();
    bench.app("/a/b", 2).await;
    bench.run("/a/b", "host-1");
    let text = bench.ask("GET", "/v2/tasks", &[("accept", "text/plain")]).await.expect_status(200);
    assert_eq!(text.text, "a_b\t10000\thost-1:31000\thost-1:31001\t\n");
    assert_eq!(text.header("content-type"), "text/plain");
    let own = bench.ask("GET", "/v2/apps/a/b/tasks", &[("accept", "text/plain")]).await;
    assert_eq!(own.text, text.text);
    assert_eq!(
        bench.ask("GET", "/v2/tasks", &[("accept", "*/*")]).await.header("content-type"),
        "application/json"
    );
}

#[tokio::test]
async fn killed_tasks_are_shown_as_they_were() {
    let bench = Bench::default();
    bench.app("/a", 2).await;
    let ids = bench.run("/a", "host-1");
    let none = bench.delete("/v2/apps/a/tasks?host=elsewhere").await.expect_status(200);
    assert_eq!(none.json(), json!({"tasks": []}));
    let one = bench.delete(&format!("/v2/apps/a/tasks/{}", ids[0])).await.expect_status(200);
    assert_eq!(one.json()["task"]["state"], "TASK_RUNNING");
    assert_eq!(one.header("x-platformd-index"), bench.state().index.to_string());
    assert!(bench.state().task(&ids[0]).unwrap().1.stop.is_some());
    assert!(bench.state().task(&ids[1]).unwrap().1.stop.is_none());
    let all = bench.delete("/v2/apps/a/tasks?host=*").await.expect_status(200);
    assert_eq!(all.json()["tasks"].as_array().unwrap().len(), 2);
    assert!(bench.state().task(&ids[1]).unwrap().1.stop.is_some());
    let unknown = bench.delete("/v2/apps/a/tasks/nope").await;
    unknown.expect(404, json!({"message": "Task 'nope' does not exist", "details": []}));
}

#[tokio::test]
async fn kill_and_scale_is_a_deployment_and_wipe_replaces() {
    let bench = Bench::default();
    bench.app("/a", 2).await;
    let ids = bench.run("/a", "host-1");
    let both = json!({"message": "You cannot use scale and wipe at the same time."});
    bench.delete("/v2/apps/a/tasks?scale=true&wipe=true").await.expect(400, both.clone());
    bench.post("/v2/tasks/delete?scale=true&wipe=true", json!({"ids": []})).await.expect(400, both);
    let scaled = bench.delete(&format!("/v2/apps/a/tasks/{}?scale=true", ids[0])).await.expect_status(200);
    assert_eq!(scaled.json()["deploymentId"], scaled.header("marathon-deployment-id"));
    assert_eq!(bench.get("/v2/apps/a").await.json()["app"]["instances"], 1);
    bench.delete("/v2/apps/a/tasks?scale=true").await.expect_status(409);
    let wiped = bench.delete(&format!("/v2/apps/a/tasks/{}?wipe=true", ids[1])).await.expect_status(200);
    assert_eq!(wiped.json()["task"]["id"], ids[1].as_str());
    assert_eq!(bench.state().task(&ids[1]).unwrap().0.goal, Goal::Decommissioned);
}

#[tokio::test]
async fn tasks_of_several_apps_are_killed_by_id() {
    let bench = Bench::default();
    bench.app("/a", 1).await;
    let id = bench.run("/a", "host-1").remove(0);
    let unknown = "b.instance-00000000-0000-0000-0000-000000000001._app.1";
    let answer = bench.post("/v2/tasks/delete", json!({"ids": [id.as_str(), unknown], "x": 1})).await;
    let answer = answer.expect_status(200);
    assert_eq!(answer.json()["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(answer.header("warning"), "299 platformd \"unknown field '/x'\"");
    assert!(bench.state().task(&id).unwrap().1.stop.is_some());
    let malformed =
        bench.post("/v2/tasks/delete", json!({"ids": ["nonsense"]})).await.expect_status(400).json();
    assert!(malformed["message"].as_str().unwrap().starts_with("Invalid task id 'nonsense'. ["));
    bench.post("/v2/tasks/delete", json!({"ids": [1]})).await.expect(
        422,
        json!({"message": "Invalid JSON", "details": [{"path": "/ids(0)", "errors": ["error.expected.jsstring"]}]}),
    );
}

#[tokio::test]
async fn the_queue_lists_what_waits_and_resets_pauses() {
    let bench = Bench::default();
    bench.get("/v2/queue").await.expect(200, json!({"queue": []}));
    bench.app("/a", 2).await;
    let not_waiting = json!({"message": "Application /a not found in tasks queue."});
    let answer = bench.delete("/v2/queue/a/delay").await.expect_status(404).json();
    assert_eq!(answer["message"], not_waiting["message"]);
    bench.agent("host-1");
    bench.wait_for_launch("/a");
    let queue = bench.get("/v2/queue").await.expect_status(200).json();
    let item = &queue["queue"][0];
    assert_eq!(item["count"], 2);
    assert_eq!(item["app"]["id"], "/a");
    assert_eq!(item["delay"], json!({"timeLeftSeconds": 0, "overdue": true}));
    assert_eq!(item["processedOffersSummary"]["rejectSummaryLastOffers"].as_array().unwrap().len(), 10);
    let reset = bench.delete("/v2/queue//a/delay").await.expect_status(204);
    assert_eq!(reset.text, "");
    bench.delete("/v2/queue/nope/delay").await.expect_status(404);
    assert!(bench.state().instances_of(&AppId::parse("/a").unwrap()).count() == 2);
}

#[tokio::test]
async fn offers_name_agent_and_index() {
    let bench = Bench::default();
    bench.agent("host-1");
    let offers = bench.get("/v1/offers").await.expect_status(200).json();
    assert_eq!(offers["index"], bench.state().index);
    let offer = &offers["offers"][0];
    assert_eq!(
        (&offer["agentId"], &offer["hostname"], &offer["role"]),
        (&json!("host-1"), &json!("host-1"), &json!("*"))
    );
    assert!(offer["resources"].is_array() && offer["attributes"].is_array());
}
