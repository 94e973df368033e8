//! From a request to its account.
//!
//! Flows in: what is known, and what is asked. Flows out: the verdict of `core::policy::decide` with all that led to it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use countersign_core::directory::ClientView;
use countersign_core::names::{Audience, ScopeName};
use countersign_core::policy::{
    Answer, Choice, Considered, Explanation, Mode, Needs, Outcome, PolicySet, Reason, Refusal, Selector, Standing,
    Unmatched, Verdict, Wanted, decide, explain,
};
use countersign_core::request::{Credential, Request};
use countersign_core::token::{AccessToken, TokenRefusal};
use jiff::Timestamp;
use serde_json::Value;

use super::account::{Account, Allow, Assumed, Caller, Failure, Policy, Reading, Request as Asking, Rule};
use super::call::Call;
use super::caller::{Checks, Peek, find_client};
use super::culprit::Culprit;
use super::known::Known;
use super::next::{self, Findings};
use crate::verifier::REALM;

/// How many rules besides the one that decides are told of.
const NEAREST: usize = 3;
/// The credential of a client whose token is made up here.
const MADE_UP: &str = "made-up";

/// What is asked.
pub(super) struct Asked<'a> {
    pub(super) call: Call,
    pub(super) named: &'a Selector,
    pub(super) who: Who,
}

/// Who calls.
pub(super) enum Who {
    /// Nobody, or whoever an `Authorization` header given by hand says.
    Nobody,
    Token(String),
    Client {
        id: String,
        scope: Option<String>,
    },
}

/// Tells all there is to tell.
pub(super) fn tell(known: &Known, asked: Asked<'_>, now: Timestamp) -> Result<Account> {
    let Asked { call, named, who } = asked;
    let checks = known.checks(now);
    let unheard = who.unheard();
    let (call, made) = match who {
        Who::Nobody => (call, None),
        Who::Token(text) => (call.with_token(&text), None),
        Who::Client { id, scope } => {
            let made = Made::new(known, &checks, (&call, named), id, scope)?;
            (if made.token.is_ok() { call.with_token(MADE_UP) } else { call }, Some(made))
        }
    };
    let client = made.as_ref().and_then(|made| made.client.clone());
    let scope = made.as_ref().and_then(|made| made.scope.clone());
    let scope = scope.as_deref();
    let teller = |caller| Teller {
        known,
        call: &call,
        named,
        caller,
        client: client.as_ref(),
        scope,
        culprit: None,
        assumed: Vec::new(),
    };
    let request = match Request::read(&call.parts()) {
        Ok(request) => request,
        Err(ambiguity) => {
            let verdict = Verdict::refused(Refusal::ambiguous(ambiguity), None);
            let culprit = Culprit::of(&call, ambiguity);
            return Ok(Teller { culprit, ..teller(unheard) }.account(None, &verdict, None));
        }
    };
    let called = Called::new(&request, made);
    let Some(set) = find_set(known, named, &request) else {
        let verdict = Verdict::refused(Refusal::forbidden(Reason::NoSuchPolicy), None);
        return Ok(teller(called.account(&checks)).account(Some(&request), &verdict, None));
    };
    let verdict = decide(set, &request, |text| called.authenticate(&checks, text));
    let token = called.token.borrow().clone().and_then(Result::ok);
    let explanation = explain(set, &request, token.as_deref());
    let assumed = called.assumed(&checks, &verdict);
    Ok(Teller { assumed, ..teller(called.account(&checks)) }.account(Some(&request), &verdict, explanation.as_ref()))
}

/// The policies that are named, as the verifier finds them.
fn find_set<'a>(known: &'a Known, named: &Selector, request: &Request<'_>) -> Option<&'a PolicySet> {
    let directory = known.directory();
    let set = match named {
        Selector::ByHost => directory.by_host(&request.host.name, &request.path),
        selector => directory.policy_set(selector),
    };
    set.map(|set| &**set)
}

