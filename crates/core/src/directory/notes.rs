//! What is in force and yet unlikely to be meant: for people who check manifests, never for a decision.
//!
//! Flows in: a policy as the Directory sees it, and everything else there is. Flows out: elements that do nothing, or
//! less than they seem to. The most specific path decides, so that one rule never hides another; what can keep a rule
//! from ever being asked is that no host and path prefix its policy holds leads to it.

use crate::client::GrantType;
use crate::directory::{ClientView, Directory, PolicyView, reason};
use crate::names::{ClientId, Namespace};
use crate::policy::{Condition, Grantee, LabelSelector, Pattern, Problem};

impl Directory {
    /// What of a policy is in force and does nothing, or trusts what it should not.
    pub fn notes(&self, policy: &PolicyView) -> Vec<Problem> {
        let source = &policy.object.source;
        let mut notes = Vec::new();
        if policy.accepted.hosts.is_empty() && policy.object.compiled.rule_count() > 0 {
            let message = "the policy holds no host, so no request is ever judged by its rules: \
                           name a Service in spec.targetRefs, or hosts in spec.routes";
            notes.push(Problem::new("spec.targetRefs", reason::NEVER_REACHED, message));
        }
        notes.extend(never_reached(policy));
        notes.extend(callers_word(policy));
        for (index, grant) in source.grants.iter().enumerate() {
            let to = grant.iter().flat_map(|grant| grant.to.iter().enumerate());
            notes.extend(to.filter_map(|(at, to)| {
                let message = self.nobody(to)?;
                Some(Problem::new(format!("spec.grants[{index}].to[{at}]"), reason::NO_GRANTEE, message))
            }));
        }
        for (index, id) in source.resource_servers.iter().enumerate() {
            let message = id.as_ref().ok().and_then(|id| self.never_exchanges(&policy.object.object.namespace, id));
            let element = || format!("spec.resourceServers[{index}]");
            notes.extend(message.map(|message| Problem::new(element(), reason::NEVER_EXCHANGES, message)));
        }
        notes
    }

    /// What of a client is in force and does nothing.
    pub fn notes_of_client(&self, client: &ClientView) -> Vec<Problem> {
        let Some(spec) = client.accepted() else { return Vec::new() };
        let exchanging = spec.grant_types.iter().position(|grant| *grant == GrantType::TokenExchange);
        let view = self.namespace(&client.object.object.namespace);
        let mut audiences = view.into_iter().flat_map(|view| view.audiences.iter().map(|(audience, _)| audience));
        match exchanging {
            Some(index) if !audiences.any(|audience| self.is_resource_server(client, audience.as_str())) => {
                let message = format!(
                    "no ScopePolicy of its namespace names {} in spec.resourceServers, so that there is no token it may exchange",
                    spec.client_id
                );
                vec![Problem::new(format!("spec.grantTypes[{index}]"), reason::NEVER_EXCHANGES, message)]
            }
            _ => Vec::new(),
        }
    }

    /// Why a client that a policy of the namespace names exchanges no token.
    fn never_exchanges(&self, namespace: &Namespace, id: &ClientId) -> Option<String> {
        let client = self.client_ids.holder(id.as_str()).filter(|holder| holder.namespace == *namespace);
        let client = client.and_then(|holder| self.client_of(holder));
        match client.map(|client| client.accepted()) {
            None => Some(format!("no OAuthClient of this namespace has the client id {id}: correct it, or remove it")),
            Some(Some(spec)) if !spec.grant_types.contains(&GrantType::TokenExchange) => {
                Some(format!("{id} does not name TokenExchange in spec.grantTypes: add it there, or remove {id} here"))
            }
            Some(_) => None,
        }
    }

    /// Why nobody that is known can use a grant.
    fn nobody(&self, to: &Grantee) -> Option<String> {
        match to {
            Grantee::Namespaces(_) => None,
            Grantee::Client(id) if self.client_ids.holder(id.as_str()).is_some() => None,
            Grantee::Client(id) => {
                Some(format!("no OAuthClient has the client id {id}: correct it, or remove the grant"))
            }
            Grantee::Selector(selector) if self.selects_some(selector) => None,
            Grantee::Selector(_) => Some("no namespace has these labels: correct them, or remove the grant".to_owned()),
        }
    }

    fn selects_some(&self, selector: &LabelSelector) -> bool {
        self.namespaces.iter().any(|(_, view)| view.labels().is_some_and(|labels| selector.matches(labels)))
    }
}

/// Matches that no path under a prefix the policy holds can have.
fn never_reached(policy: &PolicyView) -> Vec<Problem> {
    let mut prefixes: Vec<_> = policy.accepted.hosts.iter().map(|(_, prefix)| prefix).collect();
    prefixes.dedup();
    let patterns = policy.object.compiled.patterns();
    let apart =
        patterns.filter(|(.., found)| !prefixes.is_empty() && !prefixes.iter().any(|prefix| found.meets(prefix)));
    let note = |(rule, at, found): (usize, usize, &Pattern)| {
        let mut held: Vec<_> = prefixes.iter().map(ToString::to_string).collect();
        held.sort();
        held.dedup();
        let message = format!(
            "no request has this path: the policy holds {}, and {found} lies beside that. Paths of rules are whole, spec.routes[].pathPrefix included",
            held.join(" and "),
        );
        Problem::new(format!("spec.rules[{rule}].matches[{at}].path"), reason::NEVER_REACHED, message)
    };
    apart.map(note).collect()
}

/// Conditions that rest on headers any caller may set.
fn callers_word(policy: &PolicyView) -> Vec<Problem> {
    let conditions = policy.object.compiled.conditions().filter(|(.., condition)| condition.reads_headers());
    let note = |(rule, at, _): (usize, usize, &Condition)| {
        let message = "request.headers is the caller's word unless the proxy sets that header itself: \
                       decide by token or path where you can";
        Problem::new(format!("spec.rules[{rule}].allow[{at}].when"), reason::CALLERS_WORD, message)
    };
    conditions.map(note).collect()
}
