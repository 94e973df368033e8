//! Hosts under which requests come through a target, and whether the policy holds them.
//!
//! Flows in: routes, listeners, and what the policy holds. Flows out: the hosts it does not hold: what is asked there is refused.

use std::collections::BTreeSet;

use countersign_core::policy::HostPattern;

use super::kinds::Gateway;
use super::routes::Route;
use super::world::{Place, World};

/// Every host.
const EVERY: &str = "*";

/// The hosts of requests that come through a route.
pub(super) fn of_route(world: &World, route: Route<'_>) -> BTreeSet<String> {
    if !route.hostnames.is_empty() {
        return route.hostnames.iter().cloned().collect();
    }
    let listeners = |(gateway, section): (Place, Option<&str>)| {
        world.gateways.get(&gateway).map(|gateway| of_listeners(gateway, section).collect::<Vec<_>>())
    };
    route.gateways().filter_map(listeners).flatten().collect()
}

/// The hosts of requests that come through a Gateway: those of its routes, or, while it has none, of its listeners.
pub(super) fn of_gateway(world: &World, place: &Place, gateway: &Gateway) -> BTreeSet<String> {
    let routes: BTreeSet<_> = world.routes_of(place).flat_map(|route| of_route(world, route)).collect();
    if routes.is_empty() { of_listeners(gateway, None).collect() } else { routes }
}

fn of_listeners<'a>(gateway: &'a Gateway, section: Option<&'a str>) -> impl Iterator<Item = String> {
    let meant = move |name: &str| section.is_none_or(|section| section == name);
    let listeners = gateway.spec.listeners.iter().filter(move |listener| meant(&listener.name));
    listeners.map(|listener| listener.hostname.clone().unwrap_or_else(|| EVERY.to_owned()))
}

/// Those the policy does not hold. Of a host it holds at one port only, that may be the listener's: either will do.
pub(super) fn not_held(hosts: &BTreeSet<String>, held: &[HostPattern]) -> Vec<String> {
    let held: Vec<_> = held.iter().filter_map(any_port).collect();
    let holds = |host: &str| {
        let pattern = host.parse::<HostPattern>().ok();
        pattern.is_some_and(|pattern| held.iter().any(|held| held.covers(&pattern)))
    };
    hosts.iter().filter(|host| !holds(host)).cloned().collect()
}

fn any_port(pattern: &HostPattern) -> Option<HostPattern> {
    let below = if pattern.is_wildcard() { "*." } else { "" };
    if pattern.port().is_none() { Some(pattern.clone()) } else { format!("{below}{}", pattern.name()).parse().ok() }
}
