//! Clients in the Directory: their ids, their Secrets, their grants.

use std::sync::Arc;

use super::fixtures::{
    ORDERS, access, allowance, client, directory, namespace, object, policy, scopes, secret, selector, settings,
    without,
};
use crate::client::{ClientSpec, ClientState, GrantType, Method};
use crate::directory::{Change, Conflicts, Directory, Refused, reason};
use crate::names::ClientId;
use crate::policy::{Grant, Grantee, NamespaceChoice, Source};

fn id(text: &str) -> ClientId {
    ClientId::new(text).expect("an id")
}

fn problems(directory: &Directory, client: &str) -> Vec<(String, &'static str)> {
    let view = directory.client_of(&object(client)).expect("the client");
    view.problems.iter().map(|problem| (problem.element.clone(), problem.reason)).collect()
}

fn granted(directory: &Directory, client: &str) -> String {
    directory.granted(directory.client_of(&object(client)).expect("the client"), ORDERS).to_string()
}

fn refused(directory: &Directory, client: &str) -> Vec<&'static str> {
    let answer = directory.grants(directory.client_of(&object(client)).expect("the client"));
    answer.refused.iter().map(|refused| refused.reason).collect()
}

fn granting(to: Vec<Grantee>) -> impl FnOnce(&mut Source) {
    move |source| source.grants = vec![Ok(Grant { scopes: scopes("read write"), to })]
}

#[test]
fn a_client_is_found_by_its_id() {
    let directory = directory([client("shop/checkout", 1, |_| {})]);
    assert_eq!(directory.client("shop.checkout").map(|client| &client.object.object), Some(&object("shop/checkout")));
    assert!(directory.client("shop.other").is_none());
}

#[test]
fn a_suspended_client_is_as_unknown_as_one_that_does_not_exist() {
    let directory = directory([client("shop/checkout", 1, |spec| spec.state = ClientState::Suspended)]);
    assert!(directory.client("shop.checkout").is_none());
    assert!(directory.client_of(&object("shop/checkout")).is_some_and(|client| client.accepted().is_some()));
}

#[test]
fn a_spec_that_is_wrong_keeps_its_client_id_but_is_not_found() {
    let wish = |spec: &mut ClientSpec| spec.client_id = id("legacy");
    let allowed = allowance("ids", None, |a| a.client_ids = vec![id("legacy")]);
    let broken = client("shop/checkout", 1, |spec| {
        wish(spec);
        spec.grant_types = vec![GrantType::DeviceCode];
    });
    let directory =
        directory([namespace("shop", "x"), namespace("web", "x"), allowed, broken, client("web/other", 2, wish)]);
    assert!(directory.client("legacy").is_none());
    assert_eq!(problems(&directory, "web/other"), [("spec.clientId".to_owned(), reason::CONFLICT)]);
}

#[test]
fn another_id_or_grant_type_needs_an_allowance() {
    let changes = || [namespace("shop", "x"), client("shop/checkout", 1, |spec| spec.client_id = id("web.frontend"))];
    assert_eq!(problems(&directory(changes()), "shop/checkout"), [("spec.clientId".to_owned(), reason::NOT_ALLOWED)]);
    let allowed = allowance("ids", Some("shop"), |a| a.client_ids = vec![id("web.frontend")]);
    let with = directory(changes().into_iter().chain([allowed.clone()]));
    assert!(with.client("web.frontend").is_some());
    assert!(with.apply([without(&allowed)]).client("web.frontend").is_none());
}

#[test]
fn the_older_client_keeps_its_id_and_gives_it_up_by_going() {
    let allowed = allowance("ids", None, |a| a.client_ids = vec![id("shop.checkout")]);
    let older = client("shop/checkout", 1, |_| {});
    let changes = [
        namespace("shop", "x"),
        namespace("web", "x"),
        allowed,
        older.clone(),
        client("web/other", 2, |spec| spec.client_id = id("shop.checkout")),
    ];
    let both = directory(changes.clone());
    assert_eq!(
        both.client("shop.checkout").map(|client| client.object.object.to_string()).as_deref(),
        Some("shop/checkout")
    );
    assert_eq!(problems(&both, "web/other"), [("spec.clientId".to_owned(), reason::CONFLICT)]);
    let after = both.apply([without(&older)]);
    assert_eq!(
        after.client("shop.checkout").map(|client| client.object.object.to_string()).as_deref(),
        Some("web/other")
    );

    let files = Directory::empty(settings(Conflicts::Error)).apply(changes);
    assert!(files.client("shop.checkout").is_none());
    assert_eq!(problems(&files, "shop/checkout"), [("spec.clientId".to_owned(), reason::CONFLICT)]);
}

#[test]
fn k8s_05_of_two_clients_that_name_one_secret_the_oldest_writes_it() {
    let named = |spec: &mut ClientSpec| spec.authentication = vec![Method::ClientSecret(secret("shared"))];
    let older = client("shop/a", 1, named);
    let both = directory([older.clone(), client("shop/b", 2, named), client("web/a", 3, named)]);
    let conflict = |directory: &Directory, name: &str| {
        let view: Arc<_> = directory.client_of(&object(name)).expect("it").clone();
        view.secret_conflict.as_ref().map(|problem| problem.reason)
    };
    assert_eq!(conflict(&both, "shop/a"), None);
    assert_eq!(conflict(&both, "shop/b"), Some(reason::SECRET_NAME_CONFLICT));
    assert_eq!(conflict(&both, "web/a"), None, "another namespace has its own Secrets");
    assert!(both.client("shop.b").is_some(), "it is accepted all the same");
    assert_eq!(conflict(&both.apply([without(&older)]), "shop/b"), None);
}

