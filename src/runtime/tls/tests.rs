//! Replacing the pair on disk, seen through the resolver's state.

use super::*;

const ONE: (&str, &str) = (include_str!("one.crt.pem"), include_str!("one.key.pem"));
const TWO: (&str, &str) = (include_str!("two.crt.pem"), include_str!("two.key.pem"));

struct Served {
    _folder: tempfile::TempDir,
    certificate: ServerCertificate,
}

impl Served {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = PairFiles { certificate: folder.path().join("tls.crt"), key: folder.path().join("tls.key") };
        write(&files, ONE);
        let certificate = ServerCertificate::load(files, Counter::default()).await.unwrap();
        Self { _folder: folder, certificate }
    }

    fn serves(&self, pair: (&str, &str)) -> bool {
        let wanted = CertificateDer::from_pem_slice(pair.0.as_bytes()).unwrap();
        self.certificate.current.0.load().cert == [wanted]
    }
}

fn write(files: &PairFiles, (certificate, key): (&str, &str)) {
    std::fs::write(&files.certificate, certificate).unwrap();
    std::fs::write(&files.key, key).unwrap();
}

#[tokio::test]
async fn a_new_pair_is_served_and_an_equal_one_changes_nothing() {
    let mut served = Served::start().await;
    assert!(!served.certificate.try_reload().await.unwrap());
    write(&served.certificate.files, TWO);
    assert!(served.certificate.try_reload().await.unwrap());
    assert!(served.serves(TWO));
    served.certificate.server_config().unwrap();
}

#[tokio::test]
async fn a_bad_pair_is_counted_and_the_old_one_stays() {
    let mut served = Served::start().await;
    for bad in [(TWO.0, ONE.1), ("", ONE.1), (ONE.0, ""), ("garbage", "garbage")] {
        write(&served.certificate.files, bad);
        served.certificate.reload().await;
        assert!(served.serves(ONE));
    }
    std::fs::remove_file(&served.certificate.files.key).unwrap();
    served.certificate.reload().await;
    assert_eq!(served.certificate.failures.get(), 5);
    write(&served.certificate.files, TWO);
    served.certificate.reload().await;
    assert!(served.serves(TWO));
}

#[test]
fn key_bytes_are_not_shown() {
    let bytes = Bytes { certificate: vec![1], key: Zeroizing::new(vec![2]) };
    assert_eq!(format!("{bytes:?}"), "Bytes(…)");
}
