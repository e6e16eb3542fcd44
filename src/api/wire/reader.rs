//! Reads fields out of JSON objects and gathers every problem with its path and code.
//!
//! Way in: [`Fields::open`], one getter per field, [`Fields::finish`]. A getter that finds
//! the wrong type notes the problem and answers as if the field were absent, so that one
//! pass over a document names everything that is wrong with it. `null` means absent.
//! Codes are Play's. Source: spec 1.1, 1.2.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::decode::AppError;
use crate::domain::Violation;

/// Most problems told about one document; a body may hold millions of wrong elements.
const PROBLEMS_MAX: usize = 100;
/// Most unknown fields told about one document; they end up in a header.
const WARNINGS_MAX: usize = 20;
/// Longest path told of an unknown field, in characters.
const WARNING_PATH_CHARS_MAX: usize = 120;

/// Everything found wrong or odd in one document.
#[derive(Debug, Default)]
pub(super) struct Problems(RefCell<Lists>);

#[derive(Debug, Default)]
struct Lists {
    json: Vec<Violation>,
    semantic: Vec<Violation>,
    warnings: Vec<String>,
}

impl Problems {
    /// Notes a broken type or simple bound.
    pub(super) fn json(&self, path: &str, code: &str) {
        note(&mut self.0.borrow_mut().json, path, code);
    }

    /// Notes a broken rule of meaning.
    pub(super) fn semantic(&self, path: &str, message: impl Into<String>) {
        note(&mut self.0.borrow_mut().semantic, path, message);
    }

    /// Notes something that is accepted and has no effect.
    pub(super) fn warn(&self, what: &str, path: &str) {
        let warnings = &mut self.0.borrow_mut().warnings;
        if warnings.len() < WARNINGS_MAX {
            let path: String = path.chars().take(WARNING_PATH_CHARS_MAX).collect();
            warnings.push(format!("{what} '{path}'"));
        }
    }

    /// Ends reading: the value if nothing was wrong, and the warnings.
    ///
    /// # Errors
    /// Broken types if there are any, otherwise broken rules.
    pub(super) fn settle<T>(self, value: Option<T>) -> Result<(T, Vec<String>), AppError> {
        let lists = self.0.into_inner();
        if !lists.json.is_empty() {
            return Err(AppError::InvalidJson(lists.json));
        }
        if !lists.semantic.is_empty() {
            return Err(AppError::NotValid(lists.semantic));
        }
        let absent = || AppError::InvalidJson(vec![Violation::new("/", "error.expected.jsobject")]);
        Ok((value.ok_or_else(absent)?, lists.warnings))
    }

    /// Ends reading where only types matter yet: the warnings.
    ///
    /// # Errors
    /// Broken types.
    pub(super) fn settle_types(self) -> Result<Vec<String>, AppError> {
        let lists = self.0.into_inner();
        if lists.json.is_empty() { Ok(lists.warnings) } else { Err(AppError::InvalidJson(lists.json)) }
    }
}

fn note(list: &mut Vec<Violation>, path: &str, message: impl Into<String>) {
    if list.len() < PROBLEMS_MAX {
        list.push(Violation::new(if path.is_empty() { "/" } else { path }, message));
    }
}

/// A value and where it stands.
pub(super) struct Item<'v> {
    /// Where.
    pub(super) path: String,
    /// What.
    pub(super) value: &'v Value,
}

/// One JSON object being read.
pub(super) struct Fields<'v, 'p> {
    path: String,
    map: &'v Map<String, Value>,
    known: Vec<&'static str>,
    problems: &'p Problems,
}

impl<'v, 'p> Fields<'v, 'p> {
    /// Begins reading `value`, which stands at `path` (empty for the whole document).
    pub(super) fn open(value: &'v Value, path: impl Into<String>, problems: &'p Problems) -> Option<Self> {
        let path = path.into();
        match value.as_object() {
            Some(map) => Some(Self { path, map, known: Vec::new(), problems }),
            None => {
                problems.json(&path, "error.expected.jsobject");
                None
            }
        }
    }

    /// Path of the object itself.
    pub(super) fn here(&self) -> &str {
        &self.path
    }

    /// Path of one field.
    pub(super) fn path_of(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// Notes a broken rule about one field.
    pub(super) fn refuse(&self, name: &str, message: impl Into<String>) {
        self.problems.semantic(&self.path_of(name), message);
    }

    /// Notes a broken type or bound of one field.
    pub(super) fn fault(&self, name: &str, code: &str) {
        self.problems.json(&self.path_of(name), code);
    }

    /// Where problems go.
    pub(super) fn problems(&self) -> &'p Problems {
        self.problems
    }

