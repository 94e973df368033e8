//! A ScopePolicy as the core has it, element by element.
//!
//! Flows in: the object. Flows out: a `PolicyObject`, in whose source each element stands for itself: one that cannot be
//! read is a problem in its place.

use countersign_core::directory::PolicyObject;
use countersign_core::names::{Audience, ClientId};
use countersign_core::policy::{self as core, HostPattern, Pattern, Problem, Source};

use super::{CorsPreflight, Grant, Grantee, Mode, Namespaces, Route, ScopeDefinition, ScopePolicy, ScopePolicySpec};
use super::{TargetGroup, TargetKind, TargetRef, TokenSource, Unmatched, convert_rules};
use crate::metadata::{self, Identity, MetadataError};
use crate::oauthclient::scopes;
use crate::problems::{invalid, read, unknown_field, unknown_word};

impl TryFrom<&ScopePolicy> for PolicyObject {
    type Error = MetadataError;

    fn try_from(policy: &ScopePolicy) -> Result<Self, MetadataError> {
        let Identity { object, uid, created_at, generation } = metadata::identity(&policy.metadata)?;
        Ok(Self::new(object, uid, created_at, generation, source(&policy.spec)))
    }
}

/// Reads the spec, each element by itself.
pub(super) fn source(spec: &ScopePolicySpec) -> Source {
    let broken = whole_policy(spec);
    let (unmatched, unmatched_problem) = unmatched(&spec.unmatched);
    let (cors_preflight, cors_problem) = cors_preflight(&spec.cors_preflight);
    let mut grants: Vec<_> = spec.grants.iter().enumerate().flat_map(|(index, g)| grant(index, g)).collect();
    // A problem names its own element, so that it may stand in any list that leaves it out.
    grants.extend([broken.clone(), unmatched_problem, cors_problem].into_iter().flatten().map(Err));
    grants.shrink_to_fit();
    let mut rules: Vec<_> =
        spec.rules.iter().enumerate().map(|(index, rule)| convert_rules::rule(index, rule)).collect();
    if let Some(problem) = &broken {
        for rule in &mut rules {
            (rule.effect, rule.mode) = (Err(problem.clone()), core::Mode::Enforce);
        }
    }
    Source {
        audience: read::<Audience>("spec.audience", &spec.audience),
        targets: each("spec.targetRefs", &spec.target_refs, target),
        routes: spec.routes.iter().enumerate().flat_map(|(index, r)| route(index, r)).collect(),
        mode: if broken.is_some() { core::Mode::Enforce } else { mode(&spec.mode) },
        scopes: each("spec.scopes", &spec.scopes, scope),
        grants,
        resource_servers: each("spec.resourceServers", &spec.resource_servers, |at, id| read::<ClientId>(at, id)),
        rules,
        unmatched: if broken.is_some() { core::Unmatched::Deny } else { unmatched },
        cors_preflight: if broken.is_some() { core::Cors::Deny } else { cors_preflight },
        token_sources: each("spec.tokenSources", &spec.token_sources, token_source),
        unreadable: None,
    }
}

/// What makes the whole policy deny: a field or a mode of a later version might forbid anything.
fn whole_policy(spec: &ScopePolicySpec) -> Option<Problem> {
    let word = match &spec.mode {
        Mode::Unknown(word) => Some(unknown_word("spec.mode", word)),
        Mode::Enforce | Mode::Shadow => None,
    };
    unknown_field("spec", &spec.unknown).or(word)
}

fn each<T, U>(list: &str, items: &[T], read: impl Fn(&str, &T) -> Result<U, Problem>) -> Vec<Result<U, Problem>> {
    items.iter().enumerate().map(|(index, item)| read(&format!("{list}[{index}]"), item)).collect()
}

pub(super) fn mode(mode: &Mode) -> core::Mode {
    match mode {
        Mode::Shadow => core::Mode::Shadow,
        Mode::Enforce | Mode::Unknown(_) => core::Mode::Enforce,
    }
}

