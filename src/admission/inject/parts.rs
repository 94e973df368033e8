//! What is added to a pod: a container, three volumes, mounts.
//!
//! Flows in: a wish, and what every agent here is like. Flows out: pieces of a Pod. The agent passes the Pod Security standard
//! `restricted` and holds no secret: what it proves itself with is the pod's own ServiceAccount token, for our issuer alone.

use countersign_api::metadata::oauth_name;
use k8s_openapi::api::core::v1::PodSpec;
use serde_json::{Value, json};

use super::Settings;
use super::wish::Wish;

/// How things are called in the pod.
pub(super) const AGENT: &str = "countersign-agent";
pub(super) const TOKENS: &str = "countersign-tokens";
pub(super) const CLIENT: &str = "countersign-client";
pub(super) const ASSERTION: &str = "countersign-assertion";

/// Where the agent itself sees them.
const TOKENS_AT: &str = "/run/tokens";
const CLIENT_AT: &str = "/etc/countersign";
const ASSERTION_AT: &str = "/var/run/countersign";
/// The longest an assertion may live for our issuer: with the API server away the agent goes on about that long.
const ASSERTION_SECONDS: u32 = 3600;
/// The user of the image, for a pod whose own is root.
const NOT_ROOT: i64 = 65532;
/// Seconds until a first token is there; then the agent is started again.
const PATIENCE: u32 = 300;

/// The agent as a native sidecar: what is listed after it starts once it has every token.
pub(super) fn container(spec: &PodSpec, wish: &Wish, settings: &Settings, issuer_url: &str) -> Value {
    let port = wish.port.unwrap_or(settings.admin.port());
    let probe = |path: &str| json!({"path": path, "port": port, "scheme": "HTTP"});
    json!({
        "name": AGENT,
        "image": settings.image,
        // The agent without the rest of the image's main program: a fraction of the memory, in every pod.
        "command": ["/countersign-agent"],
        "restartPolicy": "Always",
        "args": arguments(spec, wish, (settings, port), issuer_url),
        "ports": [{"name": "agent-admin", "containerPort": port, "protocol": "TCP"}],
        "startupProbe": {"httpGet": probe("/readyz"), "periodSeconds": 1, "failureThreshold": PATIENCE},
        // Never part of the pod's readiness: without an issuer for a while, all that ask here would be taken out of service at
        // once, whatever they answer without a token.
        "livenessProbe": {"httpGet": probe("/livez"), "periodSeconds": 10},
        "resources": settings.resources,
        "securityContext": security(spec),
        "volumeMounts": [
            {"name": TOKENS, "mountPath": TOKENS_AT},
            {"name": CLIENT, "mountPath": CLIENT_AT, "readOnly": true},
            {"name": ASSERTION, "mountPath": ASSERTION_AT, "readOnly": true},
        ],
    })
}

/// The volumes the agent needs.
pub(super) fn volumes(wish: &Wish, issuer_url: &str) -> [Value; 3] {
    let token = json!({"path": "token", "audience": issuer_url, "expirationSeconds": ASSERTION_SECONDS});
    [
        json!({"name": TOKENS, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
        json!({"name": CLIENT, "configMap": {"name": oauth_name(&wish.client)}}),
        json!({"name": ASSERTION, "projected": {"sources": [{"serviceAccountToken": token}]}}),
    ]
}

/// How a container sees the tokens.
pub(super) fn mount(wish: &Wish) -> Value {
    json!({"name": TOKENS, "mountPath": wish.mount_path, "readOnly": true})
}

fn arguments(spec: &PodSpec, wish: &Wish, (settings, port): (&Settings, u16), issuer_url: &str) -> Vec<String> {
    let mut flags = vec![
        format!("--credentials={CLIENT_AT}"),
        format!("--assertion-file={ASSERTION_AT}/token"),
        format!("--admin-listen={}", std::net::SocketAddr::new(settings.admin.ip(), port)),
    ];
    flags.extend(wish.tokens.iter().map(|token| format!("--token={token}")));
    if wish.outputs.file {
        flags.push(format!("--token-dir={TOKENS_AT}"));
    }
    if wish.outputs.envoy {
        flags.push(format!("--envoy-dir={TOKENS_AT}"));
    }
    if wish.outputs.socket {
        flags.push(format!("--socket={TOKENS_AT}/agent.sock"));
    }
    // As the kubelet does with ServiceAccount tokens: what the programs run as is theirs to say, often in an image nobody here
    // sees. Who sees the volume is decided by the mount.
    let has_group = spec.security_context.as_ref().is_some_and(|context| context.fs_group.is_some());
    flags.push(if has_group { "--group-access" } else { "--everyone-access" }.to_owned());
    if issuer_url.starts_with("http://") {
        flags.push("--plaintext".to_owned());
    }
    // The kubelet puts variables in place of $(NAME), and one `$` of two.
    flags.into_iter().map(|flag| flag.replace('$', "$$")).collect()
}

fn security(spec: &PodSpec) -> Value {
    let mut security = json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "runAsNonRoot": true,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    // Else the pod's user, or the image's: some clusters choose it themselves and refuse another.
    let is_root = spec.security_context.as_ref().is_some_and(|context| context.run_as_user == Some(0));
    if let (true, Some(security)) = (is_root, security.as_object_mut()) {
        security.insert("runAsUser".to_owned(), NOT_ROOT.into());
        security.insert("runAsGroup".to_owned(), NOT_ROOT.into());
    }
    security
}
