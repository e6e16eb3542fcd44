//! How amounts are written: whole numbers without a fraction. Source: spec 2.2.

use serde_json::{Number, Value};

use crate::domain::{Millionths, Scalar};

/// An amount in its own unit: `1`, `0.5`.
pub fn scalar(amount: Scalar) -> Value {
    fraction(amount.thousandths(), 1000, amount.to_f64())
}

/// A decimal factor: `1`, `1.15`.
pub fn millionths(amount: Millionths) -> Value {
    fraction(amount.0, 1_000_000, amount.to_f64())
}

fn fraction(parts: u64, one: u64, decimal: f64) -> Value {
    if parts.is_multiple_of(one) {
        return Value::from(parts / one);
    }
    Number::from_f64(decimal).map_or(Value::Null, Value::Number)
}