fn unmatched(unmatched: &Unmatched) -> (core::Unmatched, Option<Problem>) {
    match unmatched {
        Unmatched::Deny => (core::Unmatched::Deny, None),
        Unmatched::Authenticated => (core::Unmatched::Authenticated, None),
        Unmatched::Unknown(word) => (core::Unmatched::Deny, Some(unknown_word("spec.unmatched", word))),
    }
}

fn cors_preflight(cors: &CorsPreflight) -> (core::Cors, Option<Problem>) {
    match cors {
        CorsPreflight::Deny => (core::Cors::Deny, None),
        CorsPreflight::Allow => (core::Cors::Allow, None),
        CorsPreflight::Unknown(word) => (core::Cors::Deny, Some(unknown_word("spec.corsPreflight", word))),
    }
}

fn token_source(element: &str, source: &TokenSource) -> Result<core::TokenSource, Problem> {
    match source {
        TokenSource::Header => Ok(core::TokenSource::Header),
        TokenSource::Form => Ok(core::TokenSource::Form),
        TokenSource::Query => Ok(core::TokenSource::Query),
        TokenSource::Cookie => Ok(core::TokenSource::Cookie),
        TokenSource::Basic => Ok(core::TokenSource::Basic),
        TokenSource::Unknown(word) => Err(unknown_word(element, word)),
    }
}

fn target(element: &str, target: &TargetRef) -> Result<core::Target, Problem> {
    if let Some(problem) = unknown_field(element, &target.unknown) {
        return Err(problem);
    }
    let name = read(&format!("{element}.name"), &target.name)?;
    match (&target.group, &target.kind) {
        (TargetGroup::Core, TargetKind::Service) => Ok(core::Target::Service { name }),
        (TargetGroup::Gateway, TargetKind::HttpRoute) => Ok(core::Target::HttpRoute { name }),
        (TargetGroup::Gateway, TargetKind::Gateway) => Ok(core::Target::Gateway { name }),
        (group, kind) => Err(invalid(
            element,
            format!(
                "{kind} of {group:?} is no target: use kind Service with group \"\", or HTTPRoute or Gateway with group gateway.networking.k8s.io",
                group = group.as_str()
            ),
        )),
    }
}

/// The route with the hosts that can be read, and a problem for each that cannot.
fn route(index: usize, route: &Route) -> Vec<Result<core::Route, Problem>> {
    let element = format!("spec.routes[{index}]");
    if let Some(problem) = unknown_field(&element, &route.unknown) {
        return vec![Err(problem)];
    }
    let prefix = route.path_prefix.as_deref().map(Pattern::prefix).transpose();
    let path_prefix = match prefix {
        Ok(prefix) => prefix,
        Err(error) => return vec![Err(invalid(&format!("{element}.pathPrefix"), error))],
    };
    let hosts = each(&format!("{element}.hosts"), &route.hosts, |at, host| read::<HostPattern>(at, host));
    let (hosts, problems): (Vec<_>, Vec<_>) = hosts.into_iter().partition(Result::is_ok);
    let hosts: Vec<_> = hosts.into_iter().flatten().collect();
    let good = (!hosts.is_empty()).then_some(Ok(core::Route { hosts, path_prefix }));
    good.into_iter().chain(problems.into_iter().filter_map(Result::err).map(Err)).collect()
}

fn scope(element: &str, scope: &ScopeDefinition) -> Result<core::ScopeDef, Problem> {
    let name = read(&format!("{element}.name"), &scope.name)?;
    Ok(core::ScopeDef { name, description: scope.description.clone() })
}

