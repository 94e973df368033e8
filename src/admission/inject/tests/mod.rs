//! Pods as the API server sends them, and others; patches are applied to see what comes of them.

#![expect(clippy::needless_pass_by_value, reason = "objects are written where they are used")]

mod any;
mod route;

use std::sync::Arc;

use countersign_api::OAuthClient;
use countersign_core::client::ClientObject;
use countersign_core::directory::{self, Change};
use countersign_core::names::IssuerName;
use jiff::Timestamp;
use serde_json::json;

use super::wish::{CONTAINERS, INJECT, INJECTED, MOUNT_PATH, OUTPUTS, PORT, TOKENS};
use super::*;

const ISSUER: &str = "https://auth.example.com";

fn settings() -> Settings {
    let resources = json!({"requests": {"memory": "16Mi"}, "limits": {"memory": "32Mi"}});
    Settings {
        image: "registry.example.com/countersign:1".to_owned(),
        resources: serde_json::from_value(resources).unwrap(),
        admin: "0.0.0.0:9191".parse().unwrap(),
    }
}

/// A world with these clients of the namespace `shop`: name and authentication.
fn directory_of(url: &str, clients: &[(&str, Value)]) -> Directory {
    let issuer = IssuerName::new("default").unwrap();
    let settings = Arc::new(directory::Settings::new(issuer, url, "cluster.local", Vec::new()));
    let clients = clients.iter().map(|(name, methods)| {
        let metadata = json!({"namespace": "shop", "name": name, "uid": name, "creationTimestamp": Timestamp::UNIX_EPOCH});
        let spec = json!({"authentication": {"methods": methods}});
        let object = json!({"apiVersion": "countersign.dev/v1alpha1", "kind": "OAuthClient", "metadata": metadata, "spec": spec});
        let object: OAuthClient = serde_json::from_value(object).unwrap();
        let client = ClientObject::try_from(&object).unwrap();
        Change::Client(client.object.clone(), Some(Arc::new(client)))
    });
    Directory::empty(settings).apply(clients)
}

fn directory() -> Directory {
    let methods = json!([{"type": "ServiceAccount", "serviceAccounts": [{"name": "storefront"}]}]);
    directory_of(ISSUER, &[("storefront", methods)])
}

fn pod(annotations: Value, spec: Value) -> Value {
    let metadata = json!({"generateName": "storefront-", "namespace": "shop", "annotations": annotations});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

/// A pod that asks, and says this besides.
fn asking(more: Value, spec: Value) -> Value {
    let mut annotations = json!({INJECT: "storefront"});
    annotations.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    pod(annotations, spec)
}

fn one_container() -> Value {
    json!({"serviceAccountName": "storefront", "containers": [{"name": "app", "image": "app:1"}]})
}

fn review(pod: &Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "review-1", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE",
        "namespace": "shop", "object": pod, "oldObject": null, "dryRun": true,
    }})
}

fn said(pod: &Value) -> Injection {
    said_by(&directory(), pod)
}

fn said_by(directory: &Directory, pod: &Value) -> Injection {
    let review = Review::parse(review(pod).to_string().as_bytes()).unwrap();
    inject(&review, Some(&settings()), directory)
}

/// What the API server makes of a pod.
fn patched(pod: &Value) -> Value {
    let Injection { verdict, patch } = said(pod);
    assert_eq!(verdict.refusal, None, "{pod}");
    applied(pod, &patch)
}

fn applied(pod: &Value, patch: &[Value]) -> Value {
    let patch: json_patch::Patch = serde_json::from_value(patch.to_vec().into()).unwrap();
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, &patch).unwrap();
    pod
}

fn refusal(pod: &Value) -> String {
    let Injection { verdict, patch } = said(pod);
    assert_eq!(patch, Vec::<Value>::new(), "nothing is added to what is refused");
    verdict.refusal.unwrap_or_else(|| panic!("taken: {pod}"))
}

