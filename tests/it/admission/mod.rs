//! The admission webhook on a real API server: what is wrong is refused with what to write instead, what is left out is warned
//! of, and nothing depends on it.

mod injection;
mod threats;

use crate::support::await_condition;
use crate::support::installation::{Installation, Replica, Role};
use crate::support::orders::{client, signing_key};
use crate::support::standalone::now;
use crate::support::tenant::{SOON, Tenant};
use crate::support::testbed::Testbed;
use crate::support::{kubectl::Kubectl, root};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const SHORT: [&str; 3] = ["--ca-lifetime=5m", "--certificate-lifetime=60s", "--ca-pre-publish=5s"];
const AMBIGUOUS: &str = "
apiVersion: countersign.dev/v1alpha1
kind: ScopePolicy
metadata: {name: twice, namespace: $NS}
spec:
  issuer: $ISSUER
  audience: https://twice.$NS.svc
  targetRefs: [{group: '', kind: Service, name: twice}]
  rules:
  - {name: one, matches: [{methods: [GET], path: {type: Exact, value: /a}}], protection: Public}
  - {name: two, matches: [{methods: [GET], path: {type: Exact, value: /a}}], protection: Public}
";
const EARLY: &str = "
apiVersion: countersign.dev/v1alpha1
kind: OAuthClient
metadata: {name: early, namespace: $NS}
spec:
  issuer: $ISSUER
  access: [{audience: 'https://later.$NS.svc', scopes: ['later:read']}]
";

/// Applies what deploy/ has for the API server, as this installation's. `caBundle` is the controller's to say.
fn configure(installation: &Installation, failure_policy: &str, address: &str) {
    let manifest = std::fs::read_to_string(root().join("deploy/webhook.yaml")).unwrap();
    let service = "service: {name: countersign-admission, namespace: countersign-system, path: /validate, port: 443}";
    assert_eq!(manifest.matches(service).count(), 2);
    let manifest = manifest
        .replace(service, &format!("url: https://{address}/validate"))
        .replace("countersign-", installation.webhook().strip_suffix("admission").unwrap())
        .replace("orValue('default') == 'default'", &format!("orValue('default') == '{}'", installation.issuer_name))
        .replace("failurePolicy: Ignore", &format!("failurePolicy: {failure_policy}"));
    installation.kubectl.apply(&manifest);
    injection::configure(installation, address);
}

struct Bed<'a> {
    tenant: Tenant<'a>,
    _controller: Replica,
    admission: Replica,
}

impl<'a> Bed<'a> {
    /// A controller and a webhook, and the configuration by which the API server asks it.
    async fn new(testbed: &Testbed, installation: &'a Installation, failure_policy: &str) -> Self {
        Self::with(testbed, installation, failure_policy, &[]).await
    }

    /// The same with more flags for the webhook.
    async fn with(testbed: &Testbed, installation: &'a Installation, failure_policy: &str, flags: &[&str]) -> Self {
        let tenant = Tenant::new(testbed, installation).await;
        // As people do it: the configuration first. Where the webhook listens is known once it runs.
        configure(installation, failure_policy, "127.0.0.1:1");
        let name = format!("--webhook-configuration={}", installation.webhook());
        let mut controller = installation.spawn_with(Role::Controller, &[&SHORT[..], &[&*name]].concat());
        controller.process.ready(controller.admin).await;
        let mount = async || installation.mount(Role::Admission);
        await_condition("a certificate to mount", SOON, mount, |mounted| *mounted).await;
        let mut admission = installation.spawn_with(Role::Admission, flags);
        admission.process.ready(admission.admin).await;
        configure(installation, failure_policy, &admission.issuer.to_string());
        Self { tenant, _controller: controller, admission }
    }

