//! Rules of application load balancers: what a survey finds, and how they are moved.

use std::collections::BTreeSet;
use std::time::Instant;

use adapters::router::alb::Alb;
use adapters::router::{AnyRouter, SYNTAXES};
use adapters::{Router, Routers, Splits, clients};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, AuthenticateOidcActionConfig, HttpHeaderConditionConfig,
    LoadBalancerTypeEnum, RuleCondition, TargetHealthStateEnum,
};
use cutover_core::{
    Failure, Found, Live, Move, Moved, Problem, Propagation, Remedy, Request, RouteId, RouterRef,
    Shifted, Sides, Survey, Way, Weights,
};
use serde_json::{Value, json};

use crate::fake::{Answer, Classes};
use crate::rules::{
    ARN, FakeRules, State, forward, group_arn, hosts, listener_arn, paths, rule_arn, sticky,
};

const START: Weights = weights(100, 0);
const STEP: Weights = weights(90, 10);

const fn weights(old: u32, new: u32) -> Weights {
    Weights { old, new }
}

fn both(old: i32, new: i32) -> Vec<Action> {
    vec![forward(&[("blue", old), ("green", new)])]
}

fn on(host: &str) -> Vec<RuleCondition> {
    vec![hosts(&[host])]
}

fn at(priority: usize) -> String {
    rule_arn("shop", 443, priority)
}

/// A request for the listener `shop:443`, with these fields over it.
fn asked(alb: &Value, fields: &Value) -> Result<Request, Failure> {
    let mut place = json!({"listener": "shop:443"});
    for (field, value) in alb.as_object().expect("fields") {
        place[field] = value.clone();
    }
    let mut request = json!({"new": "green", "router": {"alb": place}});
    for (field, value) in fields.as_object().expect("fields") {
        request[field] = value.clone();
    }
    Request::parse(&json!({"hosted_zone": "example.com"}), &request, &SYNTAXES, 60)
}

async fn survey_of(rules: &FakeRules, alb: Value, fields: Value) -> Survey {
    let request = asked(&alb, &fields).expect("a good request");
    let router = Alb::new(rules.client(), &request.router.place).expect("a place");
    let mut survey = router.survey(&request).await.expect("surveyed");
    if survey.findings.is_empty() {
        router.find_writers(&request, &mut survey).await.expect("found");
    }
    survey
}

async fn survey(rules: &FakeRules) -> Survey {
    survey_of(rules, json!({}), json!({})).await
}

fn names(survey: &Survey) -> Vec<&str> {
    survey.routes.iter().map(|found| found.route.as_str()).collect()
}

fn findings(survey: &Survey) -> Vec<(&str, Remedy)> {
    survey.findings.iter().map(|f| (f.problem.code.as_str(), f.remedy)).collect()
}

fn warning<'s>(survey: &'s Survey, code: &str) -> Option<&'s Problem> {
    survey.warnings.iter().find(|problem| problem.code == code)
}

/// The rules of `chat` and `shop`, with all weight on blue.
fn two_rules() -> FakeRules {
    let rules = FakeRules::new();
    rules.state().add(on("chat.example.com"), both(100, 0));
    rules.state().add(on("shop.example.com"), both(100, 0));
    rules
}

mod requests {
    use super::*;

    #[test]
    fn a_listener_is_named_by_its_arn_or_by_its_load_balancer_and_port() {
        let arn = listener_arn("shop", 443);
        for (listener, read) in [
            (json!(arn), vec![arn.as_str()]),
            (json!("shop:443"), vec!["shop:443"]),
            (json!(["shop:443", arn, "shop:443"]), vec![arn.as_str(), "shop:443"]),
        ] {
            let request = asked(&json!({"listener": listener}), &json!({})).expect("good");
            assert_eq!(request.router.kind, "alb");
            assert_eq!(request.router.place["listeners"], json!(read));
            assert_eq!(request.router.place["side_tag"], "elbv2.k8s.aws/cluster");
        }
    }

    #[test]
    fn what_is_not_allowed_is_refused_by_name_and_all_at_once() {
        let alb = json!({
            "listener": ["shop:0", 7, "a_b:80", "shop:443", format!("{ARN}:loadbalancer/app/shop/1")],
            "side_tag": "",
            "target_groups": {"blue": "blue", "green": []},
            "other_writers": "ignore",
            "zone": 1,
        });
        let failure = asked(&alb, &json!({"routes": ["a b", &at(1), 7]})).expect_err("refused");
        let said: Vec<&str> = failure.problems().iter().map(|p| p.message.as_str()).collect();
        let expected = [
            "router.alb.listener[0] is \"shop:0\"; allowed: the ARN of a listener",
            "router.alb.listener[1] is 7;",
            "router.alb.listener[2] is \"a_b:80\";",
            "router.alb.listener[4] is \"arn:",
            "router.alb.side_tag is \"\"; allowed: the key of a tag, 1 to 128 characters",
            "router.alb.target_groups.blue is \"blue\"; allowed: the ARN of a target group",
            "router.alb.target_groups.green is [];",
            "router.alb.other_writers is \"ignore\"; allowed: \"refuse\" or \"warn\"",
            "router.alb.\"zone\" is not a field; known are listener, side_tag, target_groups, other_writers",
            "routes[0] is \"a b\"; allowed: a host name",
            "routes[2] is 7;",
        ];
        for begin in expected {
            assert!(said.iter().any(|said| said.starts_with(begin)), "{begin} is not in {said:#?}");
        }
        assert_eq!(said.len(), expected.len(), "{said:#?}");
    }

    #[test]
    fn a_listener_is_needed_and_only_one_way_to_tell_the_sides() {
        let twice = json!({
            "side_tag": "cluster",
            "target_groups": {"blue": group_arn("blue"), "green": group_arn("green")},
        });
        let failure = asked(&twice, &json!({})).expect_err("refused");
        let message = &failure.problems()[0].message;
        assert!(message.contains("one of side_tag and target_groups"), "{message}");
        for (router, code) in [
            (json!({"alb": {}}), "missing_field"),
            (json!("alb"), "invalid_field"),
            (json!({"alb": {"listener": null}}), "invalid_field"),
            (json!({"alb": {"listener": []}}), "invalid_field"),
        ] {
            let failure = asked(&json!({}), &json!({"router": router})).expect_err("refused");
            assert_eq!(failure.problems()[0].code, code, "{router}: {failure}");
        }
    }

