//! The controller makes the certificates of an installation: served from the first second, in every client's Secret, put back
//! whatever is deleted, and followed by others without one handshake that fails.

use crate::support::clients::{OutsideClient, TokenRequest};
use crate::support::installation::{Installation, Replica, Role};
use crate::support::scratch::Scratch;
use crate::support::standalone::now;
use crate::support::tenant::{SOON, Tenant};
use crate::support::testbed::Testbed;
use crate::support::{await_condition, http::Request};
use futures::future::BoxFuture;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Authorities and leaves as short-lived as replicas that read their files every ten seconds can follow.
const SHORT: [&str; 4] = ["--ca-lifetime=5m", "--certificate-lifetime=45s", "--ca-pre-publish=5s", "--clock-skew=1s"];
/// How long a rotation of authorities may take that is asked for.
const ROTATED: Duration = Duration::from_secs(40);

async fn begin(installation: &Installation) -> [Replica; 3] {
    let mut controller = installation.spawn_with(Role::Controller, &SHORT[..3]);
    controller.process.ready(controller.admin).await;
    let [mut issuer, mut verifier] = [Role::Issuer, Role::Verifier].map(|role| (role, None::<Replica>));
    for (role, replica) in [&mut issuer, &mut verifier] {
        let mount = async || installation.mount(*role);
        await_condition("a certificate to mount", SOON, mount, |mounted| *mounted).await;
        *replica = Some(installation.spawn(*role));
    }
    let [mut issuer, mut verifier] = [issuer, verifier].map(|(_, replica)| replica.expect("started"));
    issuer.process.ready(issuer.admin).await;
    verifier.process.ready(verifier.admin).await;
    [controller, issuer, verifier]
}

fn ca(tenant: &Tenant<'_>) -> String {
    tenant.installation.secret_value(&tenant.namespace, "checkout-oauth", "ca.crt")
}

