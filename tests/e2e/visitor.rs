//! A pod from which a story looks at the cluster: with a shell, curl and getent, and the Secret of a client where it has one.

use crate::cluster::{Namespace, image};

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: $NAME, namespace: $NS}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: visitor
    image: $IMAGE
    imagePullPolicy: IfNotPresent
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts: [$MOUNT]
  volumes: [$VOLUME]
";

pub struct Visitor<'a> {
    namespace: &'a Namespace<'a>,
    name: String,
}

impl<'a> Visitor<'a> {
    /// One that runs. The Secret, if any, lies in /credentials.
    pub fn start(namespace: &'a Namespace<'a>, name: &str, secret: Option<&str>) -> Self {
        let mount = secret.map_or("", |_| "{name: credentials, mountPath: /credentials, readOnly: true}");
        let volume = secret.map(|secret| format!("{{name: credentials, secret: {{secretName: {secret}}}}}"));
        let pod = POD
            .replace("$NAME", name)
            .replace("$IMAGE", &image("visitor"))
            .replace("$MOUNT", mount)
            .replace("$VOLUME", &volume.unwrap_or_default());
        namespace.apply(&pod);
        namespace.must(&["wait", "--for=condition=Ready", "--timeout=60s", &format!("pod/{name}")]);
        Self { namespace, name: name.to_owned() }
    }

    /// What a shell command prints there; it must succeed.
    pub fn sh(&self, command: &str) -> String {
        self.namespace.must(&["exec", &self.name, "--", "/bin/sh", "-c", command]).trim().to_owned()
    }

    /// What curl prints, asked again only while it is refused a connection (its exit code 7): the node's proxy knows a new Service's pods
    /// later than the API server knows that they are ready.
    pub fn curl(&self, args: &str) -> String {
        self.sh(&format!(
            "tries=0; while :; do \
               said=$(/bin/curl --silent --show-error --max-time 10 {args}) && printf %s \"$said\" && exit 0 || code=$?; \
               tries=$((tries+1)); [ $code = 7 ] && [ $tries -lt 10 ] || exit $code; /bin/sleep 1; \
             done"
        ))
    }

    /// A token for the client whose Secret it has, by curl, with nothing but what the Secret says.
    pub fn token(&self) -> String {
        let answer = self.curl(
            r#"--cacert /credentials/ca.crt \
                --user "$(/bin/cat /credentials/client_id):$(/bin/cat /credentials/client_secret)" \
                --data grant_type=client_credentials "$(/bin/cat /credentials/token_endpoint)""#,
        );
        let json: serde_json::Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("no JSON: {answer}"));
        json["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }

    /// Gives a token back (RFC 7009).
    pub fn revoke(&self, token: &str) {
        let status = self.sh(&format!(
            r#"cd /credentials && endpoint=$(/bin/cat token_endpoint) && /bin/curl --silent --show-error --max-time 10 --cacert ca.crt \
                --output /dev/null --write-out %{{http_code}} --user "$(/bin/cat client_id):$(/bin/cat client_secret)" \
                --data 'token={token}' "${{endpoint%/token}}/revoke""#
        ));
        assert_eq!(status, "200");
    }

    /// The statuses of so many requests for a token, a little apart; each over a connection of its own.
    pub fn token_statuses(&self, requests: usize) -> Vec<String> {
        let answers = self.sh(&format!(
            r#"cd /credentials && i=0; while [ $i -lt {requests} ]; do i=$((i+1)); /bin/sleep 0.05; \
                /bin/curl --silent --show-error --max-time 10 --cacert ca.crt --output /dev/null --write-out '%{{http_code}} %{{errormsg}}\n' \
                --user "$(/bin/cat client_id):$(/bin/cat client_secret)" --data grant_type=client_credentials "$(/bin/cat token_endpoint)" || true; \
            done"#
        ));
        answers.lines().map(|line| line.trim().to_owned()).collect()
    }

    /// The status with which a verifier, trusted by the Secret's authority, answers for a request to `host`.
    pub fn verdict(&self, url: &str, host: &str, token: Option<&str>) -> String {
        let token = token.map(|token| format!("--header 'Authorization: Bearer {token}'")).unwrap_or_default();
        self.curl(&format!(
            "--cacert /credentials/ca.crt --output /dev/null \
                --write-out '%{{http_code}}' --header 'Host: {host}' {token} '{url}'"
        ))
    }
}
