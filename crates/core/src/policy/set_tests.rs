//! Shadow modes, and which policies hold which hosts and paths.

use super::super::testing::*;
use super::super::*;

const ME: &str = "shop.checkout";

#[test]
fn a_shadow_policy_decides_counts_and_lets_pass_unmatched_included() {
    let shadow = policy("orders")
        .rule("GET", "/a", scoped(&[("a", None)]))
        .rule("GET", "/p", Protection::Public)
        .edit(|source| source.mode = Mode::Shadow);
    let set = set(&[shadow]);
    for (call, expected, refused) in [
        ("GET /a as a", format!("200 Scoped {ME}"), None),
        ("GET /a as b", format!("200 InsufficientScope {ME}"), Some(403)),
        ("GET /a as bad", "200 BadSignature nobody".to_owned(), Some(401)),
        ("GET /a", "200 NoCredential nobody".to_owned(), Some(401)),
        ("PUT /a as a", format!("200 NoRuleForMethod {ME}"), Some(403)),
        ("GET /x", "200 NoCredential nobody".to_owned(), Some(401)),
        ("GET /p as a", "200 Public nobody".to_owned(), None),
    ] {
        let verdict = verdict(&set, call);
        assert_eq!(describe(&verdict), expected, "{call}");
        assert_eq!(verdict.not_enforced.map(|refusal| refusal.status.code()), refused, "{call}");
    }
    assert_eq!(
        answer(&set, "GET /a//b"),
        "400 PathSegment invalid_request",
        "a request nobody can read passes nowhere"
    );
    assert_eq!(answer(&set, "GET //elsewhere.shop/a as a"), "403 NotOfPolicy");
}

#[test]
fn in_a_union_each_rule_keeps_its_mode_and_the_strictest_holds_where_none_matches() {
    let shadow = policy("shadow").rule("GET", "/s", scoped(&[("s", None)])).edit(|source| source.mode = Mode::Shadow);
    let enforced = policy("enforced").rule("GET", "/e", scoped(&[("e", None)])).rule("PUT", "/s", Protection::Public);
    let set = set(&[shadow, enforced]);
    assert_eq!(answer(&set, "GET /s as x"), format!("200 InsufficientScope {ME}"));
    assert_eq!(answer(&set, "GET /e as x"), "403 InsufficientScope insufficient_scope \"e\"");
    assert_eq!(answer(&set, "GET /x as x"), "403 NoRule");
    assert_eq!(answer(&set, "DELETE /s as x"), "403 NoRuleForMethod");
}

#[test]
fn a_shadow_rule_takes_no_part_and_its_own_verdict_is_counted() {
    let trial = policy("orders")
        .rule_in(Mode::Shadow, "GET", "/a/{id}", scoped(&[("strict", None)]))
        .rule("GET", "/a/*", Protection::Authenticated)
        .rule_in(Mode::Shadow, "GET", "/a/*", scoped(&[("stricter", None)]))
        .rule_in(Mode::Shadow, "GET", "/b", Protection::Public);
    let set = set(&[trial]);
    assert!(set.ambiguities().is_empty(), "a Shadow rule makes nothing ambiguous");
    let seen = |call: &str| {
        let verdict = verdict(&set, call);
        let shadow = verdict.shadow_rule.map(|shadow| (shadow.rule.rule.to_owned(), shadow.refusal.map(Reason::name)));
        (describe(&verdict), shadow)
    };
    let refused = Some(("GET /a/{id}".to_owned(), Some("InsufficientScope")));
    assert_eq!(seen("GET /a/7 as x"), (format!("200 Authenticated {ME}"), refused));
    assert_eq!(seen("GET /a/7 as strict").1, Some(("GET /a/{id}".to_owned(), None)));
    assert_eq!(seen("GET /a/7/8 as x").1, Some(("GET /a/*".to_owned(), Some("InsufficientScope"))));
    assert_eq!(seen("GET /b as x"), ("403 NoRule".to_owned(), Some(("GET /b".to_owned(), None))));
    assert_eq!(seen("PUT /a/7 as x"), ("403 NoRuleForMethod".to_owned(), None));
}