/// The grant to those that can be read, and a problem for each that cannot.
fn grant(index: usize, grant: &Grant) -> Vec<Result<core::Grant, Problem>> {
    let element = format!("spec.grants[{index}]");
    if let Some(problem) = unknown_field(&element, &grant.unknown) {
        return vec![Err(problem)];
    }
    let scopes = match scopes(&format!("{element}.scopes"), &grant.scopes) {
        Ok(scopes) => scopes,
        Err(problem) => return vec![Err(problem)],
    };
    let to = each(&format!("{element}.to"), &grant.to, grantee);
    let (to, problems): (Vec<_>, Vec<_>) = to.into_iter().partition(Result::is_ok);
    let to: Vec<_> = to.into_iter().flatten().collect();
    let good = (!to.is_empty()).then_some(Ok(core::Grant { scopes, to }));
    good.into_iter().chain(problems.into_iter().filter_map(Result::err).map(Err)).collect()
}

fn grantee(element: &str, grantee: &Grantee) -> Result<core::Grantee, Problem> {
    if let Some(problem) = unknown_field(element, &grantee.unknown) {
        return Err(problem);
    }
    match (&grantee.namespaces, &grantee.namespace_selector, &grantee.client) {
        (Some(Namespaces::Same), None, None) => Ok(core::Grantee::Namespaces(core::NamespaceChoice::Same)),
        (Some(Namespaces::All), None, None) => Ok(core::Grantee::Namespaces(core::NamespaceChoice::All)),
        (Some(Namespaces::Unknown(word)), None, None) => Err(unknown_word(&format!("{element}.namespaces"), word)),
        (None, Some(selector), None) => {
            selector.read(&format!("{element}.namespaceSelector")).map(core::Grantee::Selector)
        }
        (None, None, Some(client)) => read(&format!("{element}.client"), client).map(core::Grantee::Client),
        _ => Err(invalid(element, "write exactly one of namespaces, namespaceSelector and client")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::object;

    fn read(mut spec: Value) -> Source {
        spec["audience"] = json!("https://orders.shop.svc");
        source(&object::<ScopePolicy>("ScopePolicy", "orders", &spec).spec)
    }

    fn problem<T>(element: &Result<T, Problem>) -> (&str, &str) {
        element.as_ref().err().map(|problem| (problem.element.as_str(), problem.reason)).expect("a problem")
    }

    fn rule(change: impl FnOnce(&mut Value)) -> core::RuleSource {
        let mut rule = json!({
            "name": "one", "matches": [{"methods": ["GET"], "path": {"type": "Template", "value": "/orders/{id}"}}],
            "protection": "Scoped", "allow": [{"scopes": ["r"], "when": "true"}]
        });
        change(&mut rule);
        read(json!({"rules": [rule]})).rules.remove(0)
    }

    #[test]
    fn a_policy_says_no_more_than_what_is_written() {
        let source = read(json!({}));
        assert_eq!(source.audience, Ok("https://orders.shop.svc".parse().expect("an audience")));
        assert_eq!(
            (source.mode, source.unmatched, source.cors_preflight),
            (core::Mode::Enforce, core::Unmatched::Deny, core::Cors::Deny)
        );
        assert!(
            source.targets.is_empty()
                && source.routes.is_empty()
                && source.rules.is_empty()
                && source.grants.is_empty()
        );
    }

    #[test]
    fn a_rule_reads_whole() {
        let rule = rule(|_| {});
        let wanted = core::Match {
            methods: core::Methods::of("GET"),
            pattern: Pattern::template("/orders/{id}").expect("a template"),
        };
        assert_eq!((rule.matches, rule.mode), (vec![Ok(wanted)], core::Mode::Enforce));
        let allow = core::Allow {
            scopes: "r".parse().map(|r| [r].into_iter().collect()).expect("r"),
            when: Some("true".to_owned()),
        };
        assert_eq!(rule.effect, Ok(core::Effect { protection: core::Protection::Scoped(vec![allow]) }));
    }

    #[test]
    fn what_is_not_known_in_a_rule_makes_it_deny_what_it_matches() {
        type Change = fn(&mut Value);
        let table: [(Change, &str); 9] = [
            (|rule| rule["later"] = json!(1), "spec.rules[0].later"),
            (|rule| rule["mode"] = json!("Audit"), "spec.rules[0].mode"),
            (|rule| rule["protection"] = json!("Proven"), "spec.rules[0].protection"),
            (|rule| rule["matches"][0]["headers"] = json!([]), "spec.rules[0].matches[0].headers"),
            (|rule| rule["matches"][0]["methods"] = json!(["GET", "BREW"]), "spec.rules[0].matches[0].methods"),
            (|rule| rule["matches"][0]["path"]["type"] = json!("Regex"), "spec.rules[0].matches[0].path.type"),
            (|rule| rule["matches"][0]["path"]["case"] = json!(1), "spec.rules[0].matches[0].path.case"),
            (|rule| rule["allow"][0]["audience"] = json!("x"), "spec.rules[0].allow[0].audience"),
            (|rule| rule["allow"] = json!([]), "spec.rules[0].allow"),
        ];
        for (change, element) in table {
            let rule = rule(|source| {
                source["mode"] = json!("Shadow");
                change(source);
            });
            assert_eq!(problem(&rule.effect).0, element);
            assert!(matches!(rule.matches.as_slice(), [Ok(_)]), "{element}");
        }
        assert_eq!(rule(|rule| rule["later"] = json!(1)).mode, core::Mode::Enforce);
    }

    #[test]
    fn a_path_that_no_request_has_is_left_out() {
        let rule = rule(|rule| rule["matches"][0]["path"]["value"] = json!("/a//b"));
        assert_eq!(problem(&rule.matches[0]), ("spec.rules[0].matches[0].path.value", "Invalid"));
        assert!(rule.effect.is_ok());
    }

    #[test]
    fn a_field_or_mode_of_a_later_version_closes_the_whole_policy() {
        let rules =
            json!([{"name": "a", "matches": [{"path": {"type": "Prefix", "value": "/"}}], "protection": "Public"}]);
        for (field, value) in [("later", json!(1)), ("mode", json!("Audit"))] {
            let mut spec = json!({"rules": rules, "unmatched": "Authenticated", "corsPreflight": "Allow"});
            spec[field] = value;
            let source = read(spec);
            assert_eq!(problem(&source.rules[0].effect).0, format!("spec.{field}"));
            assert_eq!(problem(&source.grants[0]).0, format!("spec.{field}"));
            assert_eq!(
                (source.mode, source.unmatched, source.cors_preflight),
                (core::Mode::Enforce, core::Unmatched::Deny, core::Cors::Deny)
            );
        }
    }

    #[test]
    fn hosts_and_grantees_stand_each_for_itself() {
        let source = read(json!({
            "routes": [{"hosts": ["api.example.com", "Bad"], "pathPrefix": "/orders"}, {"hosts": ["a"], "later": 1}],
            "grants": [{"scopes": ["r"], "to": [{"namespaces": "Same"}, {"namespaces": "Some"}, {"client": "web.frontend"}]}],
            "targetRefs": [{"group": "", "kind": "Service", "name": "orders"}, {"group": "", "kind": "Ingress", "name": "orders"}],
            "unmatched": "Ask"
        }));
        assert_eq!(source.routes[0].as_ref().map(|route| route.hosts.len()), Ok(1));
        assert_eq!(problem(&source.routes[1]).0, "spec.routes[0].hosts[1]");
        assert_eq!(problem(&source.routes[2]), ("spec.routes[1].later", "NotImplemented"));
        assert_eq!(source.grants[0].as_ref().map(|grant| grant.to.len()), Ok(2));
        assert_eq!(problem(&source.grants[1]).0, "spec.grants[0].to[1].namespaces");
        assert_eq!(problem(&source.grants[2]).0, "spec.unmatched");
        assert!(source.targets[0].is_ok());
        assert_eq!(problem(&source.targets[1]).0, "spec.targetRefs[1]");
    }
}
