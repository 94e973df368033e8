//! How a request is read: one reading, or none.

use super::*;

const ORDERS: RequestParts<'static> =
    RequestParts { method: "GET", scheme: "https", host: "orders.shop", target: "/orders/7?x=1", headers: NO_HEADERS };
const NO_HEADERS: &&[(&str, &str)] = &(&[] as &[_]);

fn credential_of(headers: &'static [(&'static str, &'static str)], target: &'static str) -> Credential<'static> {
    let headers: &'static dyn Headers = Box::leak(Box::new(headers));
    Request::read(&RequestParts { target, headers, ..ORDERS }).expect("a readable request").credential
}

fn refusal_of(parts: &RequestParts<'_>, headers: &[(&str, &str)]) -> Option<Ambiguity> {
    Request::read(&RequestParts { headers: &headers, ..*parts }).err()
}

#[test]
fn a_usual_request_is_read_without_a_copy() {
    let request = Request::read(&ORDERS).expect("a usual request");
    assert!(matches!((&request.path, &request.host.name), (Cow::Borrowed("/orders/7"), Cow::Borrowed("orders.shop"))));
    assert_eq!((request.method, request.query, request.preflight), ("GET", "x=1", false));
}

#[test]
fn the_scheme_of_a_credential_is_compared_without_case() {
    for scheme in ["Bearer t", "bearer t", "BEARER t"] {
        assert_eq!(read_credential(scheme.as_bytes()), Credential::Bearer("t"));
    }
    assert_eq!(read_credential(b"Bearer a-._~+/1=="), Credential::Bearer("a-._~+/1=="));
    assert_eq!(read_credential(b"Basic YTpi"), Credential::None);
}

#[test]
fn the_characters_of_a_token_are_those_of_rfc_6750() {
    for byte in 0..=u8::MAX {
        assert_eq!(is_of_token(byte), byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte), "{byte:#x}");
    }
}

#[test]
fn a_credential_that_can_be_read_in_two_ways_is_ambiguous() {
    for value in
        ["Bearer", "Bearer ", "Bearer  t", "Bearer\tt", "Bearer t u", "Bearer a,b", "Bearer a, Bearer b", "Bearer ="]
    {
        assert_eq!(read_credential(value.as_bytes()), Credential::Ambiguous, "{value:?}");
    }
    assert_eq!(read_credential(b"Bearer \xff"), Credential::Ambiguous);
    assert_eq!(
        credential_of(&[("authorization", "Bearer a"), ("Authorization", "Bearer a")], "/"),
        Credential::Ambiguous
    );
    assert_eq!(
        credential_of(&[("authorization", "Basic a"), ("authorization", "Bearer a")], "/"),
        Credential::Ambiguous
    );
    assert_eq!(credential_of(&[("authorization", "Bearer a")], "/?access_token=b"), Credential::Ambiguous);
    assert_eq!(credential_of(&[("authorization", "Bearer a")], "/?token=b"), Credential::Bearer("a"));
    assert_eq!(credential_of(&[], "/?access_token=b"), Credential::None);
}

#[test]
fn the_text_of_a_credential_is_never_printed() {
    assert!(!format!("{:?}", Credential::Bearer("secret")).contains("secret"));
}

#[test]
fn a_request_naming_two_hosts_is_refused() {
    assert_eq!(refusal_of(&ORDERS, &[("host", "Orders.shop.:443"), (":authority", "orders.shop")]), None);
    assert_eq!(refusal_of(&ORDERS, &[("host", "billing.shop")]), Some(Ambiguity::HostMismatch));
    assert_eq!(refusal_of(&ORDERS, &[(":authority", "billing.shop")]), Some(Ambiguity::HostMismatch));
    assert_eq!(refusal_of(&ORDERS, &[("host", "orders.shop"), ("host", "orders.shop")]), Some(Ambiguity::HostMismatch));
}

#[test]
fn pseudo_headers_that_disagree_with_the_proxy_are_refused() {
    assert_eq!(refusal_of(&ORDERS, &[(":method", "GET"), (":path", "/orders/7?x=1")]), None);
    assert_eq!(refusal_of(&ORDERS, &[(":method", "DELETE")]), Some(Ambiguity::Method));
    assert_eq!(refusal_of(&ORDERS, &[(":path", "/admin")]), Some(Ambiguity::PathCharacter));
}

#[test]
fn a_method_is_an_upper_case_token_and_no_header_overrides_it() {
    for method in ["", "get", "GET ", "G\0", "Get"] {
        assert_eq!(refusal_of(&RequestParts { method, ..ORDERS }, &[]), Some(Ambiguity::Method), "{method:?}");
    }
    assert_eq!(refusal_of(&RequestParts { method: "M-SEARCH", ..ORDERS }, &[]), None);
    for name in ["X-HTTP-Method-Override", "x-http-method", "x-method-override"] {
        assert_eq!(refusal_of(&ORDERS, &[(name, "DELETE")]), Some(Ambiguity::MethodOverride));
        assert_eq!(refusal_of(&ORDERS, &[(name, "get")]), None);
    }
}

#[test]
fn a_preflight_has_all_three_of_its_marks() {
    let marks: &[(&str, &str)] = &[("origin", "https://a"), ("access-control-request-method", "DELETE")];
    let read = |method, marks: &[(&str, &str)]| {
        Request::read(&RequestParts { method, headers: &marks, ..ORDERS }).expect("readable").preflight
    };
    assert!(read("OPTIONS", marks));
    assert!(!read("GET", marks) && !read("OPTIONS", &marks[..1]) && !read("OPTIONS", &marks[1..]));
}

#[test]
fn a_connect_without_a_path_is_refused() {
    for target in ["", "*", "orders.shop:443"] {
        let parts = RequestParts { method: "CONNECT", target, ..ORDERS };
        assert_eq!(refusal_of(&parts, &[]), Some(Ambiguity::PathNotAbsolute));
    }
}

#[test]
fn a_connection_header_must_not_have_identity_dropped() {
    for value in ["x-countersign-subject", "close, X_Countersign.Client", "authorization", "keep-alive,host"] {
        assert_eq!(refusal_of(&ORDERS, &[("connection", value)]), Some(Ambiguity::Header), "{value}");
    }
    assert_eq!(refusal_of(&ORDERS, &[("connection", "keep-alive, x-other")]), None);
}
