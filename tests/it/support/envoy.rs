//! A real Envoy in front of a resource server, asking a verifier about every request.
//!
//! The settings are the safe ones that docs for users show as well: paths normalised and escapes refused before anyone decides, raw
//! headers for the verifier, closed when the verifier is away. One listener a [`Wire`], each naming its own policy.

use super::http::{Request, Response};
use super::ports::free_address;
use super::processes::Process;
use super::scratch::Scratch;
use super::tls::Certificates;
use super::{await_condition, tool};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// How one listener asks the verifier.
#[derive(Clone, Debug)]
pub enum Wire {
    /// `policy` is the value of the extension `countersign.dev/policy`; none when absent.
    Grpc { verifier: SocketAddr, policy: Option<String> },
    /// `prefix` is the path before the request's own, such as `/ext-authz/policy/shop/orders`.
    Http { verifier: SocketAddr, prefix: String },
}

pub struct Envoy {
    pub process: Process,
    listeners: Vec<SocketAddr>,
    _folder: Scratch,
}

impl Envoy {
    /// Starts it with one listener a wire, in that order, all before the same resource server.
    pub async fn start(wires: &[Wire], resource_server: SocketAddr) -> Self {
        Self::start_with(wires, resource_server, |_| ()).await
    }

    /// The same, asking verifiers over TLS with certificates of this authority.
    pub async fn start_tls(wires: &[Wire], resource_server: SocketAddr, authority: &Path) -> Self {
        let over_tls = |settings: &mut Value| {
            let clusters = settings["static_resources"]["clusters"].as_array_mut().expect("a list of clusters");
            clusters.iter_mut().skip(1).for_each(|verifier| verifier["transport_socket"] = tls(authority));
        };
        Self::start_with(wires, resource_server, over_tls).await
    }

    /// The same, called over TLS with this certificate. Callers may show one of their own by this authority, which Envoy then
    /// tells the verifier of over gRPC.
    pub async fn start_mtls(wires: &[Wire], resource_server: SocketAddr, own: &Certificates, clients: &Path) -> Self {
        let asking = |settings: &mut Value| {
            for listener in settings["static_resources"]["listeners"].as_array_mut().expect("a list of listeners") {
                let chain = &mut listener["filter_chains"][0];
                chain["transport_socket"] = downstream(own, clients);
                let filter = &mut chain["filters"][0]["typed_config"]["http_filters"][0]["typed_config"];
                filter["include_peer_certificate"] = json!(true);
            }
        };
        Self::start_with(wires, resource_server, asking).await
    }

    async fn start_with(wires: &[Wire], resource_server: SocketAddr, change: impl FnOnce(&mut Value)) -> Self {
        let folder = Scratch::new("envoy");
        let listeners: Vec<_> = wires.iter().map(|_| free_address()).collect();
        let admin = free_address();
        let config = folder.join("envoy.json");
        let mut settings = bootstrap(admin, wires, &listeners, resource_server);
        change(&mut settings);
        std::fs::write(&config, settings.to_string()).expect("write Envoy's settings");
        let args = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "--config-path"];
        let args = args.into_iter().map(Into::into).chain([config.into_os_string()]);
        let mut envoy = Self { process: Process::start("envoy", tool("envoy"), args), listeners, _folder: folder };
        envoy.ready(admin).await;
        envoy
    }

    async fn ready(&mut self, admin: SocketAddr) {
        let look = async || {
            assert!(self.process.ended().is_none(), "Envoy ended:\n{}", self.process.output());
            Request::get("/ready").send(admin).await
        };
        let live = |answer: &std::io::Result<Response>| answer.as_ref().is_ok_and(|answer| answer.status == 200);
        await_condition("Envoy to be ready", Duration::from_secs(20), look, live).await.expect("accepted as ready");
    }

    /// The address of the listener for the wire with this index.
    pub fn listener(&self, wire: usize) -> SocketAddr {
        self.listeners[wire]
    }
}

