//! Conditions: what compiles, what holds, and what breaks.

use serde_json::json;

use super::*;
use crate::policy::facts::Facts;
use crate::request::Request;
use crate::request::{Headers, RequestParts};
use crate::scope::ScopeSet;

fn compile(source: &str) -> Result<Arc<Condition>, ConditionError> {
    Condition::compile(source)
}

fn judge_with(source: &str, claims: &serde_json::Value, headers: &[(&str, &str)]) -> Outcome {
    let headers: &dyn Headers = &headers;
    let parts =
        RequestParts { method: "GET", scheme: "https", host: "Orders.shop", target: "/orders/a%20b?x=%31", headers };
    let request = Request::read(&parts).expect("a request");
    let facts = Facts {
        claims: claims.as_object().expect("claims"),
        scope: &ScopeSet::parse("orders:read orders:write").expect("scopes"),
        client_id: "shop.checkout",
        request: &request,
        params: &[(1, "id".into())],
    };
    compile(source).expect("a condition").judge(&facts)
}

fn judge(source: &str) -> Outcome {
    let claims = json!({"sub": "a b", "scope": "orders:read orders:write", "tier": "gold", "n": 3, "list": ["a", "b"]});
    judge_with(source, &claims, &[("X-Tenant", "t1"), ("accept", "a"), ("accept", "b"), ("authorization", "Bearer x")])
}

#[test]
fn the_variables_are_token_request_path_and_client() {
    for source in [
        "path.id == token.sub",
        "path['id'] == 'a b'",
        "'orders:read' in token.scope && size(token.scope) == 2",
        "token.tier == 'gold' && token.n + 1 == 4",
        "request.method == 'GET' && request.host == 'orders.shop' && request.path == '/orders/a b'",
        "request.query == 'x=%31'",
        "request.headers['x-tenant'] == 't1'",
        "'x-tenant' in request.headers && !('x-other' in request.headers)",
        "client.id == 'shop.checkout'",
        "has(token.tier) && !has(token.missing)",
        "token.list.exists(x, x == 'b') && token.list.all(x, size(x) == 1)",
        "token.list.exists(token, token == 'b')",
        "client.id.startsWith('shop.') ? true : false",
    ] {
        assert_eq!(judge(source), Outcome::Holds, "{source}");
    }
    assert_eq!(judge("token.sub == 'c'"), Outcome::Fails);
}

#[test]
fn an_error_a_missing_key_or_a_result_that_is_not_a_bool_does_not_hold() {
    for source in [
        "token.missing == 'x'",
        "1 / 0 == 1",
        "token.sub",
        "1",
        "path.other == 'x'",
        "token.n == 3 && token.sub",
        "token.list[7] == 'a'",
    ] {
        assert_eq!(judge(source), Outcome::Broken, "{source}");
    }
}

#[test]
fn credentials_and_what_proxies_say_are_withheld_in_every_spelling() {
    for name in [
        "authorization",
        "cookie",
        "forwarded",
        "x-forwarded-for",
        "x_forwarded_for",
        "x-countersign-subject",
        "X_COUNTERSIGN.Client",
    ] {
        let source = format!("'{}' in request.headers", name.to_ascii_lowercase());
        assert_eq!(judge_with(&source, &json!({}), &[(name, "x")]), Outcome::Fails, "{name}");
    }
}

#[test]
fn a_repeated_header_breaks_the_condition_that_names_it() {
    assert_eq!(judge("'accept' in request.headers"), Outcome::Broken);
    assert_eq!(judge("size(request.headers) == 3"), Outcome::Broken);
    assert_eq!(judge("!('accept' in request.headers)"), Outcome::Broken);
}

#[test]
fn values_over_the_bounds_break_the_condition_that_names_them() {
    let long = "a".repeat(MAX_STRING + 1);
    let many: Vec<_> = (0..=MAX_ENTRIES).collect();
    let claims = json!({"long": long, "many": many, "deep": {"a": {"b": many}}, "sub": "s"});
    for source in ["size(token.long) > 0", "size(token.many) > 0", "size(token.deep) > 0", "size(token) > 0"] {
        assert_eq!(judge_with(source, &claims, &[]), Outcome::Broken, "{source}");
    }
    assert_eq!(judge_with("token.sub == 's'", &claims, &[]), Outcome::Holds);
}

