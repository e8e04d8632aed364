//! What is asked of both sides before the first user is: some requests of cutover's own.

use crate::request::fields::Fields;

/// Most probes of one side of a route.
const COUNT_MAX: u32 = 20;
/// Longest path, in characters.
const PATH_CHARS_MAX: usize = 1024;

/// Requests that both sides of each route are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The path, with a query if there is one: `/healthz`.
    pub path: String,
    /// How many requests each side of a route gets, 1–20.
    pub count: u32,
}

impl Probe {
    /// Reads `{"path", "count"}`.
    pub(super) fn read(mut fields: Fields<'_>) -> Option<Self> {
        let is_path = |path: &String| {
            path.starts_with('/')
                && path.len() <= PATH_CHARS_MAX
                && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
        };
        let allowed = "a path that begins with / (up to 1024 visible ASCII characters, without #)";
        let path = fields.required("path", allowed, is_path);
        let count = fields.within("count", 5, "a whole number", 1..=COUNT_MAX);
        fields.finish();
        Some(Self { path: path?, count })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::request::Request;
    use crate::request::tests::ROUTERS;

    #[test]
    fn a_probe_is_read_and_what_cannot_be_asked_is_refused_by_name() {
        let parse = |probe| {
            let request = json!({"new": "green", "place": "x", "probe": probe});
            Request::parse(&json!({}), &request, &ROUTERS, 60)
        };
        let read = parse(json!({"path": "/a?b=c"})).expect("allowed");
        assert_eq!(read.probe, Some(Probe { path: "/a?b=c".to_owned(), count: 5 }));
        let none = json!({"new": "green", "place": "x"});
        assert_eq!(Request::parse(&json!({}), &none, &ROUTERS, 60).expect("fine").probe, None);
        for (probe, said) in [
            (json!({}), "probe.path is missing"),
            (json!({"path": "healthz"}), "probe.path is \"healthz\"; allowed: a path that begins"),
            (json!({"path": "/a b"}), "probe.path is"),
            (json!({"path": "/a\r\nHost: x"}), "probe.path is"),
            (json!({"path": "/ä"}), "probe.path is"),
            (json!({"path": "/a#b"}), "probe.path is"),
            (json!({"path": "/", "count": 0}), "probe.count is 0; allowed: a whole number from 1"),
            (json!({"path": "/", "count": 21}), "probe.count is 21"),
            (json!({"path": "/", "port": 1}), "probe.\"port\" is not a field"),
            (json!(true), "probe is true; allowed: a JSON object"),
        ] {
            let failure = parse(probe.clone()).expect_err("refused");
            let messages: Vec<&str> =
                failure.problems().iter().map(|problem| problem.message.as_str()).collect();
            assert!(messages.iter().any(|m| m.starts_with(said)), "{probe}: {messages:?}");
        }
    }
}
