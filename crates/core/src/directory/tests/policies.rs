//! Policies in the Directory: what they claim, what they hold, and what of them is in force.

use std::sync::Arc;

use super::fixtures::{
    allowance, audience, client, directory, namespace, object, policy, route, scopes, settings, without,
};
use crate::bounds::{Labels, NAME_LABEL};
use crate::directory::{Change, Conflicts, Directory, NamespaceObject, RingObject, reason};
use crate::names::{KeyId, Namespace, ObjectName, ScopeName};
use crate::policy::{
    Effect, Match, Methods, Mode, Pattern, Problem, Protection, RuleSource, ScopeDef, Selector, Source, Unreadable,
};

/// Lets the namespace claim an audience and a host that another may claim too.
fn shared(namespace_name: &str) -> [Change; 2] {
    let allowance = allowance(&format!("allow-{namespace_name}"), Some(namespace_name), |a| {
        a.audiences = vec![audience("https://api.example.com")];
        a.hosts = ["api.example.com", "*.example.com"].map(|host| host.parse().expect("a host")).to_vec();
    });
    [namespace(namespace_name, "x"), allowance]
}

fn claims_shared(text: &str, created: i64) -> Change {
    policy(text, created, |source| {
        source.audience = Ok(audience("https://api.example.com"));
        source.routes = vec![Ok(route("api.example.com", "/orders"))];
    })
}

fn problems(directory: &Directory, policy: &str) -> Vec<(String, &'static str)> {
    let view = directory.policy(&object(policy)).expect("the policy");
    view.problems.iter().map(|problem| (problem.element.clone(), problem.reason)).collect()
}

fn owner(directory: &Directory, host: &str, path: &str) -> Option<String> {
    directory.host_owner(host, path).map(ToString::to_string)
}

#[test]
fn a_service_claims_all_its_dns_spellings() {
    let directory = directory([policy("shop/orders", 1, |_| {})]);
    for host in ["orders.shop", "orders.shop.svc", "orders.shop.svc.cluster.local"] {
        assert_eq!(owner(&directory, host, "/orders/7").as_deref(), Some("shop"), "{host}");
        assert!(directory.by_host(host, "/").is_some());
    }
    assert_eq!(owner(&directory, "orders.web", "/"), None);
    assert_eq!(problems(&directory, "shop/orders"), []);
}

#[test]
fn what_stands_in_for_an_unreadable_policy_holds_what_it_is_known_to_claim() {
    let stand_in = |text, created| {
        policy(text, created, |source| {
            source.audience = Ok(audience("https://api.example.com"));
            source.routes = vec![Ok(route("api.example.com", "/orders"))];
            source.unreadable = Some(Unreadable::Rules);
        })
    };
    let both = shared("shop").into_iter().chain(shared("web"));
    let directory = directory(both.chain([stand_in("shop/lost", 1), claims_shared("web/orders", 2)]));
    assert_eq!(owner(&directory, "api.example.com", "/orders/7").as_deref(), Some("shop"));
    assert!(problems(&directory, "web/orders").iter().all(|(_, reason)| *reason == reason::CONFLICT));
}

#[test]
fn each_selector_has_its_set() {
    let directory = directory([policy("shop/orders", 1, |_| {}), policy("shop/carts", 1, |_| {})]);
    let set = |text: &str| directory.policy_set(&text.parse::<Selector>().expect("a selector"));
    assert!(set("shop/orders").is_some() && set("shop/*").is_some());
    assert!(set("shop/other").is_none() && set("web/*").is_none() && set("by-host").is_none());
}

#[test]
fn policies_of_one_namespace_that_share_an_audience_add_up() {
    let orders = |source: &mut Source| source.audience = Ok(audience("https://orders.shop.svc"));
    let more = policy("shop/more", 2, |source| {
        orders(source);
        source.scopes.truncate(0);
        source.scopes.push(Ok(ScopeDef { name: ScopeName::new("admin").expect("a scope"), description: None }));
        source.grants.truncate(0);
    });
    let directory = directory([policy("shop/orders", 1, orders), more]);
    let defined: Vec<_> =
        directory.audience("https://orders.shop.svc").expect("it").scopes().map(ToString::to_string).collect();
    assert_eq!(defined, ["admin", "read", "write"]);
    assert_eq!(problems(&directory, "shop/more"), []);
}