/// The agent's flags.
fn flags(pod: &Value) -> Vec<String> {
    let init = pod["spec"]["initContainers"].as_array().unwrap();
    let agent = init.iter().find(|container| container["name"] == "countersign-agent").unwrap();
    agent["args"].as_array().unwrap().iter().map(|flag| flag.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_pod_that_asks_gets_an_agent_and_nothing_of_its_own_changes() {
    let pod = asking(json!({}), one_container());
    let agent = json!({
        "name": "countersign-agent",
        "image": "registry.example.com/countersign:1",
        "command": ["/countersign-agent"],
        "restartPolicy": "Always",
        "args": [
            "--credentials=/etc/countersign", "--assertion-file=/var/run/countersign/token",
            "--admin-listen=0.0.0.0:9191", "--token=default", "--token-dir=/run/tokens", "--everyone-access",
        ],
        "ports": [{"name": "agent-admin", "containerPort": 9191, "protocol": "TCP"}],
        "startupProbe": {"httpGet": {"path": "/readyz", "port": 9191, "scheme": "HTTP"}, "periodSeconds": 1, "failureThreshold": 300},
        "livenessProbe": {"httpGet": {"path": "/livez", "port": 9191, "scheme": "HTTP"}, "periodSeconds": 10},
        "resources": {"requests": {"memory": "16Mi"}, "limits": {"memory": "32Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            {"name": "countersign-tokens", "mountPath": "/run/tokens"},
            {"name": "countersign-client", "mountPath": "/etc/countersign", "readOnly": true},
            {"name": "countersign-assertion", "mountPath": "/var/run/countersign", "readOnly": true},
        ],
    });
    let token = json!({"path": "token", "audience": ISSUER, "expirationSeconds": 3600});
    let mount =
        json!({"name": "countersign-tokens", "mountPath": "/var/run/secrets/countersign.dev", "readOnly": true});
    let spec = json!({
        "serviceAccountName": "storefront",
        "initContainers": [agent],
        "containers": [{"name": "app", "image": "app:1", "volumeMounts": [mount]}],
        "volumes": [
            {"name": "countersign-tokens", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "countersign-client", "configMap": {"name": "storefront-oauth"}},
            {"name": "countersign-assertion", "projected": {"sources": [{"serviceAccountToken": token}]}},
        ],
    });
    assert_eq!(said(&pod).verdict, Verdict::default(), "nothing to warn of");
    assert_eq!(patched(&pod), asking(json!({INJECTED: "true"}), spec));
}

#[test]
fn who_asks_for_nothing_or_somebody_else_gets_nothing() {
    for pod in [
        pod(json!({}), one_container()),
        pod(json!(null), one_container()),
        pod(json!({TOKENS: "orders", "countersign.dev/agent-what": "x"}), one_container()),
        asking(json!({"countersign.dev/issuer": "second"}), one_container()),
    ] {
        assert_eq!(said(&pod), Injection::default(), "{pod}");
    }
    let ours = asking(json!({"countersign.dev/issuer": "default"}), one_container());
    assert!(!said(&ours).patch.is_empty());
}

#[test]
fn annotations_say_which_tokens_how_and_for_whom() {
    let tokens = "orders=https://orders.shop.svc?a=$(HOME) orders:read,stock";
    let more = json!({TOKENS: tokens, OUTPUTS: "Envoy,Socket", CONTAINERS: "envoy,app", MOUNT_PATH: "/run/tokens", PORT: "9500"});
    let spec = json!({
        "securityContext": {"fsGroup": 2000, "runAsUser": 0},
        "initContainers": [
            {"name": "mesh", "image": "m", "restartPolicy": "Always"},
            {"name": "envoy", "image": "e", "restartPolicy": "Always", "volumeMounts": []},
            {"name": "last", "image": "l"},
        ],
        "containers": [
            {"name": "other", "image": "o"},
            {"name": "app", "image": "a", "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
        ],
        "volumes": [{"name": "data", "emptyDir": {}}],
    });
    let pod = patched(&asking(more, spec));
    let names = |list: &str| {
        let list = pod["spec"][list].as_array().unwrap();
        list.iter().map(|each| each["name"].as_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(names("initContainers"), ["mesh", "countersign-agent", "envoy", "last"], "right before who needs it");
    assert_eq!(names("volumes"), ["data", "countersign-tokens", "countersign-client", "countersign-assertion"]);
    assert_eq!(
        flags(&pod)[2..],
        [
            "--admin-listen=0.0.0.0:9500",
            "--token=orders=https://orders.shop.svc?a=$$(HOME) orders:read",
            "--token=stock",
            "--envoy-dir=/run/tokens",
            "--socket=/run/tokens/agent.sock",
            "--group-access",
        ]
    );
    let mount = json!({"name": "countersign-tokens", "mountPath": "/run/tokens", "readOnly": true});
    let mounts = |pointer: &str| pod["spec"].pointer(pointer).unwrap()["volumeMounts"].clone();
    assert_eq!(mounts("/initContainers/2"), json!([mount]));
    assert_eq!(mounts("/containers/1"), json!([{"name": "data", "mountPath": "/data"}, mount]));
    assert_eq!([mounts("/containers/0"), mounts("/initContainers/0")], [Value::Null, Value::Null]);
    let security = &pod["spec"]["initContainers"][1]["securityContext"];
    assert_eq!((&security["runAsUser"], &security["runAsGroup"]), (&json!(65532), &json!(65532)), "root is the pod's");
    assert_eq!(pod["spec"]["initContainers"][1]["startupProbe"]["httpGet"]["port"], 9500);
}

#[test]
fn by_default_it_starts_after_the_other_init_containers_and_serves_containers_alone() {
    let spec = json!({
        "initContainers": [{"name": "mesh", "restartPolicy": "Always"}, {"name": "migrate"}],
        "containers": [{"name": "app"}, {"name": "more"}],
        "volumes": [],
    });
    let pod = patched(&asking(json!({}), spec));
    assert_eq!(pod["spec"]["initContainers"][2]["name"], "countersign-agent");
    assert!(pod["spec"]["initContainers"][1].get("volumeMounts").is_none());
    assert!(pod["spec"]["containers"].as_array().unwrap().iter().all(|each| each["volumeMounts"].is_array()));
    let plain = directory_of("http://countersign-issuer.countersign-system.svc:8080", &[]);
    let asks = asking(json!({}), one_container());
    let pod = applied(&asks, &said_by(&plain, &asks).patch);
    assert_eq!(flags(&pod).last().unwrap(), "--plaintext", "as the issuer is reached");
}

#[test]
fn what_is_in_the_way_is_refused_with_what_to_write_instead() {
    let with = |name: &str, value: Value| {
        let mut spec = one_container();
        spec[name] = value;
        spec
    };
    let mounted = |path: &str, read_only: bool| {
        let mount = json!({"name": "data", "mountPath": path, "readOnly": read_only});
        with("containers", json!([{"name": "app", "volumeMounts": [mount]}]))
    };
    let here = "/var/run/secrets/countersign.dev";
    let cases = [
        (with("initContainers", json!([{"name": "countersign-agent"}])), "a container called countersign-agent"),
        (with("containers", json!([{"name": "countersign-agent"}])), "a container called countersign-agent"),
        (with("volumes", json!([{"name": "countersign-tokens"}])), "a volume called countersign-tokens"),
        (with("volumes", json!([{"name": "countersign-assertion"}])), "a volume called countersign-assertion"),
        (mounted(here, false), "choose another place by annotation countersign.dev/agent-mount-path"),
        (mounted(&format!("{here}/"), false), "choose another place"),
        (mounted(&format!("{here}/below"), false), "choose another place"),
        (mounted("/var/run", true), "is read-only"),
        (with("containers", json!([{"name": "app", "ports": [{"containerPort": 9191}]}])), "agent-port"),
        (with("containers", json!([])), "names of this pod's containers"),
        (with("containers", json!([{"name": "app"}, {"name": "countersign-agent"}])), "give it another name"),
        (with("os", json!({"name": "windows"})), "a program for Linux"),
        (with("containers", json!("text")), "the Pod cannot be read"),
    ];
    for (spec, why) in cases {
        let refusal = refusal(&asking(json!({}), spec.clone()));
        assert!(refusal.contains(why), "{why}: {refusal}");
    }
    for fine in
        [mounted("/var/run", false), mounted("/var/run/secrets/countersign.device", true), mounted("/data", true)]
    {
        assert_eq!(said(&asking(json!({}), fine)).verdict.refusal, None);
    }
    let bare = json!({"metadata": {"annotations": {INJECT: "storefront"}}});
    assert_eq!(refusal(&bare), "the Pod has no spec");
    let asks = asking(json!({}), one_container());
    let review = Review::parse(review(&asks).to_string().as_bytes()).unwrap();
    let nobody = inject(&review, None, &directory());
    assert!(nobody.verdict.refusal.unwrap().contains("start `countersign admission` with --agent-image"));
}

#[test]
fn values_nobody_meant_are_refused_by_the_name_of_their_annotation() {
    let (long, huge) = ("a,".repeat(20), "x".repeat(256 * 1024));
    let cases = [
        (INJECT, vec!["", "Shop", "a/b", "../x", "a\u{0}", "storefront\n", &huge]),
        (TOKENS, vec!["", "../x", "a/b", "a,a", "a=nowhere", "a\r\nb", "a,", &long, &huge]),
        (OUTPUTS, vec!["", "file", "File,File", "File, Socket", "Pipe", &huge]),
        (CONTAINERS, vec!["", "nobody", "app,app", "app,nobody", "countersign-agent", "a\u{1b}[2J", &huge]),
        (
            MOUNT_PATH,
            vec!["", "/", "run", "/run/../etc", "/run/.", "/run//x", "/run/", "/a:b", "/a\nb", "/$(A)", &huge],
        ),
        (PORT, vec!["", "80", "0", "65536", "+9191", "http", "9191 ", &huge]),
        ("countersign.dev/agent-token", vec!["orders"]),
    ];
    for (annotation, values) in cases {
        for value in values {
            let refusal = refusal(&asking(json!({annotation: value}), one_container()));
            let named = refusal.contains(annotation) || refusal.contains("mend its name");
            assert!(named && refusal.len() < 1_000 && !refusal.contains(char::is_control), "{annotation}: {refusal:?}");
        }
    }
}

#[test]
fn what_a_pod_will_wait_for_is_a_warning() {
    let accounts = json!({"type": "ServiceAccount", "serviceAccounts": [{"name": "storefront"}]});
    let world = directory_of(
        ISSUER,
        &[("both", json!([{"type": "ClientSecret"}, accounts])), ("storefront", json!([accounts]))],
    );
    let warnings = |client: &str, account: &str| {
        let spec = json!({"serviceAccountName": account, "containers": [{"name": "app"}]});
        let said = said_by(&world, &pod(json!({INJECT: client}), spec));
        assert!(!said.patch.is_empty());
        said.verdict.warnings
    };
    assert_eq!(warnings("storefront", "storefront"), Vec::<String>::new());
    for (client, account, told) in [
        (
            "nobody",
            "storefront",
            "there is no OAuthClient shop/nobody yet: the pod waits for its ConfigMap nobody-oauth",
        ),
        ("both", "storefront", "has a client secret"),
        ("storefront", "default", "does not name ServiceAccount default"),
    ] {
        let warnings = warnings(client, account);
        assert!(warnings.len() == 1 && warnings[0].contains(told), "{told}: {warnings:?}");
        assert!(warnings[0].len() <= 256, "the API server cuts what is longer: {}", warnings[0].len());
    }
}
