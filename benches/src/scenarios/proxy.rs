//! Through a real Envoy, beside the same Envoy asking the no-op, and beside Envoy's own `jwt_authn` and RBAC.
//!
//! One Envoy with one worker and a listener a case, all with the same settings, each answering 200 by itself once the filters let a
//! request pass.

use super::check::{FORGETFUL, UNKNOWN};
use super::{Effort, list};
use crate::figures::{Report, Target};
use crate::floor::Running;
use crate::load::{Runs, bearers};
use crate::support::envoy::{cluster, socket};
use crate::support::http::Request;
use crate::support::ports::free_address;
use crate::support::processes::Process;
use crate::support::{await_condition, tool};
use crate::world::World;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

const CONNECTIONS: u32 = 16;

/// A listener and the load on it.
struct Case {
    name: &'static str,
    listener: SocketAddr,
    tokens: PathBuf,
    /// The server asked, if any.
    asked: Option<u32>,
    runs: Runs,
}

pub async fn measure(effort: Effort, report: &mut Report) {
    let floor = Running::check();
    let (knowing, forgetful) = (World::start(&[]).await, World::start(&[FORGETFUL]).await);
    let one = knowing.file("one.tokens", knowing.tokens("es256", 1).await.join("\n"));
    let many = forgetful.file("many.tokens", forgetful.tokens("es256", UNKNOWN).await.join("\n"));
    let only = forgetful.file("only.tokens", forgetful.tokens("es256", 1).await.join("\n"));
    let jwks = Request::get("/oauth2/jwks").send(forgetful.issuer).await.expect("the issuer answers").text();
    let issuer = format!("http://{}", forgetful.issuer);
    let filters = [
        ext_authz("floor"),
        ext_authz("knowing"),
        ext_authz("forgetful"),
        jwt_authn(&issuer, &jwks, false),
        jwt_authn(&issuer, &jwks, true),
    ];
    let clusters = [("floor", floor.address), ("knowing", knowing.grpc), ("forgetful", forgetful.grpc)];
    let (envoy, listeners) = start(&forgetful, &filters, &clusters).await;
    let (noop, ours_known, ours_unknown) = (floor.process.id(), knowing.process.id(), forgetful.process.id());
    let case = |name, listener: usize, tokens: &PathBuf, asked| Case {
        name,
        listener: listeners[listener],
        tokens: tokens.clone(),
        asked,
        runs: Runs::default(),
    };
    let mut cases = [
        case("Envoy and the no-op, one token", 0, &one, Some(noop)),
        case("Envoy and ours, known token", 1, &one, Some(ours_known)),
        case("Envoy and the no-op, tokens in turn", 0, &many, Some(noop)),
        case("Envoy and ours, unknown tokens", 2, &many, Some(ours_unknown)),
        case("Envoy's jwt_authn and RBAC, no cache, tokens in turn", 3, &many, None),
        case("Envoy's jwt_authn and RBAC, cached, one token", 4, &only, None),
    ];
    for round in 0..=effort.rounds {
        for case in &mut cases {
            let seconds = if round == 0 { 1 } else { effort.seconds };
            let watch: Vec<_> = [envoy.id()].into_iter().chain(case.asked).collect();
            let run = bearers(case.listener, &case.tokens, round * 1000, CONNECTIONS, seconds, &watch);
            if round > 0 {
                case.runs.push(run);
            }
        }
    }
    compare(&cases, report);
}

fn compare(cases: &[Case; 6], report: &mut Report) {
    let [noop_one, known, noop_many, unknown, ..] = cases;
    let detail = |ours: &Case, floor: &Case, of: fn(&crate::load::Run) -> f64| {
        format!("ours {} µs, no-op {} µs", list(ours.runs.0.iter().map(of)), list(floor.runs.0.iter().map(of)))
    };
    for (what, ours, floor, of, bound) in [
        ("known token, p50", known, noop_one, (|run| run.p50) as fn(&crate::load::Run) -> f64, 1.1),
        ("unknown ES256 token, p50", unknown, noop_many, |run| run.p50, 2.0),
        ("unknown ES256 token, p99", unknown, noop_many, |run| run.p99, 3.0),
    ] {
        let ratio = (ours.runs.ratio(&floor.runs, of), "× the no-op");
        report.add("proxy", what, ratio, Target::AtMost(bound), detail(ours, floor, of));
    }
    for case in cases {
        let asked = case.asked.map_or(String::new(), |_| format!(" + {:.0}", case.runs.median(|run| run.cpu[1])));
        let detail = format!(
            "p50 {:.0} µs, p99 {:.0} µs; CPU a request, Envoy{}: {:.0}{asked} µs",
            case.runs.median(|run| run.p50),
            case.runs.median(|run| run.p99),
            if case.asked.is_some() { " + server asked" } else { "" },
            case.runs.median(|run| run.cpu[0]),
        );
        report.add("proxy", case.name, (case.runs.median(|run| run.rate), "requests/s"), Target::None, detail);
    }
}

