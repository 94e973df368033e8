//! What is told of rules: how they stand to a request, what they want.

use super::super::testing::*;
use super::super::{Protection, decide};
use super::*;
use crate::request::{Headers, RequestParts};

fn orders() -> Policy {
    policy("orders")
        .rule("", "/*", Protection::Authenticated)
        .rule("GET HEAD", "/orders/{id}", scoped(&[("orders:read", Some("path.id == '7'")), ("orders:admin", None)]))
        .rule("DELETE", "/orders/{id}", scoped(&[("orders:admin orders:delete", None)]))
        .rule_in(Mode::Shadow, "GET", "/orders/{id}", Protection::Public)
        .rule("GET", "/carts/{id}/lines", Protection::Public)
}

/// Every rule with its standing: `DELETE /orders/{id} OtherMethod`.
fn standings(set: &PolicySet, call: &str, scope: Option<&str>) -> Vec<String> {
    with(set, call, scope, |explanation| {
        explanation.rules.iter().map(|rule| format!("{} {:?}", rule.rule.rule, rule.standing)).collect()
    })
}

fn with<T>(set: &PolicySet, call: &str, scope: Option<&str>, then: impl FnOnce(Explanation<'_>) -> T) -> T {
    let (method, target) = call.split_once(' ').expect("a method and a path");
    let none: &[(&str, &str)] = &[];
    let headers: &dyn Headers = &none;
    let parts = RequestParts { method, scheme: "https", host: HOST, target, headers };
    let request = Request::read(&parts).expect("a readable request");
    let token = scope.map(token);
    then(explain(set, &request, token.as_ref()).expect("a policy holds it"))
}

#[test]
fn the_rule_that_decides_leads_and_the_others_follow_by_nearness() {
    let set = set(&[orders()]);
    assert_eq!(
        standings(&set, "DELETE /orders/7", None),
        [
            "DELETE /orders/{id} Decides",
            "GET HEAD /orders/{id} OtherMethod",
            "GET /orders/{id} OtherMethod",
            " /* LessSpecific",
            "GET /carts/{id}/lines OtherPath"
        ]
    );
    assert_eq!(
        standings(&set, "GET /orders/7", None)[..2],
        ["GET HEAD /orders/{id} Decides", "GET /orders/{id} Shadow"]
    );
}

#[test]
fn a_mistyped_path_is_nearest_to_what_was_meant() {
    let set = set(&[policy("orders")
        .rule("GET", "/health", Protection::Public)
        .rule("GET", "/orders/{id}", Protection::Public)
        .rule("GET", "/carts/{id}/lines", Protection::Public)]);
    assert_eq!(standings(&set, "GET /order/7", None)[0], "GET /orders/{id} OtherPath");
    assert_eq!(standings(&set, "GET /carts/7/line", None)[0], "GET /carts/{id}/lines OtherPath");
    with(&set, "GET /order/7", None, |explanation| assert_eq!(explanation.choice, Choice::Unmatched));
}

#[test]
fn what_is_wanted_is_held_against_the_token() {
    let set = set(&[orders()]);
    let wanted = |call: &str, scope: Option<&str>| {
        with(&set, call, scope, |explanation| {
            let Needs::Scoped(ways) = explanation.rules[0].needs.clone() else { panic!("a Scoped rule") };
            let text = |way: &Wanted<'_>| {
                let missing: Vec<_> = way.missing.iter().map(|scope| scope.as_str()).collect();
                format!("{}: lacks [{}], {:?}", way.scopes, missing.join(" "), way.outcome)
            };
            ways.iter().map(text).collect::<Vec<_>>()
        })
    };
    assert_eq!(
        wanted("GET /orders/7", Some("orders:read")),
        ["orders:read: lacks [], Some(Holds)", "orders:admin: lacks [orders:admin], None"]
    );
    assert_eq!(wanted("GET /orders/8", Some("orders:read"))[0], "orders:read: lacks [], Some(Fails)");
    assert_eq!(
        wanted("DELETE /orders/8", Some("orders:admin")),
        ["orders:admin orders:delete: lacks [orders:delete], None"]
    );
    assert_eq!(wanted("GET /orders/7", None)[0], "orders:read: lacks [orders:read], None");
}

#[test]
fn the_parameters_of_the_path_are_told() {
    with(&set(&[orders()]), "GET /orders/7", None, |explanation| {
        assert_eq!(explanation.rules[0].params, [("id", "7".to_owned())]);
        assert_eq!(explanation.rules.last().expect("a rule").params, []);
    });
}

#[test]
fn two_rules_of_one_path_and_method_are_both_named() {
    let twice = set(&[orders().rule("DELETE", "/orders/{number}", Protection::Public)]);
    assert_eq!(
        standings(&twice, "DELETE /orders/7", None)[..2],
        ["DELETE /orders/{id} Ambiguous", "DELETE /orders/{number} Ambiguous"]
    );
}

#[test]
fn the_rule_that_leads_is_the_one_the_verdict_names() {
    let set = set(&[orders(), policy("carts").rule("GET", "/orders/{id}/lines", Protection::Public)]);
    for call in ["GET /orders/7", "DELETE /orders/7", "PUT /x", "GET /orders/7/lines", "GET /carts/1/lines"] {
        let (method, target) = call.split_once(' ').expect("a call");
        let headers: &[(&str, &str)] = &[("authorization", "Bearer t")];
        let headers: &dyn Headers = &headers;
        let parts = RequestParts { method, scheme: "https", host: HOST, target, headers };
        let request = Request::read(&parts).expect("a readable request");
        let verdict = decide(&set, &request, |_| Ok(token("orders:read").into()));
        let explanation = explain(&set, &request, None).expect("a policy holds it");
        assert_eq!(explanation.rules.first().map(|rule| rule.rule), verdict.rule, "{call}");
    }
}

#[test]
fn a_host_that_no_policy_holds_has_no_explanation() {
    let none: &[(&str, &str)] = &[];
    let headers: &dyn Headers = &none;
    let parts = RequestParts { method: "GET", scheme: "https", host: "else.where", target: "/", headers };
    let request = Request::read(&parts).expect("a readable request");
    assert_eq!(explain(&set(&[orders()]), &request, None), None);
}
