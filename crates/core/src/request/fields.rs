//! Reads a JSON object field by field and keeps every problem, not only the first.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::failure::Problem;
use crate::words::shortened;

/// The fields of one object that have not been read yet: those that somebody gave, and beneath them
/// those of the defaults. Both are checked, a default that is overridden as well.
pub struct Fields<'p> {
    given: Layer,
    defaults: Layer,
    known: Vec<&'static str>,
    problems: &'p mut Vec<Problem>,
}

/// One of the two objects that a field may stand in.
struct Layer {
    left: Map<String, Value>,
    /// Stands before each field's name in messages: `health.`, `in the defaults, health.`, or nothing.
    path: String,
}

impl Layer {
    fn of(value: Value, path: String, problems: &mut Vec<Problem>) -> Self {
        let left = match value {
            Value::Object(map) => map,
            other => {
                problems.push(refused(path.trim_end_matches('.'), &other, "a JSON object"));
                Map::new()
            }
        };
        Self { left, path }
    }
}

impl<'p> Fields<'p> {
    /// The fields of one object. `path` stands before each field's name in messages, as `health.`
    pub(crate) fn of(value: Value, path: String, problems: &'p mut Vec<Problem>) -> Self {
        let given = Layer::of(value, path, problems);
        let defaults = Layer { left: Map::new(), path: String::new() };
        Self { given, defaults, known: Vec::new(), problems }
    }

    /// The fields of a request, with the defaults beneath them.
    pub(crate) fn over(
        defaults: Map<String, Value>,
        given: Map<String, Value>,
        problems: &'p mut Vec<Problem>,
    ) -> Self {
        let given = Layer { left: given, path: String::new() };
        let defaults = Layer { left: defaults, path: "in the defaults, ".to_owned() };
        Self { given, defaults, known: Vec::new(), problems }
    }

    /// The fields of an object inside of this one, given ones over defaults. Empty when it is in neither.
    pub fn object(&mut self, name: &'static str) -> Fields<'_> {
        self.known.push(name);
        let [defaults, given] = [&mut self.defaults, &mut self.given].map(|layer| {
            let value = layer.left.remove(name).unwrap_or_else(|| Value::Object(Map::new()));
            Layer::of(value, format!("{}{name}.", layer.path), self.problems)
        });
        Fields { given, defaults, known: Vec::new(), problems: self.problems }
    }

    /// The same, or `None` when no object is in either.
    pub(crate) fn object_if_given(&mut self, name: &'static str) -> Option<Fields<'_>> {
        let is_object = |layer: &&Layer| layer.left.get(name).is_some_and(Value::is_object);
        let is_given = [&self.given, &self.defaults].iter().any(is_object);
        let fields = self.object(name);
        is_given.then_some(fields)
    }

    /// A field that `read` makes something of, out of its value and its name with the path; what it
    /// refuses is `None`, with a problem.
    pub fn read<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&Value, &str, &mut Vec<Problem>) -> Option<T>,
    ) -> Option<T> {
        self.known.push(name);
        let mut effective = None;
        for layer in [&mut self.defaults, &mut self.given] {
            if let Some(value) = layer.left.remove(name) {
                effective = read(&value, &format!("{}{name}", layer.path), self.problems);
            }
        }
        effective
    }

    /// Whether somebody gave the field, in the request or in the defaults.
    pub(crate) fn has(&self, name: &str) -> bool {
        [&self.given, &self.defaults].iter().any(|layer| layer.left.contains_key(name))
    }

    /// Leaves fields unread, wherever they stand.
    pub(crate) fn pass_over(&mut self, names: &[&str]) {
        for name in names {
            self.given.left.remove(*name);
            self.defaults.left.remove(*name);
        }
    }

    /// Leaves fields of the defaults unread: in the request itself they are refused as unknown.
    pub(crate) fn pass_over_defaults(&mut self, names: &[&str]) {
        for name in names {
            self.defaults.left.remove(*name);
        }
    }

