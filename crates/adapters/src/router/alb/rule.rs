//! What one rule says: whose requests it takes, and how it splits them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, AuthenticateCognitoActionConditionalBehaviorEnum,
    AuthenticateCognitoActionConfig, AuthenticateOidcActionConditionalBehaviorEnum,
    AuthenticateOidcActionConfig, ForwardActionConfig,
    JwtValidationActionAdditionalClaimFormatEnum, JwtValidationActionConfig, Rule as Described,
    RuleCondition, TargetGroupStickinessConfig,
};
use cutover_core::limits::ALB_WEIGHT_MAX;
use cutover_core::{Failure, Live, Weights};

use super::arn;
use super::place::Known;
use crate::errors::incomplete;
use crate::router::Fingerprint;

/// A rule of a listener, or the listener's default action.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// Its ARN, or that of the listener whose default action it is.
    pub(crate) arn: String,
    /// Its place among the listener's rules; `None` for the default action.
    pub(crate) priority: Option<String>,
    /// Patterns of the host names whose requests it takes; empty for all.
    pub(crate) hosts: Vec<String>,
    /// Patterns of the paths whose requests it takes; empty for all.
    pub(crate) paths: Vec<String>,
    /// Whether it has conditions that `hosts` and `paths` do not tell.
    pub(crate) has_other_conditions: bool,
    pub(crate) actions: Vec<Action>,
}

impl Rule {
    /// # Errors
    /// `Unreachable` when a part of the reply is missing.
    pub(crate) fn read(what: &str, listener_arn: &str, rule: Described) -> Result<Self, Failure> {
        let is_default = rule.is_default == Some(true);
        let priority = rule.priority.filter(|_| !is_default);
        let rule_arn = rule.rule_arn.ok_or_else(|| incomplete(what, "RuleArn"))?;
        let conditions = rule.conditions.unwrap_or_default();
        Ok(Self {
            arn: if is_default { listener_arn.to_owned() } else { rule_arn },
            priority,
            hosts: conditions.iter().flat_map(hosts).cloned().collect(),
            paths: conditions.iter().flat_map(paths).cloned().collect(),
            has_other_conditions: conditions.iter().any(is_told_by_neither),
            actions: rule.actions.unwrap_or_default(),
        })
    }

    /// Whether it takes requests for this host name and for no other.
    pub(crate) fn is_only_for(&self, host: &str) -> bool {
        let is_it = |pattern: &String| pattern.eq_ignore_ascii_case(host);
        !self.hosts.is_empty() && self.hosts.iter().all(is_it)
    }

    /// Where it comes among the rules of its listener: the lowest is tried first, the default action last.
    pub(crate) fn place(&self) -> u32 {
        self.priority.as_ref().and_then(|priority| priority.parse().ok()).unwrap_or(u32::MAX)
    }

    /// What it answers by itself, in words that follow "answers with"; `None` when it forwards or redirects.
    pub(crate) fn fixed_answer(&self) -> Option<String> {
        let fixed = self.actions.iter().find_map(|action| action.fixed_response_config())?;
        let status = fixed.status_code().unwrap_or_default();
        Some(format!("a fixed response {status}").trim_end().to_owned())
    }

    /// Whether requests for this host name match its host conditions, if it has any.
    pub(crate) fn is_for_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|pattern| matches(pattern.as_bytes(), host.as_bytes()))
    }
}

/// The values of a condition on the host name.
fn hosts(condition: &RuleCondition) -> &[String] {
    match condition.host_header_config() {
        Some(config) => config.values(),
        None if condition.field() == Some("host-header") => condition.values(),
        None => &[],
    }
}

/// The values of a condition on the path.
fn paths(condition: &RuleCondition) -> &[String] {
    match condition.path_pattern_config() {
        Some(config) => config.values(),
        None if condition.field() == Some("path-pattern") => condition.values(),
        None => &[],
    }
}

fn is_told_by_neither(condition: &RuleCondition) -> bool {
    hosts(condition).is_empty() && paths(condition).is_empty()
}

/// Whether a text matches a pattern, whatever the case: `*` stands for any number of characters, `?` for one.
/// Source: Elastic Load Balancing user guide, "Condition types for listener rules" (host conditions).
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) if matches(rest, text) => true,
        (Some((b'*', _)), Some((_, text))) => matches(pattern, text),
        (Some((b'?', rest)), Some((_, text))) => matches(rest, text),
        (Some((wanted, rest)), Some((byte, text))) => {
            wanted.eq_ignore_ascii_case(byte) && matches(rest, text)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// A target group that a rule forwards to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Weighted {
    pub(super) arn: String,
    pub(super) weight: u32,
}

