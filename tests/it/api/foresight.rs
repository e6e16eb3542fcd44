//! What would be: `/v1/what-if` and `/v1/resilience`.

use std::sync::Arc;
use std::time::Duration;

use platformd::domain::{AgentId, TaskState, TaskStatus, Timestamp};
use platformd::forecast::{Indispensable, Resilience, Survey};
use platformd::state::{Command, InstanceRow};
use platformd::store::Leadership;
use serde_json::{Value, json};

use super::bench::{Bench, master};

/// Two agents of 4 cpus, and an app with two instances on the first.
async fn bench() -> Bench {
    let bench = Bench::default();
    bench.app("/web", 2).await;
    bench.run("/web", "a1");
    bench.agent("a2");
    bench
}

async fn what_if(bench: &Bench, question: Value) -> Value {
    let before = bench.state();
    let answer = bench.post("/v1/what-if", question).await.expect_status(200).json();
    assert_eq!(*before, *bench.state(), "a question writes nothing");
    answer
}

#[tokio::test]
async fn a_lost_agents_tasks_move_and_it_is_said_where() {
    let bench = bench().await;
    let answer = what_if(&bench, json!({"lose": ["a1"]})).await;
    assert_eq!((&answer["wouldAllRun"], &answer["rest"]), (&json!(true), &json!("reached")), "{answer}");
    assert_eq!(answer["moves"].as_array().unwrap().len(), 2);
    assert_eq!(answer["moves"][0]["from"], json!({"agent": "a1", "hostname": "a1"}));
    assert_eq!(answer["moves"][0]["to"], json!({"agent": "a2", "hostname": "a2"}));
    assert_eq!(
        (&answer["free"]["before"]["agents"], &answer["free"]["after"]["agents"]),
        (&json!(2), &json!(1))
    );
    let app = &answer["apps"][0];
    assert_eq!((&app["app"], &app["placed"], &app["moved"]), (&json!("/web"), &json!(2), &json!(2)));
}

#[tokio::test]
async fn what_would_wait_is_explained_with_the_smallest_changes() {
    let bench = bench().await;
    let put = json!({"id": "/big", "cmd": "x", "cpus": 6, "mem": 64, "instances": 2});
    let answer = what_if(&bench, json!({"put": [put], "drain": ["a1"]})).await;
    assert_eq!(answer["wouldAllRun"], json!(false));
    let wait = &answer["waits"][0];
    assert_eq!(
        (&wait["app"], &wait["waiting"], &wait["waitingBefore"]),
        (&json!("/big"), &json!(2), &json!(0))
    );
    let lacks: Vec<&Value> =
        wait["obstacles"].as_array().unwrap().iter().map(|obstacle| &obstacle["lacks"]).collect();
    assert!(lacks.contains(&&json!(["cpus"])), "{wait}");
    assert!(wait["changes"].to_string().contains("Lower cpus from 6 to"), "{wait}");
    // With a large new agent both fit.
    let put = json!({"id": "/big", "cmd": "x", "cpus": 6, "mem": 64, "instances": 2});
    let add = json!([{"count": 2, "resources": {"cpus": 8, "mem": 1024}}]);
    let answer = what_if(&bench, json!({"put": [put], "drain": ["a1"], "add": add})).await;
    assert_eq!(answer["wouldAllRun"], json!(true), "{answer}");
    let big = answer["placements"].as_array().unwrap().iter().filter(|it| it["app"] == "/big");
    let mut agents: Vec<&str> = big.map(|it| it["agent"].as_str().unwrap()).collect();
    agents.sort_unstable();
    assert_eq!(agents, ["added-1", "added-2"]);
}

#[tokio::test]
async fn scaling_and_deleting_free_and_take_room() {
    let bench = bench().await;
    let answer = what_if(&bench, json!({"scale": {"/web": 1}})).await;
    assert_eq!(answer["stops"].as_array().unwrap().len(), 1, "{answer}");
    let answer = what_if(&bench, json!({"delete": ["/web"]})).await;
    assert_eq!((answer["stops"].as_array().unwrap().len(), &answer["apps"][0]["wanted"]), (2, &json!(0)));
    let answer = what_if(&bench, json!({"scale": {"/web": 3000}})).await;
    let (listed, left_out) = (answer["placements"].as_array().unwrap().len(), &answer["placementsLeftOut"]);
    let waiting = answer["apps"][0]["waitingAfter"].as_u64().unwrap();
    let placed = listed as u64 + left_out.as_u64().unwrap();
    assert_eq!((placed, placed + waiting), (answer["apps"][0]["placed"].as_u64().unwrap(), 2_998));
}