fn bundle(installation: &Installation) -> String {
    let path = "jsonpath={.data.ca\\.crt}";
    let namespace = installation.system_namespace();
    installation.kubectl.must(&["get", "configmap", "ca-bundle", "-n", &namespace, "--ignore-not-found", "-o", path])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_trusts_the_issuer_by_its_own_secret_and_what_is_deleted_comes_back() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &SHORT[3..]).with_generated_certificates();
    let tenant = Tenant::new(&testbed, &installation).await;
    let [controller, issuer, verifier] = begin(&installation).await;
    tenant.open(&["checkout"]);

    let folder = Scratch::new("ca");
    let authority = folder.join("ca.crt");
    std::fs::write(&authority, ca(&tenant)).unwrap();
    let value = |key| installation.secret_value(&tenant.namespace, "checkout-oauth", key);
    let (id, secret) = (value("client_id"), value("client_secret"));
    let url = installation.issuer_url();
    let request = TokenRequest {
        issuer: &url,
        client_id: &id,
        client_secret: &secret,
        authority: Some(&authority),
        ..TokenRequest::default()
    };
    for client in OutsideClient::ALL {
        assert!(!client.token(&request).is_empty(), "{client:?}");
    }
    assert_eq!(ask_issuer(verifier.http, &bundle(&installation)).await.map(|status| status >= 400), Ok(true));

    let trusted = bundle(&installation);
    let namespace = installation.system_namespace();
    let delete = |kind: &str, name: &str| installation.kubectl.must(&["delete", kind, name, "-n", &namespace]);
    for (kind, name) in
        [("secret", "issuer-certificate"), ("secret", "verifier-certificate"), ("configmap", "ca-bundle")]
    {
        delete(kind, name);
        let there = async || installation.kubectl.run(&["get", kind, name, "-n", &namespace]).status.success();
        await_condition(&format!("{name} to come back"), SOON, there, |there| *there).await;
        assert_eq!(bundle(&installation), trusted, "nobody is trusted less, or more");
        assert_eq!(ask_issuer(issuer.issuer, &ca(&tenant)).await, Ok(200));
    }
    assert!(!controller.process.output().contains("PRIVATE KEY"));
    let metrics = Request::get("/metrics").send(issuer.admin).await.unwrap().text();
    let end = metrics.lines().find_map(|line| line.strip_prefix("countersign_tls_certificate_not_after_seconds "));
    assert!(end.is_some_and(|end| end != "0"), "{metrics}");
    let metrics = Request::get("/metrics").send(controller.admin).await.unwrap().text();
    for certificate in ["ca", "issuer", "verifier"] {
        let line = format!("countersign_certificate_not_after_seconds{{certificate=\"{certificate}\"}} ");
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_handshake_fails_while_one_authority_follows_another() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &SHORT[3..]).with_generated_certificates();
    let tenant = Tenant::new(&testbed, &installation).await;
    let [_controller, issuer, _verifier] = begin(&installation).await;
    tenant.open(&["checkout"]);
    let first = ca(&tenant);

    let (done, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let asking = tokio::spawn({
        let (done, asked, mut trusted) = (Arc::clone(&done), Arc::clone(&asked), first.clone());
        let read = tenant_reader(&tenant);
        async move {
            while !done.load(Ordering::Relaxed) {
                // An application reads its Secret again every second or so.
                for _ in 0..10 {
                    assert_eq!(ask_issuer(issuer.issuer, &trusted).await, Ok(200));
                    asked.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                trusted = read().await;
            }
        }
    });
    let namespace = installation.system_namespace();
    let now = now().to_string();
    let annotate = format!("countersign.dev/rotate-at={now}");
    installation.kubectl.must(&["annotate", "configmap", "ca-bundle", "-n", &namespace, &annotate]);
    // The second is in every bundle before it signs; then the issuer serves by it, and the first is trusted still.
    let serves_by_the_second = async || {
        installation.mount(Role::Issuer);
        let both = ca(&tenant);
        let second = both.strip_prefix(&first).unwrap_or_default().to_owned();
        let answer =
            if second.is_empty() { Err("no second".to_owned()) } else { ask_issuer(issuer.issuer, &second).await };
        (answer, asking.is_finished())
    };
    let over = |(answer, failed): &(Result<u16, String>, bool)| *failed || answer.is_ok();
    let (answer, failed) = await_condition("an issuer by the second", ROTATED, serves_by_the_second, over).await;
    done.store(true, Ordering::Relaxed);
    asking.await.expect("no handshake fails");
    assert_eq!((answer, failed), (Ok(200), false));
    assert!(asked.load(Ordering::Relaxed) > 20, "{asked:?}");
    assert!(ask_issuer(issuer.issuer, &first).await.is_err(), "the first does not vouch for it");
}

/// Reads a client's `ca.crt` from its Secret.
fn tenant_reader(tenant: &Tenant<'_>) -> impl Fn() -> BoxFuture<'static, String> + Send + use<> {
    let secrets = kube::Api::<k8s_openapi::api::core::v1::Secret>::namespaced(tenant.api_client(), &tenant.namespace);
    move || {
        let secrets = secrets.clone();
        Box::pin(async move {
            let secret = secrets.get("checkout-oauth").await.expect("the client's Secret");
            String::from_utf8(secret.data.expect("data")["ca.crt"].0.clone()).expect("text")
        })
    }
}

/// Asks over TLS for the issuer's metadata, trusting what this bundle holds and nothing else; the status is the answer.
async fn ask_issuer(issuer: SocketAddr, bundle: &str) -> Result<u16, String> {
    let exchange = async {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            roots.add(certificate.map_err(|error| format!("{error:?}"))?).map_err(|error| error.to_string())?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(issuer).await.map_err(|error| error.to_string())?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let mut stream =
            connector.connect(issuer.ip().into(), stream).await.map_err(|error| format!("handshake: {error}"))?;
        let request = "GET /.well-known/oauth-authorization-server HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.map_err(|error| error.to_string())?;
        let status = String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|status| status.parse().ok());
        status.ok_or_else(|| "no answer".to_owned())
    };
    tokio::time::timeout(Duration::from_secs(10), exchange).await.map_err(|_| "no answer in time".to_owned())?
}