/// The target groups that a rule forwards to; none when it answers by itself.
///
/// # Errors
/// A sentence, for a weight that can be none.
pub(super) fn groups(actions: &[Action]) -> Result<Vec<Weighted>, String> {
    let mut groups = Vec::new();
    for action in actions.iter().filter(|action| is_forward(action)) {
        let tuples = action.forward_config().map(ForwardActionConfig::target_groups);
        let tuples = tuples.unwrap_or_default();
        if tuples.is_empty() {
            let alone = action.target_group_arn().map(str::to_owned);
            groups.extend(alone.map(|arn| Weighted { arn, weight: 1 }));
        }
        for tuple in tuples {
            // A group that stands alone may have no weight, and gets everything.
            let weight = tuple.weight().unwrap_or(1);
            let arn = tuple.target_group_arn().unwrap_or_default().to_owned();
            let weight = u32::try_from(weight).map_err(|_| {
                let name = arn::group_name(&arn);
                format!(
                    "its target group {name} has the weight {weight}: give it one of 0 to {ALB_WEIGHT_MAX}"
                )
            })?;
            groups.push(Weighted { arn, weight });
        }
    }
    Ok(groups)
}

/// The ARNs of the target groups that a rule forwards to.
pub(crate) fn arns_of_groups(actions: &[Action]) -> BTreeSet<&str> {
    let alone = actions.iter().filter_map(|action| action.target_group_arn());
    let configs = actions.iter().filter_map(|action| action.forward_config());
    let tuples = configs.flat_map(ForwardActionConfig::target_groups);
    alone.chain(tuples.filter_map(|tuple| tuple.target_group_arn())).collect()
}

fn is_forward(action: &Action) -> bool {
    action.r#type() == Some(&ActionTypeEnum::Forward)
}

