//! What a namespace may claim by itself, by an allowance, and never.

use super::*;
use crate::directory::tests::fixtures::allowance_object;

const DOMAIN: &str = "cluster.local";

fn allowance(change: impl FnOnce(&mut AllowanceObject)) -> Arc<AllowanceObject> {
    allowance_object("shop-public", Some("shop"), change)
}

fn bounds(allowances: &[Arc<AllowanceObject>]) -> Bounds {
    let labels = Labels::from([(NAME_LABEL.to_owned(), "shop".to_owned())]);
    Bounds::new(&Namespace::new("shop").expect("a namespace"), Some(&labels), allowances)
}

fn reserved() -> Reserved {
    Reserved::new("https://issuer.countersign-system.svc:8443/a", DOMAIN, ["https://api.example.org".to_owned()])
}

fn audience(bounds: &Bounds, text: &str) -> Option<OutOfBounds> {
    let reserved = reserved();
    let limits = Limits { reserved: &reserved, cluster_domain: DOMAIN };
    bounds.audience(&Audience::new(text).expect("an audience"), &limits).err()
}

fn host(bounds: &Bounds, text: &str) -> Option<OutOfBounds> {
    let reserved = reserved();
    let limits = Limits { reserved: &reserved, cluster_domain: DOMAIN };
    let claim: AllowedHost = text.parse().expect("a host");
    bounds.host(&claim.host, &claim.path_prefix, &limits).err()
}

#[test]
fn a_namespace_may_claim_its_own_services_names_and_audiences() {
    let bounds = bounds(&[]);
    for name in ["orders.shop", "orders.shop.svc", "orders.shop.svc.cluster.local"] {
        assert_eq!(host(&bounds, name), None, "{name}");
        assert_eq!(host(&bounds, &format!("{name}:8443/v1")), None, "{name}");
        for audience_of in ["https://{}", "https://{}:8443", "https://{}/v1/orders", "https://{}:8443/"] {
            assert_eq!(audience(&bounds, &audience_of.replace("{}", name)), None, "{name}");
        }
    }
}

#[test]
fn nothing_else_is_a_services_name() {
    let bounds = bounds(&[]);
    for name in [
        "shop",
        "shop.svc",
        "orders.web",
        "orders.web.svc",
        "a.orders.shop",
        "orders.shop.svc.example.com",
        "orders.shop.cluster.local",
        "orders.shop.com",
        "*.shop",
        "*.shop.svc",
        "api.example.com",
    ] {
        assert_eq!(host(&bounds, name), Some(OutOfBounds::NotAllowed), "{name}");
    }
    for text in [
        "http://orders.shop.svc",
        "https://orders.web.svc",
        "https://orders.shop.svc@evil.example",
        "https://orders.shop?x",
        "https://orders.shop:",
        "https://orders.shop:0",
        "https://orders.shop:65536",
        "https://Orders.shop",
        "urn:orders.shop",
        "https://evil.example/orders.shop.svc",
        "https://orders.shop.svc.",
    ] {
        assert_eq!(audience(&bounds, text), Some(OutOfBounds::NotAllowed), "{text}");
    }
}

#[test]
fn an_allowance_adds_hosts_with_their_paths_and_audiences() {
    let first = allowance(|a| a.hosts = vec!["api.example.com/orders".parse().expect("a host")]);
    let second = allowance(|a| {
        a.hosts = vec!["*.orders.example.com".parse().expect("a host")];
        a.audiences = vec![Audience::new("https://api.example.com/orders").expect("an audience")];
    });
    let bounds = bounds(&[first, second]);
    for good in [
        "api.example.com/orders",
        "api.example.com/orders/v1",
        "api.example.com:8443/orders",
        "eu.orders.example.com",
        "*.orders.example.com",
        "*.eu.orders.example.com/x",
    ] {
        assert_eq!(host(&bounds, good), None, "{good}");
    }
    for bad in
        ["api.example.com", "api.example.com/ordersx", "orders.example.com", "*.example.com", "x.example.com/orders"]
    {
        assert_eq!(host(&bounds, bad), Some(OutOfBounds::NotAllowed), "{bad}");
    }
    assert_eq!(audience(&bounds, "https://api.example.com/orders"), None);
    assert_eq!(audience(&bounds, "https://api.example.com/orders/"), Some(OutOfBounds::NotAllowed));
}

