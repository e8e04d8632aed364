//! Listeners, rules, tags and targets that behave as Elastic Load Balancing's: they are listed by pages, and a write
//! replaces the whole action list.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use adapters::clients::LoadBalancingClient;
use aws_sdk_elasticloadbalancingv2::operation::describe_listeners::{
    DescribeListenersInput, DescribeListenersOutput,
};
use aws_sdk_elasticloadbalancingv2::operation::describe_load_balancers::{
    DescribeLoadBalancersInput, DescribeLoadBalancersOutput,
};
use aws_sdk_elasticloadbalancingv2::operation::describe_rules::{
    DescribeRulesInput, DescribeRulesOutput,
};
use aws_sdk_elasticloadbalancingv2::operation::describe_tags::{
    DescribeTagsInput, DescribeTagsOutput,
};
use aws_sdk_elasticloadbalancingv2::operation::describe_target_health::{
    DescribeTargetHealthInput, DescribeTargetHealthOutput,
};
use aws_sdk_elasticloadbalancingv2::operation::modify_listener::{
    ModifyListenerInput, ModifyListenerOutput,
};
use aws_sdk_elasticloadbalancingv2::operation::modify_rule::{ModifyRuleInput, ModifyRuleOutput};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, ForwardActionConfig, HostHeaderConditionConfig, Listener, LoadBalancer,
    LoadBalancerTypeEnum, PathPatternConditionConfig, Rule, RuleCondition, Tag, TagDescription,
    TargetGroupStickinessConfig, TargetGroupTuple, TargetHealth, TargetHealthDescription,
    TargetHealthStateEnum,
};

use crate::fake::{Answer, Fake, client};

pub const ARN: &str = "arn:aws:elasticloadbalancing:eu-central-1:123456789012";

/// May change the rules, or answer in their place; is given the ARN that is written.
pub type Meddle = Box<dyn FnMut(&mut State, &str) -> Option<Answer> + Send>;

#[derive(Clone)]
pub struct FakeRules(Arc<Mutex<State>>);

pub struct State {
    /// Name and type of each load balancer.
    pub balancers: BTreeMap<String, LoadBalancerTypeEnum>,
    /// The rules of each listener, by its ARN.
    pub listeners: BTreeMap<String, Vec<Rule>>,
    /// Key and value of each tag, by the ARN of what has it.
    pub tags: BTreeMap<String, Vec<(String, String)>>,
    /// The states of each target group's targets, by its name; one that is healthy where nothing is said.
    pub health: BTreeMap<String, Vec<TargetHealthStateEnum>>,
    /// Each call, by its name and what it is for.
    pub calls: Vec<String>,
    /// Writes that were carried out.
    pub writes: usize,
    /// Rules of a page, if fewer than asked for.
    pub page_max: usize,
    pub before_rules: Box<dyn FnMut(&mut State) + Send>,
    pub before_write: Meddle,
    pub after_write: Meddle,
}

pub fn listener_arn(name: &str, port: u16) -> String {
    format!("{ARN}:listener/app/{name}/1a/{port}")
}

pub fn rule_arn(name: &str, port: u16, priority: usize) -> String {
    format!("{ARN}:listener-rule/app/{name}/1a/{port}/{priority}")
}

pub fn group_arn(name: &str) -> String {
    format!("{ARN}:targetgroup/{name}/1")
}

/// A forward action to these target groups with these weights.
pub fn forward(groups: &[(&str, i32)]) -> Action {
    let tuples = groups.iter().map(|(name, weight)| {
        TargetGroupTuple::builder().target_group_arn(group_arn(name)).weight(*weight).build()
    });
    let sticky = TargetGroupStickinessConfig::builder().enabled(false).build();
    let config = ForwardActionConfig::builder()
        .set_target_groups(Some(tuples.collect()))
        .target_group_stickiness_config(sticky);
    let action = Action::builder().r#type(ActionTypeEnum::Forward).order(1);
    action.forward_config(config.build()).build()
}

/// The same with stickiness of so many seconds.
pub fn sticky(mut action: Action, seconds: i32) -> Action {
    let sticky = TargetGroupStickinessConfig::builder().enabled(true).duration_seconds(seconds);
    if let Some(config) = &mut action.forward_config {
        config.target_group_stickiness_config = Some(sticky.build());
    }
    action
}