#[test]
fn a_source_that_could_cost_much_is_refused() {
    use ConditionError as E;
    for (source, error) in [
        ("token.a.all(x, token.a.all(y, x == y))".to_owned(), E::NestedMacro),
        ("token.a.map(x, x).exists(x, x)".to_owned(), E::NestedMacro),
        ("(token.a + token.a).all(x, x)".to_owned(), E::ComputedRange),
        ("token.sub.matches('a*')".to_owned(), E::Function("matches".to_owned())),
        ("nobody.x == 1".to_owned(), E::Variable("nobody".to_owned())),
        ("int == int".to_owned(), E::Variable("int".to_owned())),
        (format!("true{}", " && true".repeat(63)), E::TooComplex),
        (format!("has(token{})", ".a".repeat(100)), E::TooComplex),
        (format!("{}true{}", "(".repeat(25), ")".repeat(25)), E::TooComplex),
        (format!("'{}' == ''", "a".repeat(MAX_SOURCE)), E::TooLong),
        ("Foo{a: 1} == 1".to_owned(), E::Unsupported),
    ] {
        assert_eq!(compile(&source).map(|_| ()), Err(error), "{source}");
    }
    for source in ["", "token.", "token.sub ==", "'", "a b", "token.?sub", "\u{0}"] {
        assert!(matches!(compile(source), Err(E::Syntax(_))), "{source:?}");
    }
}

#[test]
fn the_costliest_condition_that_is_accepted_comes_to_an_answer() {
    let words: Vec<_> = (0..MAX_ENTRIES).map(|n| format!("{}{n}", "a".repeat(200))).collect();
    let claims = json!({"a": words, "b": words, "l": "b".repeat(MAX_STRING)});
    let source = "token.a.all(x, !(x in ['b']) && token.l.contains(x) == false && token.l + x != x && (x + x) in token.b == false)";
    assert_eq!(judge_with(source, &claims, &[]), Outcome::Holds);
}

#[test]
fn equal_sources_share_a_program() {
    let (one, other) = (compile("token.sub == 'shared'"), compile("token.sub == 'shared'"));
    assert!(Arc::ptr_eq(&one.expect("compiles"), &other.expect("compiles")));
}

#[test]
fn sources_that_recurse_are_refused_without_exhausting_the_stack() {
    for piece in
        ["!", "-", "[", "a.", "a[0]", "1+", "1?1:", "a.b(", "{1:", "true||", "f(", "'a'+", "\"\"\"", "has(", "x.all(y,"]
    {
        let source: String = piece.repeat(MAX_SOURCE / piece.len());
        let complete = format!("{}1", source.get(..source.len() - piece.len()).unwrap_or_default());
        let refused = compile(&source).is_err() && compile(&complete).is_err();
        // Pairs of `!` and `-` cancel out while parsing; what is left is a small condition.
        assert!(refused || ["!", "-"].contains(&piece), "{piece}");
    }
}

#[test]
fn as_many_brackets_as_are_accepted_fit_on_a_small_stack() {
    let kinds =
        [("(", "true", ")"), ("[", "true", "]"), ("{1: ", "true", "}"), ("size(", "'a'", ")"), ("!(", "true", ")")];
    let outcomes = move || {
        kinds.map(|(open, inner, close)| {
            let source = format!("{}{inner}{}", open.repeat(MAX_BRACKETS), close.repeat(MAX_BRACKETS));
            compile(&source).err()
        })
    };
    // What threads of the runtime have. A release needs less than an eighth of it; unoptimised frames are many times as large.
    let stack = if cfg!(debug_assertions) { 16 << 20 } else { 2 << 20 };
    let thread = std::thread::Builder::new().stack_size(stack).spawn(outcomes).expect("a thread");
    assert_eq!(thread.join().expect("it ends well"), kinds.map(|_| None));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(source in "[a-z().?:\\[\\]{}'\"+&|!=<> 0-9,\\\\]{0,60}") {
        let _outcome = compile(&source).map(|_| ());
    }
}

#[test]
fn who_acts_for_whom_is_seen_and_without_an_exchange_it_denies() {
    let exchanged = json!({"sub": "store.checkout", "act": {"sub": "store.orders", "act": {"sub": "store.front"}}});
    let own = json!({"sub": "store.checkout"});
    for (source, of_exchanged, of_own) in [
        ("token.act.sub == 'store.orders' && token.sub == 'store.checkout'", Outcome::Holds, Outcome::Broken),
        ("token.act.act.sub == 'store.front'", Outcome::Holds, Outcome::Broken),
        ("token.act.sub == 'store.front'", Outcome::Fails, Outcome::Broken),
        ("has(token.act) && token.act.sub == 'store.orders'", Outcome::Holds, Outcome::Fails),
        ("!has(token.act)", Outcome::Fails, Outcome::Holds),
    ] {
        assert_eq!(judge_with(source, &exchanged, &[]), of_exchanged, "{source}");
        assert_eq!(judge_with(source, &own, &[]), of_own, "{source}");
    }
}