#[test]
fn an_allowance_counts_only_where_it_selects_and_labels_are_known() {
    let all = allowance(|a| {
        a.selector = Some(LabelSelector::default());
        a.client_ids = vec![ClientId::new("legacy").expect("an id")];
    });
    let unreadable = allowance(|a| {
        a.selector = None;
        a.grant_types = vec![GrantType::RefreshToken];
    });
    let shop = Namespace::new("shop").expect("a namespace");
    let object = ObjectRef::new("shop", "checkout").expect("an object");
    let id = ClientId::new("legacy").expect("an id");
    assert!(Bounds::new(&shop, Some(&Labels::new()), [&all]).client_id(&object, &id));
    assert!(!Bounds::new(&shop, None, [&all]).client_id(&object, &id));
    assert!(!bounds(&[unreadable]).grant_type(GrantType::RefreshToken));
}

#[test]
fn the_issuers_and_the_api_servers_names_can_never_be_claimed() {
    let generous = allowance(|a| {
        a.selector = Some(LabelSelector::default());
        a.hosts = vec!["*.svc".parse().expect("a host"), "*.countersign-system".parse().expect("a host")];
        a.audiences =
            ["https://api.example.org", "https://kubernetes.default.svc", "HTTPS://Issuer.countersign-system/x"]
                .map(|text| Audience::new(text).expect("an audience"))
                .to_vec();
    });
    let bounds = bounds(std::slice::from_ref(&generous));
    for text in &generous.audiences {
        assert_eq!(audience(&bounds, text.as_str()), Some(OutOfBounds::Reserved), "{text}");
    }
    for name in [
        "kubernetes.default.svc",
        "issuer.countersign-system.svc:1",
        "*.svc",
        "*.default.svc",
        "issuer.countersign-system",
    ] {
        assert_eq!(host(&bounds, name), Some(OutOfBounds::Reserved), "{name}");
    }
    assert_eq!(host(&bounds, "other.countersign-system"), None);
}

#[test]
fn another_client_id_and_more_grant_types_need_an_allowance() {
    let object = ObjectRef::new("shop", "checkout").expect("an object");
    let id = |text| ClientId::new(text).expect("an id");
    let allowed = allowance(|a| {
        a.client_ids = vec![id("9f2b")];
        a.grant_types = vec![GrantType::AuthorizationCode];
        a.max_access_token_lifetime = Some(Duration::from_mins(30));
    });
    let longer = allowance(|a| a.max_access_token_lifetime = Some(Duration::from_mins(45)));
    let (plain, more) = (bounds(&[]), bounds(&[allowed, longer]));
    assert!(plain.client_id(&object, &id("shop.checkout")) && !plain.client_id(&object, &id("shop.other")));
    assert!(!plain.client_id(&object, &id("9f2b")) && more.client_id(&object, &id("9f2b")));
    assert!(!plain.grant_type(GrantType::AuthorizationCode) && more.grant_type(GrantType::AuthorizationCode));
    assert!(
        plain.grant_type(GrantType::ClientCredentials)
            && plain.grant_type(GrantType::TokenExchange)
            && plain.max_access_token_lifetime().is_none()
    );
    assert_eq!(more.max_access_token_lifetime(), Some(Duration::from_mins(45)));
}

#[test]
fn an_audience_names_a_service_or_none() {
    for (audience, service) in [
        ("https://orders.shop.svc", Some("orders/shop")),
        ("https://orders.shop", Some("orders/shop")),
        ("https://orders.shop.svc.cluster.local:8443/v1", Some("orders/shop")),
        ("https://api.example.com", None),
        ("https://orders", None),
        ("http://orders.shop.svc", None),
        ("urn:orders", None),
    ] {
        let found = audience_service(&Audience::new(audience).expect("an audience"), "cluster.local");
        let found = found.map(|(service, namespace)| format!("{service}/{namespace}"));
        assert_eq!(found.as_deref(), service, "{audience}");
    }
}