/// The condition that the host name is one of these.
pub fn hosts(hosts: &[&str]) -> RuleCondition {
    let values = hosts.iter().map(|&host| host.to_owned()).collect();
    let config = HostHeaderConditionConfig::builder().set_values(Some(values)).build();
    RuleCondition::builder().field("host-header").host_header_config(config).build()
}

/// The condition that the path is one of these.
pub fn paths(paths: &[&str]) -> RuleCondition {
    let values = paths.iter().map(|&path| path.to_owned()).collect();
    let config = PathPatternConditionConfig::builder().set_values(Some(values)).build();
    RuleCondition::builder().field("path-pattern").path_pattern_config(config).build()
}

impl FakeRules {
    /// The load balancer `shop` with one listener, on port 443, whose default action is a fixed response. The target
    /// groups `blue` and `green` are tagged with clusters of their names.
    pub fn new() -> Self {
        let fixed = Action::builder().r#type(ActionTypeEnum::FixedResponse).order(1).build();
        let mut state = State {
            balancers: BTreeMap::from([("shop".to_owned(), LoadBalancerTypeEnum::Application)]),
            listeners: BTreeMap::new(),
            tags: BTreeMap::new(),
            health: BTreeMap::new(),
            calls: Vec::new(),
            writes: 0,
            page_max: usize::MAX,
            before_rules: Box::new(|_| ()),
            before_write: Box::new(|_, _| None),
            after_write: Box::new(|_, _| None),
        };
        state.listen("shop", 443, vec![fixed]);
        for side in ["blue", "green"] {
            state.tag(&group_arn(side), "elbv2.k8s.aws/cluster", side);
        }
        Self(Arc::new(Mutex::new(state)))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds this")
    }

    pub fn client(&self) -> LoadBalancingClient {
        self.client_failing("", || Answer::Lost)
    }

    /// A client whose calls of one name are answered by something else.
    pub fn client_failing(
        &self,
        failing: &'static str,
        answer: fn() -> Answer,
    ) -> LoadBalancingClient {
        let or = move |call: &str, done: Answer| if call == failing { answer() } else { done };
        let states = [(); 7].map(|()| self.clone());
        let [balancers, listeners, rules, tags, health, modify, modify_default] = states;
        let fake = Fake::new()
            .on(move |input: &DescribeLoadBalancersInput| {
                or("balancers", balancers.state().balancers(input))
            })
            .on(move |input: &DescribeListenersInput| {
                or("listeners", listeners.state().listeners(input))
            })
            .on(move |input: &DescribeRulesInput| or("rules", rules.state().rules(input)))
            .on(move |input: &DescribeTagsInput| or("tags", tags.state().tags(input)))
            .on(move |input: &DescribeTargetHealthInput| or("health", health.state().health(input)))
            .on(move |input: &ModifyRuleInput| {
                let done = |rule| ModifyRuleOutput::builder().rules(rule).build();
                let arn = input.rule_arn().expect("always");
                assert!(input.conditions.is_none() && input.transforms.is_none(), "they stay");
                modify.state().write(arn, input.actions(), |rule| Answer::ok(done(rule)))
            })
            .on(move |input: &ModifyListenerInput| {
                let arn = input.listener_arn().expect("always");
                assert!(input.certificates.is_none() && input.port.is_none(), "they stay");
                let done = Listener::builder().listener_arn(arn).build();
                let done = ModifyListenerOutput::builder().listeners(done).build();
                let actions = input.default_actions();
                modify_default.state().write(arn, actions, |_| Answer::ok(done.clone()))
            });
        client!(aws_sdk_elasticloadbalancingv2, fake)
    }
}

impl State {
    /// Adds a listener with its default action.
    pub fn listen(&mut self, name: &str, port: u16, default: Vec<Action>) {
        let arn = listener_arn(name, port);
        let rule = Rule::builder().rule_arn(rule_arn(name, port, 0)).priority("default");
        let rule = rule.is_default(true).set_actions(Some(default)).build();
        self.listeners.insert(arn, vec![rule]);
    }

    /// Adds a rule to the listener `shop:443`, with the next priority. Gives its ARN.
    pub fn add(&mut self, conditions: Vec<RuleCondition>, actions: Vec<Action>) -> String {
        self.add_to(("shop", 443), conditions, actions)
    }

