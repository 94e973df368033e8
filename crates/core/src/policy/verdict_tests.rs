//! Verdicts: the order of answers, what opens a rule, and what takes no part.

use super::super::testing::*;
use super::super::*;

const ME: &str = "shop.checkout";

fn orders() -> Policy {
    policy("orders")
        .rule("GET HEAD", "/orders/{id}", scoped(&[("orders:read", Some("path.id == '7'")), ("orders:admin", None)]))
        .rule("DELETE", "/orders/{id}", scoped(&[("orders:admin", None)]))
        .rule("GET", "/orders/mine", scoped(&[("orders:read", Some("token.sub == 'someone-else'"))]))
        .rule("GET", "/orders/broken", scoped(&[("orders:read", Some("token.nothing == 'x'"))]))
        .rule("GET", "/orders/all", scoped(&[("orders:read orders:list", None)]))
        .rule("", "/me", Protection::Authenticated)
        .rule("GET", "/health", Protection::Public)
}

#[test]
fn answers_come_in_the_order_the_interface_gives() {
    let set = set(&[orders()]);
    for (call, expected) in [
        // What can be read in two ways: 400, whoever asks.
        ("GET /orders/%2e%2e", "400 PathEscape invalid_request"),
        ("GET /orders//7 as orders:read", "400 PathSegment invalid_request"),
        ("get /health", "400 AmbiguousMethod invalid_request"),
        // A missing or bad token: 401, also where nothing matches; without a code when none was sent.
        ("GET /orders/7", "401 NoCredential"),
        ("GET /orders/7 as bad", "401 BadSignature invalid_token"),
        ("GET /nothing", "401 NoCredential"),
        ("PUT /orders/7", "401 NoCredential"),
        ("GET //elsewhere.shop/orders/7", "401 NoCredential"),
        ("GET //elsewhere.shop/orders/7 as bad", "401 BadSignature invalid_token"),
        // Then 403, with scopes only where a rule for this method asks for what the token lacks.
        ("DELETE /orders/7 as orders:read", "403 InsufficientScope insufficient_scope \"orders:admin\""),
        ("GET /orders/all as orders:read", "403 InsufficientScope insufficient_scope \"orders:list orders:read\""),
        ("GET /nothing as orders:read", "403 NoRule"),
        ("PUT /orders/7 as orders:read", "403 NoRuleForMethod"),
        ("GET //elsewhere.shop/orders/7 as orders:read", "403 NotOfPolicy"),
        ("GET /orders/mine as orders:read", "403 ConditionFalse"),
        ("GET /orders/broken as orders:read", "403 ConditionBroken"),
        // This replica's own fault.
        ("GET /orders/7 as keyless", "503 NoKeys"),
    ] {
        assert_eq!(answer(&set, call), expected, "{call}");
    }
}

/// What stands in for a policy of this name that cannot be read.
fn stand_in(known: Unreadable) -> Policy {
    policy("lost").edit(|source| source.unreadable = Some(known))
}

#[test]
fn nothing_passes_where_a_policy_that_cannot_be_read_has_a_say() {
    let unreadable = "503 PolicyUnreadable";
    let alone = set(&[stand_in(Unreadable::Rules).host("lost.shop", "/")]);
    let beside = set(&[orders(), stand_in(Unreadable::Rules).host("lost.shop", "/")]);
    let within = set(&[orders(), stand_in(Unreadable::Rules).host(HOST, "/orders")]);
    let anywhere = set(&[orders(), stand_in(Unreadable::Everything).host("lost.shop", "/")]);
    for (set, call, expected) in [
        (&alone, "GET //lost.shop/x as orders:read", unreadable),
        (&alone, "GET /elsewhere as orders:read", unreadable),
        (&beside, "GET //lost.shop/x", unreadable),
        (&beside, "GET /health", "200 Public nobody"),
        (&within, "GET /orders/7 as orders:admin", unreadable),
        (&within, "GET /health", "200 Public nobody"),
        (&within, "GET /orders//7", "400 PathSegment invalid_request"),
        (&anywhere, "GET /health", unreadable),
        (&anywhere, "GET //elsewhere.shop/x", unreadable),
    ] {
        assert_eq!(answer(set, call), expected, "{call}");
    }
}

#[test]
fn any_way_that_holds_lets_pass_and_within_one_all_must_hold() {
    let set = set(&[orders()]);
    assert_eq!(answer(&set, "GET /orders/7 as orders:read"), format!("200 Scoped {ME}"));
    assert_eq!(answer(&set, "HEAD /orders/7 as orders:read"), format!("200 Scoped {ME}"));
    assert_eq!(answer(&set, "GET /orders/8 as orders:admin"), format!("200 Scoped {ME}"));
    assert_eq!(answer(&set, "GET /orders/all as orders:list orders:read"), format!("200 Scoped {ME}"));
    assert_eq!(
        answer(&set, "GET /orders/8 as orders:read"),
        "403 InsufficientScope insufficient_scope \"orders:admin\"",
        "the other way asks for a scope the token lacks"
    );
    assert_eq!(answer(&set, "PURGE /me as x"), format!("200 Authenticated {ME}"), "no methods means every method");
}