async fn start(world: &World, filters: &[Vec<Value>], clusters: &[(&str, SocketAddr)]) -> (Process, Vec<SocketAddr>) {
    let admin = free_address();
    let addresses: Vec<_> = filters.iter().map(|_| free_address()).collect();
    let listeners: Vec<_> = filters.iter().zip(&addresses).enumerate().map(listener).collect();
    let clusters: Vec<_> = clusters.iter().map(|(name, address)| cluster(name, *address, true)).collect();
    let bootstrap = json!({
        "admin": {"address": socket(admin)},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    });
    let config = world.file("envoy.json", bootstrap.to_string());
    let args = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "error", "--config-path"];
    let args = args.into_iter().map(Into::into).chain([config.into_os_string()]);
    let process = Process::start("envoy", tool("envoy"), args);
    let look = async || Request::get("/ready").send(admin).await.map_or(0, |answer| answer.status);
    await_condition("Envoy to be ready", Duration::from_secs(20), look, |status| *status == 200).await;
    (process, addresses)
}

fn listener((index, (filters, address)): (usize, (&Vec<Value>, &SocketAddr))) -> Value {
    let router = json!({"name": "envoy.filters.http.router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
    }});
    let filters: Vec<_> = filters.iter().cloned().chain([router]).collect();
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": format!("listener_{index}"),
        "normalize_path": true,
        "merge_slashes": true,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"},
        "use_remote_address": true,
        "internal_address_config": {},
        "route_config": {"virtual_hosts": [{
            "name": "all", "domains": ["*"], "typed_per_filter_config": policy_named(&filters),
            "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
        }]},
        "http_filters": filters,
    });
    json!({
        "name": format!("listener-{index}"),
        "address": socket(*address),
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
    })
}

/// Every listener that asks names the policy, so that the no-op gets the same message as ours.
fn policy_named(filters: &[Value]) -> Value {
    const ASKS: &str = "envoy.filters.http.ext_authz";
    if filters[0]["name"] != ASKS {
        return json!({});
    }
    json!({ASKS: {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
        "check_settings": {"context_extensions": {"countersign.dev/policy": "shop/orders"}},
    }})
}

fn ext_authz(asked: &str) -> Vec<Value> {
    vec![json!({"name": "envoy.filters.http.ext_authz", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "failure_mode_allow": false,
        "status_on_error": {"code": "ServiceUnavailable"},
        "encode_raw_headers": true,
        "validate_mutations": true,
        "grpc_service": {
            "envoy_grpc": {"cluster_name": asked}, "timeout": "2s",
        },
    }})]
}

fn jwt_authn(issuer: &str, jwks: &str, cached: bool) -> Vec<Value> {
    let mut provider = json!({
        "issuer": issuer,
        "audiences": ["https://orders.shop.svc"],
        "local_jwks": {"inline_string": jwks},
        "payload_in_metadata": "jwt",
        "normalize_payload_in_metadata": {"space_delimited_claims": ["scope"]},
    });
    if cached {
        provider["jwt_cache_config"] = json!({"jwt_cache_size": 100});
    }
    let scope = json!({"sourced_metadata": {"metadata_matcher": {
        "filter": "envoy.filters.http.jwt_authn",
        "path": [{"key": "jwt"}, {"key": "scope"}],
        "value": {"list_match": {"one_of": {"string_match": {"exact": "orders:read"}}}},
    }}});
    let method = json!({"header": {"name": ":method", "string_match": {"exact": "GET"}}});
    let path = json!({"url_path": {"path": {"prefix": "/orders/"}}});
    vec![
        json!({"name": "envoy.filters.http.jwt_authn", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"ours": provider},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "ours"}}],
        }}),
        json!({"name": "envoy.filters.http.rbac", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": {"action": "ALLOW", "policies": {"orders": {
                "permissions": [{"and_rules": {"rules": [method, path]}}],
                "principals": [scope],
            }}},
        }}),
    ]
}
