//! Requests and what is told of them.

use clap::Parser as _;
use countersign_core::policy::Selector;
use jiff::Timestamp;

use super::account::Account;
use super::call::Call;
use super::tell::{Asked, tell};
use super::{Explain, Known, print};
use crate::cli::colour::Colour;

mod tokens;

const WORLD: &str = "\
apiVersion: countersign.dev/v1alpha1
kind: ScopePolicy
metadata: {name: orders, namespace: shop}
spec:
  audience: https://orders.shop.svc
  targetRefs: [{group: \"\", kind: Service, name: orders}]
  scopes: [{name: read}, {name: admin}, {name: audit}]
  grants: [{scopes: [read, audit], to: [{namespaces: Same}]}]
  rules:
  - name: read-one
    matches: [{methods: [GET], path: {type: Template, value: \"/orders/{id}\"}}]
    protection: Scoped
    allow: [{scopes: [read], when: \"path.id != '13'\"}]
  - name: delete-one
    matches: [{methods: [DELETE], path: {type: Template, value: \"/orders/{id}\"}}]
    protection: Scoped
    allow: [{scopes: [admin]}]
  - name: audit
    matches: [{methods: [GET], path: {type: Exact, value: /audit}}]
    protection: Scoped
    allow: [{scopes: [audit]}]
  - name: broken
    matches: [{methods: [GET], path: {type: Exact, value: /broken}}]
    protection: Scoped
    allow: [{scopes: [read], when: \"token.sub ==\"}]
  - name: health
    matches: [{path: {type: Exact, value: /health}}]
    protection: Public
---
apiVersion: countersign.dev/v1alpha1
kind: OAuthClient
metadata: {name: checkout, namespace: shop}
spec:
  access: [{audience: \"https://orders.shop.svc\", scopes: [read]}]
---
apiVersion: countersign.dev/v1alpha1
kind: OAuthClient
metadata: {name: asleep, namespace: shop}
spec:
  state: Suspended
  access: [{audience: \"https://orders.shop.svc\", scopes: [read]}]
";

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    explain: Explain,
}

struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("world.yaml"), WORLD).unwrap();
        Self { folder }
    }

    fn explain(&self, words: &str) -> Account {
        let mut line = vec!["explain".to_owned(), "-f".to_owned(), self.folder.path().display().to_string()];
        line.extend(words.split(' ').map(str::to_owned));
        let explain = Line::try_parse_from(line).unwrap().explain;
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let known = Known::of_manifests(&explain.manifests, &explain.premises, now).unwrap();
        let call = Call::new(&explain.method, explain.url.as_deref().unwrap(), &explain.headers).unwrap();
        let policy: Selector = explain.policy.clone();
        tell(&known, Asked { call, named: &policy, who: explain.who().unwrap() }, now).unwrap()
    }

    /// `403 InsufficientScope delete-one`.
    fn answer(&self, words: &str) -> String {
        let account = self.explain(words);
        let rule = account.rule.map_or("-".to_owned(), |rule| rule.name);
        format!("{} {} {rule}", account.status, account.reason)
    }

    /// What is to be done, without the folder's name.
    fn next(&self, words: &str) -> Vec<String> {
        let folder = format!("{}/", self.folder.path().display());
        self.explain(words).next.into_iter().map(|step| step.replace(&folder, "")).collect()
    }
}

#[test]
fn the_answer_is_the_verifiers() {
    let world = World::new();
    for (words, expected) in [
        ("--client shop.checkout https://orders.shop.svc/orders/7", "200 Scoped read-one"),
        ("--client shop.checkout https://orders.shop.svc/orders/13", "403 ConditionFalse read-one"),
        ("--client shop.checkout -X DELETE https://orders.shop.svc/orders/7", "403 InsufficientScope delete-one"),
        ("--client shop.checkout -X PUT https://orders.shop.svc/orders/7", "403 NoRuleForMethod -"),
        ("--client shop.checkout https://orders.shop.svc/order/7", "403 NoRule -"),
        ("--client shop.checkout https://orders.shop.svc/broken", "403 RuleNotUnderstood broken"),
        ("https://orders.shop.svc/orders/7", "401 NoCredential read-one"),
        ("--client shop.asleep https://orders.shop.svc/orders/7", "401 invalid_client read-one"),
        ("https://orders.shop.svc/health", "200 Public health"),
        ("https://orders.shop.svc/orders//7", "400 PathSegment -"),
        ("https://else.where/orders/7", "403 NoSuchPolicy -"),
        ("--policy shop/orders --client shop.checkout https://else.where/orders/7", "403 NotOfPolicy -"),
        ("--policy shop/carts https://orders.shop.svc/orders/7", "403 NoSuchPolicy -"),
        ("--token a.b.c https://orders.shop.svc/orders/7", "401 Malformed read-one"),
        ("-H x-http-method-override:DELETE https://orders.shop.svc/orders/7", "400 MethodOverride -"),
    ] {
        assert_eq!(world.answer(words), expected, "{words}");
    }
}

#[test]
fn what_to_change_names_object_field_and_line() {
    let world = World::new();
    for (words, expected) in [
        (
            "--client shop.checkout -X DELETE https://orders.shop.svc/orders/7",
            "Grant admin to shop.checkout in spec.grants of ScopePolicy shop/orders (world.yaml:8), and add admin to \
             spec.access[0].scopes of OAuthClient shop/checkout (world.yaml:34)",
        ),
        (
            "--client shop.checkout https://orders.shop.svc/audit",
            "Add audit to spec.access[0].scopes of OAuthClient shop/checkout (world.yaml:34)",
        ),
        (
            "--client shop.asleep https://orders.shop.svc/orders/7",
            "Set spec.state: Active in OAuthClient shop/asleep (world.yaml:40): a suspended client is as good as none",
        ),
        (
            "--client shop.chekout https://orders.shop.svc/orders/7",
            "Correct the client id; there are shop.asleep, shop.checkout",
        ),
        (
            "--client shop.checkout -X PUT https://orders.shop.svc/orders/7",
            "Add PUT to methods of spec.rules[0].matches[0] of ScopePolicy shop/orders (world.yaml:11) (rule read-one), if \
             that rule should open it too",
        ),
        (
            "--client shop.checkout https://orders.shop.svc/order/7",
            "Correct the path, if /orders/{id} of rule read-one was meant",
        ),
        (
            "--policy shop/orders --client shop.checkout https://else.where/orders/7",
            "Call a host and path that shop/orders holds: orders.shop, orders.shop.svc, orders.shop.svc.cluster.local",
        ),
        (
            "--policy shop/carts https://orders.shop.svc/",
            "Correct --policy, as the proxy's configuration names it; there are shop/orders",
        ),
        (
            "--client shop.checkout https://orders.shop.svc/orders/13",
            "Make `path.id != '13'` true, or change it in spec.rules[0].allow[0].when of ScopePolicy shop/orders \
             (world.yaml:13). Here path.id is \"13\". The claims above are what token stands for",
        ),
    ] {
        assert_eq!(world.next(words).first().map(String::as_str), Some(expected), "{words}");
    }
    assert!(
        world.next("--client shop.checkout https://orders.shop.svc/broken")[0].contains("spec.rules[3].allow[0].when")
    );
}

#[test]
fn a_scope_the_issuer_refuses_is_told_with_what_keeps_it() {
    let world = World::new();
    let account = world.explain("--client shop.checkout --scope admin -X DELETE https://orders.shop.svc/orders/7");
    let issuer = account.caller.issuer.expect("the issuer's answer");
    assert_eq!((issuer.reason.as_str(), account.allowed), ("invalid_scope", false));
}

#[test]
fn a_refused_scope_leads_the_answer_and_what_may_be_asked_for_instead_is_told() {
    let world = World::new();
    let said = |scope: &str| {
        let words = format!("--client shop.checkout --scope {scope} -X DELETE https://orders.shop.svc/orders/7");
        let text = print::text(&world.explain(&words), Colour::none());
        (text.lines().next().unwrap().to_owned(), world.next(&words))
    };
    let instead = "Or leave --scope out: without, it gets read".to_owned();
    let grant = "Grant admin to shop.checkout in spec.grants of ScopePolicy shop/orders (world.yaml:8), and add admin to \
                 spec.access[0].scopes of OAuthClient shop/checkout (world.yaml:34)";
    assert_eq!(
        said("admin"),
        (
            "DENIED 401  the issuer gives shop.checkout no token: invalid_scope: a requested scope is not granted for this \
             audience"
                .to_owned(),
            vec![grant.to_owned(), instead.clone()]
        )
    );
    let (_, next) = said("a\"b");
    assert!(next[0].starts_with("Correct --scope \"a\\\"b\": ") && next[1] == instead, "{next:?}");
}

#[test]
fn of_an_ambiguous_request_it_is_told_what_makes_it_so_and_that_nobody_looked() {
    let world = World::new();
    for caller in ["--client shop.checkout", "--token a.b.c"] {
        let account = world.explain(&format!("{caller} https://orders.shop.svc/orders/a%2fb"));
        assert_ne!(account.caller.kind, "nobody");
        assert_eq!(
            print::text(&account, Colour::none()),
            "\
DENIED 400  PathEscape: the path holds a malformed escape, or one of / \\ . % ; ? # or a control character
  the client sees 400, WWW-Authenticate: Bearer realm=\"countersign\", error=\"invalid_request\"

Request  GET https://orders.shop.svc/orders/a%2fb
  refused    before anybody looked at the caller, the policies or the rules: it can be read in two ways
  because of `%2f`: an escaped /, which some readers decode before they take the path apart, 9 bytes into the path and query

To allow it
  - Send the path without %2f: put such a value into the query or the body, or encode it another way
"
        );
        let json = serde_json::to_value(&account).unwrap();
        assert_eq!(
            (&json["request"]["culprit"]["text"], &json["request"]["culprit"]["at"]),
            (&"%2f".into(), &9.into())
        );
    }
    let account = world.explain("--token a.b.c https://orders.shop.svc/orders/7?access_token=x");
    assert_eq!((account.reason.as_str(), account.caller.kind), ("AmbiguousCredential", "token"));
    let text = print::text(&account, Colour::none());
    assert!(text.contains("Caller  nobody looked") && !text.contains("there is no token"), "{text}");
}

#[test]
fn a_policy_in_shadow_mode_is_told_to_enforce_nothing() {
    let world = World::new();
    let shadow = WORLD.replacen("spec:\n", "spec:\n  mode: Shadow\n", 1);
    std::fs::write(world.folder.path().join("world.yaml"), shadow).unwrap();
    let text = print::text(&world.explain("-X DELETE https://orders.shop.svc/orders/7"), Colour::none());
    assert!(text.starts_with("ALLOWED by Shadow mode  NoCredential: "), "{text}");
    assert!(
        text.contains("  mode       Shadow: it decides and counts, and none of its refusals is enforced\n"),
        "{text}"
    );
    assert!(text.contains("\nBefore you enforce it:\n  - Send `Authorization: Bearer"), "{text}");
    let delete = "--client shop.checkout -X DELETE https://orders.shop.svc/orders/7";
    let enforced = World::new().next(delete);
    // The same but for the lines, of which there is one more.
    let without_lines = |all: Vec<String>| all.concat().replace(|letter: char| letter.is_ascii_digit(), "");
    assert_eq!(without_lines(world.next(delete)), without_lines(enforced));
    let account = world.explain("--client shop.asleep https://orders.shop.svc/orders/7");
    let text = print::text(&account, Colour::none());
    assert!(
        text.starts_with("ALLOWED by Shadow mode  the issuer gives shop.asleep no token: invalid_client: "),
        "{text}"
    );
    let json = serde_json::to_value(&account).unwrap();
    assert_eq!((&json["reason"], &json["notEnforced"]), (&"invalid_client".into(), &"invalid_client".into()));
    assert!(account.next[0].starts_with("Set spec.state: Active in"), "{:?}", account.next);
}

#[test]
fn a_newcomer_reads_why_and_what_to_do() {
    let world = World::new();
    let account = world.explain("--client shop.checkout -X DELETE https://orders.shop.svc/orders/7");
    let text = print::text(&account, Colour::none()).replace(&format!("{}/", world.folder.path().display()), "");
    assert_eq!(
        text,
        "\
DENIED 403  InsufficientScope: the token lacks scopes the rule asks for
  the client sees 403, WWW-Authenticate: Bearer realm=\"countersign\", error=\"insufficient_scope\", scope=\"admin\"

Request  DELETE https://orders.shop.svc/orders/7
  host       orders.shop.svc, port 443
  path       /orders/7, read as \"orders\" \"7\"

Caller  client shop.checkout, with the token the issuer would give it
  audience   https://orders.shop.svc
  scopes     read

Policy  shop/orders; chosen by the request's host (a proxy usually names one: --policy)
  audience   https://orders.shop.svc

Rule  delete-one of shop/orders (world.yaml:15)
  matches    DELETE /orders/{id}
             id is \"7\"
  protection Scoped
             scopes admin: missing admin

Other rules  the nearest 3 of 4
  read-one of shop/orders (world.yaml:11): GET /orders/{id}: same path, other methods
  health of shop/orders (world.yaml:27): every method /health: its path does not match
  audit of shop/orders (world.yaml:19): GET /audit: its path does not match

To allow it
  - Grant admin to shop.checkout in spec.grants of ScopePolicy shop/orders (world.yaml:8), and add admin to spec.access[0].scopes of OAuthClient shop/checkout (world.yaml:34)
"
    );
}

#[test]
fn objects_the_api_server_would_refuse_play_no_part_and_are_told_first() {
    let world = World::new();
    let write = |text: &str| std::fs::write(world.folder.path().join("world.yaml"), text).unwrap();
    write(&WORLD.replacen("protection: Scoped", "protecton: Scoped", 1));
    let words = "--client shop.checkout https://orders.shop.svc/orders/7";
    assert_eq!(world.answer(words), "403 NoSuchPolicy -");
    let next = world.next(words);
    assert_eq!(next[0], "Correct ScopePolicy shop/orders, which is not in force: see above", "{next:?}");
    let text = print::text(&world.explain(words), Colour::none()).replace(world.folder.path().to_str().unwrap(), "");
    let mut lines = text.lines();
    let first = "Not in force until corrected  nothing of the objects with these problems plays a part below";
    assert_eq!(lines.next(), Some(first));
    assert!(lines.nth(1).unwrap().starts_with("  /world.yaml:12: spec.rules[0].protecton: "), "{text}");
    // Of another object: told, and no advice about this request.
    let extra = |number: usize| {
        format!(
            "---\napiVersion: countersign.dev/v1alpha1\nkind: OAuthClient\nmetadata: {{name: c{number}}}\nspec: {{a: 1}}\n"
        )
    };
    write(&(WORLD.to_owned() + &(0..7).map(extra).collect::<String>()));
    assert_eq!(world.answer(words), "200 Scoped read-one");
    let delete = format!("-X DELETE {words}");
    let text = print::text(&world.explain(&delete), Colour::none());
    assert!(text.contains("\n  … and 2 more: `countersign check` tells all\n\nDENIED 403"), "{text}");
    assert_eq!(world.next(&delete).len(), 1, "{text}");
    let unknown = world.next("--client default.c1 https://orders.shop.svc/orders/7");
    assert!(unknown[0].starts_with("Correct OAuthClient default/c0, OAuthClient default/c1, "), "{unknown:?}");
}

#[test]
fn every_step_is_told_at_once_and_mistyped_names_with_the_nearest() {
    let world = World::new();
    let write = |text: &str| std::fs::write(world.folder.path().join("world.yaml"), text).unwrap();
    let get = "https://orders.shop.svc/orders/7";
    let add = "Add admin to spec.access[0].scopes of OAuthClient shop/asleep (world.yaml:41)";
    let grant =
        |id: &str| format!("Grant admin to {id} in spec.grants of ScopePolicy shop/orders (world.yaml:8), and add");
    let next = world.next(&format!("--client shop.asleep -X DELETE {get}"));
    assert!(next[0].starts_with("Set spec.state: Active in") && next[1].starts_with(&grant("shop.asleep")), "{next:?}");
    assert!(next[1].to_lowercase().ends_with(&add.to_lowercase()), "{next:?}");
    write(&WORLD.replacen("allow: [{scopes: [read],", "allow: [{scopes: [raed],", 1));
    let correct = "Or correct spec.rules[0].allow[0].scopes of ScopePolicy shop/orders (world.yaml:13) (rule read-one): there is \
                   no scope raed; did you mean read?";
    let next = world.next(&format!("--client shop.checkout {get}"));
    assert!(
        next[0].starts_with("Define the scope raed in spec.scopes of ScopePolicy shop/orders (world.yaml:7)"),
        "{next:?}"
    );
    assert_eq!(next[1], correct);
    assert!(next[2].starts_with("Then `path.id != '13'` has to be true too: spec.rules[0].allow[0].when"), "{next:?}");
    assert_eq!(world.next(get)[1], correct);
    let mistyped = WORLD.replacen(
        "spec:\n  access: [{audience: \"https://orders.shop.svc\"",
        "spec:\n  access: [{audience: \"https://order.shop.svc\"",
        1,
    );
    write(&mistyped);
    let meant = "Correct spec.access[0].audience of OAuthClient shop/checkout (world.yaml:34): no policy has \
                 https://order.shop.svc; did you mean https://orders.shop.svc?";
    assert_eq!(world.next(&format!("--client shop.checkout {get}")), [meant]);
    let next = world.next(&format!("--client shop.checkout -X DELETE {get}"));
    assert_eq!(next[0], meant);
    assert!(next[1].starts_with(&grant("shop.checkout")), "{next:?}");
    write(&mistyped.replace("https://order.shop.svc", "https://else.where.svc"));
    let next = world.next(&format!("--client shop.checkout {get}"));
    assert!(
        next[0].starts_with("Add an entry with audience https://orders.shop.svc and scope read to spec.access"),
        "{next:?}"
    );
}