    /// The field's value unless absent or null.
    pub(super) fn value(&mut self, name: &'static str) -> Option<&'v Value> {
        self.known.push(name);
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// Fields that are known and have no effect here.
    pub(super) fn skip(&mut self, names: &[&'static str]) {
        self.known.extend_from_slice(names);
    }

    /// Notes that a field is missing which has to be there.
    pub(super) fn required<T>(&self, name: &str, value: Option<T>) -> Option<T> {
        // A value of the wrong type was already noted.
        if value.is_none() && self.map.get(name).is_none_or(Value::is_null) {
            self.fault(name, "error.path.missing");
        }
        value
    }

    /// A text.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        let value = self.value(name)?;
        text_at(value, &self.path_of(name), self.problems)
    }

    /// A text with at least one character.
    pub(super) fn filled_text(&mut self, name: &'static str) -> Option<String> {
        let text = self.text(name)?;
        if text.is_empty() {
            self.fault(name, "error.minLength");
            return None;
        }
        Some(text)
    }

    /// True or false.
    pub(super) fn flag(&mut self, name: &'static str) -> Option<bool> {
        let value = self.value(name)?;
        if value.as_bool().is_none() {
            self.fault(name, "error.expected.jsboolean");
        }
        value.as_bool()
    }

    /// A whole number from `least` to `most`.
    pub(super) fn whole(&mut self, name: &'static str, least: u32, most: u32) -> Option<u32> {
        let value = self.value(name)?;
        whole_at(value, &self.path_of(name), (least, most), self.problems)
    }

    /// A decimal number from `least` to `most`.
    pub(super) fn number(&mut self, name: &'static str, least: f64, most: f64) -> Option<f64> {
        let Some(number) = self.value(name)?.as_f64() else {
            self.fault(name, "error.expected.jsnumber");
            return None;
        };
        if number < least {
            self.fault(name, "error.min");
            return None;
        }
        if number > most {
            self.fault(name, "error.max");
            return None;
        }
        Some(number)
    }

    /// One of some words in any case.
    pub(super) fn choice<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(name)?;
        let chosen = parse(&text);
        if chosen.is_none() {
            self.fault(name, "error.unknown.enum.literal");
        }
        chosen
    }

    /// The elements of a list.
    pub(super) fn list(&mut self, name: &'static str) -> Option<Vec<Item<'v>>> {
        let value = self.value(name)?;
        items_at(value, &self.path_of(name), self.problems)
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, name: &'static str) -> Option<Vec<String>> {
        let items = self.list(name)?;
        Some(items.iter().filter_map(|item| text_at(item.value, &item.path, self.problems)).collect())
    }

    /// Free text by name.
    pub(super) fn text_map(&mut self, name: &'static str) -> Option<BTreeMap<String, String>> {
        let value = self.value(name)?;
        let Some(map) = value.as_object() else {
            self.fault(name, "error.expected.jsobject");
            return None;
        };
        let mut texts = BTreeMap::new();
        for (key, value) in map {
            let path = format!("{}/{key}", self.path_of(name));
            if let Some(text) = text_at(value, &path, self.problems) {
                texts.insert(key.clone(), text);
            }
        }
        Some(texts)
    }

    /// An object within this one.
    pub(super) fn object(&mut self, name: &'static str) -> Option<Fields<'v, 'p>> {
        let value = self.value(name)?;
        Fields::open(value, self.path_of(name), self.problems)
    }

    /// Refuses a field that has no home here yet, unless it is absent or empty.
    pub(super) fn unsupported(&mut self, name: &'static str, what: &str) {
        let Some(value) = self.value(name) else { return };
        let is_empty = match value {
            Value::Array(items) => items.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        if !is_empty {
            self.refuse_gap(name, what);
        }
    }

    /// The same for an object that asks for something even when it is empty, since it has defaults.
    pub(super) fn unsupported_even_empty(&mut self, name: &'static str, what: &str) {
        if self.value(name).is_some() {
            self.refuse_gap(name, what);
        }
    }

    fn refuse_gap(&mut self, name: &'static str, what: &str) {
        self.refuse(name, format!("{what} not supported by this version yet; remove '{name}'"));
    }

    /// Ends reading an object of our own making: fields that nobody asked for are refused.
    pub(super) fn finish_strictly(self) {
        for name in self.map.keys().filter(|name| !self.known.contains(&name.as_str())) {
            let short: String = name.chars().take(WARNING_PATH_CHARS_MAX).collect();
            let message = format!("is not known here; expected {}", self.known.join(", "));
            self.problems.semantic(&self.path_of(&short), message);
        }
    }

    /// Ends reading: fields that nobody asked for are told as unknown.
    pub(super) fn finish(self) {
        for name in self.map.keys().filter(|name| !self.known.contains(&name.as_str())) {
            self.problems.warn("unknown field", &self.path_of(name));
        }
    }
}

/// A text, or a noted problem.
pub(super) fn text_at(value: &Value, path: &str, problems: &Problems) -> Option<String> {
    if !value.is_string() {
        problems.json(path, "error.expected.jsstring");
    }
    value.as_str().map(str::to_owned)
}

/// The elements of a list, or a noted problem.
pub(super) fn items_at<'v>(value: &'v Value, path: &str, problems: &Problems) -> Option<Vec<Item<'v>>> {
    let Some(values) = value.as_array() else {
        problems.json(path, "error.expected.jsarray");
        return None;
    };
    let item = |(at, value)| Item { path: format!("{path}({at})"), value };
    Some(values.iter().enumerate().map(item).collect())
}

/// A whole number within inclusive bounds, or a noted problem.
pub(super) fn whole_at(
    value: &Value,
    path: &str,
    (least, most): (u32, u32),
    problems: &Problems,
) -> Option<u32> {
    let Some(number) = value.as_f64() else {
        problems.json(path, "error.expected.jsnumber");
        return None;
    };
    // Play reads 2.0 as 2, and nothing beyond 32 bits as a whole number.
    let is_whole = number.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number);
    if !is_whole {
        problems.json(path, "error.expected.int");
        return None;
    }
    if number < f64::from(least) {
        problems.json(path, "error.min");
        return None;
    }
    if number > f64::from(most) {
        problems.json(path, "error.max");
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "range checked above")]
    let whole = number as u32;
    Some(whole)
}