type Checked = Result<Arc<AccessToken>, TokenRefusal>;

/// A client, and the token the issuer would give it.
struct Made {
    id: String,
    /// What it asks for; none: all that is granted.
    scope: Option<String>,
    client: Option<Arc<ClientView>>,
    token: Result<Arc<AccessToken>, Failure>,
}

/// The caller of one request.
struct Called {
    /// Whether the request has a credential.
    brought: bool,
    /// The text of a token somebody else made.
    text: Option<String>,
    made: Option<Made>,
    /// How the verdict found the token, if it asked.
    token: RefCell<Option<Checked>>,
}

// === impl Who ===

impl Who {
    /// Of a caller nobody looks at.
    fn unheard(&self) -> Caller {
        match self {
            Self::Nobody => Caller { kind: "nobody", ..Caller::default() },
            Self::Token(_) => Caller { kind: "token", ..Caller::default() },
            Self::Client { id, .. } => Caller { kind: "client", client: Some(id.clone()), ..Caller::default() },
        }
    }
}

// === impl Made ===

impl Made {
    fn new(
        known: &Known,
        checks: &Checks<'_>,
        (call, named): (&Call, &Selector),
        id: String,
        scope: Option<String>,
    ) -> Result<Self> {
        let Some(client) = find_client(checks.directory, &id).cloned() else {
            let meaning = format!("there is no OAuthClient with the client id {id}");
            let token = Err(Failure { reason: "invalid_client".to_owned(), meaning });
            return Ok(Self { id, scope, client: None, token });
        };
        let request = Request::read(&call.parts()).ok();
        let audience = request.and_then(|request| wanted_audience(find_set(known, named, &request)?, &request));
        let token = checks.issue(&client, audience.as_ref(), scope.as_deref())?.map_err(|denied| Failure {
            reason: denied.error.code().to_owned(),
            meaning: denied.description.to_owned(),
        });
        Ok(Self { id, scope, client: Some(client), token })
    }
}

// === impl Called ===

impl Called {
    fn new(request: &Request<'_>, made: Option<Made>) -> Self {
        let text = match request.credential {
            Credential::Bearer(text) if made.is_none() => Some(text.to_owned()),
            _ => None,
        };
        let brought = request.credential != Credential::None;
        Self { brought, text, made, token: RefCell::new(None) }
    }

    fn authenticate(&self, checks: &Checks<'_>, text: &str) -> Checked {
        let made = self.made.as_ref().and_then(|made| made.token.as_ref().ok());
        let checked = made.map_or_else(|| checks.authenticate(text), |token| Ok(Arc::clone(token)));
        *self.token.borrow_mut() = Some(checked.clone());
        checked
    }

    /// What there is to tell of the token, also where a Public rule asked for none.
    fn found(&self, checks: &Checks<'_>) -> Option<Checked> {
        let asked = self.token.borrow().clone();
        asked.or_else(|| match (&self.made, &self.text) {
            (Some(made), _) => made.token.as_ref().ok().cloned().map(Ok),
            (None, text) => text.as_deref().map(|text| checks.authenticate(text)),
        })
    }

    /// A verdict that rests on a token somebody brought rests on what was not checked of it.
    fn assumed(&self, checks: &Checks<'_>, verdict: &Verdict<'_>) -> Vec<Assumed> {
        match &verdict.answer {
            Answer::Allow { identity: Some(token), .. } if self.made.is_none() && verdict.not_enforced.is_none() => {
                checks.assumed(token)
            }
            _ => Vec::new(),
        }
    }