#[tokio::test]
async fn what_is_foretold_of_a_put_is_what_a_put_does() {
    let bench = bench().await;
    let body = json!({"id": "/new", "cmd": "x", "cpus": 0.5, "mem": 64, "instances": 4});
    let foretold = what_if(&bench, json!({"put": [body]})).await;
    let mut foretold: Vec<String> =
        foretold["placements"].as_array().unwrap().iter().map(|it| it["agent"].to_string()).collect();
    bench.app("/other", 0).await;
    bench.post("/v2/apps", body).await.expect_status(201);
    bench.wait_for_launch("/new");
    let state = bench.state();
    let view = platformd::scheduler::SchedulingView::of(&state, Default::default());
    let report = platformd::scheduler::run_cycle(&view, state.now);
    let mut real: Vec<String> =
        report.placements.iter().map(|it| json!(it.agent.as_str()).to_string()).collect();
    foretold.sort();
    real.sort();
    assert_eq!((foretold.len(), foretold), (4, real));
}

#[track_caller]
fn broken(answer: &Value, path: &str, part: &str) {
    let details = answer["details"].as_array().unwrap();
    let found = details.iter().find(|detail| detail["path"] == path);
    assert!(found.is_some_and(|found| found["errors"].to_string().contains(part)), "{path} {part}: {answer}");
}

#[tokio::test]
async fn bad_questions_are_422_with_paths() {
    let bench = bench().await;
    for (question, path, part) in [
        (json!({"lose": ["nope"]}), "/lose(0)", "no agent has the id or the host name"),
        (json!({"drain": ["a1", "x"]}), "/drain(1)", "no agent"),
        (json!({"scale": {"/nope": 1}}), "/scale//nope", "does not exist"),
        (json!({"scale": {"/web": 4000000}}), "/scale//web", "error.max"),
        (json!({"delete": ["/nope"]}), "/delete(0)", "does not exist"),
        (json!({"put": [{"id": "/x", "cpus": "many"}]}), "/put(0)/cpus", "error.expected.jsnumber"),
        (json!({"put": [{"id": "/y", "cmd": "x"}, {"cmd": "x"}]}), "/put(1)/id", "error.path.missing"),
        (
            json!({"put": [{"id": "/x", "cmd": "x", "instances": 200000}]}),
            "/put(0)/instances",
            "must not be more than",
        ),
        (json!({"put": [{"id": "/x"}]}), "/put(0)", ""),
        (json!({"put": [{"id": "/web", "instances": 1}], "delete": ["/web"]}), "/delete(0)", "named twice"),
        (json!({"loss": []}), "/loss", "is not known"),
        (
            json!({"add": [{"count": 9999, "resources": {"cpus": 1, "mem": 1}},
                           {"count": 9999, "resources": {"cpus": 1, "mem": 1}}]}),
            "/add",
            "too many",
        ),
    ] {
        let answer = bench.post("/v1/what-if", question).await.expect_status(422).json();
        broken(&answer, path, part);
    }
    bench.post("/v1/what-if?forse=true", json!({})).await.expect_status(400);
    bench.send_text("POST", "/v1/what-if", &[], "{").await.expect_status(400);
}

#[tokio::test]
async fn a_locked_app_is_locked_for_questions_too() {
    let bench = bench().await;
    bench.put("/v2/apps/web", json!({"instances": 3})).await.expect_status(200);
    bench.post("/v1/what-if", json!({"scale": {"/web": 4}})).await.expect_status(409);
    bench.post("/v1/what-if?force=true", json!({"scale": {"/web": 4}})).await.expect_status(200);
}

#[tokio::test]
async fn any_master_answers_from_its_own_state() {
    let me = master(2, "127.0.0.1:9");
    let bench = Bench::with(me, Leadership { term: 1, leads: false, leader: None });
    let answer = bench.post("/v1/what-if?stale=true", json!({})).await.expect_status(200).json();
    assert_eq!((&answer["wouldAllRun"], &answer["apps"]), (&json!(true), &json!([])));
}