#[test]
fn no_grant_no_scope() {
    let asks = client("web/frontend", 1, |spec| spec.access = vec![access(ORDERS, "read write")]);
    let with = |to: Vec<Grantee>| {
        let changes = [namespace("web", "blue"), namespace("shop", "red"), asks.clone()];
        granted(&directory(changes.into_iter().chain([policy("shop/orders", 1, granting(to))])), "web/frontend")
    };
    assert_eq!(with(vec![]), "");
    assert_eq!(with(vec![Grantee::Namespaces(NamespaceChoice::Same)]), "");
    assert_eq!(with(vec![Grantee::Namespaces(NamespaceChoice::All)]), "read write");
    assert_eq!(with(vec![Grantee::Selector(selector("team", "blue"))]), "read write");
    assert_eq!(with(vec![Grantee::Selector(selector("team", "red"))]), "");
    assert_eq!(with(vec![Grantee::Client(id("web.frontend"))]), "read write");
    assert_eq!(with(vec![Grantee::Client(id("web.other"))]), "");
}

#[test]
fn a_grant_follows_the_labels_of_the_clients_namespace_and_needs_them() {
    let to_blue = policy("shop/orders", 1, granting(vec![Grantee::Selector(selector("team", "blue"))]));
    let unseen = directory([to_blue, client("web/frontend", 1, |_| {})]);
    assert_eq!(granted(&unseen, "web/frontend"), "");
    let seen = unseen.apply([namespace("web", "blue")]);
    assert_eq!(granted(&seen, "web/frontend"), "read");
    assert_eq!(granted(&seen.apply([namespace("web", "red")]), "web/frontend"), "");
}

#[test]
fn a_scope_is_granted_only_where_it_is_defined_and_asked_for() {
    let directory = directory([
        policy("shop/orders", 1, |source| {
            granting(vec![Grantee::Namespaces(NamespaceChoice::All)])(source);
            source.scopes.truncate(1);
        }),
        client("web/frontend", 1, |spec| spec.access = vec![access(ORDERS, "read write")]),
        client("web/modest", 1, |_| {}),
    ]);
    assert_eq!(granted(&directory, "web/frontend"), "read");
    assert_eq!(granted(&directory, "web/modest"), "read");
}

#[test]
fn refusals_tell_apart_only_what_is_the_namespaces_own() {
    let asks = |text: &str| {
        client(text, 1, |spec| {
            let own = "https://orders.web.svc";
            spec.access = vec![access(ORDERS, "raed write"), access("https://no.shop.svc", "x"), access(own, "x")];
            spec.default_audience = Some(spec.access[0].audience.clone());
        })
    };
    let directory = directory([policy("shop/orders", 1, |_| {}), asks("web/frontend"), asks("shop/checkout")]);
    let (foreign, own) = (refused(&directory, "web/frontend"), refused(&directory, "shop/checkout"));
    assert_eq!(foreign, [reason::NOT_GRANTED, reason::NOT_GRANTED, reason::NOT_GRANTED, reason::UNKNOWN_AUDIENCE]);
    assert_eq!(own, [reason::UNKNOWN_SCOPE, reason::NOT_GRANTED, reason::UNKNOWN_AUDIENCE, reason::NOT_GRANTED]);
}

#[test]
fn at_most_64_refusals_are_named_and_all_are_counted() {
    let many = |prefix: &str| (0..60).map(|number| format!("{prefix}{number}")).collect::<Vec<_>>().join(" ");
    let directory = directory([client("web/frontend", 1, |spec| {
        spec.access = vec![access(ORDERS, &many("a")), access("https://b.example.com", &many("b"))];
        spec.default_audience = Some(spec.access[0].audience.clone());
    })]);
    let answer = directory.grants(directory.client_of(&object("web/frontend")).expect("it"));
    assert_eq!((answer.refused.len(), answer.refused_count, answer.granted), (64, 120, Vec::new()));
}

#[test]
fn the_report_names_what_is_granted_and_what_is_refused() {
    let directory = directory([
        policy("shop/orders", 1, |_| {}),
        client("shop/checkout", 1, |spec| spec.access = vec![access(ORDERS, "read write")]),
    ]);
    let answer = directory.grants(directory.client_of(&object("shop/checkout")).expect("it"));
    let write = access(ORDERS, "write").scopes.iter().next().cloned().expect("a scope");
    let refused = Refused { audience: access(ORDERS, "read").audience, scope: write, reason: reason::NOT_GRANTED };
    assert_eq!(
        (answer.granted, answer.refused, answer.refused_count),
        (vec![access(ORDERS, "read")], vec![refused], 1)
    );
}

#[test]
fn a_policy_that_loses_its_audience_grants_nothing() {
    let allowed =
        |name: &str| allowance(name, None, |a| a.audiences = vec![access("https://api.example.com", "x").audience]);
    let api = |text: &str, created| {
        policy(text, created, |source| source.audience = Ok(access("https://api.example.com", "x").audience))
    };
    let asks = client("web/frontend", 1, |spec| spec.access = vec![access("https://api.example.com", "read")]);
    let grants_nothing = policy("shop/api", 1, |source| {
        source.audience = Ok(access("https://api.example.com", "x").audience);
        source.grants.clear();
    });
    let changes = [namespace("shop", "x"), namespace("web", "x"), allowed("all"), asks];
    let alone: Vec<Change> = changes.iter().cloned().chain([api("web/api", 2)]).collect();
    let of = |changes: Vec<Change>| {
        let directory = directory(changes);
        directory
            .granted(directory.client_of(&object("web/frontend")).expect("it"), "https://api.example.com")
            .to_string()
    };
    assert_eq!(of(alone.clone()), "read");
    assert_eq!(of(alone.into_iter().chain([grants_nothing]).collect()), "");
}