    pub fn add_to(
        &mut self,
        (name, port): (&str, u16),
        conditions: Vec<RuleCondition>,
        actions: Vec<Action>,
    ) -> String {
        let rules = self.listeners.get_mut(&listener_arn(name, port)).expect("a listener");
        let (priority, default) = (rules.len(), rules.len() - 1);
        let arn = rule_arn(name, port, priority);
        let rule = Rule::builder().rule_arn(&arn).priority(priority.to_string()).is_default(false);
        let rule = rule.set_conditions(Some(conditions)).set_actions(Some(actions));
        rules.insert(default, rule.build());
        arn
    }

    pub fn tag(&mut self, arn: &str, key: &str, value: &str) {
        let tags = self.tags.entry(arn.to_owned()).or_default();
        tags.push((key.to_owned(), value.to_owned()));
    }

    /// The rule of this ARN; of a listener's, its default action.
    pub fn rule(&mut self, arn: &str) -> Option<&mut Rule> {
        let mut all = self
            .listeners
            .iter_mut()
            .flat_map(|(listener, rules)| rules.iter_mut().map(move |rule| (listener, rule)));
        let is_it = |(listener, rule): &(&String, &mut Rule)| match rule.is_default {
            Some(true) => *listener == arn,
            _ => rule.rule_arn() == Some(arn),
        };
        all.find(is_it).map(|(_, rule)| rule)
    }

    /// What somebody else does.
    pub fn set_actions(&mut self, arn: &str, actions: Vec<Action>) {
        self.rule(arn).expect("a rule").actions = Some(actions);
    }

    /// Names and weights of a rule's target groups.
    pub fn weights(&mut self, arn: &str) -> Vec<(String, i32)> {
        let rule = self.rule(arn).expect("a rule");
        let configs = rule.actions().iter().filter_map(Action::forward_config);
        let tuples = configs.flat_map(ForwardActionConfig::target_groups);
        let weight = |tuple: &TargetGroupTuple| {
            let arn = tuple.target_group_arn().expect("an ARN");
            (arn.split('/').nth(1).expect("a name").to_owned(), tuple.weight().expect("a weight"))
        };
        tuples.map(weight).collect()
    }

    pub fn count(&self, call: &str) -> usize {
        self.calls.iter().filter(|made| made.starts_with(call)).count()
    }

    fn balancers(&mut self, input: &DescribeLoadBalancersInput) -> Answer {
        let name = input.names().first().expect("asked by name").clone();
        self.calls.push(format!("balancers {name}"));
        let Some(kind) = self.balancers.get(&name) else {
            return Answer::xml_error(400, "LoadBalancerNotFound", "not found");
        };
        let balancer = LoadBalancer::builder()
            .load_balancer_arn(format!("{ARN}:loadbalancer/app/{name}/1a"))
            .load_balancer_name(name)
            .r#type(kind.clone());
        let reply = DescribeLoadBalancersOutput::builder().load_balancers(balancer.build());
        Answer::ok(reply.build())
    }

    fn listeners(&mut self, input: &DescribeListenersInput) -> Answer {
        let balancer = input.load_balancer_arn().expect("asked by load balancer");
        self.calls.push(format!("listeners {balancer}"));
        let name = balancer.split('/').nth(2).expect("a name");
        if !self.balancers.contains_key(name) {
            return Answer::xml_error(400, "LoadBalancerNotFound", "not found");
        }
        let of = format!("{}/", balancer.replace(":loadbalancer/", ":listener/"));
        let arns = self.listeners.keys().filter(|arn| arn.starts_with(&of));
        let listeners = arns.map(|arn| {
            let port = arn.rsplit('/').next().and_then(|port| port.parse().ok());
            Listener::builder().listener_arn(arn).set_port(port).build()
        });
        let listeners = Some(listeners.collect());
        Answer::ok(DescribeListenersOutput::builder().set_listeners(listeners).build())
    }

