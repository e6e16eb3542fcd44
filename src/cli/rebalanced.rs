//! `platformd rebalance`: a plan as people read it.

use serde_json::Value;

/// Entries of a list that are printed.
const LINES_MAX: usize = 50;

/// What `/v1/rebalance` answered, in lines.
pub(super) fn rebalanced(answer: &Value, is_applied: bool) -> String {
    let mut lines = Vec::new();
    let title = if is_applied { "Asked to move:" } else { "Would move, with 'platformd rebalance --apply':" };
    section(&mut lines, answer, "moves", title, |it| {
        let (from, to) = (host(it.get("from")), host(it.get("to")));
        format!("{} from {from} to {to}: {}", text(it, "instance"), text(it, "reason"))
    });
    section(&mut lines, answer, "underWay", "Moving already:", |it| {
        let waits = it.get("waitsFor").and_then(Value::as_str);
        let waits = waits.map(|waits| format!(" It runs on meanwhile: {waits}")).unwrap_or_default();
        format!("{} on {}: {}.{waits}", text(it, "instance"), host(Some(it)), text(it, "reason"))
    });
    section(&mut lines, answer, "kept", "Had better be elsewhere, and stay:", |it| {
        let (reason, because) = (text(it, "reason"), text(it, "because"));
        format!("{} on {}: {reason}; stays because {because}", text(it, "instance"), host(Some(it)))
    });
    if answer.get("isCutShort").and_then(Value::as_bool) == Some(true) {
        lines.push("Not all was looked at: it takes too long.".to_owned());
    }
    if lines.is_empty() {
        lines.push("Nothing had better be elsewhere.".to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}

fn section(lines: &mut Vec<String>, answer: &Value, key: &str, title: &str, line: impl Fn(&Value) -> String) {
    let all: Vec<&Value> = answer.get(key).and_then(Value::as_array).into_iter().flatten().collect();
    if all.is_empty() {
        return;
    }
    lines.push(title.to_owned());
    lines.extend(all.iter().take(LINES_MAX).map(|it| format!("  {}", line(it))));
    let more = answer.get(format!("{key}LeftOut")).and_then(Value::as_u64).unwrap_or(0);
    let left_out = all.len().saturating_sub(LINES_MAX) as u64 + more;
    if left_out > 0 {
        lines.push(format!("  and {left_out} more"));
    }
}

fn host(place: Option<&Value>) -> String {
    let place = place.unwrap_or(&Value::Null);
    let (hostname, agent) = (text(place, "hostname"), text(place, "agent"));
    if hostname == agent { agent.to_owned() } else { format!("{hostname} ({agent})") }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_reads_from_top_to_bottom() {
        let place = |name: &str| json!({"agent": name, "hostname": name});
        let answer = json!({
            "moves": [{"instance": "web.1", "from": place("a1"), "to": place("a2"), "reason": "its agent is full"}],
            "underWay": [{"instance": "web.2", "agent": "a1", "hostname": "h1", "reason": "x", "waitsFor": "no room"}],
            "kept": [{"instance": "db.1", "agent": "a1", "hostname": "a1", "reason": "r", "because": "b"}],
        });
        assert_eq!(
            rebalanced(&answer, false),
            "Would move, with 'platformd rebalance --apply':\n\
             \u{20} web.1 from a1 to a2: its agent is full\n\
             Moving already:\n\
             \u{20} web.2 on h1 (a1): x. It runs on meanwhile: no room\n\
             Had better be elsewhere, and stay:\n\
             \u{20} db.1 on a1: r; stays because b\n"
        );
        assert_eq!(rebalanced(&json!({}), true), "Nothing had better be elsewhere.\n");
    }
}