    #[test]
    fn a_rival_s_request_meets_where_it_names_one_of_the_listeners() {
        let alb = SYNTAXES.iter().find(|syntax| syntax.kind == "alb").expect("there");
        let scopes = [listener_arn("shop", 443), "shop:443".to_owned()];
        let meets = |place: Value| (alb.meets)(&place, &scopes);
        assert!(meets(json!({"listener": "SHOP:443"})));
        assert!(meets(json!({"listener": ["api:80", listener_arn("shop", 443)]})));
        assert!(!meets(json!({"listener": "shop:80"})));
        for unreadable in [json!({}), json!({"listener": 7}), json!({"listener": [7]})] {
            assert!(meets(unreadable.clone()), "{unreadable}: it may mean anything");
        }
    }

    #[tokio::test]
    async fn the_router_is_the_one_that_a_request_or_a_state_names() {
        let config = aws_config::SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .build();
        let routers = Routers::new(&clients::Config::new(config, None).await);
        let sides = || Sides { old: "blue".to_owned(), new: "green".to_owned() };
        let request = asked(&json!({}), &json!({})).expect("good");
        let router = routers.get(&request.router, sides()).expect("known");
        assert!(matches!(router, AnyRouter::Alb(_)), "{router:?}");
        let unreadable = RouterRef { kind: "alb".to_owned(), place: json!({}) };
        let failure = routers.get(&unreadable, sides()).expect_err("refused");
        assert_eq!(failure.problems()[0].code, "unreadable_state");
    }

    #[test]
    fn a_place_that_cannot_be_read_is_refused() {
        for place in [json!({}), json!(null), json!({"listeners": ["a:1"], "rules": {"x": {}}})] {
            let failure = Alb::new(FakeRules::new().client(), &place).expect_err("refused");
            assert_eq!(failure.problems()[0].code, "unreadable_state");
        }
    }
}

mod surveys {
    use super::*;

    #[tokio::test]
    async fn finds_the_routes_the_old_side_and_what_it_takes_to_find_them_again() {
        let rules = two_rules();
        rules.state().page_max = 1;
        let survey = survey(&rules).await;
        assert_eq!(findings(&survey), []);
        assert_eq!(names(&survey), ["chat.example.com", "shop.example.com"]);
        let sides = survey.sides.clone().expect("found");
        assert_eq!((sides.old.as_str(), sides.new.as_str()), ("blue", "green"));
        let listener = listener_arn("shop", 443);
        assert_eq!(survey.scopes, [listener.as_str(), "shop:443"]);
        let known = |priority| {
            let (old, new) = (group_arn("blue"), group_arn("green"));
            json!({"arn": at(priority), "old": old, "new": new})
        };
        let expected = json!({
            "listeners": [listener],
            "rules": {"chat.example.com": known(1), "shop.example.com": known(2)},
        });
        assert_eq!(survey.place, expected);
        let chat = &survey.routes[0];
        assert_eq!((chat.live, chat.linger_s, &chat.mark), (START, 0, &None));
        assert_eq!((&chat.old.id, &chat.new.id), (&group_arn("blue"), &group_arn("green")));
        let aliases = ["chat.example.com".to_owned(), at(1)].map(RouteId::from);
        assert_eq!(chat.aliases, BTreeSet::from(aliases));
        assert_eq!(chat.side_names, BTreeSet::from(["blue".to_owned(), "green".to_owned()]));
        assert!(!survey.behaviour.atomic && warning(&survey, "not_atomic").is_some());
        assert!(survey.writers_are_known && survey.other_writers.is_empty());
        let fixed = &warning(&survey, "fixed_answers").expect("warned").message;
        assert!(fixed.ends_with("stay as they are: default of shop:443"), "{fixed}");
        assert_eq!(rules.state().writes, 0);
        // What was found is what is read.
        let router = Alb::new(rules.client(), &survey.place).expect("a place");
        let splits = router.read(std::slice::from_ref(&chat.route)).await.expect("read");
        assert_eq!((&splits[0].live, splits[0].whole), (&Live::At(START), Some(START)));
        assert_eq!(splits[0].shapes, chat.shapes);
    }

    #[tokio::test]
    async fn each_rule_has_a_name_that_people_read_and_no_other_rule_has() {
        let rules = FakeRules::new();
        let header = HttpHeaderConditionConfig::builder().http_header_name("x").values("1");
        let header = RuleCondition::builder().http_header_config(header.build()).build();
        let long = format!("{}.example.com", "a".repeat(120));
        {
            let mut state = rules.state();
            state.listen("shop", 80, both(100, 0));
            let two = vec![hosts(&["a.example.com", "b.example.com"]), paths(&["/x", "/y/*"])];
            state.add(two, both(100, 0));
            state.add(vec![paths(&["/api/*"])], both(100, 0));
            state.add(on("same.example.com"), both(100, 0));
            state.add_to(("shop", 80), on("same.example.com"), both(100, 0));
            state.add(vec![hosts(&["c.example.com"]), header.clone()], both(100, 0));
            state.add(vec![header], both(100, 0));
            state.add(on(&long), both(100, 0));
            let old_form = RuleCondition::builder().field("host-header").values("old.example.com");
            state.add(vec![old_form.build()], both(100, 0));
        }
        let survey =
            survey_of(&rules, json!({"listener": ["shop:443", "shop:80"]}), json!({})).await;
        let cut: String = long.chars().take(100).collect();
        let expected = [
            "/api/*",
            "a.example.com,b.example.com/x,/y/*",
            &cut,
            "c.example.com (rule 4 of shop:443)",
            "default of shop:80",
            "old.example.com",
            "rule 5 of shop:443",
            "same.example.com (rule 1 of shop:80)",
            "same.example.com (rule 3 of shop:443)",
        ];
        assert_eq!(names(&survey), expected);
        let default = &survey.place["rules"]["default of shop:80"]["arn"];
        assert_eq!(*default, json!(listener_arn("shop", 80)));
    }