    fn rules(&mut self, input: &DescribeRulesInput) -> Answer {
        let mut before = std::mem::replace(&mut self.before_rules, Box::new(|_| ()));
        before(self);
        self.before_rules = before;
        let listener = input.listener_arn().expect("asked by listener");
        self.calls.push(format!("rules {listener}"));
        let Some(rules) = self.listeners.get(listener) else {
            return Answer::xml_error(400, "ListenerNotFound", "not found");
        };
        let from: usize = input.marker().map_or(0, |marker| marker.parse().expect("ours"));
        let size = usize::try_from(input.page_size().expect("asked for")).expect("positive");
        assert!(size <= 400, "the most that AWS takes");
        let to = from + size.min(self.page_max);
        let page = rules.iter().skip(from).take(to - from).cloned().map(described);
        let next = (to < rules.len()).then(|| to.to_string());
        let reply = DescribeRulesOutput::builder().set_rules(Some(page.collect()));
        Answer::ok(reply.set_next_marker(next).build())
    }

    fn tags(&mut self, input: &DescribeTagsInput) -> Answer {
        let arns = input.resource_arns();
        self.calls.push(format!("tags {}", arns.len()));
        assert!((1..=20).contains(&arns.len()), "the most that AWS takes");
        let described = arns.iter().map(|arn| {
            let tags = self.tags.get(arn).into_iter().flatten();
            let tags = tags.map(|(key, value)| Tag::builder().key(key).value(value).build());
            TagDescription::builder().resource_arn(arn).set_tags(Some(tags.collect())).build()
        });
        let described = Some(described.collect());
        Answer::ok(DescribeTagsOutput::builder().set_tag_descriptions(described).build())
    }

    fn health(&mut self, input: &DescribeTargetHealthInput) -> Answer {
        let arn = input.target_group_arn().expect("always");
        let name = arn.split('/').nth(1).expect("a name");
        self.calls.push(format!("health {name}"));
        let healthy = vec![TargetHealthStateEnum::Healthy];
        let states = self.health.get(name).unwrap_or(&healthy);
        let targets = states.iter().map(|state| {
            let health = TargetHealth::builder().state(state.clone()).build();
            TargetHealthDescription::builder().target_health(health).build()
        });
        let targets = Some(targets.collect());
        let reply = DescribeTargetHealthOutput::builder();
        Answer::ok(reply.set_target_health_descriptions(targets).build())
    }

    fn write(&mut self, arn: &str, actions: &[Action], done: impl Fn(Rule) -> Answer) -> Answer {
        self.calls.push(format!("write {arn}"));
        let mut before = std::mem::replace(&mut self.before_write, Box::new(|_, _| None));
        let answer = before(self, arn);
        self.before_write = before;
        if let Some(answer) = answer {
            return answer;
        }
        if let Some(why) = refused(actions) {
            return Answer::xml_error(400, "ValidationError", why);
        }
        let code = if arn.contains(":listener/") { "ListenerNotFound" } else { "RuleNotFound" };
        let Some(rule) = self.rule(arn) else {
            return Answer::xml_error(400, code, "not found");
        };
        rule.actions = Some(actions.to_vec());
        let rule = described(rule.clone());
        self.writes += 1;
        let mut after = std::mem::replace(&mut self.after_write, Box::new(|_, _| None));
        let answer = after(self, arn);
        self.after_write = after;
        answer.unwrap_or_else(|| done(rule))
    }
}

/// Why AWS refuses an action list.
fn refused(actions: &[Action]) -> Option<&'static str> {
    for action in actions {
        if let Some(oidc) = action.authenticate_oidc_config()
            && oidc.client_secret().is_none()
            && oidc.use_existing_client_secret() != Some(true)
        {
            return Some("a client secret must be specified");
        }
        let groups = action.forward_config().map(ForwardActionConfig::target_groups);
        let groups = groups.unwrap_or_default();
        if groups.len() > 1 && action.target_group_arn().is_some() {
            return Some("a target group ARN stands beside several target groups");
        }
        if groups.iter().any(|group| !(0..=999).contains(&group.weight().unwrap_or(1))) {
            return Some("a weight is out of range");
        }
    }
    None
}

/// A rule as AWS describes it: without secrets, and with the group named twice where it is the only one.
fn described(mut rule: Rule) -> Rule {
    for action in rule.actions.iter_mut().flatten() {
        if let Some(oidc) = &mut action.authenticate_oidc_config {
            oidc.client_secret = None;
            oidc.use_existing_client_secret = None;
        }
        if let Some([only]) = action.forward_config.as_ref().map(ForwardActionConfig::target_groups)
        {
            action.target_group_arn.clone_from(&only.target_group_arn);
        }
    }
    rule
}
