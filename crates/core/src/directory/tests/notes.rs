//! What is in force and unlikely to be meant.

use super::fixtures::{allowance, client, directory, namespace, object, policy, route, scopes, selector};
use crate::client::GrantType;
use crate::directory::{Change, reason};
use crate::names::ClientId;
use crate::policy::{Allow, Effect, Grant, Grantee, Match, Methods, Mode, Pattern, Protection, RuleSource, Source};

fn notes(changes: impl IntoIterator<Item = Change>) -> Vec<(String, &'static str)> {
    let directory = directory(changes);
    let view = directory.policy(&object("shop/orders")).expect("the policy");
    directory.notes(view).into_iter().map(|note| (note.element, note.reason)).collect()
}

fn rule(path: Pattern, when: Option<&str>) -> RuleSource {
    let allow = vec![Allow { scopes: scopes("read"), when: when.map(str::to_owned) }];
    RuleSource {
        name: "a-rule".to_owned(),
        matches: vec![Ok(Match { methods: Methods::ANY, pattern: path })],
        effect: Ok(Effect { protection: Protection::Scoped(allow) }),
        mode: Mode::Enforce,
    }
}

/// A policy that holds `api.example.com/orders` and nothing else.
fn public(change: impl FnOnce(&mut Source)) -> [Change; 3] {
    let allowed =
        allowance("shop", Some("shop"), |a| a.hosts = vec!["api.example.com/orders".parse().expect("a host")]);
    let policy = policy("shop/orders", 1, |source| {
        source.targets.clear();
        source.routes = vec![Ok(route("api.example.com", "/orders"))];
        change(source);
    });
    [namespace("shop", "x"), allowed, policy]
}

#[test]
fn a_rule_beside_every_prefix_its_policy_holds_is_never_reached() {
    let rules = |source: &mut Source| {
        for path in ["/orders/{id}", "/orders", "/{anything}/x", "/7", "/orders-old"] {
            source.rules.push(rule(Pattern::template(path).expect("a path"), None));
        }
        source.rules.push(rule(Pattern::prefix("/").expect("a path"), None));
    };
    let at = |index| (format!("spec.rules[{index}].matches[0].path"), reason::NEVER_REACHED);
    assert_eq!(notes(public(rules)), [at(3), at(4)]);
    let by_service = policy("shop/orders", 1, rules);
    assert_eq!(notes([by_service]), [], "a Service is held with all its paths");
}

#[test]
fn rules_of_a_policy_without_a_host_are_never_reached() {
    let nowhere = policy("shop/orders", 1, |source| {
        source.targets.clear();
        source.rules.push(rule(Pattern::everything(), None));
    });
    assert_eq!(notes([nowhere]), [("spec.targetRefs".to_owned(), reason::NEVER_REACHED)]);
}

#[test]
fn a_condition_on_headers_rests_on_the_callers_word() {
    let conditions = |source: &mut Source| {
        for when in [
            "request.headers['x-tier'] == 'gold'",
            "has(request.headers.a)",
            "request.path == '/a'",
            "token.sub == client.id",
        ] {
            source.rules.push(rule(Pattern::everything(), Some(when)));
        }
    };
    let at = |index| (format!("spec.rules[{index}].allow[0].when"), reason::CALLERS_WORD);
    assert_eq!(notes([policy("shop/orders", 1, conditions)]), [at(0), at(1)]);
}

#[test]
fn a_grant_to_nobody_is_named() {
    let to = vec![
        Grantee::Client(ClientId::new("web.frontend").expect("an id")),
        Grantee::Client(ClientId::new("web.fronted").expect("an id")),
        Grantee::Selector(selector("team", "web")),
        Grantee::Selector(selector("team", "wbe")),
    ];
    let grants = |source: &mut Source| source.grants = vec![Ok(Grant { scopes: scopes("read"), to })];
    let world = [policy("shop/orders", 1, grants), client("web/frontend", 1, |_| {}), namespace("web", "web")];
    let at = |index| (format!("spec.grants[0].to[{index}]"), reason::NO_GRANTEE);
    assert_eq!(notes(world), [at(1), at(3)]);
}

#[test]
fn a_client_that_never_exchanges_a_token_is_named_on_both_sides() {
    let named = |source: &mut Source| {
        source.resource_servers =
            ["shop.api", "shop.plain", "shop.nobody", "web.api"].map(|id| Ok(ClientId::new(id).expect("an id"))).into();
    };
    let exchanging = |name: &str| client(name, 1, |spec| spec.grant_types.push(GrantType::TokenExchange));
    let policy = policy("shop/orders", 1, named);
    let world = [policy, exchanging("shop/api"), client("shop/plain", 1, |_| {}), exchanging("web/api")];
    let at = |index| (format!("spec.resourceServers[{index}]"), reason::NEVER_EXCHANGES);
    assert_eq!(notes(world.clone()), [at(1), at(2), at(3)]);
    let directory = directory(world);
    for (name, expected) in [("shop/api", None), ("shop/plain", None), ("web/api", Some(reason::NEVER_EXCHANGES))] {
        let view = directory.client_of(&object(name)).expect("the client");
        let said = directory.notes_of_client(view);
        assert_eq!(said.first().map(|note| note.reason), expected, "{name}: {said:?}");
    }
}