#[test]
fn what_no_allowance_allows_is_left_out_and_the_rest_serves() {
    let directory = directory([policy("shop/orders", 1, |source| {
        source.audience = Ok(audience("https://issuer.example.net/x"));
        source.routes = vec![Ok(route("api.example.com", "/")), Ok(route("cart.shop.svc", "/"))];
    })]);
    let expected =
        [("spec.audience".to_owned(), reason::RESERVED), ("spec.routes[0].hosts[0]".to_owned(), reason::NOT_ALLOWED)];
    assert_eq!(problems(&directory, "shop/orders"), expected);
    assert_eq!(owner(&directory, "cart.shop.svc", "/").as_deref(), Some("shop"));
    assert_eq!(owner(&directory, "api.example.com", "/"), None);
}

#[test]
fn the_older_object_keeps_what_two_namespaces_may_claim() {
    let changes = || shared("shop").into_iter().chain(shared("web"));
    let both = directory(changes().chain([claims_shared("shop/api", 2), claims_shared("web/api", 1)]));
    let conflicts =
        [("spec.audience".to_owned(), reason::CONFLICT), ("spec.routes[0].hosts[0]".to_owned(), reason::CONFLICT)];
    assert_eq!(problems(&both, "shop/api"), conflicts);
    assert_eq!(problems(&both, "web/api"), []);
    assert_eq!(both.audience_owner("https://api.example.com").map(ToString::to_string).as_deref(), Some("web"));
    assert_eq!(owner(&both, "api.example.com", "/orders").as_deref(), Some("web"));
    assert_eq!(owner(&both, "api.shop.svc", "/").as_deref(), Some("shop"), "what is not contested serves");
    let message = &both.policy(&object("shop/api")).expect("it").problems[0].message;
    assert!(!message.contains("web"), "another team's objects are not named: {message}");

    let after = both.apply([without(&claims_shared("web/api", 1))]);
    assert_eq!(problems(&after, "shop/api"), []);
    assert_eq!(after.audience_owner("https://api.example.com").map(ToString::to_string).as_deref(), Some("shop"));
}

#[test]
fn files_have_no_age_so_a_conflict_is_an_error_on_both_sides() {
    let changes = shared("shop").into_iter().chain(shared("web"));
    let changes = changes.chain([claims_shared("shop/api", 2), claims_shared("web/api", 1)]);
    let directory = Directory::empty(settings(Conflicts::Error)).apply(changes);
    for (policy, rival) in [("shop/api", "web/api"), ("web/api", "shop/api")] {
        let view = directory.policy(&object(policy)).expect("the policy");
        assert_eq!(view.accepted.audience, None);
        assert!(
            view.problems.iter().all(|problem| problem.reason == reason::CONFLICT && problem.message.contains(rival))
        );
    }
    assert_eq!(owner(&directory, "api.example.com", "/orders"), None);
}

#[test]
fn a_wildcard_of_one_namespace_conflicts_with_a_host_below_it_of_another() {
    let wild = policy("web/wild", 1, |source| source.routes = vec![Ok(route("*.example.com", "/"))]);
    let changes = shared("shop").into_iter().chain(shared("web")).chain([claims_shared("shop/api", 2), wild]);
    let directory = directory(changes);
    assert_eq!(problems(&directory, "shop/api"), [("spec.routes[0].hosts[0]".to_owned(), reason::CONFLICT)]);
    assert_eq!(owner(&directory, "api.example.com", "/orders").as_deref(), Some("web"));
    assert_eq!(directory.audience_owner("https://api.example.com").map(ToString::to_string).as_deref(), Some("shop"));
}

#[test]
fn withdrawing_an_allowance_withdraws_what_it_allowed() {
    let [seen, allowed] = shared("shop");
    let before = directory([seen, allowed.clone(), claims_shared("shop/api", 1)]);
    assert_eq!(owner(&before, "api.example.com", "/orders/7").as_deref(), Some("shop"));
    let after = before.apply([without(&allowed)]);
    assert_eq!(owner(&after, "api.example.com", "/orders/7"), None);
    assert_eq!(after.audience_owner("https://api.example.com"), None);
    assert_eq!(owner(&after, "api.shop.svc", "/").as_deref(), Some("shop"));
}

