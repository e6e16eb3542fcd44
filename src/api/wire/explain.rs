//! Why an app is, or is not, where it could be; ours, Marathon had nothing like it.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::app;
use crate::domain::Resources;
use crate::scheduler::{Change, Explanation, Held, Lack, Part, Placed, Score, Verdict};

/// Verdicts in one answer; obstacles and changes tell of all agents however many there are.
pub const VERDICTS_MAX: usize = 1_000;

/// `GET /v2/apps/{id}/explain`. What there is most of, the verdicts, is written straight from where it lies.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplanationBody<'a> {
    #[serde(flatten)]
    summary: Map<String, Value>,
    verdicts: Vec<VerdictBody<'a>>,
    verdicts_left_out: usize,
    placed: Vec<Value>,
    placed_left_out: usize,
}

impl<'a> ExplanationBody<'a> {
    /// The answer that tells this.
    pub fn of(explanation: &'a Explanation) -> Self {
        let verdicts = &explanation.verdicts;
        // Who suits comes last: the question is why nobody does.
        let others = verdicts.iter().filter(|verdict| !verdict.suits());
        let shown = others.chain(verdicts.iter().filter(Verdict::suits)).take(VERDICTS_MAX);
        Self {
            summary: summary_json(explanation),
            verdicts: shown.map(VerdictBody::of).collect(),
            verdicts_left_out: verdicts.len().saturating_sub(VERDICTS_MAX),
            placed: explanation.placed.iter().map(placed_json).collect(),
            placed_left_out: explanation.placed_left_out,
        }
    }
}

