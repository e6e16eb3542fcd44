//! `/v1/rebalance`: budgets in, plans out. Ours.

use serde_json::{Value, json};

use super::decode::AppError;
use super::reader::{Fields, Problems};
use super::what_if::{LISTED_MAX, bounded, place_json, refuse_others, spot_json};
use crate::control::MOVES_MAX_MOST;
use crate::forecast::{Rebalance, Spot};

/// Reads how many may move at a time, in all and of one app.
///
/// # Errors
/// [`AppError`] with JSON paths.
pub fn decode_budget(body: &Value) -> Result<(Option<u32>, Option<u32>), AppError> {
    let problems = Problems::default();
    let read = Fields::open(body, "", &problems).map(|mut fields| {
        let moves = fields.whole("maxMoves", 1, MOVES_MAX_MOST);
        let per_app = fields.whole("maxMovesPerApp", 1, MOVES_MAX_MOST);
        refuse_others(body, "", &["maxMoves", "maxMovesPerApp"], &problems);
        (moves, per_app)
    });
    problems.settle(read).map(|(budget, _)| budget)
}

/// A plan.
pub fn rebalance_json(plan: &Rebalance) -> Value {
    let (moves, moves_left_out) = bounded(&plan.moves, LISTED_MAX, |it| {
        json!({
            "app": it.from.app.as_str(),
            "instance": it.from.instance.as_str(),
            "reason": it.reason,
            "from": place_json(&it.from),
            "to": { "agent": it.to.as_str(), "hostname": it.hostname },
        })
    });
    let told = |spot: &Spot, more: &[(&str, Value)]| {
        let mut value = spot_json(spot);
        if let Some(fields) = value.as_object_mut() {
            fields.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        }
        value
    };
    let (kept, kept_left_out) = bounded(&plan.kept, LISTED_MAX, |it| {
        told(&it.spot, &[("reason", json!(it.reason)), ("because", json!(it.because))])
    });
    let (under_way, under_way_left_out) = bounded(&plan.under_way, LISTED_MAX, |it| {
        told(&it.spot, &[("reason", json!(it.reason)), ("waitsFor", json!(it.waits_for))])
    });
    json!({
        "index": plan.index,
        "isCutShort": plan.is_cut_short,
        "moves": moves, "movesLeftOut": moves_left_out,
        "kept": kept, "keptLeftOut": kept_left_out,
        "underWay": under_way, "underWayLeftOut": under_way_left_out,
    })
}
