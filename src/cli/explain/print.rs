//! The account as text for people or JSON for programs.

use anyhow::Result;
use serde_json::Value;

use super::account::{Account, Allow, Assumed, NotInForce, Policy, Rule};
use super::culprit::Culprit;
use crate::cli::check::Output;
use crate::cli::colour::{Colour, plain};
use crate::cli::out;

/// How many problems of manifests are told.
const PROBLEMS: usize = 5;

pub(super) fn print(account: &Account, output: Output) -> Result<()> {
    let text = match output {
        Output::Text => text(account, Colour::of_stdout()),
        Output::Json => serde_json::to_string_pretty(account)?,
    };
    out::print(&text)
}

pub(super) fn text(account: &Account, colour: Colour) -> String {
    let mut page = Page { text: String::new(), colour };
    page.not_in_force(&account.not_in_force);
    page.answer(account);
    page.request(account);
    if account.request.read.is_some() {
        page.caller(account);
        page.policy(&account.policy);
        page.rules(account);
    }
    page.next(account);
    page.text
}

struct Page {
    text: String,
    colour: Colour,
}

// === impl Page ===

impl Page {
    fn line(&mut self, text: &str) {
        self.text.push_str(&plain(text));
        self.text.push('\n');
    }

    fn heading(&mut self, name: &str, text: &str) {
        let name = self.colour.paint("1", name);
        self.line("");
        self.line(format!("{name}  {text}").trim_end());
    }

    fn item(&mut self, name: &str, text: &str) {
        self.line(&format!("  {name:<10} {text}"));
    }

    fn not_in_force(&mut self, all: &[NotInForce]) {
        if all.is_empty() {
            return;
        }
        let heading = self.colour.paint("1;31", "Not in force until corrected");
        self.line(&format!("{heading}  nothing of the objects with these problems plays a part below"));
        for problem in all.iter().take(PROBLEMS) {
            self.line(&format!("  {}", problem.line()));
        }
        let more = all.len().saturating_sub(PROBLEMS);
        if more > 0 {
            self.line(&format!("  … and {more} more: `countersign check` tells all"));
        }
        self.line("");
    }

    fn answer(&mut self, account: &Account) {
        let Account { allowed, only_if, status, reason, meaning, www_authenticate, not_enforced, caller, .. } = account;
        let verdict = match (allowed, not_enforced) {
            (true, None) if only_if.is_empty() => self.colour.paint("1;32", "ALLOWED"),
            (true, None) => self.colour.paint("1;33", format_args!("ALLOWED, if {}", assumed(only_if))),
            (true, Some(_)) => self.colour.paint("1;33", "ALLOWED by Shadow mode"),
            (false, _) => self.colour.paint("1;31", format_args!("DENIED {status}")),
        };
        // The issuer's reason stands in the sentence.
        let refused = caller.issuer.as_ref().is_some_and(|failure| failure.reason == *reason);
        let reason = if refused { String::new() } else { format!("{reason}: ") };
        self.line(&format!("{verdict}  {reason}{meaning}"));
        if let Some(challenge) = www_authenticate {
            self.item("the client sees", &format!("{status}, WWW-Authenticate: {challenge}"));
        } else if !allowed {
            self.item("the client sees", &status.to_string());
        }
        if let Some(reason) = not_enforced {
            self.item(
                "not enforced",
                &format!("the policy is in Shadow mode; enforced, it would be refused: {reason}"),
            );
        }
    }

    fn request(&mut self, account: &Account) {
        let request = &account.request;
        self.heading("Request", &format!("{} {}", request.method, request.url));
        let Some(read) = &request.read else {
            self.item(
                "refused",
                "before anybody looked at the caller, the policies or the rules: it can be read in two ways",
            );
            if let Some(Culprit { text, at, meaning, next: _ }) = &request.culprit {
                let place = at.map(|at| format!(", {at} bytes into the path and query")).unwrap_or_default();
                self.item("because of", &format!("`{text}`: {meaning}{place}"));
            }
            return;
        };
        let port = read.port.map(|port| format!(", port {port}")).unwrap_or_default();
        self.item("host", &format!("{}{port}", read.host));
        let segments = read.segments.iter().map(|segment| format!("{segment:?}")).collect::<Vec<_>>().join(" ");
        self.item("path", &format!("{}, read as {segments}", read.path));
        if !read.query.is_empty() {
            self.item("query", &format!("{} (plays no part but in conditions)", read.query));
        }
        if read.preflight {
            self.item("preflight", "yes");
        }
    }

