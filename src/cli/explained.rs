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
    if (answer.get("backingOffUntil").is_some_and(Value::is_string) || number(answer, "unhealthy") > 0)
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
        let may_run = held.get("mayRun").and_then(Value::as_bool).unwrap_or_default();
        let (does, which) = if may_run {
            ("may run", "which can tell nothing of it now")
        } else {
            ("waits", "where it cannot be started now")
        };
        lines.push(format!(
            "{} {does} on {} ({}), {which}: {}",
            text(held, "taskId"),
            text(held, "hostname"),
            text(held, "agent"),
            text(held, "why")
        ));
    }
    for obstacle in all("obstacles").take(OBSTACLES_MAX) {
        lines.push(format!("  {}", text(obstacle, "sentence")));
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
        let it = if number(answer, "waiting") == 1 { "it" } else { "one more" };
        lines.push(format!("Any one of these would let {it} run:"));
        lines.extend(all("changes").map(|change| format!("  {}", text(change, "sentence"))));
    }
    let sentences = ["contradiction", "note"].map(|key| text(answer, key));
    lines.extend(sentences.into_iter().filter(|told| !told.is_empty()).map(str::to_owned));
    if all("placed").next().is_some() {
        lines.push("Where its tasks are, and who else would suit now:".to_owned());
    }
    for placed in all("placed") {
        let others: Vec<&Value> =
            placed.get("runnersUp").and_then(Value::as_array).into_iter().flatten().collect();
        let here = placed.get("here").unwrap_or(&Value::Null);
        lines.push(format!("  {} on {}", text(placed, "task"), score(here, &others)));
        lines.extend(others.iter().map(|other| format!("    then {}", score(other, &others))));
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
        let is_one = (much - 1.0).abs() < f64::EPSILON;
        let unit = unit.strip_suffix('s').filter(|_| is_one).unwrap_or(unit);
        format!("{much} {unit}")
    })
    .collect();
    let mut line = format!("{}: {} wanted", text(answer, "app"), number(answer, "wanted"));
    let (running, starting) = (number(answer, "running"), number(answer, "starting"));
    let older = number(answer, "older");
    match (running, starting) {
        (0, 0) => {}
        (_, 0) if older == running => line.push_str(&format!(", {running} older running")),
        (_, 0) => line.push_str(&format!(", {running} running")),
        (0, _) => line.push_str(&format!(", {starting} starting")),
        _ => line.push_str(&format!(", {running} running, {starting} starting")),
    }
    let unhealthy = number(answer, "unhealthy");
    let parts = [
        (older > 0 && (starting > 0 || older < running)).then(|| format!("{older} of them older")),
        (unhealthy > 0).then(|| format!("{unhealthy} not serving")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if !parts.is_empty() {
        line.push_str(&format!(" ({})", parts.join(", ")));
    }
    match number(answer, "unreachable") {
        0 => {}
        away => line.push_str(&format!(", {away} out of reach")),
    }
    line.push_str(&format!(", {} waiting", number(answer, "waiting")));
    if let Some(since) = answer.get("since").and_then(Value::as_str) {
        line.push_str(&format!(" since {since}"));
    }
    if let Some(until) = answer.get("backingOffUntil").and_then(Value::as_str) {
        line.push_str(&format!(", after failures not before {until}"));
    }
    format!("{line}. One instance needs {}.", needs.join(", "))
}

/// What decided: points where the app has wishes, then who else of it is there; and where others are
/// as good, the lot.
fn score(score: &Value, others: &[&Value]) -> String {
    let load = score.get("load").and_then(Value::as_f64).unwrap_or(0.0) * 100.0;
    let siblings = number(score, "siblings");
    let mut told = format!("{} ({}): ", text(score, "hostname"), text(score, "agent"));
    if let Some(points) = score.get("points").and_then(Value::as_f64) {
        let parts = score.get("parts").and_then(Value::as_array).into_iter().flatten();
        let part = |part: &Value| {
            let points = part.get("points").and_then(Value::as_f64).unwrap_or(0.0);
            format!("{points:+} for {}", text(part, "why"))
        };
        let parts: Vec<String> = parts.map(part).collect();
        told.push_str(&format!("{points} points ({}); ", parts.join("; ")));
    }
    told.push_str(&format!("{siblings} of the app beside it, {load:.1} % full without it"));
    let merit = |of: &Value| match of.get("points") {
        Some(points) => (Some(points.clone()), None, None),
        None => (None, of.get("siblings").cloned(), of.get("load").cloned()),
    };
    if others.iter().filter(|other| merit(other) == merit(score)).count() > 1
        && let Some(lot) = score.get("lot").and_then(Value::as_u64)
    {
        told.push_str(&format!(", lot {lot}"));
    }
    told
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_explanation_reads_from_top_to_bottom() {
        let answer = json!({
            "index": 42, "app": "/web", "wanted": 3, "running": 1, "older": 1, "waiting": 2, "since": "2020-01-01T00:00:00.000Z",
            "backingOffUntil": null, "needs": {"cpus": 9.0, "mem": 64.0, "disk": 0.0, "gpus": 0.0, "ports": 1},
            "agents": 2, "suitable": 0,
            "obstacles": [{"lacks": ["cpus"], "sentence": "2 agents lack cpus", "agents": 2, "nearest": {"agent": "a1", "hostname": "h1",
                "lacks": [{"what": "cpus", "why": "needs 9 cpus, 8 are spare: 1 short"}]}}],
            "changes": [{"sentence": "Lower cpus from 9 to 8: 2 agents would suit."}],
            "placed": [{"task": "web.1", "here": {"agent": "a1", "hostname": "h1", "siblings": 0, "load": 0.5},
                "runnersUp": [{"agent": "a2", "hostname": "h2", "siblings": 1, "load": 0.25}]}],
            "placedLeftOut": 4, "unreachable": 1, "unhealthy": 1, "note": "1 older copy keeps its room.",
        });
        assert_eq!(
            explained(&answer),
            "/web: 3 wanted, 1 older running (1 not serving), 1 out of reach, 2 waiting since 2020-01-01T00:00:00.000Z. One instance needs 9 cpus, 64 MiB of memory, 1 host port.\n\
             0 of 2 agents suit (state index 42).\n\
             \u{20} 2 agents lack cpus\n\
             \u{20}   nearest is h1 (a1): needs 9 cpus, 8 are spare: 1 short\n\
             Any one of these would let one more run:\n\
             \u{20} Lower cpus from 9 to 8: 2 agents would suit.\n\
             1 older copy keeps its room.\n\
             Where its tasks are, and who else would suit now:\n\
             \u{20} web.1 on h1 (a1): 0 of the app beside it, 50.0 % full without it\n\
             \u{20}   then h2 (a2): 1 of the app beside it, 25.0 % full without it\n\
             \u{20} and 4 more tasks, placed for the same reasons\n"
        );
    }

    #[test]
    fn a_task_that_may_run_is_not_said_to_be_one_that_cannot_be_started() {
        let one = |task: &str, may_run: Value| json!({"taskId": task, "agent": "a1", "hostname": "h1", "mayRun": may_run, "why": "its disk is full"});
        let text = explained(
            &json!({"held": [one("a", json!(true)), one("b", json!(false)), one("c", json!(null))]}),
        );
        let wait = "on h1 (a1), where it cannot be started now: its disk is full\n";
        assert!(
            text.contains("a may run on h1 (a1), which can tell nothing of it now: its disk is full\n"),
            "{text}"
        );
        assert!(["b", "c"].iter().all(|task| text.contains(&format!("{task} waits {wait}"))), "{text}");
    }

    #[test]
    fn points_are_told_with_their_parts_and_equals_with_their_lots() {
        let liked = json!({"agent": "a4", "hostname": "h4", "siblings": 2, "load": 0.1, "lot": 9, "points": 95.5,
            "parts": [{"why": "disk is \"ssd\"", "points": 100.0}, {"why": "2 of 4 beside it", "points": -4.5}]});
        assert_eq!(
            score(&liked, &[&liked]),
            "h4 (a4): 95.5 points (+100 for disk is \"ssd\"; -4.5 for 2 of 4 beside it); 2 of the app beside it, \
             10.0 % full without it"
        );
        let equal = |agent: &str, lot: u32, load: f64| json!({"agent": agent, "hostname": agent, "siblings": 0, "load": load, "lot": lot});
        let (a, b, c) = (equal("a", 7, 0.0), equal("b", 5, 0.0), equal("c", 9, 0.5));
        let others = [&a, &b, &c];
        assert!(score(&a, &others).ends_with("0.0 % full without it, lot 7"));
        assert!(
            score(&b, &others).ends_with(", lot 5") && score(&c, &others).ends_with("50.0 % full without it")
        );
    }

    #[test]
    fn an_answer_of_another_shape_makes_nothing_panic() {
        for answer in [json!(null), json!({"placed": 3, "obstacles": [1], "changes": [null]}), json!([])] {
            assert!(explained(&answer).contains("0 of 0 agents suit"));
        }
    }
}