    fn account(&self, checks: &Checks<'_>) -> Caller {
        let peek = self.text.as_deref().map(Peek::at).unwrap_or_default();
        let found = self.found(checks);
        let token = found.as_ref().and_then(|found| found.as_ref().ok());
        let claims = token.map(|token| Value::Object(token.claims.clone())).or(peek.claims);
        let says = |name: &str| claims.as_ref().and_then(|claims| claims.get(name));
        let text = |name: &str| says(name).and_then(Value::as_str).map(str::to_owned);
        let refusal = found.as_ref().and_then(|found| found.as_ref().err());
        let failed = |failure: &Failure| Failure { reason: failure.reason.clone(), meaning: failure.meaning.clone() };
        Caller {
            kind: match (&self.made, self.brought) {
                (Some(_), _) => "client",
                (None, true) => "token",
                (None, false) => "nobody",
            },
            client: self.made.as_ref().map(|made| made.id.clone()).or_else(|| text("client_id")),
            audience: text("aud"),
            scopes: text("scope").map(|text| text.split(' ').map(str::to_owned).collect()).unwrap_or_default(),
            key_id: peek.header.and_then(|header| header.get("kid")?.as_str().map(str::to_owned)),
            seconds_left: says("exp").and_then(Value::as_i64).map(|end| end.saturating_sub(checks.now.as_second())),
            refusal: refusal.map(|refusal| Failure { reason: refusal.name().to_owned(), meaning: refusal.to_string() }),
            signature_checked: self.text.as_ref().map(|_| checks.keys.is_some()),
            unchecked: if self.text.is_some() { checks.unchecked() } else { Vec::new() },
            issuer: self.made.as_ref().and_then(|made| made.token.as_ref().err()).map(failed),
            claims,
        }
    }
}

/// The audience a client would ask a token for: that of the rule that decides, else the only one there is.
fn wanted_audience(set: &PolicySet, request: &Request<'_>) -> Option<Audience> {
    let explanation = explain(set, request, None)?;
    let deciding = explanation.rules.first().filter(|_| explanation.choice == Choice::Rule);
    let only = || if let [only] = explanation.audiences.as_slice() { Some(*only) } else { None };
    deciding.and_then(|rule| rule.audience).or_else(only).cloned()
}

/// Puts an account together.
struct Teller<'a> {
    known: &'a Known,
    call: &'a Call,
    named: &'a Selector,
    caller: Caller,
    /// The client that was named, where there is one.
    client: Option<&'a Arc<ClientView>>,
    /// What it asks the issuer for.
    scope: Option<&'a str>,
    culprit: Option<Culprit>,
    /// What nobody checked of the token that lets it pass.
    assumed: Vec<Assumed>,
}

// === impl Teller ===