#[test]
fn the_host_must_be_one_the_policy_holds_in_any_spelling() {
    let set = set(&[policy("orders")
        .rule("", "/*", Protection::Public)
        .host("*.example.com", "/")
        .host("orders.shop", "/")
        .host("x.shop:8443", "/")]);
    for (host, held) in [
        ("orders.shop", true),
        ("ORDERS.shop.", true),
        ("orders.shop:443", true),
        ("orders.shop:8080", true),
        ("a.example.com", true),
        ("a.b.example.com:1", true),
        ("example.com", false),
        ("x.shop:8443", true),
        ("x.shop", false),
        ("orders.shop.evil", false),
        ("evil-orders.shop", false),
    ] {
        let expected = if held { "200 Public nobody" } else { "401 NoCredential" };
        assert_eq!(answer(&set, &format!("GET //{host}/")), expected, "{host}");
    }
}

#[test]
fn a_rule_reaches_no_further_than_the_paths_its_policy_holds() {
    let orders = policy("orders").rule("", "/*", Protection::Public).host("api.shop", "/orders");
    let users = policy("users")
        .rule("", "/users/me", Protection::Public)
        .rule("", "/orders/x", Protection::Authenticated)
        .host("api.shop", "/users");
    let set = set(&[orders, users]);
    assert_eq!(answer(&set, "GET //api.shop/orders/x"), "200 Public nobody");
    assert_eq!(answer(&set, "GET //api.shop/users/me"), "200 Public nobody");
    assert_eq!(answer(&set, "GET //api.shop/users/you as a"), "403 NoRule");
    assert_eq!(answer(&set, "GET //api.shop/ordersx as a"), "403 NotOfPolicy");
    assert_eq!(answer(&set, "GET //api.shop/ as a"), "403 NotOfPolicy");
}

#[test]
fn policies_that_share_a_host_or_lie_above_it_are_merged() {
    let wild =
        policy("wild").host("*.shop", "/").rule("", "/w", Protection::Public).rule("", "/*", Protection::Authenticated);
    let deep = policy("deep").host("api.shop", "/deep").rule("", "/deep/d", Protection::Public);
    let port = policy("port").host("*.shop:8443", "/").rule("", "/p", Protection::Public);
    let set = set(&[wild, deep, port]);
    for (call, expected) in [
        ("GET //api.shop/deep/d", "200 Public nobody"),
        ("GET //api.shop/w", "200 Public nobody"),
        ("GET //api.shop/deep/w as a", "200 Authenticated shop.checkout"),
        ("GET //other.shop/deep/d as a", "200 Authenticated shop.checkout"),
        ("GET //api.shop:8443/p", "200 Public nobody"),
        ("GET //api.shop:8443/deep/d", "200 Public nobody"),
        ("GET //other.shop:8443/p", "200 Public nobody"),
        ("GET //other.shop/p as a", "200 Authenticated shop.checkout"),
    ] {
        assert_eq!(answer(&set, call), expected, "{call}");
    }
}

#[test]
fn the_order_of_policies_plays_no_part() {
    let mut policies = vec![
        policy("a").rule("", "/a", Protection::Public),
        policy("b")
            .rule("", "/b", Protection::Authenticated)
            .edit(|source| source.unmatched = Unmatched::Authenticated),
        policy("c").rule("", "/b", Protection::Public),
    ];
    let answers =
        |policies: &[Policy]| ["GET /a", "GET /b as x", "GET /x as x"].map(|call| answer(&set(policies), call));
    let before = answers(&policies);
    policies.reverse();
    assert_eq!(answers(&policies), before);
}

#[test]
fn a_set_without_policies_lets_nothing_pass() {
    let empty = set(&[]);
    assert_eq!(answer(&empty, "GET /"), "401 NoCredential");
    assert_eq!(answer(&empty, "GET / as a"), "401 WrongAudience invalid_token");
}
