//! What to change so that a request is allowed.
//!
//! Flows in: the refusal and what led to it. Flows out: sentences, each naming the object, the field and, for manifests, the
//! line. Where nothing more is known than the reason, its line of the table in core is what is said.

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign_core::directory::{AudienceView, ClientView};
use countersign_core::names::ObjectRef;
use countersign_core::policy::{Advice, Considered, Explanation, Needs, Reason, Refusal, Selector, Standing, Wanted};
use countersign_core::request::Request;
use countersign_core::token::TokenRefusal;

use super::account::Caller;
use super::caller::find_client;
use super::culprit::Culprit;
use super::known::Known;

/// How many names a sentence lists.
const NAMED: usize = 8;

/// What there is to go by.
pub(super) struct Findings<'a> {
    pub(super) known: &'a Known,
    pub(super) named: &'a Selector,
    pub(super) request: Option<&'a Request<'a>>,
    pub(super) refusal: Option<&'a Refusal>,
    pub(super) explanation: Option<&'a Explanation<'a>>,
    pub(super) client: Option<&'a Arc<ClientView>>,
    /// What the client asks the issuer for; none: all that is granted.
    pub(super) scope: Option<&'a str>,
    pub(super) culprit: Option<&'a Culprit>,
    pub(super) caller: &'a Caller,
}

pub(super) fn next(findings: &Findings<'_>) -> Vec<String> {
    let Some(refusal) = findings.refusal else { return Vec::new() };
    let mut said = findings.issuer();
    if said.is_empty() {
        said = match refusal.reason {
            Reason::Request(_) => findings.culprit.and_then(|culprit| culprit.next.clone()).into_iter().collect(),
            Reason::NoSuchPolicy => findings.no_such_policy(),
            Reason::NotOfPolicy => findings.not_of_policy(),
            Reason::NoCredential => findings.no_credential(),
            Reason::InsufficientScope => findings.insufficient_scope(),
            Reason::NoRuleForMethod => findings.no_rule_for_method(),
            Reason::NoRule => findings.no_rule(),
            Reason::AmbiguousRule => findings.ambiguous(),
            Reason::RuleNotUnderstood => findings.not_understood(),
            Reason::ConditionFalse | Reason::ConditionBroken => findings.condition(),
            Reason::Token(TokenRefusal::OldEpoch) => findings.old_epoch(),
            Reason::Token(TokenRefusal::WrongAudience) => findings.wrong_audience(),
            _ => Vec::new(),
        };
    }
    if said.is_empty() {
        said.extend(Advice::of(refusal.reason).map(|advice| capital(advice.next)));
    }
    findings.left_out(refusal.reason).into_iter().chain(said).collect()
}

// === impl Findings ===

