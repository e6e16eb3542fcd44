//! From bytes to a JSON value, and the ways in which a body can be wrong.

use serde_json::{Map, Value, json};

use crate::domain::Violation;

/// Why a body is not even a JSON document that could define something. Becomes 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The text is not JSON; what the parser said.
    #[error("read the body as JSON: {0}")]
    NotJson(String),
    /// Nothing there, or a bare text or number.
    #[error("find an object in the body: {0}")]
    Empty(String),
}

impl BodyError {
    /// The answer's body. Source: spec 1.2.
    pub fn body(&self) -> Value {
        match self {
            Self::NotJson(details) => json!({"message": "Invalid JSON", "details": details}),
            Self::Empty(details) => {
                json!({"message": "Please specify data in JSON format", "details": details})
            }
        }
    }
}

/// Why a JSON document does not define what it should. Becomes 422.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// Types or simple bounds are broken; messages are Play's codes such as `error.expected.int`.
    #[error("decode the body: {}", sentence(.0))]
    InvalidJson(Vec<Violation>),
    /// Every type is right and the whole makes no sense, or is not supported.
    #[error("accept the definition: {}", sentence(.0))]
    NotValid(Vec<Violation>),
}

impl AppError {
    /// The answer's body. Source: spec 1.2.
    pub fn body(&self) -> Value {
        let (message, violations) = match self {
            Self::InvalidJson(violations) => ("Invalid JSON", violations),
            Self::NotValid(violations) => ("Object is not valid", violations),
        };
        json!({"message": message, "details": details(violations)})
    }

    /// What is broken.
    pub fn violations(&self) -> &[Violation] {
        match self {
            Self::InvalidJson(violations) | Self::NotValid(violations) => violations,
        }
    }
}

fn sentence(violations: &[Violation]) -> String {
    violations.iter().map(Violation::to_string).collect::<Vec<_>>().join("; ")
}

/// One entry per path, in order of first appearance, without repeats.
fn details(violations: &[Violation]) -> Vec<Value> {
    let mut merged: Vec<(&str, Vec<&str>)> = Vec::new();
    for violation in violations {
        match merged.iter_mut().find(|(path, _)| *path == violation.path) {
            Some((_, errors)) if errors.contains(&violation.message.as_str()) => {}
            Some((_, errors)) => errors.push(&violation.message),
            None => merged.push((&violation.path, vec![&violation.message])),
        }
    }
    merged.into_iter().map(|(path, errors)| json!({"path": path, "errors": errors})).collect()
}

/// Reads a request body: a JSON object, or the array that bulk requests send.
///
/// # Errors
/// [`BodyError`] for text that is not JSON (nesting beyond the parser's 128 levels
/// included), for nothing at all, and for a bare text, number, flag or null.
pub fn parse_body(bytes: &[u8]) -> Result<Value, BodyError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(BodyError::Empty("the body is empty, an object was expected".to_owned()));
    }
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| BodyError::NotJson(error.to_string()))?;
    let found = match &value {
        Value::Object(_) | Value::Array(_) => return Ok(value),
        Value::Null => "null",
        Value::Bool(_) => "a flag",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
    };
    Err(BodyError::Empty(format!("the body is {found}, an object was expected")))
}

/// Turns a JSON value that was built as an object into its map.
pub(super) fn into_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