    #[tokio::test]
    async fn routes_are_named_by_host_rule_or_listener() {
        let rules = FakeRules::new();
        {
            let mut state = rules.state();
            state.listen("shop", 80, both(100, 0));
            state.add(vec![hosts(&["a.example.com", "b.example.com"])], both(100, 0));
            state.add(on("*.shop.example.com"), both(100, 0));
            state.add(on("a?.example.com"), both(100, 0));
            state.add(vec![hosts(&["A.Example.com"]), paths(&["/old"])], both(100, 0));
        }
        let (ab, shop) = ("a.example.com,b.example.com", "*.shop.example.com");
        let table: [(String, &[&str], Option<&str>); 7] = [
            ("a.example.com".to_owned(), &["A.Example.com/old", ab], Some("(also b.example.com)")),
            ("web.shop.example.com".to_owned(), &[shop], Some("(also *.shop.example.com)")),
            ("*.shop.example.com".to_owned(), &[shop], None),
            ("a1.example.com".to_owned(), &["a?.example.com"], Some("(also a?.example.com)")),
            (at(1), &[ab], None),
            (listener_arn("shop", 80), &["default of shop:80"], None),
            ("default.example.com".to_owned(), &[], None),
        ];
        for (route, expected, wider) in table {
            let alb = json!({"listener": ["shop:80", "shop:443"]});
            let survey = survey_of(&rules, alb, json!({"routes": [route]})).await;
            assert_eq!(names(&survey), expected, "{route}");
            let said = warning(&survey, "wider_rule").map(|problem| problem.message.as_str());
            let is_said = said.is_some_and(|said| said.contains(wider.unwrap_or("-")));
            assert_eq!(is_said, wider.is_some(), "{route}: {said:?}");
            assert_eq!(said.is_some(), wider.is_some(), "{route}: {said:?}");
            let missing = expected.is_empty().then_some(("no_rule", Remedy::Person));
            assert_eq!(findings(&survey), Vec::from_iter(missing), "{route}");
            let named = RouteId::from(route.as_str());
            let syntax = SYNTAXES.iter().find(|syntax| syntax.kind == "alb").expect("known");
            let is_meant = |found: &Found| found.aliases.iter().any(|a| (syntax.means)(&named, a));
            assert!(survey.routes.iter().all(is_meant), "{route}");
        }
    }

    /// Changes the rules.
    type Change = fn(&mut State);

