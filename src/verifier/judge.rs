//! From what a proxy asks to an answer, the same for every wire.
//!
//! Flows in: the policy the proxy's configuration names, and the request as the proxy received it. Flows out: as whom it
//! passes, or a refusal; counted, and denials logged. The usual path takes no lock and never waits; only a token whose key
//! is not known yet may wait a moment for the watch to bring it.

use std::sync::Arc;
use std::time::Duration;

use countersign_core::policy::{Answer, PolicySet, Reason, Refusal, Selector, Status, Verdict, decide};
use countersign_core::request::{Request, RequestParts};
use countersign_core::token::{AccessToken, MAX_TOKEN, TokenRefusal, verify};
use jiff::Timestamp;

use super::Verifier;
use super::cache::key_of;
use super::certificate::thumbprint;
use super::counters::{Wire, outcome_name};
use super::identity::Pass;
use crate::runtime::traces::Span;
use crate::snapshot::Snapshot;

/// What a verdict is called in traces.
const SPAN: &str = "verdict";
/// How long a request may wait for a key.
const KEY_WAIT: Duration = Duration::from_millis(50);

/// One question.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) wire: Wire,
    /// What the proxy's configuration names; nothing of the request may choose it.
    pub(super) policy: Option<&'a str>,
    pub(super) parts: RequestParts<'a>,
    /// The certificate of the caller's connection, as the proxy reports it. No header may: those are the caller's word.
    pub(super) certificate: Option<&'a str>,
}

/// An answer, with what there is to count.
struct Judged {
    answer: Result<Pass, Refusal>,
    reason: Reason,
    not_enforced: bool,
    /// Whether a Shadow rule would have refused.
    shadow_refuses: Option<bool>,
    /// Policy and rule: for the log where the answer is no, for a span in any case.
    rule: Option<(String, String)>,
}

// === impl Verifier ===

impl Verifier {
    /// Answers a question.
    pub(super) async fn judge(&self, ask: Ask<'_>) -> Result<Pass, Refusal> {
        let headers = ask.parts.headers;
        let span = Span::server(SPAN, |header| headers.visit(&mut |name, value| header(name, value)));
        let mut judged = self.judge_now(&ask, span.is_recorded());
        if judged.reason == Reason::Token(TokenRefusal::UnknownKey)
            && let Ok(_slot) = self.key_waits.try_acquire()
        {
            self.counters.key_waits.inc();
            judged = self.judge_with_patience(&ask, span.is_recorded()).await;
        }
        tell(span, ask.wire, judged.refused_with(), judged.reason, judged.rule.as_ref());
        self.note(&ask, &judged);
        judged.answer
    }

    /// Answers a question that cannot be put to a policy.
    pub(super) fn refuse(&self, wire: Wire, refusal: Refusal) -> Refusal {
        self.counters.verdict(wire, Some(refusal.status), refusal.reason);
        // Nothing of such a request is read, so it has no parent.
        tell(Span::server(SPAN, |_| ()), wire, Some(refusal.status), refusal.reason, None);
        refusal
    }

