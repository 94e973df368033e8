//! Certificates judged at a time of the test's own; they are good for a hundred years from 2026 on.

use super::*;

const AUTHORITY: &[u8] = include_bytes!("../../../tests/certificates/clients.crt.pem");
const CLIENT: &[u8] = include_bytes!("../../../tests/certificates/client.crt.pem");
const STRANGER: &[u8] = include_bytes!("../../../tests/certificates/one.crt.pem");

fn shown(pem: &[u8]) -> ClientCertificate {
    ClientCertificate::new(&[CertificateDer::from_pem_slice(pem).unwrap()])
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn a_certificate_says_its_names() {
    let shown = shown(CLIENT);
    assert_eq!(shown.uris(), ["spiffe://cluster.local/ns/shop/sa/checkout"]);
    assert_eq!(shown.dns_names(), ["checkout.shop.svc"]);
    assert!(shown.subject().windows(8).any(|text| text == b"checkout"));
}

#[test]
fn a_certificate_is_good_by_its_authority_and_in_its_time() {
    let judge = ClientJudge::of(AUTHORITY);
    let now = at(1_800_000_000);
    assert!(judge.takes(&shown(CLIENT), now));
    assert!(!judge.takes(&shown(STRANGER), now), "by nobody");
    assert!(!judge.takes(&ClientCertificate::new(&[]), now), "none");
    assert!(!judge.takes(&shown(CLIENT), at(1_700_000_000)), "not yet");
    assert!(!judge.takes(&shown(CLIENT), at(5_000_000_000)), "no longer");
    assert!(!ClientJudge::of(STRANGER).takes(&shown(CLIENT), now), "by another authority");
}

#[tokio::test]
async fn a_bundle_is_replaced_at_once_and_a_bad_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.crt");
    std::fs::write(&path, STRANGER).unwrap();
    let metrics = TlsMetrics::default();
    let mut authorities = ClientAuthorities::load(path.clone(), Without::Served, metrics.clone()).await.unwrap();
    let (judge, now) = (authorities.judge(), at(1_800_000_000));
    assert!(!judge.takes(&shown(CLIENT), now));
    std::fs::write(&path, [STRANGER, AUTHORITY].concat()).unwrap();
    authorities.reload().await;
    assert!(judge.takes(&shown(CLIENT), now), "both are authorities now");
    for bad in [&b""[..], b"garbage", &AUTHORITY[..100]] {
        std::fs::write(&path, bad).unwrap();
        authorities.reload().await;
        assert!(judge.takes(&shown(CLIENT), now));
    }
    assert_eq!(metrics.failures.get(), 3);
    std::fs::write(&path, STRANGER).unwrap();
    authorities.reload().await;
    assert!(!judge.takes(&shown(CLIENT), now), "an authority that is taken out ends what it vouched for");
    assert!(ClientAuthorities::load(folder.path().join("none"), Without::Served, metrics).await.is_err());
}
