//! Reads a JSON object field by field and keeps every problem, not only the first.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::failure::Problem;

/// The fields of one object that have not been read yet.
pub(crate) struct Fields<'p> {
    left: Map<String, Value>,
    path: &'static str,
    known: Vec<&'static str>,
    problems: &'p mut Vec<Problem>,
}

impl<'p> Fields<'p> {
    /// `path` stands before each field's name in messages (`health.`, or empty).
    pub(crate) fn of(
        value: Value,
        path: &'static str,
        problems: &'p mut Vec<Problem>,
    ) -> Fields<'p> {
        let left = match value {
            Value::Object(map) => map,
            other => {
                let name = path.trim_end_matches('.');
                let name = if name.is_empty() { "the request" } else { name };
                problems.push(Problem::new(
                    "invalid_field",
                    format!("{name} is {}; allowed: a JSON object", shown(&other)),
                ));
                Map::new()
            }
        };
        Fields { left, path, known: Vec::new(), problems }
    }

    /// The field's raw value, taken out; `null` counts as absent.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.left.remove(name).filter(|value| !value.is_null())
    }

    /// The field if it is there and allowed; a problem, and `None`, if it is there and is not.
    pub(crate) fn optional<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        allowed: &str,
        ok: impl Fn(&T) -> bool,
    ) -> Option<T> {
        let value = self.take(name)?;
        let read = serde_json::from_value::<T>(value.clone()).ok().filter(ok);
        if read.is_none() {
            self.refuse(name, &value, allowed);
        }
        read
    }

    /// The field, or its default when it is absent (or refused: the problem is kept).
    pub(crate) fn or<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        default: T,
        allowed: &str,
        ok: impl Fn(&T) -> bool,
    ) -> T {
        self.optional(name, allowed, ok).unwrap_or(default)
    }

    /// A field that must be there.
    pub(crate) fn required<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        allowed: &str,
        ok: impl Fn(&T) -> bool,
    ) -> Option<T> {
        if self.left.get(name).is_none_or(Value::is_null) {
            self.known.push(name);
            self.left.remove(name);
            let path = self.path;
            self.problems.push(Problem::new(
                "missing_field",
                format!("{path}{name} is missing; it must be {allowed}"),
            ));
            return None;
        }
        self.optional(name, allowed, ok)
    }

    /// Says that a field's value is not allowed.
    pub(crate) fn refuse(&mut self, name: &str, value: &Value, allowed: &str) {
        let path = self.path;
        self.problems.push(Problem::new(
            "invalid_field",
            format!("{path}{name} is {}; allowed: {allowed}", shown(value)),
        ));
    }

    /// Refuses, by name, every field that nobody asked for.
    pub(crate) fn finish(self) {
        for name in self.left.keys() {
            self.problems.push(Problem::new(
                "unknown_field",
                format!(
                    "{}{} is not a field; known are {}",
                    self.path,
                    shown(&Value::String(name.clone())),
                    self.known.join(", ")
                ),
            ));
        }
    }
}

/// A value as a message shows it: JSON (so that quotes and line ends are escaped), cut short.
pub(crate) fn shown(value: &Value) -> String {
    const CHARS_MAX: usize = 80;
    let json = value.to_string();
    if json.chars().count() <= CHARS_MAX {
        json
    } else {
        json.chars().take(CHARS_MAX).chain(['…']).collect()
    }
}