/// The same without the agents one by one.
pub(super) fn summary_json(explanation: &Explanation) -> Map<String, Value> {
    let verdicts = &explanation.verdicts;
    let summary = json!({
        "index": explanation.index,
        "app": explanation.app.as_str(),
        "wanted": explanation.wanted,
        "waiting": explanation.waiting,
        "running": explanation.copies.running,
        "starting": explanation.copies.starting,
        "older": explanation.copies.older,
        "unhealthy": explanation.copies.unhealthy,
        "unreachable": explanation.copies.unreachable,
        "note": explanation.note,
        "since": explanation.since.map(|since| since.to_string()),
        "backingOffUntil": explanation.backing_off_until.map(|until| until.to_string()),
        "lastTaskFailure":
            explanation.last_failure.as_ref().map(|failure| app::failure_json(&explanation.app, failure)),
        "held": explanation.held.iter().map(held_json).collect::<Vec<_>>(),
        "needs": needs_json(&explanation.needs, explanation.ports),
        "agents": verdicts.len(),
        "suitable": explanation.suitable(),
        "obstacles": explanation.obstacles.iter().map(|obstacle| json!({
            "lacks": obstacle.lacks,
            "sentence": obstacle.sentence,
            "agents": obstacle.agents,
            "nearest": verdicts.get(obstacle.nearest).map(VerdictBody::of),
        })).collect::<Vec<_>>(),
        "changes": explanation.changes.iter().map(change_json).collect::<Vec<_>>(),
        "contradiction": explanation.contradiction,
    });
    match summary {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn held_json(held: &Held) -> Value {
    json!({
        "taskId": held.task.as_str(),
        "agent": held.agent.as_str(),
        "hostname": held.hostname,
        "mayRun": held.may_run,
        "why": held.why,
    })
}

fn needs_json(needs: &Resources, ports: usize) -> Value {
    json!({
        "cpus": needs.cpus.to_f64(),
        "mem": needs.mem.to_f64(),
        "disk": needs.disk.to_f64(),
        "gpus": needs.gpus.to_f64(),
        "ports": ports,
    })
}

#[derive(Serialize)]
struct VerdictBody<'a> {
    agent: &'a str,
    hostname: &'a str,
    suits: bool,
    lacks: Vec<LackBody>,
}

impl<'a> VerdictBody<'a> {
    fn of(verdict: Verdict<'a>) -> Self {
        Self {
            agent: verdict.agent.id.as_str(),
            hostname: &verdict.agent.hostname,
            suits: verdict.suits(),
            lacks: verdict.lacks.iter().map(LackBody::of).collect(),
        }
    }
}

#[derive(Serialize)]
struct LackBody {
    what: Cow<'static, str>,
    why: String,
    #[serde(flatten)]
    numbers: Option<Numbers>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Numbers {
    Amount { needed: f64, spare: f64, short: f64 },
    Since { since: String },
    Ports { needed: usize, spare: u32, taken: Vec<u16> },
}

impl Numbers {
    fn of(lack: &Lack) -> Option<Self> {
        Some(match lack {
            Lack::Unreachable(since) => Self::Since { since: since.to_string() },
            Lack::Amount(_, needed, spare) => Self::Amount {
                needed: needed.to_f64(),
                spare: spare.to_f64(),
                short: needed.minus(*spare).to_f64(),
            },
            Lack::Ports { needed, spare, taken } => Self::Ports {
                needed: *needed,
                spare: *spare,
                taken: taken.iter().map(|taken| taken.port).collect(),
            },
            _ => return None,
        })
    }
}

impl LackBody {
    fn of(lack: &Lack) -> Self {
        // What roles hide is told by the first thing that is short.
        let numbers = match lack {
            Lack::Role { short, .. } => short.first().and_then(Numbers::of),
            other => Numbers::of(other),
        };
        Self { what: lack.name(), why: lack.sentence(), numbers }
    }
}

fn change_json(change: &Change) -> Value {
    let why = change.sentence();
    match change {
        Change::Lower { amount, from, to, agents } => json!({
            "change": "lower",
            "what": amount.as_str(),
            "from": from.to_f64(),
            "to": to.to_f64(),
            "agents": agents,
            "sentence": why,
        }),
        Change::Drop { at, agents, .. } => json!({
            "change": "drop",
            "what": format!("constraints({})", at.first().copied().unwrap_or(0)),
            "positions": at,
            "agents": agents,
            "sentence": why,
        }),
        Change::FewerPorts { from, to, agents } => json!({
            "change": "lower",
            "what": "ports",
            "from": from,
            "to": to,
            "agents": agents,
            "sentence": why,
        }),
        Change::AnyPorts { fixed, agents } => json!({
            "change": "any",
            "what": "ports",
            "fixed": fixed,
            "agents": agents,
            "sentence": why,
        }),
        Change::Return { agents } => {
            json!({ "change": "return", "what": "agent", "agents": agents, "sentence": why })
        }
        Change::Together { parts, agents } => json!({
            "change": "together",
            "what": "app",
            "changes": parts.iter().map(change_json).collect::<Vec<_>>(),
            "agents": agents,
            "sentence": why,
        }),
        Change::StopFirst { from, to, agents } => json!({
            "change": "lower",
            "what": "upgradeStrategy.minimumHealthCapacity",
            "from": from.to_f64(),
            "to": to.to_f64(),
            "agents": agents,
            "sentence": why,
        }),
        Change::Add { needs, ports, facts } => json!({
            "change": "add",
            "what": "agent",
            "needs": needs_json(needs, *ports),
            "facts": facts,
            "sentence": why,
        }),
    }
}

fn placed_json(placed: &Placed) -> Value {
    json!({
        "task": placed.task.as_str(),
        "at": placed.at.to_string(),
        "here": score_json(&placed.here),
        "runnersUp": placed.runners_up.iter().map(score_json).collect::<Vec<_>>(),
    })
}

/// The load is given as a share of 1.
fn score_json(score: &Score) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "at most a million")]
    let load = score.load as f64 / 1_000_000.0;
    let mut body = json!({
        "agent": score.agent.as_str(),
        "hostname": score.hostname,
        "siblings": score.siblings,
        "load": load,
        "lot": score.lot(),
    });
    if let (Some(parts), Some(fields)) = (&score.wishes, body.as_object_mut()) {
        let part = |part: &Part| json!({"wish": part.wish, "why": part.why, "points": points(part.points)});
        fields.insert("points".to_owned(), points(score.points()));
        fields.insert("parts".to_owned(), parts.iter().map(part).collect());
    }
    body
}

/// Thousandths of points as a decimal.
fn points(thousandths: i64) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand points at most")]
    let points = thousandths as f64 / 1_000.0;
    json!(points)
}