    /// What a rule has, the request's fields, its actions, the finding, and a part of its sentence.
    type Case<'f> = (&'static str, &'f Value, Vec<Action>, (&'static str, Remedy), &'static str);

    async fn each_has_its_code_and_remedy<const N: usize>(table: [Case<'_>; N]) {
        for (what, fields, actions, expected, said) in table {
            let rules = FakeRules::new();
            {
                let mut state = rules.state();
                for (group, side) in [("blue2", "blue"), ("green2", "green"), ("red", "red")] {
                    state.tag(&group_arn(group), "elbv2.k8s.aws/cluster", side);
                }
                state.add(on("chat.example.com"), actions);
            }
            let survey = survey_of(&rules, json!({}), fields.clone()).await;
            assert_eq!(findings(&survey), [expected], "{what}: {:#?}", survey.findings);
            assert!(survey.routes.is_empty(), "{what}");
            let message = &survey.findings[0].problem.message;
            assert!(message.contains(said), "{what}: {message}");
        }
    }

    #[tokio::test]
    async fn a_side_that_is_missing_or_not_known_has_its_code_and_remedy() {
        use Remedy::{Person, Wait};
        let all = json!({});
        let chat = json!({"routes": ["chat.example.com"]});
        let named = json!({"old": "blue", "routes": ["chat.example.com"]});
        each_has_its_code_and_remedy([
            (
                "only the old side's group",
                &chat,
                vec![forward(&[("blue", 1)])],
                ("no_new_group", Wait),
                "with multiClusterTargetGroup: true both clusters' targets are in one group",
            ),
            (
                "the same, discovered",
                &json!({"old": "blue"}),
                vec![forward(&[("blue", 1)])],
                ("no_routes", Wait),
                "(tagged elbv2.k8s.aws/cluster=green) to the rule with weight 0",
            ),
            (
                "the same, and no old side named",
                &all,
                vec![forward(&[("blue", 1)])],
                ("no_new_group", Wait),
                "old is not named",
            ),
            (
                "only the new side's group",
                &named,
                vec![forward(&[("green", 1)])],
                ("no_old_group", Person),
                "no target group of the old side \"blue\"",
            ),
            (
                "neither side's group",
                &named,
                vec![forward(&[("other", 1)])],
                ("no_old_group", Person),
                "no rule for it has a target group of \"blue\" or \"green\"",
            ),
            (
                "no side that has weight beside the new one",
                &all,
                both(0, 100),
                ("old_unknown", Person),
                "name the side to go back to with old",
            ),
            (
                "several of them",
                &all,
                vec![forward(&[("blue", 50), ("red", 50), ("green", 0)])],
                ("old_ambiguous", Person),
                "\"blue\", \"red\"; name one with old",
            ),
        ])
        .await;
    }

    #[tokio::test]
    async fn a_rule_that_is_not_as_it_must_be_has_its_code_and_remedy() {
        use Remedy::Person;
        let all = json!({});
        let chat = json!({"routes": ["chat.example.com"]});
        let unknown = Action::builder().r#type(ActionTypeEnum::from("weave")).build();
        let fixed = Action::builder().r#type(ActionTypeEnum::FixedResponse).build();
        each_has_its_code_and_remedy([
            (
                "a third group with weight",
                &all,
                vec![forward(&[("blue", 100), ("green", 0), ("other", 5)])],
                ("third_group", Person),
                "other (5); set it to 0",
            ),
            (
                "a second group of a side with weight",
                &all,
                vec![forward(&[("blue", 100), ("blue2", 7), ("green", 0)])],
                ("third_group", Person),
                "2 target groups of the side \"blue\": blue, blue2",
            ),
            (
                "two groups of the new side without weight",
                &all,
                vec![forward(&[("blue", 100), ("green", 0), ("green2", 0)])],
                ("third_group", Person),
                "2 target groups of the side \"green\": green, green2",
            ),
            (
                "no weight at all",
                &json!({"old": "blue"}),
                both(0, 0),
                ("all_weights_zero", Person),
                "give the old side's target group all the weight first",
            ),
            (
                "a weight that is none",
                &json!({"old": "blue"}),
                both(-1, 0),
                ("no_weight", Person),
                "blue has the weight -1: give it one of 0 to 999",
            ),
            (
                "an action of tomorrow",
                &all,
                vec![unknown, forward(&[("blue", 100), ("green", 0)])],
                ("unknown_action", Person),
                "of the type weave",
            ),
            (
                "a rule that answers by itself",
                &chat,
                vec![fixed],
                ("no_rule", Person),
                "answered by a fixed response or a redirect",
            ),
        ])
        .await;
    }

    #[tokio::test]
    async fn groups_without_weight_beside_the_two_do_not_matter() {
        let rules = FakeRules::new();
        let groups = [("blue", 100), ("green", 0), ("blue2", 0), ("other", 0)];
        rules.state().tag(&group_arn("blue2"), "elbv2.k8s.aws/cluster", "blue");
        rules.state().add(on("chat.example.com"), vec![forward(&groups)]);
        let survey = survey(&rules).await;
        assert_eq!((findings(&survey), names(&survey)), (vec![], vec!["chat.example.com"]));
    }

    #[tokio::test]
    async fn a_rule_that_only_the_old_side_has_is_left_out_when_routes_are_discovered() {
        let rules = two_rules();
        rules.state().add(on("api.example.com"), vec![forward(&[("blue", 1)])]);
        rules.state().add(on("other.example.com"), vec![forward(&[("other", 1)])]);
        let survey = survey(&rules).await;
        assert_eq!(names(&survey), ["chat.example.com", "shop.example.com"]);
        let left_out = survey.left_out.expect("said");
        assert!(left_out.message.ends_with(": api.example.com"), "{left_out:?}");
    }

    #[tokio::test]
    async fn an_old_side_that_no_group_has_is_refused() {
        let survey = survey_of(&two_rules(), json!({}), json!({"old": "bleu"})).await;
        assert_eq!(findings(&survey), [("old_unknown", Remedy::Person)]);
        let message = &survey.findings[0].problem.message;
        assert!(message.contains("there are: \"blue\", \"green\""), "{message}");
    }

    #[tokio::test]
    async fn listeners_that_cannot_be_split_are_refused_with_what_there_is() {
        let rules = two_rules();
        rules.state().balancers.insert("tcp".to_owned(), LoadBalancerTypeEnum::Network);
        rules.state().listen("shop", 80, vec![]);
        let elsewhere = listener_arn("shop", 443).replace("eu-central-1", "eu-west-1");
        let of = |arn: String, kind: &str| arn.replace("/app/", &format!("/{kind}/"));
        let table = [
            ("gone:443".to_owned(), "listener_missing", "no load balancer is named gone"),
            ("shop:8443".to_owned(), "listener_missing", "has listeners on port 80, 443"),
            (listener_arn("shop", 81), "listener_missing", "has listeners on port 80, 443"),
            (listener_arn("gone", 80), "listener_missing", "gone is not there"),
            (
                elsewhere,
                "listener_missing",
                "in the region eu-west-1, these functions in eu-central-1",
            ),
            ("tcp:443".to_owned(), "load_balancer_type", "a network load balancer, which counts"),
            (of(listener_arn("tcp", 1), "net"), "load_balancer_type", "a network load balancer"),
            (of(listener_arn("gw", 1), "gwy"), "load_balancer_type", "a gateway load balancer"),
        ];
        for (listener, code, said) in table {
            let alb = json!({"listener": listener});
            let survey = survey_of(&rules, alb, json!({})).await;
            assert_eq!(findings(&survey), [(code, Remedy::Person)], "{listener}");
            let message = &survey.findings[0].problem.message;
            assert!(message.contains(said) && message.contains(&listener), "{message}");
        }
        // All at once, and one that is there is read.
        let alb =
            json!({"listener": ["gone:443", "shop:81", "shop:443", listener_arn("shop", 443)]});
        let survey = survey_of(&rules, alb, json!({})).await;
        assert_eq!(findings(&survey), [("listener_missing", Remedy::Person); 2]);
        assert_eq!(names(&survey), ["chat.example.com", "shop.example.com"]);
    }

    #[tokio::test]
    async fn the_request_may_say_which_group_is_whose() {
        let rules = FakeRules::new();
        rules.state().tags.clear();
        rules.state().add(on("chat.example.com"), both(100, 0));
        let groups =
            json!({"blue": [group_arn("blue"), group_arn("x")], "green": group_arn("green")});
        let of = async |groups: Value, fields: Value| {
            survey_of(&rules, json!({"target_groups": groups}), fields).await
        };
        let survey = of(groups.clone(), json!({})).await;
        assert_eq!((findings(&survey), names(&survey)), (vec![], vec!["chat.example.com"]));
        let survey = of(groups.clone(), json!({"new": "red", "old": "rde"})).await;
        assert_eq!(findings(&survey), [("no_such_side", Remedy::Person); 2]);
        let message = &survey.findings[0].problem.message;
        assert_eq!(message, "target_groups has no side \"red\"; it has: \"blue\", \"green\"");
        let shared = json!({"blue": group_arn("blue"), "green": group_arn("blue")});
        let survey = of(shared, json!({})).await;
        assert_eq!(findings(&survey), [("shared_group", Remedy::Person)]);
        assert_eq!(rules.state().count("tags 3"), 0, "no tags of target groups");
    }

    #[tokio::test]
    async fn tags_of_many_groups_are_asked_for_twenty_at_once() {
        let rules = FakeRules::new();
        for index in 0..15 {
            let names = [format!("blue{index}"), format!("green{index}")];
            let groups = [(names[0].as_str(), 100), (names[1].as_str(), 0)];
            let mut state = rules.state();
            state.add(on(&format!("r{index}.example.com")), vec![forward(&groups)]);
            for name in &names {
                let side = name.trim_end_matches(|c: char| c.is_ascii_digit());
                state.tag(&group_arn(name), "team", side);
            }
        }
        let survey = survey_of(&rules, json!({"side_tag": "team"}), json!({})).await;
        assert_eq!((findings(&survey), survey.routes.len()), (vec![], 15));
        assert_eq!(rules.state().count("tags"), 3, "30 groups; 15 rules and a load balancer");
    }

    #[tokio::test]
    async fn stickiness_lingers_and_is_warned_of_when_it_is_longer_than_a_bake() {
        let rules = FakeRules::new();
        rules.state().add(on("chat.example.com"), vec![sticky(both(100, 0).remove(0), 301)]);
        rules.state().add(on("shop.example.com"), vec![sticky(both(100, 0).remove(0), 300)]);
        let survey = survey(&rules).await;
        let lingers: Vec<u32> = survey.routes.iter().map(|found| found.linger_s).collect();
        assert_eq!(lingers, [301, 300]);
        let message = &warning(&survey, "sticky_sessions").expect("warned").message;
        assert!(message.contains("300 s: chat.example.com (301 s);"), "{message}");
    }

    /// What is changed, who owns it then, the router's fields, the findings, and the routes that it owns.
    type Owned =
        (Change, &'static str, Value, &'static [(&'static str, Remedy)], &'static [&'static str]);

    #[tokio::test]
    async fn who_else_writes_the_rules_is_told_by_tags() {
        use Remedy::Person;
        const CONTROLLER: &str = "aws-load-balancer-controller";
        let on_rule: Change = |state| state.tag(&at(1), "ingress.k8s.aws/stack", "shop");
        let on_default: Change = |state| {
            state.set_actions(&listener_arn("shop", 443), both(100, 0));
            state.tag(&listener_arn("shop", 443), "services.k8s.aws/controller-version", "1");
        };
        let on_balancer: Change =
            |state| state.tag(&format!("{ARN}:loadbalancer/app/shop/1a"), "Terraform", "true");
        let table: [Owned; 4] = [
            (on_rule, CONTROLLER, json!({}), &[("other_writer", Person)], &["chat.example.com"]),
            (on_rule, CONTROLLER, json!({"other_writers": "warn"}), &[], &["chat.example.com"]),
            (on_default, "ACK", json!({}), &[("other_writer", Person)], &["default of shop:443"]),
            (on_balancer, "Terraform", json!({}), &[], &["chat.example.com", "shop.example.com"]),
        ];
        for (change, writer, alb, expected, routes) in table {
            let rules = two_rules();
            change(&mut rules.state());
            let survey = survey_of(&rules, alb, json!({})).await;
            assert_eq!(findings(&survey), expected, "{writer}");
            assert_eq!(warning(&survey, "other_writer").is_some(), expected.is_empty(), "{writer}");
            let known: Vec<&String> = survey.other_writers.keys().collect();
            assert_eq!(known, [writer]);
            let theirs = survey.routes.iter().filter(|found| found.other_writer.is_some());
            let theirs: Vec<&str> = theirs.map(|found| found.route.as_str()).collect();
            assert_eq!(theirs, routes, "{writer}");
        }
    }
}

mod shifts {
    use super::*;

    fn step(route: &str) -> Move {
        Move {
            route: RouteId::from(route),
            from: vec![START],
            to: STEP,
            shapes: Vec::new(),
            way: Way::Onward,
            supersedes: None,
        }
    }

    fn back(route: &str) -> Move {
        Move { from: vec![STEP, START], to: START, way: Way::Back, ..step(route) }
    }

    /// The router of the cutover that a survey leads to.
    async fn router(rules: &FakeRules) -> Alb {
        let place = survey(rules).await.place;
        rules.state().calls.clear();
        Alb::new(rules.client(), &place).expect("a place").unpaced()
    }

    fn moved(shifted: &Shifted) -> Vec<&Moved> {
        shifted.moves.iter().map(|(_, moved)| moved).collect()
    }

    async fn shift(router: &Alb, moves: &[Move]) -> Shifted {
        router.shift(moves, None).await.expect("told")
    }

    /// The fingerprints that a survey finds of a route.
    async fn shapes(router: &Alb, route: &str) -> Vec<u32> {
        router.read(&[RouteId::from(route)]).await.expect("read").remove(0).shapes
    }

    #[tokio::test]
    async fn only_the_two_weights_of_a_rule_change() {
        let oidc = AuthenticateOidcActionConfig::builder()
            .issuer("https://login.example.com")
            .client_id("shop")
            .client_secret("hunter2")
            .scope("openid")
            .session_timeout(600);
        let oidc = Action::builder()
            .r#type(ActionTypeEnum::AuthenticateOidc)
            .order(1)
            .authenticate_oidc_config(oidc.build());
        let mut split = sticky(forward(&[("blue", 100), ("green", 0), ("other", 0)]), 60);
        split.order = Some(2);
        let rules = FakeRules::new();
        rules.state().add(on("chat.example.com"), vec![oidc.clone().build(), split.clone()]);
        let router = router(&rules).await;
        let asked =
            Move { shapes: shapes(&router, "chat.example.com").await, ..step("chat.example.com") };
        let shifted = shift(&router, std::slice::from_ref(&asked)).await;
        assert_eq!(moved(&shifted), [&Moved::There]);
        assert_eq!((shifted.linger_s, shifted.live_in_s, shifted.unconfirmed), (60, 60, true));
        assert_eq!(router.is_live(&shifted.receipts).await, Ok(Propagation::Unknown));
        let written = rules.state().rule(&at(1)).expect("there").actions().to_vec();
        let mut expected_oidc = oidc.build();
        if let Some(config) = &mut expected_oidc.authenticate_oidc_config {
            config.client_secret = None;
            config.use_existing_client_secret = Some(true);
        }
        let mut expected = sticky(forward(&[("blue", 90), ("green", 10), ("other", 0)]), 60);
        expected.order = Some(2);
        assert_eq!(written, [expected_oidc, expected]);
        assert_eq!(shapes(&router, "chat.example.com").await, asked.shapes, "but the weights");
    }

    #[tokio::test]
    async fn a_default_action_is_written_by_its_listener() {
        let rules = FakeRules::new();
        let listener = listener_arn("shop", 443);
        rules.state().set_actions(&listener, both(100, 0));
        let router = router(&rules).await;
        let shifted = shift(&router, &[step("default of shop:443")]).await;
        assert_eq!(moved(&shifted), [&Moved::There]);
        let mut state = rules.state();
        assert_eq!(state.weights(&listener), [("blue".to_owned(), 90), ("green".to_owned(), 10)]);
        let call = |call: &str| format!("{call} {listener}");
        let expected =
            [call("rules"), "health green".to_owned(), call("rules"), call("write"), call("rules")];
        assert_eq!(state.calls, expected);
    }

    #[tokio::test]
    async fn a_new_side_without_a_healthy_target_holds_every_step() {
        use TargetHealthStateEnum::{Initial, Unhealthy};
        let rules = FakeRules::new();
        let names = ["chat.example.com", "shop.example.com"];
        for (name, new) in [(names[0], "green"), (names[1], "green2")] {
            let mut state = rules.state();
            state.add(on(name), vec![forward(&[("blue", 100), (new, 0)])]);
            state.tag(&group_arn("green2"), "elbv2.k8s.aws/cluster", "green");
        }
        let router = router(&rules).await;
        let full = weights(0, 100);
        let to = |name, from, to| Move { from: vec![from], to, ..step(name) };
        let held = |said: &str| {
            Moved::Held(format!("its new target group green has no healthy target: {said}"))
        };
        let state = |states: Vec<TargetHealthStateEnum>| {
            rules.state().health.insert("green".to_owned(), states);
        };
        state(vec![Unhealthy, Initial, Unhealthy]);
        let shifted = shift(&router, &[step(names[0]), step(names[1])]).await;
        let expected = held("3 registered (1 initial, 2 unhealthy)");
        assert_eq!(moved(&shifted), [&expected, &Moved::There]);
        assert_eq!(rules.state().writes, 1, "nothing is written of what is held");
        state(vec![]);
        let shifted = shift(&router, &[step(names[0])]).await;
        assert_eq!((moved(&shifted), shifted.unconfirmed), (vec![&held("0 registered")], false));
        state(vec![Unhealthy, TargetHealthStateEnum::Healthy]);
        assert_eq!(moved(&shift(&router, &[step(names[0])]).await), [&Moved::There]);
        let half = weights(50, 50);
        state(vec![]);
        let shifted = shift(&router, &[to(names[0], STEP, half)]).await;
        assert_eq!(moved(&shifted), [&held("0 registered")]);
        state(vec![TargetHealthStateEnum::Healthy]);
        assert_eq!(moved(&shift(&router, &[to(names[0], STEP, half)]).await), [&Moved::There]);
        state(vec![]);
        let shifted = shift(&router, &[to(names[0], half, full)]).await;
        assert_eq!(moved(&shifted), [&held("0 registered")]);
        // Nor is a way back, or what is there already.
        let home = Move { from: vec![half], ..back(names[0]) };
        assert_eq!(moved(&shift(&router, &[home]).await), [&Moved::There]);
        rules.state().set_actions(&at(1), both(0, 100));
        assert_eq!(moved(&shift(&router, &[to(names[0], half, full)]).await), [&Moved::There]);
    }

    /// Changes a rule.
    type Change = fn(&mut State);

    #[tokio::test]
    async fn a_rule_that_somebody_has_changed_is_left_or_goes_back_as_it_must() {
        const GROUPS: [(&str, i32); 3] = [("blue", 90), ("green", 10), ("other", 0)];
        let third: Change = |state| {
            let groups = [("blue", 90), ("green", 10), ("other", 7)];
            state.set_actions(&at(1), vec![forward(&groups)]);
        };
        let sticky_now: Change = |state| {
            state.set_actions(&at(1), vec![sticky(forward(&GROUPS), 60)]);
        };
        let new_is_out: Change = |state| state.set_actions(&at(1), vec![forward(&GROUPS[..1])]);
        let rule_is_out: Change = |state| {
            let rules = state.listeners.get_mut(&listener_arn("shop", 443)).expect("there");
            rules.remove(0);
        };
        let listener_is_out: Change = |state| state.listeners.clear();
        let unknown: Change = |state| {
            let action = Action::builder().r#type(ActionTypeEnum::from("weave")).build();
            state.set_actions(&at(1), vec![action, forward(&GROUPS)]);
        };
        let weights: Change = |state| {
            let groups = [("blue", 30), ("green", 70), ("other", 0)];
            state.set_actions(&at(1), vec![forward(&groups)]);
        };
        // What becomes of it on the way on, back, and back by force.
        let table: [(&str, Change, [&str; 3]); 7] = [
            ("other, which is of neither side, has weight 7", third, ["must", "partly", "partly"]),
            ("its actions are no longer those", sticky_now, ["drift", "drift", "there"]),
            ("its target group green is gone", new_is_out, ["drift"; 3]),
            ("its rule is gone", rule_is_out, ["drift"; 3]),
            ("its rule is gone", listener_is_out, ["drift"; 3]),
            ("an action of the type weave", unknown, ["drift"; 3]),
            ("", weights, ["at", "at", "there"]),
        ];
        let route = "chat.example.com";
        for (said, change, expected) in table {
            for (way, expected) in [Way::Onward, Way::Back, Way::Forced].into_iter().zip(expected) {
                let rules = FakeRules::new();
                let mut groups = GROUPS;
                (groups[0].1, groups[1].1) = (100, 0);
                rules.state().add(on(route), vec![forward(&groups)]);
                let router = router(&rules).await;
                let shapes = shapes(&router, route).await;
                rules.state().set_actions(&at(1), vec![forward(&GROUPS)]);
                change(&mut rules.state());
                let to = if way == Way::Onward { super::weights(80, 20) } else { START };
                let asked = Move { from: vec![STEP], to, way, shapes, ..step(route) };
                let shifted = shift(&router, &[asked]).await;
                let (kind, why) = match &shifted.moves[0].1 {
                    Moved::There => ("there", String::new()),
                    Moved::Partly(why) => ("partly", why.clone()),
                    Moved::MustGoBack(why) => ("must", why.clone()),
                    Moved::Drifted(Live::Unclear(why)) => ("drift", why.clone()),
                    Moved::Drifted(Live::At(at)) if *at == super::weights(30, 70) => {
                        ("at", String::new())
                    }
                    other => panic!("{said} {way:?}: {other:?}"),
                };
                assert_eq!(kind, expected, "{said} {way:?}: {why}");
                assert!(kind == "there" || why.contains(said), "{way:?}: {why}");
                let writes = usize::from(matches!(kind, "there" | "partly"));
                assert_eq!(rules.state().writes, writes, "{said} {way:?}");
                if kind == "partly" {
                    let weights = rules.state().weights(&at(1));
                    assert_eq!(weights.iter().map(|(_, w)| *w).collect::<Vec<_>>(), [100, 0, 7]);
                }
            }
        }
    }

    #[tokio::test]
    async fn a_change_between_the_first_look_and_the_write_is_seen() {
        let rules = two_rules();
        let router = router(&rules).await;
        let mut looks = 0;
        rules.state().before_rules = Box::new(move |state| {
            looks += 1;
            if looks == 2 {
                state.set_actions(&at(1), both(77, 23));
            }
        });
        let shifted = shift(&router, &[step("chat.example.com"), step("shop.example.com")]).await;
        let drifted = Moved::Drifted(Live::At(weights(77, 23)));
        assert_eq!(moved(&shifted), [&drifted, &Moved::There]);
        assert_eq!(rules.state().writes, 1);
    }

    #[tokio::test]
    async fn what_is_changed_right_after_the_write_is_found_by_reading_back() {
        let rules = two_rules();
        let router = router(&rules).await;
        rules.state().after_write = Box::new(|state, arn| {
            if arn == at(1) {
                state.set_actions(arn, both(77, 23));
            }
            None
        });
        let shifted = shift(&router, &[step("chat.example.com"), step("shop.example.com")]).await;
        let drifted = Moved::Drifted(Live::At(weights(77, 23)));
        assert_eq!(moved(&shifted), [&drifted, &Moved::There]);
    }

    #[tokio::test]
    async fn a_write_that_readings_do_not_show_is_left_to_the_next_check_or_tried_again() {
        let rules = two_rules();
        let router = router(&rules).await;
        let stale = |weights: Vec<Action>| {
            move |state: &mut State, arn: &str| {
                state.set_actions(arn, weights.clone());
                None
            }
        };
        rules.state().after_write = Box::new(stale(both(100, 0)));
        let shifted = shift(&router, &[step("chat.example.com")]).await;
        assert_eq!(moved(&shifted), [&Moved::There], "the next check sees what is live");
        rules.state().after_write = Box::new(|_, _| None);
        shift(&router, &[step("chat.example.com")]).await;
        rules.state().after_write = Box::new(stale(both(90, 10)));
        let failure = router.shift(&[back("chat.example.com")], None).await.expect_err("no proof");
        assert!(matches!(failure, Failure::Unreachable(_)), "{failure:?}");
    }

    #[tokio::test]
    async fn one_rule_that_cannot_be_written_keeps_no_later_one_from_moving() {
        let rules = two_rules();
        let router = router(&rules).await;
        rules.state().before_write = Box::new(|_, arn| {
            (arn == at(1)).then(|| Answer::xml_error(500, "InternalFailure", "try again"))
        });
        let moves = [step("chat.example.com"), step("shop.example.com")];
        let failure = router.shift(&moves, None).await.expect_err("one failed");
        assert!(matches!(failure, Failure::Unreachable(_)), "{failure:?}");
        assert_eq!(rules.state().writes, 1, "the other one was written");
    }

    #[tokio::test]
    async fn a_reading_that_is_behind_a_write_is_looked_at_again() {
        let rules = two_rules();
        let router = router(&rules).await;
        rules.state().after_write = Box::new(|state, arn| {
            // The next reading still has what was there before, the one after it has not.
            let (arn, written) =
                (arn.to_owned(), state.rule(arn).expect("there").actions().to_vec());
            state.set_actions(&arn, both(100, 0));
            let mut looks = 0;
            state.before_rules = Box::new(move |state| {
                looks += 1;
                if looks == 2 {
                    state.set_actions(&arn, written.clone());
                }
            });
            None
        });
        let shifted = shift(&router, &[step("chat.example.com")]).await;
        assert_eq!(moved(&shifted), [&Moved::There]);
    }

    #[tokio::test]
    async fn a_throttle_is_a_failure_and_the_repeat_moves_the_others() {
        let rules = two_rules();
        let router = router(&rules).await;
        rules.state().before_write = Box::new(|_, arn| {
            (arn == at(2)).then(|| Answer::xml_error(400, "Throttling", "Rate exceeded"))
        });
        let moves = [step("chat.example.com"), step("shop.example.com")];
        let failure = router.shift(&moves, None).await.expect_err("throttled");
        assert!(matches!(failure, Failure::Unreachable(_)), "{failure:?}");
        assert_eq!(rules.state().writes, 1);
        rules.state().before_write = Box::new(|_, _| None);
        let shifted = shift(&router, &moves).await;
        assert_eq!(moved(&shifted), [&Moved::There; 2]);
        assert!(shifted.unconfirmed, "one was written by the earlier try");
        assert_eq!(rules.state().writes, 2);
    }

    #[tokio::test]
    async fn a_rule_that_is_deleted_before_it_is_written_has_drifted() {
        let listener = listener_arn("shop", 443);
        let delete_rule: Change = |state| {
            state.listeners.get_mut(&listener_arn("shop", 443)).expect("there").remove(0);
        };
        let delete_listener: Change = |state| state.listeners.clear();
        let gone = Moved::Drifted(Live::Unclear("its rule is gone".to_owned()));
        for (route, delete) in
            [("chat.example.com", delete_rule), ("default of shop:443", delete_listener)]
        {
            let rules = two_rules();
            rules.state().set_actions(&listener, both(100, 0));
            let router = router(&rules).await;
            rules.state().before_write = Box::new(move |state, _| {
                delete(state);
                None
            });
            assert_eq!(moved(&shift(&router, &[step(route)]).await), [&gone], "{route}");
        }
    }

    #[tokio::test]
    async fn rules_of_several_listeners_are_written_one_listener_after_the_other() {
        let rules = FakeRules::new();
        rules.state().listen("shop", 80, vec![]);
        let moves: Vec<Move> = (0..20)
            .map(|index| {
                let (name, port) = (format!("r{index}.example.com"), [80, 443][index % 2]);
                rules.state().add_to(("shop", port), on(&name), both(100, 0));
                step(&name)
            })
            .collect();
        let alb = json!({"listener": ["shop:80", "shop:443"]});
        let place = survey_of(&rules, alb, json!({})).await.place;
        rules.state().calls.clear();
        let router = Alb::new(rules.client(), &place).expect("a place").unpaced();
        assert_eq!(moved(&shift(&router, &moves).await), [&Moved::There; 20]);
        // Both at first and at last, the first ten at once, then three, three, three and one.
        assert_eq!(rules.state().count("rules"), 2 + 1 + 4 + 2);
    }

    #[tokio::test]
    async fn many_rules_are_moved_with_few_calls_for_reading() {
        let rules = FakeRules::new();
        for index in 0..250 {
            rules.state().add(on(&format!("r{index}.example.com")), both(100, 0));
        }
        let router = router(&rules).await;
        let moves: Vec<Move> =
            (0..250).map(|index| step(&format!("r{index}.example.com"))).collect();
        let shifted = shift(&router, &moves).await;
        assert_eq!(moved(&shifted), [&Moved::There; 250]);
        let asked: Vec<&RouteId> = moves.iter().map(|asked| &asked.route).collect();
        let answered: Vec<&RouteId> = shifted.moves.iter().map(|(route, _)| route).collect();
        assert_eq!(answered, asked);
        let state = rules.state();
        assert_eq!((state.writes, state.count("health")), (250, 1));
        // The first look, ten rules at once, three a second, and reading back.
        assert_eq!(state.count("rules"), 1 + 1 + 240 / 3 + 1);
    }

    #[tokio::test]
    async fn a_repeat_of_what_was_made_reads_once() {
        let rules = FakeRules::new();
        for index in 0..50 {
            rules.state().add(on(&format!("r{index}.example.com")), both(90, 10));
        }
        let router = router(&rules).await;
        let moves: Vec<Move> =
            (0..50).map(|index| step(&format!("r{index}.example.com"))).collect();
        let shifted = shift(&router, &moves).await;
        assert_eq!((moved(&shifted), shifted.unconfirmed), (vec![&Moved::There; 50], true));
        assert_eq!(rules.state().calls, [format!("rules {}", listener_arn("shop", 443))]);
    }

    #[tokio::test]
    async fn after_ten_rules_at_once_three_a_second_are_written() {
        let rules = FakeRules::new();
        for index in 0..14 {
            rules.state().add(on(&format!("r{index}.example.com")), both(100, 0));
        }
        let place = survey(&rules).await.place;
        let router = Alb::new(rules.client(), &place).expect("a place");
        let moves: Vec<Move> =
            (0..14).map(|index| step(&format!("r{index}.example.com"))).collect();
        let begin = Instant::now();
        let shifted = router.shift(&moves, None).await.expect("told");
        assert_eq!(moved(&shifted), [&Moved::There; 14]);
        let took = begin.elapsed().as_millis();
        assert!((1_900..5_000).contains(&took), "4 after the 10 take two seconds: {took} ms");
    }

    #[tokio::test]
    async fn a_release_touches_nothing() {
        let rules = two_rules();
        let router = router(&rules).await;
        let chat = [RouteId::from("chat.example.com")];
        router.release(&chat, "us").await.expect("nothing to do");
        assert_eq!(rules.state().calls, Vec::<String>::new());
    }

    #[tokio::test]
    async fn each_class_of_error_has_its_name_whatever_the_call() {
        let table: Classes<4> = [
            (|| Answer::xml_error(400, "Throttling", "Rate exceeded"), "Unreachable"),
            (|| Answer::xml_error(503, "ServiceUnavailable", "later"), "Unreachable"),
            (|| Answer::Lost, "Unreachable"),
            (|| Answer::xml_error(403, "AccessDenied", "not yours"), "Refused"),
        ];
        let known = json!({"arn": at(1), "old": group_arn("blue"), "new": group_arn("green")});
        let place = json!({"listeners": ["shop:443"], "rules": {"chat.example.com": known}});
        for (answer, name) in table {
            let calls = ["balancers", "listeners", "rules", "tags", "health"];
            for failing in calls {
                let rules = two_rules();
                let client = rules.client_failing(failing, answer);
                let router = Alb::new(client, &place).expect("a place").unpaced();
                let failure = if failing == "health" {
                    router.shift(&[step("chat.example.com")], None).await.map(drop)
                } else {
                    let request = asked(&json!({}), &json!({})).expect("good");
                    let router =
                        Alb::new(rules.client_failing(failing, answer), &request.router.place);
                    router.expect("a place").survey(&request).await.map(drop)
                };
                assert_eq!(failure.expect_err(failing).name(), name, "{failing}");
                if failing == "rules" {
                    let read = router.read(&[RouteId::from("chat.example.com")]).await;
                    assert_eq!(read.expect_err("out of reach").name(), name);
                }
            }
        }
    }
}