#[test]
fn an_unknown_namespace_is_selected_by_nothing_and_keeps_the_defaults() {
    let [seen, allowed] = shared("shop");
    let before = directory([allowed, claims_shared("shop/api", 1)]);
    assert_eq!(owner(&before, "api.example.com", "/orders"), None);
    assert_eq!(owner(&before, "api.shop", "/").as_deref(), Some("shop"));
    assert_eq!(owner(&before.apply([seen]), "api.example.com", "/orders").as_deref(), Some("shop"));
}

#[test]
fn a_namespace_is_selected_by_its_name_whether_or_not_it_is_labelled_with_it() {
    let [_, allowed] = shared("shop");
    let name = Namespace::new("shop").expect("a name");
    let wrong = [(NAME_LABEL.to_owned(), "web".to_owned())].into();
    for labels in [Labels::new(), wrong] {
        let bare = NamespaceObject { name: name.clone(), labels, is_ending: false };
        let seen = Change::Namespace(name.clone(), Some(Arc::new(bare)));
        let directory = directory([seen, allowed.clone(), claims_shared("shop/api", 1)]);
        assert_eq!(owner(&directory, "api.example.com", "/orders").as_deref(), Some("shop"));
    }
}

#[test]
fn an_edit_never_takes_down_what_it_did_not_touch() {
    let good = |source: &mut Source| source.routes = vec![Ok(route("cart.shop.svc", "/"))];
    let before = directory([
        policy("shop/orders", 1, good),
        policy("shop/other", 1, |_| {}),
        client("shop/checkout", 1, |_| {}),
    ]);
    let after = before.apply([policy("shop/orders", 1, |source| {
        good(source);
        source.audience = Err(Problem::new("spec.audience", "Invalid", "no URI"));
        source.routes.push(Err(Problem::new("spec.routes[1]", "Invalid", "no host")));
        source.scopes.push(Err(Problem::new("spec.scopes[2]", "Invalid", "no scope")));
    })]);
    assert_eq!(owner(&after, "cart.shop.svc", "/").as_deref(), Some("shop"));
    assert_eq!(owner(&after, "orders.shop.svc", "/").as_deref(), Some("shop"));
    assert_eq!(problems(&after, "shop/orders").len(), 3);
    assert_eq!(after.policy(&object("shop/other")), before.policy(&object("shop/other")));
    assert_eq!(after.client_of(&object("shop/checkout")), before.client_of(&object("shop/checkout")));
}

#[test]
fn a_scope_nobody_defines_is_reported_where_it_is_used() {
    let directory = directory([policy("shop/orders", 1, |source| {
        if let Some(Ok(grant)) = source.grants.first_mut() {
            grant.scopes = scopes("read raed");
        }
    })]);
    assert_eq!(problems(&directory, "shop/orders"), [("spec.grants[0].scopes".to_owned(), reason::UNKNOWN_SCOPE)]);
}

#[test]
fn the_same_path_and_method_in_two_policies_is_reported_on_both() {
    let rule = |source: &mut Source| {
        source.routes = vec![Ok(route("api.shop.svc", "/"))];
        source.rules = vec![RuleSource {
            name: "r".to_owned(),
            matches: vec![Ok(Match { methods: Methods::of("GET"), pattern: Pattern::exact("/a").expect("a path") })],
            effect: Ok(Effect { protection: Protection::Authenticated }),
            mode: Mode::Enforce,
        }];
    };
    let directory = directory([policy("shop/a", 1, rule), policy("shop/b", 2, rule)]);
    for name in ["shop/a", "shop/b"] {
        assert_eq!(problems(&directory, name), [("spec.rules[0].matches[0]".to_owned(), "AmbiguousRule")]);
    }
}

#[test]
fn keys_declared_dead_are_known() {
    let key = KeyId::new(&"a".repeat(43)).expect("a key id");
    let name = ObjectName::new("default").expect("a name");
    let ring = RingObject { name: name.clone(), revoked_key_ids: vec![key.clone()] };
    let with = directory([Change::Ring(name.clone(), Some(Arc::new(ring)))]);
    assert_eq!(with.revoked_key_ids().collect::<Vec<_>>(), [&key]);
    assert_eq!(with.apply([Change::Ring(name, None)]), directory([]));
}

#[test]
fn objects_of_another_installation_are_not_ours() {
    let settings = settings(Conflicts::OldestWins);
    assert!(settings.is_ours(None) && settings.is_ours(Some("default")) && !settings.is_ours(Some("other")));
}
