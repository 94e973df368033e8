//! Conditions, which any tenant may write: compiled and, where that holds, judged over a fixed request.

use std::sync::Arc;

use countersign_core::policy::{Condition, Facts};
use countersign_core::request::{Request, RequestParts};
use countersign_core::scope::ScopeSet;
use serde_json::{Map, Value, json};

pub fn run(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    let Ok(condition) = Condition::compile(source) else { return };
    assert!(source.len() <= 1024);
    let headers: &[(&str, &str)] = &[("x-tenant", "shop"), ("accept", "*/*")];
    let parts = RequestParts {
        method: "GET",
        scheme: "https",
        host: "orders.shop",
        target: "/orders/shop.checkout?page=2",
        headers: &headers,
    };
    let request = Request::read(&parts).expect("a usual request");
    let facts = Facts {
        claims: &claims(),
        scope: &ScopeSet::parse("orders:read orders:write").expect("scopes"),
        client_id: "shop.checkout",
        request: &request,
        params: &[(1, Arc::from("id"))],
    };
    assert_eq!(condition.judge(&facts), condition.judge(&facts), "one request, one answer");
}

fn claims() -> Map<String, Value> {
    let claims = json!({
        "sub": "shop.checkout", "exp": 1_800_000_900_i64, "tier": "gold", "level": -3, "share": 0.5, "beta": true,
        "groups": ["a", "b", ["c"]], "deep": {"a": {"b": [1, 2, 3]}}, "nothing": null, "big": u64::MAX, "small": i64::MIN
    });
    claims.as_object().cloned().unwrap_or_default()
}
