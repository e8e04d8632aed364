//! Who else has a hand on the routes: other executions that run, and what ended ones have left.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Validation;
use crate::cutover::holder_of;
use crate::failure::Problem;
use crate::request::overlaid;
use crate::request::router::{RouterSyntax, named_leniently};
use crate::request::start::Start;
use crate::router::RouteId;
use crate::router::survey::{Finding, Found, RouterRef, Survey};
use crate::validate::facts::Attempt;
use crate::words::listed;

/// What another execution wants.
#[derive(Clone, Debug, PartialEq)]
enum Claim {
    /// To touch nothing.
    Nothing,
    /// Some routes.
    Routes(Wanted),
    /// Its input cannot be read: it may want anything.
    Unknown,
}

/// The routes that another execution wants.
#[derive(Clone, Debug, PartialEq)]
struct Wanted {
    /// Its router, and the place as its input names it.
    router: RouterRef,
    /// The routes' names; without any, all that have a part of its new side.
    routes: Option<BTreeSet<RouteId>>,
    /// The name of its new side.
    new: String,
}

impl Claim {
    /// Reads an input, with the defaults laid under it. It is not refused for what a request must not be:
    /// an older version of the functions may have accepted it.
    fn read(input: Option<&str>, defaults: &Value, routers: &[RouterSyntax]) -> Self {
        let Some(input) = input.and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
            return Self::Unknown;
        };
        // Whatever its cluster is called: what may be a claim is one.
        let request = match Start::read(&input, "") {
            Ok(Start::Request(request)) => overlaid(defaults, &request),
            Ok(Start::Ignored(_)) | Err(_) => return Self::Nothing,
        };
        if request.get("dry_run").and_then(Value::as_bool) == Some(true) {
            return Self::Nothing;
        }
        let router = request.as_object().and_then(|fields| named_leniently(fields, routers));
        let new = request.get("new").and_then(Value::as_str);
        let (Some(router), Some(new)) = (router, new) else { return Self::Unknown };
        let syntax = routers.iter().find(|syntax| syntax.kind == router.kind);
        let name = |name: &Value| (syntax?.route)(name.as_str()?);
        let wanted = match request.get("routes") {
            None | Some(Value::Null) => None,
            Some(names) => {
                let names = names.as_array().and_then(|names| names.iter().map(name).collect());
                let Some(names) = names else { return Self::Unknown };
                Some(names)
            }
        };
        Self::Routes(Wanted { router, routes: wanted, new: new.to_owned() })
    }
}

impl Wanted {
    /// Those of a survey's routes that are wanted.
    fn among(&self, kind: &str, survey: &Survey, routers: &[RouterSyntax]) -> Vec<String> {
        let syntax = routers.iter().find(|syntax| syntax.kind == kind);
        let meets = |syntax: &RouterSyntax| (syntax.meets)(&self.router.place, &survey.scopes);
        if self.router.kind != kind || !syntax.is_none_or(meets) {
            return Vec::new();
        }
        let means = |name: &RouteId, found: &Found| {
            let is_alias = |alias| syntax.is_some_and(|syntax| (syntax.means)(name, alias));
            *name == found.route || found.aliases.iter().any(is_alias)
        };
        let wanted = |found: &&Found| match &self.routes {
            Some(names) => names.iter().any(|name| means(name, found)),
            None => found.side_names.contains(&self.new),
        };
        survey.routes.iter().filter(wanted).map(|found| found.route.to_string()).collect()
    }
}

/// Names of executions of the same state machine whose marks stand on the routes of a survey: whether they run
/// must be known for sure.
#[must_use]
pub fn mark_holders(survey: &Survey, attempt: &Attempt) -> BTreeSet<String> {
    let ours = holder_of(&attempt.execution.arn);
    let machine = ours.rsplit_once(':').map(|(machine, _)| machine);
    let marks = survey.routes.iter().filter_map(|found| found.mark.as_ref());
    let holders = marks.filter_map(|mark| mark.holder.rsplit_once(':'));
    let here = holders.filter(|(of, _)| Some(*of) == machine);
    here.map(|(_, name)| name.to_owned()).collect()
}

impl Validation {
    /// Of two executions that want one route, the one that started first has it.
    pub(super) fn look_at_rivals(&mut self, routers: &[RouterSyntax]) {
        let us = (self.attempt.started_at, self.attempt.execution.name.clone());
        let before_us = |started_at, name: &String| (started_at, name) < (us.0, &us.1);
        let mut problems = Vec::new();
        for other in self.facts.running.iter().filter(|o| before_us(o.started_at, &o.name)) {
            let input = other.input.as_deref();
            let shared = match Claim::read(input, &self.request.defaults, routers) {
                Claim::Nothing => continue,
                Claim::Unknown => "routes that cannot be read from its input".to_owned(),
                Claim::Routes(wanted) => {
                    let shared = wanted.among(&self.request.router.kind, &self.survey, routers);
                    if shared.is_empty() {
                        continue;
                    }
                    listed(&shared)
                }
            };
            let message = format!(
                "execution {:?}, which started first, is running for {shared}: wait for its end or stop it",
                other.name
            );
            problems.push(Problem::new("already_running", message));
        }
        for problem in problems {
            self.refuse_for_now(problem);
        }
    }

    /// A mark says whose hand is on a route. That of an execution that has ended, whose last write
    /// failed, is replaced: nothing that it still does can touch the route then.
    pub(super) fn look_at_marks(&mut self) {
        let ours = holder_of(&self.attempt.execution.arn);
        let mut held: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for found in &self.survey.routes {
            if let Some(mark) = found.mark.as_ref().filter(|mark| mark.holder != ours) {
                held.entry(mark.holder.clone()).or_default().push(found.route.to_string());
            }
        }
        for (holder, routes) in held {
            self.look_at_mark(&ours, &holder, &listed(&routes));
        }
    }

    fn look_at_mark(&mut self, ours: &str, holder: &str, routes: &str) {
        let machine = |holder: &str| holder.rsplit_once(':').map(|(machine, _)| machine.to_owned());
        let name = holder.rsplit(':').next().unwrap_or_default();
        let is_running = self.facts.running.iter().any(|other| other.name == name);
        if machine(holder) != machine(ours) {
            let message = format!(
                "execution {holder} of another installation of cutover has its hand on {routes}: roll it back \
                 there, or remove its fences if it has ended"
            );
            self.refuse(Problem::new("fenced", message));
        } else if is_running {
            // The one that started later is seen by the other's fence alone.
            let said = |finding: &Finding| {
                finding.problem.code == "already_running" && finding.problem.message.contains(name)
            };
            if !self.survey.findings.iter().any(said) {
                let message = format!(
                    "execution {holder} is running and has its hand on {routes}: wait for its end or stop it"
                );
                self.refuse_for_now(Problem::new("fenced", message));
            }
        } else if !self.request.fence {
            let message = format!(
                "execution {holder} has ended and left its fence beside {routes}, and could still write: \
                 remove the fences, or set fence to true, which replaces them"
            );
            self.refuse(Problem::new("fenced", message));
        } else {
            let message = format!(
                "execution {holder} has ended and left its fence beside {routes}; this cutover replaces it, and \
                 a roll-back of that execution then finds nothing to undo"
            );
            self.warn(Problem::new("fence_left", message));
        }
    }
}