fn bootstrap(admin: SocketAddr, wires: &[Wire], listeners: &[SocketAddr], resource_server: SocketAddr) -> Value {
    let mut clusters = vec![cluster("resource-server", resource_server, false)];
    clusters.extend(wires.iter().enumerate().map(|(index, wire)| match wire {
        Wire::Grpc { verifier, .. } => cluster(&verifier_name(index), *verifier, true),
        Wire::Http { verifier, .. } => cluster(&verifier_name(index), *verifier, false),
    }));
    let listeners = wires.iter().zip(listeners).enumerate().map(|(index, (wire, address))| {
        json!({
            "name": format!("listener-{index}"),
            "address": socket(*address),
            "filter_chains": [{"filters": [connection_manager(index, wire)]}],
        })
    });
    json!({
        "admin": {"address": socket(admin)},
        "static_resources": {"listeners": listeners.collect::<Vec<_>>(), "clusters": clusters},
    })
}

fn verifier_name(index: usize) -> String {
    format!("verifier-{index}")
}

pub fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

pub fn cluster(name: &str, address: SocketAddr, http2: bool) -> Value {
    let protocol = if http2 { json!({"http2_protocol_options": {}}) } else { json!({"http_protocol_options": {}}) };
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(address)}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": protocol,
            },
        },
    })
}

fn tls(authority: &Path) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": {"validation_context": {
                "trusted_ca": {"filename": authority},
                "match_typed_subject_alt_names": [{"san_type": "IP_ADDRESS", "matcher": {"exact": "127.0.0.1"}}],
            }},
        },
    })
}

/// Asks callers for a certificate, and takes calls without one.
fn downstream(own: &Certificates, clients: &Path) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": false,
            "common_tls_context": {
                "tls_certificates": [{
                    "certificate_chain": {"filename": own.certificate()},
                    "private_key": {"filename": own.key()},
                }],
                "validation_context": {"trusted_ca": {"filename": clients}},
            },
        },
    })
}

fn connection_manager(index: usize, wire: &Wire) -> Value {
    let mut virtual_host = json!({
        "name": "all",
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "resource-server"}}],
    });
    if let Wire::Grpc { policy: Some(policy), .. } = wire {
        virtual_host["typed_per_filter_config"] = json!({"envoy.filters.http.ext_authz": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
            "check_settings": {"context_extensions": {"countersign.dev/policy": policy}},
        }});
    }
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": format!("listener_{index}"),
            "normalize_path": true,
            "merge_slashes": true,
            "path_with_escaped_slashes_action": "REJECT_REQUEST",
            "common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"},
            "internal_address_config": {},
            "use_remote_address": true,
            "strip_trailing_host_dot": true,
            "route_config": {"virtual_hosts": [virtual_host]},
            "http_filters": [
                {"name": "envoy.filters.http.ext_authz", "typed_config": ext_authz(index, wire)},
                {"name": "envoy.filters.http.router", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                }},
            ],
        },
    })
}

fn ext_authz(index: usize, wire: &Wire) -> Value {
    let mut filter = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "failure_mode_allow": false,
        "status_on_error": {"code": "ServiceUnavailable"},
        "validate_mutations": true,
        "decoder_header_mutation_rules": {"allow_all_routing": false, "disallow_is_error": true},
    });
    match wire {
        Wire::Grpc { .. } => {
            filter["encode_raw_headers"] = json!(true);
            filter["grpc_service"] = json!({"envoy_grpc": {"cluster_name": verifier_name(index)}, "timeout": "2s"});
        }
        Wire::Http { verifier, prefix } => {
            // What the verifier is to take away it must see: only some headers are sent on this wire by default.
            filter["allowed_headers"] = json!({"patterns": [{"prefix": "x-countersign-"}]});
            filter["http_service"] = json!({
                "server_uri": {"uri": format!("http://{verifier}"), "cluster": verifier_name(index), "timeout": "2s"},
                "path_prefix": prefix,
                "authorization_response": {
                    "allowed_upstream_headers": {"patterns": [{"prefix": "x-countersign-"}]},
                    "allowed_client_headers": {"patterns": [{"exact": "www-authenticate"}, {"exact": "retry-after"}]},
                },
            });
        }
    }
    filter
}
