//! A Redis in a namespace of its own, over TLS, with a user for issuers; it keeps nothing on disk.

use crate::cluster::{Cluster, Namespace, image};
use crate::release::Release;
use crate::support::redis::{PASSWORD, USERS};
use crate::support::scratch::Scratch;
use crate::support::tls::Certificates;
use std::path::Path;

const MANIFEST: &str = "
apiVersion: v1
kind: Service
metadata: {name: redis, namespace: $NS}
spec: {selector: {app: redis}, ports: [{port: 6379}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: redis, namespace: $NS}
spec:
  selector: {matchLabels: {app: redis}}
  template:
    metadata: {labels: {app: redis}}
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 0
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: redis
        image: $IMAGE
        imagePullPolicy: IfNotPresent
        command: [/usr/bin/redis-server, --port, '0', --tls-port, '6379', --tls-auth-clients, 'no', --save, '', --appendonly, 'no']
        args: [--tls-cert-file, /settings/tls.crt, --tls-key-file, /settings/tls.key, --tls-ca-cert-file, /settings/ca.crt, --aclfile, /settings/users]
        readinessProbe: {tcpSocket: {port: 6379}, periodSeconds: 1}
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
        volumeMounts: [{name: settings, mountPath: /settings, readOnly: true}]
      volumes: [{name: settings, secret: {secretName: redis}}]
";

pub struct Redis<'a> {
    namespace: Namespace<'a>,
}

impl<'a> Redis<'a> {
    /// One that answers, and what the release's issuers need to reach it, as Secrets in their namespace.
    pub fn start(cluster: &'a Cluster, release: &Release<'_>) -> Self {
        let namespace = cluster.namespace("redis");
        let certificates = Certificates::new(&[&format!("DNS:redis.{}.svc", namespace.name)]);
        let folder = Scratch::new("redis");
        for (name, text) in [("users", USERS), ("password", PASSWORD)] {
            std::fs::write(folder.join(name), text).expect("write a file for the Redis");
        }
        let entry = |name: &str, path: &Path| format!("--from-file={name}={}", path.display());
        let authority = entry("ca.crt", &certificates.authority());
        namespace.must(&[
            "create",
            "secret",
            "generic",
            "redis",
            &authority,
            &entry("tls.crt", &certificates.certificate()),
            &entry("tls.key", &certificates.key()),
            &entry("users", &folder.join("users")),
        ]);
        let password = entry("password", &folder.join("password"));
        release.must(&["create", "secret", "generic", "store", &authority, &password]);
        namespace.apply(&MANIFEST.replace("$IMAGE", &image("redis")));
        let redis = Self { namespace };
        redis.scale(1);
        redis
    }

    /// How the release is told of it.
    pub fn values(&self) -> String {
        let url = format!("rediss://redis.{}.svc:6379/1", self.namespace.name);
        format!(
            "issuer.store.type=Shared,issuer.store.url={url},issuer.store.username=tokens,\
             issuer.store.passwordSecret.name=store,issuer.store.ca.secretName=store"
        )
    }

    /// Ends it, so that it knows nothing any more, or begins it.
    pub fn scale(&self, replicas: u32) {
        self.namespace.must(&["scale", "deployment/redis", &format!("--replicas={replicas}")]);
        self.namespace.must(&["rollout", "status", "--timeout=60s", "deployment/redis"]);
    }
}
