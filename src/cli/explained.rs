//! An explanation as people read it.

use serde_json::Value;

/// Agents that are named one by one for one obstacle set; the counts tell of the rest.
const OBSTACLES_MAX: usize = 20;

/// What `GET /v2/apps/{id}/explain` answered, in lines.
pub(super) fn explained(answer: &Value) -> String {
    let mut lines = vec![headline(answer)];
    let all = |key: &str| answer.get(key).and_then(Value::as_array).into_iter().flatten();
    let agents = number(answer, "agents");
    lines.push(format!(
        "{} of {agents} {} (state index {}).",
        number(answer, "suitable"),
        if agents == 1 { "agent suits" } else { "agents suit" },
        number(answer, "index")
    ));
    if answer.get("backingOffUntil").is_some_and(Value::is_string)
        && let Some(failure) = answer.get("lastTaskFailure").filter(|failure| failure.is_object())
    {
        lines.push(format!(
            "Its latest task ended as {} on {} at {}: {}",
            text(failure, "state"),
            text(failure, "host"),
            text(failure, "timestamp"),
            text(failure, "message")
        ));
    }
    for held in all("held") {
        lines.push(format!(
            "{} waits on {} ({}), where it cannot be started now: {}",
            text(held, "taskId"),
            text(held, "hostname"),
            text(held, "agent"),
            text(held, "why")
        ));
    }
    for obstacle in all("obstacles").take(OBSTACLES_MAX) {
        let agents = number(obstacle, "agents");
        let lack = if agents == 1 { "lacks" } else { "lack" };
        lines.push(format!("  {agents} {lack} {}", words(obstacle, "lacks")));
        let nearest = obstacle.get("nearest").unwrap_or(&Value::Null);
        let why = nearest.get("lacks").and_then(Value::as_array).into_iter().flatten();
        let why: Vec<&str> = why.map(|lack| text(lack, "why")).collect();
        lines.push(format!(
            "    nearest is {} ({}): {}",
            text(nearest, "hostname"),
            text(nearest, "agent"),
            why.join("; ")
        ));
    }
    if all("changes").next().is_some() {
        lines.push("Any one of these would let it run:".to_owned());
        lines.extend(all("changes").map(|change| format!("  {}", text(change, "sentence"))));
    }
    if all("placed").next().is_some() {
        lines.push("Where its tasks are, and who else would suit now:".to_owned());
    }
    for placed in all("placed") {
        lines.push(format!("  {} on {}", text(placed, "task"), score(placed.get("here"))));
        let others = placed.get("runnersUp").and_then(Value::as_array).into_iter().flatten();
        lines.extend(others.map(|other| format!("    then {}", score(Some(other)))));
    }
    match number(answer, "placedLeftOut") {
        0 => {}
        1 => lines.push("  and 1 more task, placed for the same reasons".to_owned()),
        more => lines.push(format!("  and {more} more tasks, placed for the same reasons")),
    }
    lines.push(String::new());
    lines.join("\n")
}

fn headline(answer: &Value) -> String {
    let needs = answer.get("needs").unwrap_or(&Value::Null);
    let needs: Vec<String> = [
        ("cpus", "cpus"),
        ("mem", "MiB of memory"),
        ("disk", "MiB of disk"),
        ("gpus", "gpus"),
        ("ports", "host ports"),
    ]
    .into_iter()
    .filter_map(|(key, unit)| Some((needs.get(key)?.as_f64()?, unit)))
    .filter(|(much, _)| *much > 0.0)
    .map(|(much, unit)| {
        let unit = if unit == "host ports" && much <= 1.0 { "host port" } else { unit };
        format!("{much} {unit}")
    })
    .collect();
    let mut line = format!(
        "{}: {} wanted, {} waiting",
        text(answer, "app"),
        number(answer, "wanted"),
        number(answer, "waiting")
    );
    if let Some(since) = answer.get("since").and_then(Value::as_str) {
        line.push_str(&format!(" since {since}"));
    }
    if let Some(until) = answer.get("backingOffUntil").and_then(Value::as_str) {
        line.push_str(&format!(", after failures not before {until}"));
    }
    format!("{line}. One instance needs {}.", needs.join(", "))
}

fn score(score: Option<&Value>) -> String {
    let score = score.unwrap_or(&Value::Null);
    let load = score.get("load").and_then(Value::as_f64).unwrap_or(0.0) * 100.0;
    let siblings = number(score, "siblings");
    format!(
        "{} ({}): {siblings} of the app beside it, {load:.1} % full without it",
        text(score, "hostname"),
        text(score, "agent")
    )
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or(0)
}

fn words(value: &Value, key: &str) -> String {
    let words = value.get(key).and_then(Value::as_array).into_iter().flatten();
    words.filter_map(Value::as_str).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_explanation_reads_from_top_to_bottom() {
        let answer = json!({
            "index": 42, "app": "/web", "wanted": 3, "waiting": 2, "since": "2020-01-01T00:00:00.000Z",
            "backingOffUntil": null, "needs": {"cpus": 9.0, "mem": 64.0, "disk": 0.0, "gpus": 0.0, "ports": 1},
            "agents": 2, "suitable": 0,
            "obstacles": [{"lacks": ["cpus"], "agents": 2, "nearest": {"agent": "a1", "hostname": "h1",
                "lacks": [{"what": "cpus", "why": "needs 9 cpus, 8 are spare: 1 short"}]}}],
            "changes": [{"sentence": "Lower cpus from 9 to 8: 2 agents would suit."}],
            "placed": [{"task": "web.1", "here": {"agent": "a1", "hostname": "h1", "siblings": 0, "load": 0.5},
                "runnersUp": [{"agent": "a2", "hostname": "h2", "siblings": 1, "load": 0.25}]}],
            "placedLeftOut": 4,
        });
        assert_eq!(
            explained(&answer),
            "/web: 3 wanted, 2 waiting since 2020-01-01T00:00:00.000Z. One instance needs 9 cpus, 64 MiB of memory, 1 host port.\n\
             0 of 2 agents suit (state index 42).\n\
             \u{20} 2 lack cpus\n\
             \u{20}   nearest is h1 (a1): needs 9 cpus, 8 are spare: 1 short\n\
             Any one of these would let it run:\n\
             \u{20} Lower cpus from 9 to 8: 2 agents would suit.\n\
             Where its tasks are, and who else would suit now:\n\
             \u{20} web.1 on h1 (a1): 0 of the app beside it, 50.0 % full without it\n\
             \u{20}   then h2 (a2): 1 of the app beside it, 25.0 % full without it\n\
             \u{20} and 4 more tasks, placed for the same reasons\n"
        );
    }

    #[test]
    fn an_answer_of_another_shape_makes_nothing_panic() {
        for answer in [json!(null), json!({"placed": 3, "obstacles": [1], "changes": [null]}), json!([])] {
            assert!(explained(&answer).contains("0 of 0 agents suit"));
        }
    }
}