#[test]
fn the_most_specific_pattern_decides_even_where_a_wider_one_would_let_pass() {
    let lax = orders().rule("", "/*", Protection::Public).rule("", "/orders/*", Protection::Authenticated);
    let set = set(&[lax.edit(|source| source.unmatched = Unmatched::Authenticated)]);
    assert_eq!(
        answer(&set, "PUT /orders/7 as x"),
        "403 NoRuleForMethod",
        "never a less specific rule, never unmatched"
    );
    assert_eq!(answer(&set, "GET /orders/mine as orders:read"), "403 ConditionFalse");
    assert_eq!(answer(&set, "GET /orders/7/items as x"), format!("200 Authenticated {ME}"));
    assert_eq!(answer(&set, "GET /users"), "200 Public nobody");
}

#[test]
fn public_reads_no_credential_and_sets_no_identity() {
    let set = set(&[orders()]);
    for call in ["GET /health", "GET /health as bad", "GET /health as orders:read"] {
        assert_eq!(answer(&set, call), "200 Public nobody", "{call}");
    }
    let two = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
    assert_eq!(describe(&verdict_with(&set, "GET /health", &two, token)), "200 Public nobody");
}

#[test]
fn a_token_must_be_for_the_audience_of_the_policy_whose_rule_decides() {
    let billing =
        policy("billing").audience("https://billing.shop.svc").rule("GET", "/bills", Protection::Authenticated);
    let set = set(&[orders(), billing]);
    assert_eq!(answer(&set, "GET /bills as orders:read"), "401 WrongAudience invalid_token");
    assert_eq!(answer(&set, "GET /me as orders:read"), format!("200 Authenticated {ME}"));
    let homeless = Policy { accepted: Accepted { audience: None, ..orders().accepted }, ..orders() };
    assert_eq!(answer(&testing::set(&[homeless]), "GET /me as orders:read"), "401 WrongAudience invalid_token");
}

#[test]
fn where_nothing_matches_unmatched_decides() {
    let open = |policy: Policy| policy.edit(|source| source.unmatched = Unmatched::Authenticated);
    assert_eq!(answer(&set(&[open(orders())]), "GET /x as a"), format!("200 Authenticated {ME}"));
    assert_eq!(answer(&set(&[open(orders())]), "GET /x"), "401 NoCredential");
    assert_eq!(answer(&set(&[open(orders()), policy("strict")]), "GET /x as a"), "403 NoRule", "the strictest holds");
    let billing = open(policy("billing").audience("https://billing.shop.svc"));
    assert_eq!(answer(&set(&[open(orders()), billing]), "GET /x as a"), "403 NoRule", "no token is for both audiences");
}

#[test]
fn the_same_pattern_and_method_twice_denies_both() {
    let twice = policy("twice")
        .rule("GET HEAD", "/a/{x}", Protection::Public)
        .rule("GET", "/a/{y}", Protection::Public)
        .rule("PUT", "/a/{z}", Protection::Authenticated);
    let set_of_one = set(std::slice::from_ref(&twice));
    assert_eq!(answer(&set_of_one, "GET /a/b as x"), "403 AmbiguousRule");
    assert_eq!(answer(&set_of_one, "GET /a/b"), "401 NoCredential");
    assert_eq!(answer(&set_of_one, "HEAD /a/b"), "200 Public nobody");
    assert_eq!(answer(&set_of_one, "PUT /a/b as x"), format!("200 Authenticated {ME}"));
    let problems: Vec<_> = set_of_one.ambiguities().into_iter().map(|(_, problem)| problem.element).collect();
    assert_eq!(problems, ["spec.rules[0].matches[0]", "spec.rules[1].matches[0]"]);
}

#[test]
fn ambiguity_is_judged_over_the_set_in_use() {
    let (one, other) =
        (policy("one").rule("GET", "/a", Protection::Public), policy("other").rule("GET", "/a", Protection::Public));
    assert_eq!(answer(&set(std::slice::from_ref(&one)), "GET /a"), "200 Public nobody");
    let union = set(&[one, other]);
    assert_eq!(answer(&union, "GET /a as x"), "403 AmbiguousRule");
    assert_eq!(union.ambiguities().len(), 2);
}

#[test]
fn one_rule_naming_a_path_twice_is_not_ambiguous() {
    let twice = policy("a").rule("GET", "/a", Protection::Public).edit(|source| {
        let again = source.rules[0].matches[0].clone();
        source.rules[0].matches.push(again);
    });
    let set = set(&[twice]);
    assert_eq!(answer(&set, "GET /a"), "200 Public nobody");
    assert!(set.ambiguities().is_empty());
}