#[tokio::test]
async fn agents_that_cannot_be_lost_are_named() {
    let bench = Bench::default();
    bench.get("/v1/resilience").await.expect_status(503);
    let app = platformd::domain::AppId::parse("/web").unwrap();
    let found =
        Indispensable { agent: AgentId::new("a1"), hostname: "h1".to_owned(), waits: [(app, 2)].into() };
    let survey = Survey { index: 7, agents: 3, indispensable: vec![found] };
    let look = Resilience { survey, at: Timestamp::from_millis(0), took: Duration::from_millis(5) };
    bench.resilience.send_replace(Some(Arc::new(look)));
    let body = json!({
        "index": 7, "at": "1970-01-01T00:00:00.000Z", "tookMillis": 5, "agents": 3, "dispensable": 2,
        "indispensable": [{"agent": "a1", "hostname": "h1", "waits": {"/web": 2}}], "indispensableLeftOut": 0,
    });
    bench.get("/v1/resilience").await.expect(200, body);
}

/// Four instances of one cpu each on `a1`, and `a2` with nothing on it.
async fn crowded() -> Bench {
    let bench = Bench::default();
    let body = json!({"id": "/web", "cmd": "sleep 100", "instances": 4, "cpus": 1, "mem": 64});
    bench.post("/v2/apps", body).await.expect_status(201);
    bench.settle();
    bench.agent("a1");
    bench.wait_for_launch("/web");
    let state = bench.state();
    let view = platformd::scheduler::SchedulingView::of(&state, Default::default());
    let placements = platformd::scheduler::run_cycle(&view, state.now).placements;
    bench.record(Command::LaunchTasks { placements, seen_at: 0 });
    let running = |row: &InstanceRow| {
        let status = TaskStatus::new(TaskState::Running, state.now, "");
        (row.task.as_ref().unwrap().id.clone(), status)
    };
    let statuses = bench.state().instances.values().map(|row| running(row)).collect();
    bench.record(Command::RecordStatuses { agent: AgentId::new("a1"), statuses });
    bench.agent("a2");
    bench
}

fn moving(bench: &Bench) -> usize {
    bench.state().instances.values().filter(|row| row.is_moving()).count()
}

#[tokio::test]
async fn a_plan_says_and_does_nothing_and_a_post_asks_for_it() {
    let bench = crowded().await;
    let plan = bench.get("/v1/rebalance").await.expect_status(200).json();
    let moves = plan["moves"].as_array().unwrap();
    assert_eq!(moves.len(), 2, "{plan}");
    assert_eq!((&moves[0]["from"]["agent"], &moves[0]["to"]["agent"]), (&json!("a1"), &json!("a2")));
    assert!(moves[0]["reason"].as_str().unwrap().contains("100 % full"), "{plan}");
    assert_eq!(moving(&bench), 0);
    let one = bench.get("/v1/rebalance?maxMoves=1").await.expect_status(200).json();
    assert_eq!(one["moves"].as_array().unwrap().len(), 1);

    let done = bench.post("/v1/rebalance", json!({})).await.expect_status(200).json();
    assert_eq!((&done["moves"], moving(&bench)), (&plan["moves"], 2));
    let again = bench.post("/v1/rebalance", json!({})).await.expect_status(200).json();
    assert_eq!((again["moves"].as_array().unwrap().len(), moving(&bench)), (0, 2));
    assert_eq!(again["underWay"].as_array().unwrap().len(), 2);
    bench.delete("/v1/rebalance").await.expect(200, json!({"stopped": 2}));
    assert_eq!(moving(&bench), 0);
}

#[tokio::test]
async fn bad_budgets_are_refused() {
    let bench = Bench::default();
    bench.get("/v1/rebalance?maxMoves=0").await.expect_status(400);
    bench.get("/v1/rebalance?moves=1").await.expect_status(400);
    for (body, path, part) in [
        (json!({"maxMoves": 0}), "/maxMoves", "error.min"),
        (json!({"maxMovesPerApp": 100_000}), "/maxMovesPerApp", "error.max"),
        (json!({"max": 1}), "/max", "is not known"),
    ] {
        let answer = bench.post("/v1/rebalance", body).await.expect_status(422).json();
        broken(&answer, path, part);
    }
}