    /// The field if it is there and allowed; a problem, and `None`, if it is there and is not.
    pub fn optional<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        allowed: &str,
        ok: impl Fn(&T) -> bool,
    ) -> Option<T> {
        self.read(name, |value, field, problems| {
            let read = serde_json::from_value::<T>(value.clone()).ok().filter(&ok);
            if read.is_none() {
                problems.push(refused(field, value, allowed));
            }
            read
        })
    }

    /// The field whatever it is; null when it is absent.
    pub fn anything(&mut self, name: &'static str) -> Value {
        self.read(name, |value, _, _| Some(value.clone())).unwrap_or_default()
    }

    /// The field, or its default when it is absent (or refused: the problem is kept).
    pub fn or<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        default: T,
        allowed: &str,
        ok: impl Fn(&T) -> bool,
    ) -> T {
        self.optional(name, allowed, ok).unwrap_or(default)
    }

    /// The field, a number in a range, or its default. `kind` says what it is, for people: "a whole number of seconds".
    pub fn within<T: DeserializeOwned + PartialOrd + Display>(
        &mut self,
        name: &'static str,
        default: T,
        kind: &str,
        range: RangeInclusive<T>,
    ) -> T {
        self.within_if_given(name, kind, range).unwrap_or(default)
    }

    /// The same, or `None` when it is absent.
    pub(crate) fn within_if_given<T: DeserializeOwned + PartialOrd + Display>(
        &mut self,
        name: &'static str,
        kind: &str,
        range: RangeInclusive<T>,
    ) -> Option<T> {
        let allowed = format!("{kind} from {} to {}", range.start(), range.end());
        self.optional(name, &allowed, |value| range.contains(value))
    }

    /// A field that must be there.
    pub fn required<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        allowed: &str,
        ok: impl Fn(&T) -> bool,
    ) -> Option<T> {
        if !self.has(name) {
            let field = self.label(name);
            let message = format!("{field} is missing; it must be {allowed}");
            self.problems.push(Problem::new("missing_field", message));
        }
        self.optional(name, allowed, ok)
    }

    /// A list of texts, each of which `read`s as something else. Every entry that does not has a problem.
    pub fn list<T: Ord + Clone>(
        &mut self,
        name: &'static str,
        lengths: &RangeInclusive<usize>,
        [allowed, entry_allowed]: [&str; 2],
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.read(name, |value, field, problems| {
            let Some(list) = value.as_array().filter(|list| lengths.contains(&list.len())) else {
                problems.push(refused(field, value, allowed));
                return None;
            };
            let known = problems.len();
            let mut seen = BTreeMap::new();
            for (index, entry) in list.iter().enumerate() {
                let place = format!("{field}[{index}]");
                let Some(read) = entry.as_str().and_then(&read) else {
                    problems.push(refused(&place, entry, entry_allowed));
                    continue;
                };
                if let Some(first) = seen.insert(read, index) {
                    problems.push(Problem::new(
                        "invalid_field",
                        format!(
                            "{place} is {}, the same as {field}[{first}]; allowed: each once",
                            shown(entry)
                        ),
                    ));
                }
            }
            (problems.len() == known).then(|| seen.into_keys().collect())
        })
    }

    /// How messages call the field whose value counts: the given one, or that of the defaults. To be
    /// asked before the field is read.
    #[must_use]
    pub fn label(&self, name: &str) -> String {
        let layers = [&self.given, &self.defaults];
        let counts = layers.into_iter().find(|layer| layer.left.contains_key(name));
        format!("{}{name}", counts.unwrap_or(&self.given).path)
    }

    /// Keeps a problem of a field that has been read.
    pub fn refuse(&mut self, label: &str, value: &Value, allowed: &str) {
        self.problems.push(refused(label, value, allowed));
    }

    /// Refuses, by name, every field that nobody asked for.
    pub(crate) fn finish(self) {
        for Layer { left, path } in [&self.given, &self.defaults] {
            for name in left.keys() {
                let name = shown(&Value::String(name.clone()));
                let known = self.known.join(", ");
                let message = format!("{path}{name} is not a field; known are {known}");
                self.problems.push(Problem::new("unknown_field", message));
            }
        }
    }
}

/// The problem of a field whose value is not allowed.
pub(crate) fn refused(field: &str, value: &Value, allowed: &str) -> Problem {
    let instead = if value.is_null() { "; or leave the field out" } else { "" };
    let message = format!("{field} is {}; allowed: {allowed}{instead}", shown(value));
    Problem::new("invalid_field", message)
}

/// A value as a message shows it: JSON (so that quotes and line ends are escaped), cut short.
pub(crate) fn shown(value: &Value) -> String {
    const CHARS_MAX: usize = 80;
    shortened(&value.to_string(), CHARS_MAX)
}
