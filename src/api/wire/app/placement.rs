//! The block `placement`: soft wishes, ours alone. Broken values are told in sentences, and
//! unknown fields are refused; bounds are checked by `domain::validate::run_spec`.

use serde_json::{Map, Value, json};

use super::super::decode::into_map;
use super::super::reader::{Fields, Item};
use crate::domain::{Affinity, AppId, Preference, Spread, Strategy, Target, Wanted, Wishes};

/// Reads the block, if there is one. Relative ids of apps are resolved against `group`.
pub(super) fn read(fields: &mut Fields<'_, '_>, group: &str) -> Option<Wishes> {
    let mut inner = fields.object("placement")?;
    let mut wishes = Wishes::default();
    if let Some(word) = inner.text("strategy") {
        wishes.strategy = Strategy::parse(&word);
        if wishes.strategy.is_none() {
            inner.refuse("strategy", "must be spread or binpack");
        }
    }
    wishes.preferences = each(&mut inner, "preferences", preference);
    wishes.spread = each(&mut inner, "spread", spread);
    wishes.affinity = each(&mut inner, "affinity", |item| affinity(item, group));
    inner.finish_strictly();
    Some(wishes)
}

fn each<'v, 'p, T>(
    fields: &mut Fields<'v, 'p>,
    name: &'static str,
    read: impl Fn(&mut Fields<'v, 'p>) -> Option<T>,
) -> Vec<T> {
    let problems = fields.problems();
    let items: Vec<Item<'v>> = fields.list(name).unwrap_or_default();
    let one = |item: Item<'v>| {
        let mut inner = Fields::open(item.value, item.path, problems)?;
        let found = read(&mut inner);
        inner.finish_strictly();
        found
    };
    items.into_iter().filter_map(one).collect()
}

fn preference(item: &mut Fields<'_, '_>) -> Option<Preference> {
    let attribute = needed(item, "attribute");
    let weight = weight(item, "weight");
    let wanted = match (item.text("value"), item.text("pattern")) {
        (Some(value), None) => Wanted::Value(value),
        (None, Some(pattern)) => Wanted::Pattern(pattern),
        _ => {
            item.problems().semantic(item.here(), "must have either a value or a pattern");
            return None;
        }
    };
    Some(Preference { attribute: attribute?, wanted, weight: weight? })
}

fn spread(item: &mut Fields<'_, '_>) -> Option<Spread> {
    let attribute = needed(item, "attribute");
    let weight = weight(item, "weight");
    let targets = each(item, "targets", target);
    Some(Spread { attribute: attribute?, weight: weight?, targets })
}

fn target(item: &mut Fields<'_, '_>) -> Option<Target> {
    let value = needed(item, "value");
    let percent = whole(item, "percent", (0, 100), "must be a whole number from 0 to 100");
    Some(Target { value: value?, percent: u32::try_from(percent?).ok()? })
}

fn affinity(item: &mut Fields<'_, '_>, group: &str) -> Option<Affinity> {
    let raw = needed(item, "app");
    let attribute = item.text("attribute").unwrap_or_else(|| "hostname".to_owned());
    let weight = weight(item, "weight");
    let app = match AppId::resolve(&raw?, group) {
        Ok(app) => app,
        Err(error) => {
            item.refuse("app", error.to_string());
            return None;
        }
    };
    Some(Affinity { app, attribute, weight: weight? })
}

fn needed(item: &mut Fields<'_, '_>, name: &'static str) -> Option<String> {
    let text = item.text(name);
    item.required(name, text)
}

/// Which weights a list allows is told later, with the other rules.
fn weight(item: &mut Fields<'_, '_>, name: &'static str) -> Option<i32> {
    whole(item, name, (-1_000_000, 1_000_000), "must be a whole number from -100 to 100")
}

fn whole(
    item: &mut Fields<'_, '_>,
    name: &'static str,
    (least, most): (i32, i32),
    message: &str,
) -> Option<i32> {
    let Some(value) = item.value(name) else { return item.required(name, None) };
    let bounds = f64::from(least)..=f64::from(most);
    let number = value.as_f64().filter(|number| number.fract() == 0.0 && bounds.contains(number));
    if number.is_none() {
        item.refuse(name, message);
    }
    #[expect(clippy::cast_possible_truncation, reason = "range checked above")]
    let whole = number? as i32;
    Some(whole)
}

/// As the user wrote it: lists that are empty are left away.
pub(super) fn write(wishes: &Wishes) -> Value {
    let mut map = Map::new();
    if let Some(strategy) = wishes.strategy {
        map.insert("strategy".to_owned(), json!(strategy.as_str()));
    }
    let mut put = |name: &str, items: Vec<Value>| {
        if !items.is_empty() {
            map.insert(name.to_owned(), Value::Array(items));
        }
    };
    put("preferences", wishes.preferences.iter().map(write_preference).collect());
    put("spread", wishes.spread.iter().map(write_spread).collect());
    let affinity = |wish: &Affinity| json!({"app": wish.app.as_str(), "attribute": wish.attribute, "weight": wish.weight});
    put("affinity", wishes.affinity.iter().map(affinity).collect());
    Value::Object(map)
}

fn write_preference(wish: &Preference) -> Value {
    let (name, text) = match &wish.wanted {
        Wanted::Value(value) => ("value", value),
        Wanted::Pattern(pattern) => ("pattern", pattern),
    };
    json!({"attribute": wish.attribute, name: text, "weight": wish.weight})
}

fn write_spread(wish: &Spread) -> Value {
    let mut map = into_map(json!({"attribute": wish.attribute, "weight": wish.weight}));
    if !wish.targets.is_empty() {
        let target = |target: &Target| json!({"value": target.value, "percent": target.percent});
        map.insert("targets".to_owned(), wish.targets.iter().map(target).collect());
    }
    Value::Object(map)
}