    /// What kubectl says to a manifest that is only tried.
    fn try_out(&self, manifest: &str) -> (bool, String) {
        let folder = crate::support::scratch::Scratch::new("manifest");
        let file = folder.join("manifest.yaml");
        std::fs::write(&file, self.tenant.fill(manifest)).unwrap();
        let file = file.to_str().unwrap().to_owned();
        let output = self.kubectl().run(&["apply", "--server-side", "--dry-run=server", "-f", &file]);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Waits until the API server asks.
    async fn asked(&self) {
        let look = async || self.try_out(AMBIGUOUS);
        await_condition("a refusal", SOON, look, |(_, said)| said.contains("(AmbiguousRule)")).await;
    }

    /// Runs kubectl in the system namespace, until what it says or does is accepted.
    async fn until(&self, what: &str, args: &[&str], accept: impl Fn(&(bool, String)) -> bool) {
        let system = self.tenant.installation.system_namespace();
        let args = [args, &["-n", &system]].concat();
        let look = async || {
            let output = self.kubectl().run(&args);
            (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        await_condition(what, SOON, look, accept).await;
    }

    /// The authorities that are trusted now.
    fn authorities(&self) -> String {
        let system = self.tenant.installation.system_namespace();
        self.kubectl().must(&["get", "configmap", "ca-bundle", "-n", &system, "-o", r"jsonpath={.data.ca\.crt}"])
    }

    /// Whether the certificate is by an authority that was not trusted then.
    fn is_served_by_another(&self, then: &str) -> bool {
        let folder = crate::support::scratch::Scratch::new("authorities");
        let (trusted, leaf) = (folder.join("then.crt"), self.tenant.installation.mounted(Role::Admission, "tls.crt"));
        std::fs::write(&trusted, then).unwrap();
        let mut verify = std::process::Command::new("openssl");
        let verified = verify.args(["verify", "-CAfile"]).arg(&trusted).arg(&leaf).output().expect("run openssl");
        !verified.status.success()
    }

    fn kubectl(&self) -> &Kubectl {
        self.tenant.kubectl()
    }
}

impl Drop for Bed<'_> {
    fn drop(&mut self) {
        let name = self.tenant.installation.webhook();
        let policy = name.replace("-admission", "-default-key");
        for each in [
            format!("validatingwebhookconfiguration/{name}"),
            format!("mutatingwebhookconfiguration/{name}"),
            format!("validatingadmissionpolicybinding/{policy}"),
            format!("validatingadmissionpolicy/{policy}"),
        ] {
            self.kubectl().run(&["delete", &each, "--ignore-not-found", "--wait=false"]);
        }
    }
}

/// Two rings besides `default`, one of which a client names.
fn rings() -> String {
    [signing_key("named", ""), signing_key("spare", ""), client("batch", "  tokens: {signingKey: named}\n")].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_and_nothing_rests_on_it() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &["--clock-skew=1s"]).with_generated_certificates();
    let mut bed = Bed::new(&testbed, &installation, "Ignore").await;
    bed.asked().await;
    let (taken, said) = bed.try_out(AMBIGUOUS);
    assert!(!taken && said.contains("spec.rules[") && said.contains("denied the request"), "{said}");
    let (taken, said) = bed.try_out(EARLY);
    assert!(taken && said.contains("Warning: later:read of https://later."), "{said}");

    // Away: everything can be written and deleted.
    bed.admission.process.kill().await;
    let (taken, said) = bed.try_out(AMBIGUOUS);
    assert!(taken, "{said}");
    bed.tenant.apply(EARLY);
    bed.tenant.run(&["delete", "oac", "early", "--timeout=20s"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signing_key_in_use_is_not_deleted_by_hand() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &["--clock-skew=1s"]).with_generated_certificates();
    let mut bed = Bed::new(&testbed, &installation, "Ignore").await;
    bed.asked().await;
    bed.tenant.apply(&rings());
    let dry = "--dry-run=server";
    let says = |what: &'static str| move |(done, said): &(bool, String)| !*done && said.contains(what);
    let done = |(done, _): &(bool, String)| *done;
    let (default, named) = (["delete", "signingkey", "default", dry], ["delete", "signingkey", "named", dry]);
    bed.until("default to be kept", &default, says("annotate it countersign.dev/rotate-at=<now>")).await;
    bed.until("a named ring to be kept", &named, says("set their spec.tokens.signingKey to another one first")).await;
    // Nobody names it now; what was before the webhook began it cannot know.
    let spare = ["delete", "signingkey", "spare", dry];
    bed.until("a ring to be kept while its tokens may be good", &spare, says("may be good until")).await;

    // Many at once: the request names none of them.
    let path = "/apis/countersign.dev/v1alpha1/namespaces";
    let whole = format!("{path}/{}/signingkeys?dryRun=All", installation.system_namespace());
    let said = bed.kubectl().refused(&["delete", "--raw", &whole]);
    assert!(said.contains("denied"), "{said}");

    // With nobody to answer `default` stays all the same, but not from who has to delete it.
    bed.admission.process.kill().await;
    bed.until("a named ring to be let go", &named, done).await;
    bed.until("default to be kept", &default, says("annotate it countersign.dev/rotate-at=<now>")).await;
    for account in ["namespace-controller", "generic-garbage-collector"] {
        let account = format!("--as=system:serviceaccount:kube-system:{account}");
        bed.until("default to go with its namespace", &[&default[..], &[&account]].concat(), done).await;
    }
}

/// With `Fail` and a webhook that answers: what keeps a ring is not in the way of a namespace, whoever deletes what is in it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_a_namespace_that_ends_is_kept() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &["--clock-skew=1s"]).with_generated_certificates();
    let mut bed = Bed::new(&testbed, &installation, "Fail").await;
    bed.asked().await;
    bed.tenant.apply(&rings());
    for (ring, why) in [("named", "clients sign with"), ("default", "default-key")] {
        let delete = ["delete", "signingkey", ring, "--dry-run=server"];
        bed.until("a ring to be kept", &delete, |(done, said)| !*done && said.contains(why)).await;
    }
    // There is no namespace controller here: it stays as it is now.
    bed.kubectl().must(&["delete", "namespace", &installation.system_namespace(), "--wait=false"]);
    for ring in ["named", "default"] {
        bed.until("a ring to go", &["delete", "signingkey", ring, "--ignore-not-found"], |(done, _)| *done).await;
    }
    // Nobody answers, and nothing may be written: the namespace controller and the garbage collector go on.
    bed.admission.process.kill().await;
    let (taken, said) = bed.try_out(EARLY);
    assert!(!taken && said.contains("failed calling webhook"), "{said}");
    for account in ["namespace-controller", "generic-garbage-collector"] {
        let account = format!("--as=system:serviceaccount:kube-system:{account}");
        let spare = ["delete", "signingkey", "spare", "--dry-run=server", &account];
        bed.until("a ring to go with its namespace", &spare, |(done, _)| *done).await;
    }
}

/// Authorities that are replaced three times, and certificates that live a minute, with a webhook that must answer.
#[tokio::test(flavor = "multi_thread")]
async fn no_admission_fails_while_certificates_follow_one_another_for_minutes() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &["--clock-skew=1s"]).with_generated_certificates();
    let bed = Bed::new(&testbed, &installation, "Fail").await;
    bed.asked().await;
    let mut asked = Asked::default();
    for _ in 0..3 {
        let authorities = bed.authorities();
        let at = format!("countersign.dev/rotate-at={}", now());
        bed.kubectl().must(&[
            "annotate",
            "--overwrite",
            "configmap",
            "ca-bundle",
            "-n",
            &installation.system_namespace(),
            &at,
        ]);
        let begun = Instant::now();
        while !bed.is_served_by_another(&authorities) {
            asked.once(&bed);
            assert!(begun.elapsed() < Duration::from_secs(45), "the certificate never changed");
        }
        // Until the replica has read it, which it does every ten seconds; a handshake by each is in this.
        let moved = Instant::now();
        while moved.elapsed() < Duration::from_secs(12) {
            asked.once(&bed);
        }
    }
    assert!(asked.certificates.len() > 3 && asked.times > 30, "{} {}", asked.certificates.len(), asked.times);
}

