//! Whatever the order of changes, the same Directory comes of them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::fixtures::{allowance, audience, client, namespace, object, policy, route, secret, settings, without};
use crate::client::Method;
use crate::directory::{Change, Conflicts, Directory};
use crate::names::ClientId;

const NAMESPACES: [&str; 3] = ["shop", "web", "ops"];
const HOSTS: [&str; 4] = ["api.example.com", "*.example.com", "a.api.example.com", "*.api.example.com"];
const PREFIXES: [&str; 3] = ["/", "/orders", "/orders/v1"];

/// Objects that overlap as much as they can.
fn change() -> impl Strategy<Value = Change> {
    let name = || (0..3usize, 0..2u8).prop_map(|(at, number)| format!("{}/x{number}", NAMESPACES[at]));
    let policies = (name(), 0..3i64, 0..3usize, prop::collection::vec((0..4usize, 0..3usize), 0..3));
    let policies = policies.prop_map(|(name, created, wanted, routes)| {
        policy(&name, created, |source| {
            if wanted > 0 {
                source.audience = Ok(audience(&format!("https://api{wanted}.example.com")));
            }
            source.routes = routes.into_iter().map(|(host, prefix)| Ok(route(HOSTS[host], PREFIXES[prefix]))).collect();
        })
    });
    let clients = (name(), 0..3i64, any::<bool>(), 0..2u8).prop_map(|(name, created, shared, number)| {
        client(&name, created, |spec| {
            if shared {
                spec.client_id = ClientId::new("shared").expect("an id");
            }
            spec.authentication = vec![Method::ClientSecret(secret(&format!("s{number}")))];
        })
    });
    let namespaces = (0..3usize, 0..2u8).prop_map(|(at, team)| namespace(NAMESPACES[at], &team.to_string()));
    let allowances = (0..4usize, 0..2u8, 0..4usize).prop_map(|(at, number, host)| {
        allowance(&format!("a{number}"), NAMESPACES.get(at).copied(), |a| {
            a.hosts = vec![HOSTS[host].parse().expect("a host"), HOSTS[1].parse().expect("a host")];
            a.audiences = vec![audience("https://api1.example.com"), audience("https://api2.example.com")];
            a.client_ids = vec![ClientId::new("shared").expect("an id")];
        })
    });
    prop_oneof![4 => policies, 2 => clients, 1 => namespaces, 2 => allowances]
}

fn key(change: &Change) -> String {
    match change {
        Change::Client(object, _) => format!("client {object}"),
        Change::Policy(object, _) => format!("policy {object}"),
        Change::Allowance(name, _) => format!("allowance {name}"),
        Change::Namespace(name, _) => format!("namespace {name}"),
        Change::Ring(name, _) => format!("ring {name}"),
    }
}

/// At most one change for each object: the last.
fn world() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(change(), 0..24).prop_map(|changes| {
        changes.into_iter().map(|change| (key(&change), change)).collect::<BTreeMap<_, _>>().into_values().collect()
    })
}

fn empty(error: bool) -> Directory {
    Directory::empty(settings(if error { Conflicts::Error } else { Conflicts::OldestWins }))
}

fn one_by_one(directory: Directory, changes: impl IntoIterator<Item = Change>) -> Directory {
    changes.into_iter().fold(directory, |directory, change| directory.apply([change]))
}

proptest! {
    #[test]
    fn any_order_of_changes_gives_the_directory_of_all_at_once(
        (sorted, shuffled) in world().prop_flat_map(|world| (Just(world.clone()), Just(world).prop_shuffle())),
        history in world(),
        error in any::<bool>(),
    ) {
        let whole = empty(error).apply(sorted);
        prop_assert!(one_by_one(empty(error), shuffled.clone()) == whole);
        // Whatever was there before leaves no trace.
        let gone: Vec<_> = history.iter().map(without).collect();
        let later = one_by_one(one_by_one(empty(error), history), gone);
        prop_assert!(one_by_one(later, shuffled) == whole);
    }

    #[test]
    fn removing_what_was_added_gives_back_the_former_directory(world in world(), added in change(), error in any::<bool>()) {
        let world: Vec<_> = world.into_iter().filter(|change| key(change) != key(&added)).collect();
        let before = empty(error).apply(world);
        prop_assert!(before.apply([added.clone()]).apply([without(&added)]) == before);
    }

    #[test]
    fn no_two_namespaces_hold_the_same_audience_host_or_client_id(world in world(), error in any::<bool>()) {
        let directory = empty(error).apply(world);
        let held: Vec<_> = directory.policies().map(|view| (&view.object.object.namespace, &view.accepted)).collect();
        for (mine, accepted) in &held {
            for (_, other) in held.iter().filter(|(namespace, _)| namespace != mine) {
                prop_assert!(accepted.audience.is_none() || accepted.audience != other.audience);
                for (host, prefix) in &accepted.hosts {
                    prop_assert!(!other.hosts.iter().any(|(theirs, below)| theirs.overlaps(host) && below.overlaps(prefix)));
                }
            }
        }
        let mut ids = BTreeMap::new();
        for client in directory.clients() {
            if let Some(spec) = client.accepted() {
                prop_assert_eq!(ids.insert(spec.client_id.clone(), client.object.object.clone()), None);
            }
        }
    }

    #[test]
    fn an_edit_takes_nothing_from_other_policies_of_its_namespace(world in world(), edited in change()) {
        let before = empty(false).apply(world);
        let Change::Policy(name, Some(_)) = &edited else { return Ok(()) };
        let after = before.apply([edited.clone()]);
        // Age settles conflicts between namespaces, so what a namespace holds by an older policy may go with it; what is
        // the policies' own by default is nobody else's to take.
        for view in before.policies().filter(|view| view.object.object != *name) {
            let own = |hosts: &[(crate::policy::HostPattern, crate::policy::Pattern)]| {
                hosts.iter().filter(|(host, _)| host.name().contains(".svc")).cloned().collect::<Vec<_>>()
            };
            let now = after.policy(&view.object.object).expect("it is still there");
            prop_assert_eq!(own(&now.accepted.hosts), own(&view.accepted.hosts));
        }
    }
}

#[test]
fn later_changes_of_one_object_override_earlier_ones() {
    let (first, second) = (client("shop/checkout", 1, |_| {}), client("shop/checkout", 2, |_| {}));
    let directory = empty(false);
    assert_eq!(directory.apply([first.clone(), second.clone()]), directory.apply([second]));
    assert_eq!(directory.apply([first.clone(), without(&first)]), directory);
    assert!(directory.apply([first]).client_of(&object("shop/checkout")).is_some());
}
