//! The block `placement`: given back where it was written, and refused in sentences.

use super::*;
use crate::domain::SpecChange;

fn app_with(placement: Value) -> Value {
    json!({"id": "/shop/web", "cmd": "sleep 100", "placement": placement})
}

/// What the block looks like when it is given back.
#[track_caller]
fn check(placement: Value, wanted: Value) {
    let spec = accept(&app_with(placement)).unwrap();
    let answer = got(&spec);
    assert_eq!(answer.get("placement"), Some(&wanted));
    let again = decode_app(&Value::Object(answer), "/").unwrap();
    assert_eq!((again.spec, again.warnings), (spec, vec![]));
}

#[test]
fn the_block_is_given_back_where_it_was_written() {
    assert_eq!(got(&accept(&json!({"id": "/web", "cmd": "x"})).unwrap()).get("placement"), None);
    assert_eq!(got(&accept(&app_with(Value::Null)).unwrap()).get("placement"), None);
    check(json!({}), json!({}));
    check(json!({"strategy": "binpack", "spread": []}), json!({"strategy": "binpack"}));
    let whole = json!({
        "strategy": "spread",
        "preferences": [{"attribute": "disk", "value": "ssd", "weight": 50},
                        {"attribute": "hostname", "pattern": "old-.*", "weight": -100}],
        "spread": [{"attribute": "zone", "weight": 100,
                    "targets": [{"value": "a", "percent": 60}, {"value": "b", "percent": 40}]},
                   {"attribute": "rack", "weight": 1}],
        "affinity": [{"app": "/shop/cache", "attribute": "hostname", "weight": 30}],
    });
    check(whole.clone(), whole.clone());
    let mut short = whole.clone();
    short["affinity"] = json!([{"app": "cache", "weight": 30.0}]);
    check(short, whole);
}

#[test]
fn an_update_takes_the_block_as_a_whole() {
    let spec = accept(&app_with(json!({"strategy": "binpack"}))).unwrap();
    let after = |update: Value| {
        let merged = decode_update(&update).unwrap().within("/shop").merge(&spec).unwrap();
        got(&merged).get("placement").cloned()
    };
    assert_eq!(after(json!({"instances": 2})), Some(json!({"strategy": "binpack"})));
    let spread = json!({"spread": [{"attribute": "rack", "weight": 5}]});
    assert_eq!(after(json!({"placement": spread})), Some(spread));
    assert_eq!(after(json!({"placement": null})), Some(json!({"strategy": "binpack"})), "as everywhere");
    assert_eq!(after(json!({"placement": {}})), Some(json!({})));
    let changed = accept(&app_with(json!({"strategy": "spread"}))).unwrap();
    assert_eq!(changed.change_from(&spec), SpecChange::Replace);
}

/// Refused at exactly this path, with a sentence that has these words.
#[track_caller]
fn refused(placement: Value, path: &str, words: &str) {
    match accept(&app_with(placement.clone())) {
        Err(AppError::NotValid(broken)) => {
            let found: Vec<&str> = broken.iter().map(|violation| violation.path.as_str()).collect();
            assert_eq!(found, [format!("/placement{path}")], "{broken:?}");
            assert!(broken[0].message.contains(words), "{broken:?}");
        }
        other => panic!("{placement}: {other:?}"),
    }
}

#[test]
fn what_cannot_be_wished_is_refused_in_a_sentence() {
    refused(json!({"strategy": "tight"}), "/strategy", "must be spread or binpack");
    refused(json!({"strategies": "spread"}), "/strategies", "is not known here; expected strategy");
    let liked = |more: Value| {
        let mut one = json!({"attribute": "disk", "value": "ssd", "weight": 50});
        one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"preferences": [one]})
    };
    refused(liked(json!({"weight": 0})), "/preferences(0)/weight", "-100 to 100, not 0");
    refused(liked(json!({"weight": 101})), "/preferences(0)/weight", "-100 to 100");
    refused(liked(json!({"weight": -1e300})), "/preferences(0)/weight", "-100 to 100");
    refused(liked(json!({"weight": 1.5})), "/preferences(0)/weight", "whole number");
    refused(liked(json!({"weight": "50"})), "/preferences(0)/weight", "whole number");
    refused(liked(json!({"attribute": ""})), "/preferences(0)/attribute", "hostname or the name");
    refused(liked(json!({"pattern": "x"})), "/preferences(0)", "either a value or a pattern");
    refused(liked(json!({"value": null})), "/preferences(0)", "either a value or a pattern");
    refused(liked(json!({"value": ""})), "/preferences(0)/value", "1 to 1024");
    refused(liked(json!({"value": null, "pattern": "("})), "/preferences(0)/pattern", "regular expression");
    refused(liked(json!({"value": null, "pattern": ""})), "/preferences(0)/pattern", "must not be empty");
    refused(liked(json!({"wieght": 3})), "/preferences(0)/wieght", "is not known here");
    let spread = |more: Value| {
        let mut one = json!({"attribute": "zone", "weight": 50});
        one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"spread": [one]})
    };
    refused(spread(json!({"weight": -1})), "/spread(0)/weight", "1 to 100");
    let targets = |targets: Value| spread(json!({"targets": targets}));
    refused(
        targets(json!([{"value": "a", "percent": 60}, {"value": "b", "percent": 50}])),
        "/spread(0)/targets",
        "100 percent together, are 110",
    );
    refused(
        targets(json!([{"value": "a", "percent": 1}, {"value": "a", "percent": 1}])),
        "/spread(0)/targets(1)/value",
        "named twice",
    );
    refused(targets(json!([{"value": "a", "percent": 101}])), "/spread(0)/targets(0)/percent", "0 to 100");
    let near = |app: &str| json!({"affinity": [{"app": app, "weight": 5}]});
    refused(near("web"), "/affinity(0)/app", "is the app itself; use placement.spread");
    refused(near("/Not_An_Id"), "/affinity(0)/app", "");
    let many = |count: usize, one: Value| Value::Array(vec![one; count]);
    refused(
        json!({"preferences": many(17, json!({"attribute": "a", "value": "b", "weight": 1}))}),
        "/preferences",
        "more than 16 entries, has 17",
    );
    refused(json!({"spread": many(5, json!({"attribute": "a", "weight": 1}))}), "/spread", "more than 4");
    refused(json!({"affinity": many(17, json!({"app": "/x", "weight": 1}))}), "/affinity", "more than 16");
}

#[test]
fn what_is_missing_or_of_another_type_carries_plays_codes() {
    let fault = |placement: Value, path: &str, code: &str| {
        let wanted = vec![Violation::new(format!("/placement{path}"), code)];
        assert_eq!(accept(&app_with(placement)), Err(AppError::InvalidJson(wanted)));
    };
    fault(json!({"spread": [{"weight": 1}]}), "/spread(0)/attribute", "error.path.missing");
    fault(json!({"spread": [{"attribute": "a"}]}), "/spread(0)/weight", "error.path.missing");
    fault(json!({"affinity": [{"weight": 1}]}), "/affinity(0)/app", "error.path.missing");
    fault(json!({"preferences": {}}), "/preferences", "error.expected.jsarray");
    fault(json!({"spread": [3]}), "/spread(0)", "error.expected.jsobject");
}