#[test]
fn a_preflight_passes_without_identity_only_where_every_policy_allows_it() {
    let allow = |policy: Policy| policy.edit(|source| source.cors_preflight = Cors::Allow);
    let marks = [("origin", "https://web"), ("access-control-request-method", "DELETE"), ("authorization", "Bearer t")];
    let preflight = |set: &PolicySet| describe(&verdict_with(set, "OPTIONS /orders/7", &marks, |_| token("a")));
    assert_eq!(preflight(&set(&[allow(orders())])), "200 Preflight nobody");
    assert_eq!(preflight(&set(&[orders()])), "403 NoRuleForMethod");
    assert_eq!(preflight(&set(&[allow(orders()), policy("strict")])), "403 NoRuleForMethod");
    let allowing = set(&[allow(orders())]);
    let incomplete = verdict_with(&allowing, "OPTIONS /orders/7", &marks[..1], token);
    assert_eq!(describe(&incomplete), "401 NoCredential");
    assert_eq!(describe(&verdict_with(&allowing, "OPTIONS //x.shop/", &marks[..2], token)), "401 NoCredential");
}

#[test]
fn several_credentials_are_refused_before_any_is_read() {
    let set = set(&[orders()]);
    for headers in [
        [("authorization", "Bearer a"), ("authorization", "Bearer b")].as_slice(),
        &[("authorization", "Bearer a, Bearer b")],
        &[("authorization", "bearer\ta")],
    ] {
        let verdict = verdict_with(&set, "GET /orders/7", headers, |_| panic!("a credential was read"));
        assert_eq!(describe(&verdict), "400 AmbiguousCredential invalid_request");
    }
}

#[test]
fn a_source_of_tokens_that_is_not_built_reads_nothing_and_is_named() {
    let form = orders().edit(|source| source.token_sources = vec![Ok(TokenSource::Form)]);
    let both = orders().edit(|source| source.token_sources = vec![Ok(TokenSource::Header), Ok(TokenSource::Cookie)]);
    let problems = |policy: &Policy| -> Vec<_> {
        policy.compiled().problems().iter().map(|problem| (problem.element.clone(), problem.reason)).collect()
    };
    assert_eq!(problems(&form), [("spec.tokenSources[0]".to_owned(), "NotImplemented")]);
    assert_eq!(problems(&both), [("spec.tokenSources[1]".to_owned(), "NotImplemented")]);
    assert_eq!(answer(&set(&[both]), "GET /me as a"), format!("200 Authenticated {ME}"));
    assert_eq!(answer(&set(std::slice::from_ref(&form)), "GET /me as a"), "401 NoCredential");
    assert_eq!(answer(&set(&[orders(), form]), "GET /me as a"), "401 NoCredential", "token sources intersect");
}

#[test]
fn a_rule_that_does_not_compile_denies_what_it_matches_and_nothing_else() {
    let half = policy("half")
        .rule("GET", "/a/{x}", scoped(&[("a", Some("token.sub.matches('x')")), ("a", None)]))
        .rule("GET", "/*", Protection::Public)
        .rule("GET", "/b", Protection::Public)
        .edit(|source| source.rules[2].effect = Err(Problem::new("spec.rules[2].protection", "Unknown", "…")));
    let elements: Vec<_> = half.compiled().problems().iter().map(|problem| problem.element.clone()).collect();
    assert_eq!(elements, ["spec.rules[0].allow[0].when", "spec.rules[2].protection"]);
    let set = set(&[half]);
    assert_eq!(answer(&set, "GET /a/b as a"), "403 RuleNotUnderstood");
    assert_eq!(answer(&set, "GET /b as a"), "403 RuleNotUnderstood");
    assert_eq!(answer(&set, "GET /b"), "401 NoCredential");
    assert_eq!(answer(&set, "GET /c"), "200 Public nobody");
}

#[test]
fn an_element_that_cannot_be_understood_is_left_out_and_named() {
    let broken = orders().edit(|source| {
        source.audience = Err(Problem::new("spec.audience", "Invalid", "…"));
        source.scopes.push(Err(Problem::new("spec.scopes[0]", "Invalid", "…")));
        source.rules[0].matches.insert(0, Err(Problem::new("spec.rules[0].matches[0].path", "Invalid", "…")));
    });
    let elements: Vec<_> = broken.compiled().problems().iter().map(|problem| problem.element.clone()).collect();
    assert_eq!(elements, ["spec.audience", "spec.scopes[0]", "spec.rules[0].matches[0].path"]);
    assert_eq!(answer(&set(&[broken]), "GET /orders/7 as orders:read"), format!("200 Scoped {ME}"));
}

#[test]
fn a_challenge_says_what_rfc_6750_says() {
    let set = set(&[orders()]);
    for (call, expected) in [
        ("GET /orders/7", Some("Bearer realm=\"r\"")),
        ("GET /orders/7 as bad", Some("Bearer realm=\"r\", error=\"invalid_token\"")),
        ("DELETE /orders/7 as a", Some("Bearer realm=\"r\", error=\"insufficient_scope\", scope=\"orders:admin\"")),
        ("GET /orders//7", Some("Bearer realm=\"r\", error=\"invalid_request\"")),
        ("GET /nothing as a", None),
    ] {
        let Answer::Deny(refusal) = verdict(&set, call).answer else { panic!("{call} is refused") };
        assert_eq!(refusal.challenge("r").as_deref(), expected, "{call}");
    }
}