/// An action that this version cannot write back as it was read: it would be lost.
pub(super) fn unknown_action(actions: &[Action]) -> Option<&str> {
    let types = actions.iter().filter_map(|action| action.r#type());
    types.map(ActionTypeEnum::as_str).find(|kind| !ActionTypeEnum::values().contains(kind))
}

/// Seconds that requests may go on to the group that they went to before: the duration of the rule's stickiness.
pub(super) fn linger_s(actions: &[Action]) -> u32 {
    let configs = actions.iter().filter_map(|action| action.forward_config());
    let sticky = configs.filter_map(|config| config.target_group_stickiness_config());
    let durations = sticky
        .filter(|sticky| sticky.enabled() == Some(true))
        .filter_map(TargetGroupStickinessConfig::duration_seconds);
    durations.filter_map(|seconds| u32::try_from(seconds).ok()).max().unwrap_or(0)
}

/// What is live of a rule.
#[derive(Clone, Debug)]
pub(super) struct Split {
    pub(super) live: Live,
    /// The weights of both groups, where both are there: known as well when a third has weight, so that `live` is
    /// not.
    pub(super) whole: Option<Weights>,
    pub(super) shape: u32,
    /// Says which group of neither side has weight.
    pub(super) third: Option<String>,
}

/// How a rule splits between the two groups of a route.
pub(super) fn split(actions: &[Action], known: &Known) -> Split {
    let shape = shape(actions);
    match weights(actions, known) {
        Ok((weights, third)) => {
            let live = third.clone().map_or(Live::At(weights), Live::Unclear);
            Split { live, whole: Some(weights), shape, third }
        }
        Err(why) => Split { live: Live::Unclear(why), whole: None, shape, third: None },
    }
}

/// The weights of the two groups of a route, and which group of neither side has weight.
///
/// # Errors
/// Why the rule does not tell them.
fn weights(actions: &[Action], known: &Known) -> Result<(Weights, Option<String>), String> {
    if let Some(kind) = unknown_action(actions) {
        return Err(format!("it has an action of the type {kind}, which this version would lose"));
    }
    let groups = groups(actions)?;
    let weight = |arn: &str| {
        let group = groups.iter().find(|group| group.arn == arn);
        let group =
            group.ok_or_else(|| format!("its target group {} is gone", arn::group_name(arn)));
        group.map(|group| group.weight)
    };
    let weights = Weights { old: weight(&known.old)?, new: weight(&known.new)? };
    let mut others = groups.iter().filter(|group| group.arn != known.old && group.arn != known.new);
    let third = others.find(|group| group.weight > 0).map(|group| {
        let name = arn::group_name(&group.arn);
        format!("target group {name}, which is of neither side, has weight {}", group.weight)
    });
    Ok((weights, third))
}

/// The same actions with other weights of the two groups. Everything else is as it was read, but for what the
/// service does not tell and takes as "as it is".
pub(super) fn with_weights(actions: &[Action], known: &Known, to: Weights) -> Vec<Action> {
    let mut actions = actions.to_vec();
    for action in &mut actions {
        if let Some(oidc) = &mut action.authenticate_oidc_config {
            oidc.client_secret = None;
            oidc.use_existing_client_secret = Some(true);
        }
        if !is_forward(action) {
            continue;
        }
        let groups = action.forward_config.as_mut().and_then(|c| c.target_groups.as_mut());
        for group in groups.into_iter().flatten() {
            let weight = match group.target_group_arn() {
                Some(arn) if arn == known.old => to.old,
                Some(arn) if arn == known.new => to.new,
                _ => continue,
            };
            group.weight = i32::try_from(weight).ok();
        }
        // It stands for a single group, and is refused beside several.
        action.target_group_arn = None;
    }
    actions
}

/// A fingerprint of everything in an action list but the weights. The order of the actions counts, not its numbers.
pub(super) fn shape(actions: &[Action]) -> u32 {
    let mut shape = Fingerprint::default();
    let mut actions: Vec<&Action> = actions.iter().collect();
    actions.sort_by_key(|action| action.order());
    for action in actions {
        shape.add(action.r#type().map_or("", ActionTypeEnum::as_str));
        for arn in arns_of_groups(std::slice::from_ref(action)) {
            shape.add(arn);
        }
        let config = action.forward_config();
        if let Some(sticky) = config.and_then(|config| config.target_group_stickiness_config())
            && sticky.enabled() == Some(true)
        {
            shape.add("sticky");
            add_number(&mut shape, sticky.duration_seconds());
        }
        if let Some(oidc) = action.authenticate_oidc_config() {
            add_oidc(&mut shape, oidc);
        }
        if let Some(cognito) = action.authenticate_cognito_config() {
            add_cognito(&mut shape, cognito);
        }
        if let Some(jwt) = action.jwt_validation_config() {
            add_jwt(&mut shape, jwt);
        }
    }
    shape.finish()
}

fn add_number(shape: &mut Fingerprint, number: Option<impl ToString>) {
    shape.add(&number.map_or_else(String::new, |number| number.to_string()));
}

fn add_texts<const N: usize>(shape: &mut Fingerprint, texts: [Option<&str>; N]) {
    for text in texts {
        shape.add(text.unwrap_or_default());
    }
}

fn add_parameters(shape: &mut Fingerprint, of: Option<&HashMap<String, String>>) {
    let sorted: BTreeMap<&String, &String> = of.into_iter().flatten().collect();
    for (name, value) in sorted {
        add_texts(shape, [Some(name), Some(value)]);
    }
}

fn add_oidc(shape: &mut Fingerprint, of: &AuthenticateOidcActionConfig) {
    let endpoints = [
        of.issuer(),
        of.authorization_endpoint(),
        of.token_endpoint(),
        of.user_info_endpoint(),
        of.client_id(),
    ];
    add_texts(shape, endpoints);
    let denied =
        of.on_unauthenticated_request().map(AuthenticateOidcActionConditionalBehaviorEnum::as_str);
    add_texts(shape, [of.session_cookie_name(), of.scope(), denied]);
    add_number(shape, of.session_timeout());
    add_parameters(shape, of.authentication_request_extra_params());
}

fn add_cognito(shape: &mut Fingerprint, of: &AuthenticateCognitoActionConfig) {
    add_texts(shape, [of.user_pool_arn(), of.user_pool_client_id(), of.user_pool_domain()]);
    let denied = of
        .on_unauthenticated_request()
        .map(AuthenticateCognitoActionConditionalBehaviorEnum::as_str);
    add_texts(shape, [of.session_cookie_name(), of.scope(), denied]);
    add_number(shape, of.session_timeout());
    add_parameters(shape, of.authentication_request_extra_params());
}

fn add_jwt(shape: &mut Fingerprint, of: &JwtValidationActionConfig) {
    add_texts(shape, [of.jwks_endpoint(), of.issuer()]);
    for claim in of.additional_claims() {
        add_texts(
            shape,
            [
                claim.name(),
                claim.format().map(JwtValidationActionAdditionalClaimFormatEnum::as_str),
            ],
        );
        for value in claim.values() {
            shape.add(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_elasticloadbalancingv2::types::{
        JwtValidationActionAdditionalClaim, TargetGroupTuple,
    };

    use super::*;

    fn forward(groups: &[(&str, i32)]) -> Action {
        let tuple = |(arn, weight): &(&str, i32)| {
            TargetGroupTuple::builder().target_group_arn(*arn).weight(*weight).build()
        };
        let tuples = groups.iter().map(tuple).collect();
        let config = ForwardActionConfig::builder().set_target_groups(Some(tuples)).build();
        Action::builder().r#type(ActionTypeEnum::Forward).forward_config(config).build()
    }

    fn sticky(enabled: bool, seconds: i32) -> Action {
        let sticky = TargetGroupStickinessConfig::builder().enabled(enabled);
        let mut action = forward(&[("b", 90), ("g", 10)]);
        if let Some(config) = &mut action.forward_config {
            config.target_group_stickiness_config = Some(sticky.duration_seconds(seconds).build());
        }
        action
    }

    fn oidc(issuer: &str, parameter: &str) -> Action {
        let config = AuthenticateOidcActionConfig::builder()
            .issuer(issuer)
            .authentication_request_extra_params("a", parameter)
            .authentication_request_extra_params("b", "2");
        let kind = ActionTypeEnum::AuthenticateOidc;
        Action::builder().r#type(kind).authenticate_oidc_config(config.build()).build()
    }

    fn cognito(domain: &str) -> Action {
        let config = AuthenticateCognitoActionConfig::builder().user_pool_domain(domain);
        let kind = ActionTypeEnum::AuthenticateCognito;
        Action::builder().r#type(kind).authenticate_cognito_config(config.build()).build()
    }

    fn jwt(value: &str) -> Action {
        let claim = JwtValidationActionAdditionalClaim::builder().name("team").values(value);
        let config = JwtValidationActionConfig::builder().additional_claims(claim.build());
        let kind = ActionTypeEnum::JwtValidation;
        Action::builder().r#type(kind).jwt_validation_config(config.build()).build()
    }

    fn ordered(mut actions: Vec<Action>, orders: &[i32]) -> Vec<Action> {
        for (action, order) in actions.iter_mut().zip(orders) {
            action.order = Some(*order);
        }
        actions
    }

    #[test]
    fn a_pattern_matches_whole_host_names_whatever_the_case() {
        let table = [
            ("shop.example.com", "SHOP.example.com", true),
            ("shop.example.com", "shop.example.co", false),
            ("shop.example.com", "shop.example.com.", false),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", ".example.com", true),
            ("*.example.com", "example.com", false),
            ("a?.example.com", "a1.example.com", true),
            ("a?.example.com", "a.example.com", false),
            ("*", "", true),
            ("*a*b", "xxaxxb", true),
            ("*a*b", "xxbxxa", false),
            ("", "a", false),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn the_fingerprint_is_of_everything_but_the_weights_and_never_changes() {
        let plain = || forward(&[("b", 90), ("g", 10)]);
        let of = |actions: Vec<Action>| shape(&actions);
        // Kept in the state: a version that gave another number would take every route for drifted.
        assert_eq!(of(vec![plain()]), 177_217_840);
        for same in [
            vec![forward(&[("b", 0), ("g", 999)])],
            vec![forward(&[("g", 10), ("b", 90)])],
            vec![sticky(false, 60)],
            ordered(vec![plain()], &[7]),
        ] {
            assert_eq!(of(same.clone()), of(vec![plain()]), "{same:?}");
        }
        let first = |action: Action| ordered(vec![plain(), action], &[2, 1]);
        let others = [
            vec![plain()],
            vec![forward(&[("b", 90)])],
            vec![forward(&[("b", 90), ("g", 10), ("x", 0)])],
            vec![sticky(true, 60)],
            vec![sticky(true, 61)],
            first(oidc("i", "1")),
            first(oidc("j", "1")),
            first(oidc("i", "2")),
            first(cognito("d")),
            first(cognito("e")),
            first(jwt("x")),
            first(jwt("y")),
        ];
        let shapes: BTreeSet<u32> = others.iter().map(|actions| shape(actions)).collect();
        assert_eq!(shapes.len(), others.len(), "each is another");
        let listed_in_order = ordered(vec![oidc("i", "1"), plain()], &[1, 2]);
        assert_eq!(of(listed_in_order), of(first(oidc("i", "1"))));
    }

    #[test]
    fn a_group_that_stands_alone_gets_everything() {
        let alone = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn("b").build();
        let expected = vec![Weighted { arn: "b".to_owned(), weight: 1 }];
        assert_eq!(groups(std::slice::from_ref(&alone)), Ok(expected.clone()));
        let mut twice = forward(&[("b", 1)]);
        twice.target_group_arn = Some("b".to_owned());
        assert_eq!(groups(std::slice::from_ref(&twice)), Ok(expected));
        assert_eq!(shape(&[alone]), shape(&[twice]));
    }

    #[test]
    fn a_group_that_is_named_beside_its_share_is_not_written_back() {
        let mut read = forward(&[("b", 100), ("g", 0)]);
        read.target_group_arn = Some("b".to_owned());
        let [arn, old, new] = ["r", "b", "g"].map(str::to_owned);
        let to = Weights { old: 90, new: 10 };
        let written = with_weights(&[read], &Known { arn, old, new }, to);
        assert_eq!(written, [forward(&[("b", 90), ("g", 10)])]);
    }
}