    /// The claims of a token made up here are news only to a condition.
    fn caller(&mut self, account: &Account) {
        let Account { caller, reason, .. } = account;
        let who = match (caller.kind, &caller.client) {
            ("client", Some(client)) => format!("client {client}, with the token the issuer would give it"),
            ("token", Some(client)) => format!("a token of client {client}"),
            ("token", None) => "a token".to_owned(),
            _ => "nobody: there is no token".to_owned(),
        };
        if *reason == "AmbiguousCredential" {
            return self.heading("Caller", "nobody looked: no credential is chosen where there are several");
        }
        self.heading("Caller", &who);
        if let Some(failure) = &caller.issuer {
            return self.item("issuer", &format!("gives it none: {}: {}", failure.reason, failure.meaning));
        }
        if let Some(refusal) = &caller.refusal {
            let text = self.colour.paint("31", format_args!("{}: {}", refusal.reason, refusal.meaning));
            self.item("failed", &text);
        }
        for (name, value) in [("audience", &caller.audience), ("key id", &caller.key_id)] {
            if let Some(value) = value {
                self.item(name, value);
            }
        }
        if caller.claims.is_some() {
            let scopes = if caller.scopes.is_empty() { "none".to_owned() } else { caller.scopes.join(" ") };
            self.item("scopes", &scopes);
        }
        if let Some(left) = caller.seconds_left.filter(|_| caller.kind == "token") {
            self.item("time left", &time_left(left));
        }
        let matter = caller.kind == "token" || reason.starts_with("Condition");
        if let Some(Value::Object(claims)) = caller.claims.as_ref().filter(|_| matter) {
            let claims = claims.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ");
            self.item("claims", &claims);
        }
        if account.only_if.contains(&Assumed::ClientExists) {
            let client = caller.client.as_deref().unwrap_or_default();
            self.item(
                "note",
                &format!("the manifests have no client {client} in force; a token whose client was deleted is revoked"),
            );
        }
        for unchecked in &caller.unchecked {
            let unchecked = self.colour.paint("33", unchecked);
            self.item("note", &unchecked);
        }
    }

    fn policy(&mut self, policy: &Policy) {
        let holding = if policy.holding.is_empty() {
            "none holds the host and path".to_owned()
        } else {
            policy.holding.join(", ")
        };
        let named = match policy.named.as_str() {
            "by-host" => "chosen by the request's host (a proxy usually names one: --policy)".to_owned(),
            named => format!("named {named}"),
        };
        self.heading("Policy", &format!("{holding}; {named}"));
        if !policy.audiences.is_empty() {
            self.item("audience", &policy.audiences.join(", "));
        }
        if policy.mode == Some("Shadow") {
            self.item("mode", "Shadow: it decides and counts, and none of its refusals is enforced");
        }
    }

    fn rules(&mut self, account: &Account) {
        match &account.rule {
            Some(rule) => {
                self.heading("Rule", &named(rule));
                self.item("matches", &matches(rule));
                for (name, value) in &rule.parameters {
                    self.item("", &format!("{name} is {value:?}"));
                }
                let any = if rule.allow.len() > 1 { ": any of these" } else { "" };
                self.item("protection", &format!("{}{any}", rule.protection));
                for way in &rule.allow {
                    let way = self.way(way);
                    self.item("", &way);
                }
            }
            None if account.rules > 0 => self.heading("Rule", "none decides"),
            None => return,
        }
        if account.other_rules.is_empty() {
            return;
        }
        let nearest = account.other_rules.len();
        let total = account.rules - usize::from(account.rule.is_some());
        self.heading(
            "Other rules",
            &if total > nearest { format!("the nearest {nearest} of {total}") } else { String::new() },
        );
        for rule in &account.other_rules {
            self.line(&format!("  {}: {}: {}", named(rule), matches(rule), rule.standing));
        }
    }

    fn way(&self, way: &Allow) -> String {
        let there = match way.missing.as_deref() {
            None => "not judged, since the token is refused".to_owned(),
            Some([]) => "there".to_owned(),
            Some(missing) => self.colour.paint("31", format_args!("missing {}", missing.join(" "))),
        };
        let outcome = match way.outcome {
            Some("true") => "true",
            Some("false") => "false",
            Some(_) => "an error, a missing key, no bool or too large a value",
            None if way.missing.as_ref().is_some_and(|missing| !missing.is_empty()) => {
                "not judged, since scopes are missing"
            }
            None => "not judged",
        };
        let when = way.when.as_ref().map(|when| format!("; when {when}: {outcome}")).unwrap_or_default();
        format!("scopes {}: {there}{when}", way.scopes.join(" "))
    }

    fn next(&mut self, account: &Account) {
        if account.next.is_empty() {
            return;
        }
        let shadow = account.not_enforced.is_some();
        self.heading(if shadow { "Before you enforce it:" } else { "To allow it" }, "");
        for step in &account.next {
            self.line(&format!("  - {step}"));
        }
    }
}

/// `the signature holds and it is not revoked`.
fn assumed(all: &[Assumed]) -> String {
    let text = |assumed: &Assumed| match assumed {
        Assumed::SignatureHolds => "the signature holds",
        Assumed::ClientExists => "there is such a client",
        Assumed::NotRevoked => "it is not revoked",
        Assumed::CertificateShown => "the caller shows the certificate it is bound to",
    };
    all.iter().map(text).collect::<Vec<_>>().join(" and ")
}

fn named(rule: &Rule) -> String {
    let place = rule.place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
    format!("{} of {}{place}", rule.name, rule.policy)
}

fn matches(rule: &Rule) -> String {
    let methods = if rule.methods.is_empty() { "every method".to_owned() } else { rule.methods.join(" ") };
    format!("{methods} {}", rule.path)
}

fn time_left(seconds: i64) -> String {
    let text = |seconds: i64| match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    };
    if seconds > 0 { text(seconds) } else { format!("none: it ended {} ago", text(-seconds)) }
}