impl Teller<'_> {
    fn account(
        self,
        request: Option<&Request<'_>>,
        verdict: &Verdict<'_>,
        explanation: Option<&Explanation<'_>>,
    ) -> Account {
        let reason = verdict.reason();
        let (name, meaning) = self.caller.reason(reason);
        let refusal = match &verdict.answer {
            Answer::Allow { .. } => None,
            Answer::Deny(refusal) => Some(refusal),
        };
        let rules = explanation.map_or(&[][..], |explanation| &explanation.rules);
        let decides = |rule: &&Considered<'_>| rule.standing == Standing::Decides;
        let others = rules.iter().filter(|rule| !decides(rule)).take(NEAREST);
        let judged = self.caller.refusal.is_none() && !matches!(reason, Reason::Token(_) | Reason::AmbiguousCredential);
        let findings = Findings {
            known: self.known,
            named: self.named,
            request,
            refusal: refusal.or(verdict.not_enforced.as_ref()),
            explanation,
            client: self.client,
            scope: self.scope,
            culprit: self.culprit.as_ref(),
            caller: &self.caller,
        };
        Account {
            not_in_force: self.known.not_in_force(),
            allowed: refusal.is_none(),
            status: refusal.map_or(200, |refusal| refusal.status.code()),
            not_enforced: verdict.not_enforced.as_ref().map(|_| name.clone()),
            reason: name,
            meaning,
            www_authenticate: refusal.and_then(|refusal| refusal.challenge(REALM)),
            next: next::next(&findings),
            policy: policy(self.named, explanation),
            rule: rules.iter().find(decides).map(|rule| self.rule(rule, judged)),
            other_rules: others.map(|rule| self.rule(rule, judged)).collect(),
            rules: rules.len(),
            request: Asking { culprit: self.culprit, ..asking(self.call, request) },
            only_if: self.assumed,
            caller: self.caller,
        }
    }

    /// `judged`: whether it came so far that anybody held a token's scopes against a rule.
    fn rule(&self, rule: &Considered<'_>, judged: bool) -> Rule {
        let element = format!("spec.rules[{}].matches[{}]", rule.index, rule.matched);
        let (protection, allow) = match &rule.needs {
            Needs::Public => ("Public", Vec::new()),
            Needs::Authenticated => ("Authenticated", Vec::new()),
            Needs::NotUnderstood => ("not understood, so it denies", Vec::new()),
            Needs::Scoped(ways) => ("Scoped", ways.iter().map(|way| allow(way, judged)).collect()),
        };
        Rule {
            policy: rule.rule.policy.to_string(),
            name: rule.rule.rule.to_owned(),
            place: self.known.place("ScopePolicy", rule.rule.policy, &element),
            element,
            methods: rule.methods.names().collect(),
            path: rule.pattern.to_string(),
            parameters: rule
                .params
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect::<BTreeMap<_, _>>(),
            protection,
            allow,
            standing: match rule.standing {
                Standing::Decides => "decides",
                Standing::Ambiguous => "another rule has the same path and method, so both deny",
                Standing::Shadow => "matches, but is a Shadow rule and only counts",
                Standing::OtherMethod => "same path, other methods",
                Standing::LessSpecific => "matches, but a more specific path decides",
                Standing::OtherPath => "its path does not match",
            },
        }
    }
}

fn asking(call: &Call, request: Option<&Request<'_>>) -> Asking {
    let read = request.map(|request| Reading {
        host: request.host.name.to_string(),
        port: request.host.port,
        path: request.path.to_string(),
        segments: request.path.trim_start_matches('/').split('/').map(str::to_owned).collect(),
        query: masked(request.query),
        preflight: request.preflight,
    });
    Asking { method: call.method.clone(), url: masked(&call.url()), read, culprit: None }
}

/// A URL or query without the token somebody put into it (RFC 6750 section 2.3): what is printed here is pasted elsewhere.
fn masked(text: &str) -> String {
    let Some((before, token)) = text.split_once("access_token=") else { return text.to_owned() };
    let rest = token.find(['&', '#']).and_then(|end| token.get(end..)).unwrap_or_default();
    format!("{before}access_token=…{}", masked(rest))
}

fn policy(named: &Selector, explanation: Option<&Explanation<'_>>) -> Policy {
    let named = named.to_string();
    let Some(explanation) = explanation else { return Policy { named, ..Policy::default() } };
    Policy {
        named,
        holding: explanation.policies.iter().map(ToString::to_string).collect(),
        audiences: explanation.audiences.iter().map(ToString::to_string).collect(),
        mode: Some(if explanation.mode == Mode::Enforce { "Enforce" } else { "Shadow" }),
        unmatched: Some(if explanation.unmatched == Unmatched::Deny { "Deny" } else { "Authenticated" }),
    }
}

fn allow(way: &Wanted<'_>, judged: bool) -> Allow {
    let missing = || way.missing.iter().map(|scope: &&ScopeName| scope.to_string()).collect();
    Allow {
        scopes: way.scopes.iter().map(ToString::to_string).collect(),
        missing: judged.then(missing),
        when: way.when.map(str::to_owned),
        outcome: way.outcome.filter(|_| judged).map(|outcome| match outcome {
            Outcome::Holds => "true",
            Outcome::Fails => "false",
            Outcome::Broken => "broken",
        }),
    }
}