impl Findings<'_> {
    /// Objects with problems, where it may be one of them that is not found.
    fn left_out(&self, reason: Reason) -> Option<String> {
        let kind = match reason {
            Reason::NoSuchPolicy | Reason::NotOfPolicy => "ScopePolicy",
            _ if self.caller.issuer.is_some() && self.client.is_none() => "OAuthClient",
            _ => return None,
        };
        let mut objects = self.known.left_out(kind).peekable();
        objects.peek()?;
        Some(format!("Correct {}, which is not in force: see above", listed(objects)))
    }

    fn old_epoch(&self) -> Vec<String> {
        let earlier = self.caller.claims.as_ref().and_then(|claims| claims.get("exchanged")?.as_array());
        let earlier = earlier.into_iter().flatten().filter_map(|earlier| earlier.get("client_id")?.as_str());
        let views = self.caller.client.as_deref().into_iter().chain(earlier);
        let views = views.filter_map(|id| find_client(self.known.directory(), id));
        let mut said: Vec<_> = views.flat_map(|view| self.unusable(view)).collect();
        said.push("Then get a new token: those it had are revoked".to_owned());
        said
    }

    fn no_such_policy(&self) -> Vec<String> {
        let directory = self.known.directory();
        let policies = || directory.policies().map(|policy| policy.object.object.to_string());
        match self.named {
            Selector::ByHost => {
                let hosts =
                    directory.policies().flat_map(|policy| &policy.accepted.hosts).map(|(host, _)| host.to_string());
                vec![
                    format!("Call a host that some policy holds; there are {}", listed(hosts)),
                    "Or have a policy hold it: name its Service in spec.targetRefs, or the host in spec.routes"
                        .to_owned(),
                ]
            }
            _ => vec![format!(
                "Correct --policy, as the proxy's configuration names it; there are {}",
                listed(policies())
            )],
        }
    }

    fn not_of_policy(&self) -> Vec<String> {
        let Some(request) = self.request else { return Vec::new() };
        let directory = self.known.directory();
        let mut said = Vec::new();
        let policies = directory.policies().filter(|policy| match self.named {
            Selector::Policy(object) => policy.object.object == *object,
            Selector::Namespace(namespace) => policy.object.object.namespace == *namespace,
            Selector::ByHost => true,
        });
        let held = policies.flat_map(|policy| &policy.accepted.hosts).map(|(host, prefix)| {
            match prefix.to_string().as_str() {
                "/*" => host.to_string(),
                prefix => format!("{host}{prefix}"),
            }
        });
        said.push(format!("Call a host and path that {} holds: {}", self.named, listed(held)));
        if let Some(owner) = directory.host_owner(&request.host.name, &request.path) {
            said.push(format!(
                "Or have the proxy name a policy of namespace {owner}, which holds {}{}",
                request.host.name, request.path
            ));
        } else {
            said.push(format!("Or add the host {} to spec.routes of the policy; a name that is not of the namespace's own Services needs a NamespaceAllowance", request.host.name));
        }
        said
    }

    fn no_credential(&self) -> Vec<String> {
        let audience = self.explanation.and_then(|explanation| explanation.audiences.first());
        let audience = audience.map_or_else(String::new, |audience| format!(" for {audience}"));
        let mut said = vec![format!(
            "Send `Authorization: Bearer <token>` with a token{audience}: `countersign token --secret NAMESPACE/NAME` gets one with a client's Secret; here, --client or --token tries one"
        )];
        said.extend(self.mistyped_scopes());
        said
    }

    fn no_rule_for_method(&self) -> Vec<String> {
        let Some(request) = self.request else { return Vec::new() };
        let here = self.rules(Standing::OtherMethod);
        let add = here.map(|rule| {
            let field = format!("spec.rules[{}].matches[{}]", rule.index, rule.matched);
            format!(
                "Add {} to methods of {field} of {} (rule {}), if that rule should open it too",
                request.method,
                self.object("ScopePolicy", rule.rule.policy, &field),
                rule.rule.rule
            )
        });
        let new = format!(
            "Or add a rule with the same path and methods: [{}]; a less specific rule never steps in",
            request.method
        );
        add.chain([new]).collect()
    }

    fn no_rule(&self) -> Vec<String> {
        let (Some(request), Some(explanation)) = (self.request, self.explanation) else { return Vec::new() };
        let mut said = Vec::new();
        if let Some(near) = explanation.rules.first() {
            said.push(format!("Correct the path, if {} of rule {} was meant", near.pattern, near.rule.rule));
        }
        if let Some(policy) = explanation.policies.first() {
            said.push(format!(
                "Or add a rule to {}: {{name: …, matches: [{{methods: [{}], path: {{type: Exact, value: \"{}\"}}}}], protection: Scoped, allow: [{{scopes: […]}}]}}",
                self.object("ScopePolicy", policy, "spec.rules"),
                request.method,
                request.path
            ));
        }
        said
    }

    fn ambiguous(&self) -> Vec<String> {
        let rules = self.rules(Standing::Ambiguous).map(|rule| {
            let field = format!("spec.rules[{}]", rule.index);
            format!("{} ({})", rule.rule.rule, self.object("ScopePolicy", rule.rule.policy, &field))
        });
        vec![format!("Merge these rules, or change the path or methods of one: {}", listed(rules))]
    }

    fn not_understood(&self) -> Vec<String> {
        let Some(rule) = self.deciding() else { return Vec::new() };
        let element = format!("spec.rules[{}]", rule.index);
        let Some(view) = self.known.directory().policy(rule.rule.policy) else { return Vec::new() };
        let mine = view.problems.iter().filter(|problem| problem.element.starts_with(&element));
        mine.map(|problem| {
            format!(
                "Correct {} of {}: {}",
                problem.element,
                self.object("ScopePolicy", rule.rule.policy, &problem.element),
                problem.message
            )
        })
        .collect()
    }

    fn condition(&self) -> Vec<String> {
        let Some(rule) = self.deciding() else { return Vec::new() };
        let Needs::Scoped(ways) = &rule.needs else { return Vec::new() };
        let params: Vec<_> = rule.params.iter().map(|(name, value)| format!("path.{name} is \"{value}\"")).collect();
        let params = if params.is_empty() { String::new() } else { format!(" Here {}.", params.join(", ")) };
        let judged = ways.iter().enumerate().filter(|(_, way)| way.outcome.is_some());
        let each = judged.filter_map(|(at, way): (usize, &Wanted<'_>)| {
            let field = format!("spec.rules[{}].allow[{at}].when", rule.index);
            let place = self.object("ScopePolicy", rule.rule.policy, &field);
            Some(format!("Make `{}` true, or change it in {field} of {place}.{params} The claims above are what token stands for", way.when?))
        });
        each.collect()
    }

    fn wrong_audience(&self) -> Vec<String> {
        let audiences = self.explanation.map_or(&[][..], |explanation| &explanation.audiences);
        let wanted = self.deciding().and_then(|rule| rule.audience).or(audiences.first().copied());
        let Some(wanted) = wanted else { return Vec::new() };
        let has = self.caller.audience.as_deref().unwrap_or("another audience");
        let mut said =
            vec![format!("Get a token for {wanted} (resource={wanted} in the token request): this one is for {has}")];
        let servers = self.known.directory().audience(has).into_iter().flat_map(AudienceView::resource_servers);
        let servers: BTreeSet<_> = servers.map(ToString::to_string).collect();
        if !servers.is_empty() {
            let servers = listed(servers.into_iter());
            said.push(format!("Or have {servers} exchange this one for it (grant type token-exchange, RFC 8693)"));
        }
        said
    }

    pub(super) fn deciding(&self) -> Option<&Considered<'_>> {
        self.rules(Standing::Decides).next()
    }

    fn rules(&self, standing: Standing) -> impl Iterator<Item = &Considered<'_>> {
        let rules = self.explanation.map_or(&[][..], |explanation| &explanation.rules);
        rules.iter().filter(move |rule| rule.standing == standing)
    }

    /// `ScopePolicy shop/orders (orders.yaml:7)`.
    pub(super) fn object(&self, kind: &'static str, object: &ObjectRef, field: &str) -> String {
        let place = self.known.place(kind, object, field).map(|place| format!(" ({place})")).unwrap_or_default();
        format!("{kind} {object}{place}")
    }
}

pub(super) fn listed(names: impl Iterator<Item = String>) -> String {
    let names: BTreeSet<_> = names.collect();
    if names.is_empty() {
        return "none".to_owned();
    }
    let more = names.len().saturating_sub(NAMED);
    let named = names.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