/// The same, left to itself: some sixteen authorities, one after the other.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "an hour: make soak runs it"]
async fn no_admission_fails_in_an_hour_of_certificates_that_live_a_minute() {
    const PACE: Duration = Duration::from_secs(3);
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &["--clock-skew=1s"]).with_generated_certificates();
    let bed = Bed::new(&testbed, &installation, "Fail").await;
    bed.asked().await;
    let (mut asked, mut bundles, begun) = (Asked::default(), BTreeSet::new(), Instant::now());
    while begun.elapsed() < Duration::from_hours(1) {
        asked.once(&bed);
        bundles.insert(bed.authorities());
        tokio::time::sleep(PACE).await;
    }
    let certificates = asked.certificates.len();
    eprintln!("{} writes, {certificates} certificates, {} bundles of authorities", 2 * asked.times, bundles.len());
    assert!(certificates > 60 && bundles.len() > 12, "{certificates} {}", bundles.len());
}

/// What was asked of the webhook, and the certificates it served meanwhile.
#[derive(Default)]
struct Asked {
    times: u32,
    certificates: BTreeSet<String>,
}

impl Asked {
    /// One write that is refused and one that is not: each by an answer of the webhook, or it would have failed.
    fn once(&mut self, bed: &Bed<'_>) {
        let (taken, said) = bed.try_out(AMBIGUOUS);
        assert!(!taken && said.contains("(AmbiguousRule)"), "after {}: {said}", self.times);
        let (taken, said) = bed.try_out(EARLY);
        assert!(taken && said.contains("is not granted yet"), "after {}: {said}", self.times);
        self.times += 1;
        let installation = bed.tenant.installation;
        installation.mount(Role::Admission);
        self.certificates.insert(std::fs::read_to_string(installation.mounted(Role::Admission, "tls.crt")).unwrap());
    }
}