    async fn judge_with_patience(&self, ask: &Ask<'_>, recorded: bool) -> Judged {
        let deadline = tokio::time::Instant::now() + KEY_WAIT;
        let mut changes = self.live.subscribe();
        loop {
            // Judged again after subscribing: the key may have come in between.
            let judged = self.judge_now(ask, recorded);
            let unknown = judged.reason == Reason::Token(TokenRefusal::UnknownKey);
            if !unknown || tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                return judged;
            }
        }
    }

    fn judge_now(&self, ask: &Ask<'_>, recorded: bool) -> Judged {
        let request = match Request::read(&ask.parts) {
            Ok(request) => request,
            Err(ambiguity) => return Judged::refused(Refusal::ambiguous(ambiguity)),
        };
        let Some(named) = ask.policy else { return Judged::refused(Refusal::forbidden(Reason::NoPolicyNamed)) };
        if !self.listed.holds() {
            // Nothing is known yet, so nothing can be said about the policy.
            return Judged::refused(Refusal::unavailable(Reason::NotReady));
        }
        let snapshot = self.live.load();
        let Some(set) = find_set(&snapshot, named, &request) else {
            return Judged::refused(Refusal::forbidden(Reason::NoSuchPolicy));
        };
        let now = self.clock.now();
        let verdict = decide(set, &request, |text| self.authenticate(text, &snapshot, (now, ask.certificate)));
        Judged::of(verdict, recorded)
    }

    /// Checks everything about a token but its audience.
    fn authenticate(
        &self,
        text: &str,
        snapshot: &Snapshot,
        (now, certificate): (Timestamp, Option<&str>),
    ) -> Result<Arc<AccessToken>, TokenRefusal> {
        // Its length bounds the work an unknown text can cause.
        if text.len() > MAX_TOKEN {
            return Err(TokenRefusal::TooLong);
        }
        let settings = snapshot.directory.settings();
        let leeway = i64::try_from(settings.timings.leeway.as_secs()).unwrap_or(0);
        let key = key_of(text).ok_or(TokenRefusal::Malformed)?;
        let check = |token: &AccessToken| {
            token.check(&snapshot.keys, &snapshot.revoked, now.as_second(), leeway)?;
            token.check_holder(|| certificate.and_then(thumbprint))
        };
        if let Some(token) = self.cache.get(&key) {
            self.counters.cache_hits.inc();
            return check(&token).map(|()| token);
        }
        self.counters.cache_misses.inc();
        let token = Arc::new(verify(text, &snapshot.keys, &settings.issuer_url, now, &settings.timings)?);
        check(&token)?;
        self.cache.insert(key, text, &token);
        Ok(token)
    }

    fn note(&self, ask: &Ask<'_>, judged: &Judged) {
        let refused = judged.answer.as_ref().err();
        self.counters.verdict(ask.wire, judged.refused_with(), judged.reason);
        if judged.not_enforced {
            self.counters.not_enforced();
        }
        if let Some(refuses) = judged.shadow_refuses {
            self.counters.shadow_rule(refuses);
        }
        let Some(refusal) = refused else { return };
        if self.counters.may_log(self.clock.now().as_second()) {
            let (policy, rule) = judged.rule.as_ref().map_or((None, None), |(policy, rule)| (Some(policy), Some(rule)));
            tracing::info!(
                target: "access",
                wire = ask.wire.name(),
                status = refusal.status.code(),
                reason = refusal.reason.name(),
                named = ask.policy.filter(|named| named.len() <= 320).map(tracing::field::debug),
                policy,
                rule,
                "request refused"
            );
        }
    }
}

/// The policies a name means. By host, the request chooses among all, which is why that has to be asked for by name.
fn find_set<'a>(snapshot: &'a Snapshot, named: &str, request: &Request<'_>) -> Option<&'a PolicySet> {
    let set = match named.parse().ok()? {
        Selector::ByHost => snapshot.directory.by_host(&request.host.name, &request.path),
        selector => snapshot.directory.policy_set(&selector),
    };
    set.map(|set| &**set)
}

/// Ends the span of a verdict. The policy is one that exists, unlike what the request may have named.
fn tell(span: Span, wire: Wire, refused: Option<Status>, reason: Reason, rule: Option<&(String, String)>) {
    span.end(|told| {
        told.text("countersign.wire", wire.name());
        told.text("countersign.outcome", outcome_name(refused));
        told.text("countersign.reason", reason.name());
        if let Some((policy, rule)) = rule {
            told.text("countersign.policy", policy.clone());
            told.text("countersign.rule", rule.clone());
        }
        if refused == Some(Status::Unavailable) {
            told.failed();
        }
    });
}

// === impl Judged ===

impl Judged {
    /// With which status, where the answer is no.
    fn refused_with(&self) -> Option<Status> {
        self.answer.as_ref().err().map(|refusal| refusal.status)
    }

    fn refused(refusal: Refusal) -> Self {
        Self { reason: refusal.reason, answer: Err(refusal), not_enforced: false, shadow_refuses: None, rule: None }
    }

    fn of(verdict: Verdict<'_>, recorded: bool) -> Self {
        let reason = verdict.reason();
        let not_enforced = verdict.not_enforced.is_some();
        let shadow_refuses = verdict.shadow_rule.map(|shadow| shadow.refusal.is_some());
        let told = recorded || matches!(verdict.answer, Answer::Deny(_));
        let rule = verdict.rule.filter(|_| told).map(|rule| (rule.policy.to_string(), rule.rule.to_owned()));
        let answer = match verdict.answer {
            Answer::Allow { identity, .. } => {
                let decision = match reason {
                    _ if not_enforced => "shadow",
                    Reason::Public => "public",
                    Reason::Preflight => "preflight",
                    _ => "allow",
                };
                Ok(Pass { token: identity, decision })
            }
            Answer::Deny(refusal) => Err(refusal),
        };
        Self { answer, reason, not_enforced, shadow_refuses, rule }
    }
}
