//! The command line as a person meets it: what wrong usage says and with which code it ends, and `countersign token`.

use crate::support::http::Request;
use crate::support::processes::{countersign, run};
use crate::support::scratch::Scratch;
use crate::support::standalone::Standalone;
use crate::support::tls::Certificates;
use crate::support::{await_condition, root};
use std::fs;
use std::process::Output;
use std::time::Duration;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_to_write() {
    let folder = Scratch::new("usage");
    let (none, url) = (folder.join("none.pem"), "--issuer-url=https://auth.example.com");
    fs::write(&none, "no certificate\n").unwrap();
    let ca = format!("--ca-file={}", none.display());
    let (manifests, data) =
        (format!("--manifests={}", folder.display()), format!("--data={}", folder.join("data").display()));
    let credentials = format!("--credentials={}", folder.display());
    for (args, says) in [
        (vec!["issuer", url], "give --tls-cert and --tls-key, or --plaintext"),
        (vec!["verifier", url], "give --tls-cert and --tls-key, or --plaintext"),
        (vec!["issuer", url, "--plaintext", "--log=countersign=loud"], "--log"),
        (vec!["verifier", url, "--plaintext", "--leeway=1s"], "--clock-skew must not be larger than --leeway"),
        (vec!["controller", url, "--lease-deadline=15s"], "--lease-deadline must be shorter than --lease-duration"),
        (vec!["controller", url, &ca], "holds no certificate"),
        (vec!["issuer", "--issuer-url=auth.example.com", "--plaintext"], "must begin with https://"),
        (
            vec!["standalone", &manifests, &data, "--listen=0.0.0.0:8080"],
            "--listen: 0.0.0.0:8080 is no loopback address",
        ),
        (vec!["standalone", &manifests, &data, "--log=countersign=loud"], "--log"),
        (vec!["token", &credentials, "--token-endpoint=ftp://issuer/token"], "must begin with https://"),
        (vec!["token", &credentials, "--token-endpoint=::"], "not a URL"),
        (vec!["token", &credentials, &ca, "--token-endpoint=https://127.0.0.1:1/t"], "holds no certificate"),
        (vec!["token", &credentials, "--token-endpoint=https://127.0.0.1:1/t"], "give --ca-file"),
        (vec!["token"], "<--credentials <DIR>|--secret <NAMESPACE/NAME>>"),
        (vec!["token", &credentials, "--secret=a/b"], "--secret"),
        (vec!["standalone", "--manifests=/no/such/folder", &data], "there is no such file or folder"),
    ] {
        let output = run(&args);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(says) && text.contains("try '--help'"), "{args:?}: {text}");
    }
}

#[test]
fn a_run_that_fails_ends_with_1() {
    let output = run(["token", "--credentials=/nowhere", "--token-endpoint=http://127.0.0.1:1/t"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(!said(&output).contains("--help"), "{}", said(&output));
}

#[test]
fn a_reader_who_has_seen_enough_is_no_failure() {
    let quickstart = root().join("examples/quickstart").display().to_string();
    for args in [
        &["explain", "-f", &quickstart, "https://orders.shop.svc/orders/7"][..],
        &["check", &quickstart],
        &["crd"],
        &["completion", "bash"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = countersign().args(args).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), said(&output)), (Some(141), String::new()), "{args:?}");
    }
}

#[test]
fn where_there_is_no_cluster_one_line_says_what_was_looked_for_and_what_to_do() {
    for (args, instead) in [
        (&["explain", "--cluster", "https://orders.shop.svc/orders/7"][..], ", or explain manifests with -f DIR"),
        (&["token", "--secret=shop/checkout-oauth"], ", or read a folder with --credentials DIR"),
        (&["accept-restore"], ""),
        (
            &["verifier", "--issuer-url=https://a.example", "--plaintext", "--admin-listen=127.0.0.1:0"],
            "; `countersign standalone --manifests DIR` needs no cluster",
        ),
    ] {
        let alone = |file: &str, flags: &[&str]| {
            let mut command = countersign();
            command.args(args).args(flags).env_remove("KUBERNETES_SERVICE_HOST").env("KUBECONFIG", file);
            let output = command.output().unwrap();
            (output.status.code(), said(&output))
        };
        let expected = |file: &str| {
            let does = "give --kubeconfig FILE or set KUBECONFIG";
            (Some(1), format!("error: no cluster: there is no kubeconfig {file}; {does}{instead}\n"))
        };
        assert_eq!(alone("/nowhere/config", &[]), expected("/nowhere/config"));
        assert_eq!(alone("/nowhere/config", &["--kubeconfig=/nowhere/else"]), expected("/nowhere/else"));
    }
}

#[test]
fn a_port_that_is_taken_is_told_with_its_flag() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken, folder) = (listener.local_addr().unwrap(), Scratch::new("taken"));
    fs::create_dir(folder.join("manifests")).unwrap();
    let flags = ["--listen", "--grpc-listen", "--http-listen", "--admin-listen"];
    for busy in flags {
        let port =
            |flag: &str| format!("{flag}={}", if flag == busy { taken.to_string() } else { "127.0.0.1:0".to_owned() });
        let manifests = format!("--manifests={}", folder.join("manifests").display());
        let data = format!("--data={}", folder.join(busy).display());
        let mut args = vec!["standalone".to_owned(), manifests, data, "--log=off".to_owned()];
        args.extend(flags.map(port));
        let output = run(args);
        assert_eq!(output.status.code(), Some(1), "{busy}: {}", said(&output));
        assert!(said(&output).contains(&format!("port, which {busy} sets: listen on {taken}: ")), "{}", said(&output));
    }
}

#[tokio::test]
async fn a_line_end_at_the_end_of_a_credential_file_is_not_part_of_the_value() {
    let it = Standalone::start().await;
    let folder = Scratch::new("credentials");
    for key in ["client_id", "client_secret", "token_endpoint"] {
        let end = if key == "client_id" { "\r\n" } else { "\n" };
        fs::write(folder.join(key), format!("{}{end}", it.secret_value("shop", "checkout", key))).unwrap();
    }
    let credentials = format!("--credentials={}", folder.display());
    let output = run(["token", &credentials]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(it.check(String::from_utf8(output.stdout).unwrap().trim()).await.status, 200);
    // Exactly one: a second is the value's own, and refused as such.
    fs::write(folder.join("client_secret"), format!("{}\n\n", it.secret_value("shop", "checkout", "client_secret")))
        .unwrap();
    let output = run(["token", &credentials]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("invalid_client"), "{}", said(&output));
    // An authority that is one is taken, although http needs none.
    let ca = Certificates::new(&["IP:127.0.0.1"]);
    fs::write(folder.join("client_secret"), it.secret_value("shop", "checkout", "client_secret")).unwrap();
    assert!(run(["token", &credentials, &format!("--ca-file={}", ca.authority().display())]).status.success());
}

#[tokio::test]
async fn a_gauge_tells_that_the_manifests_of_a_folder_are_not_in_force() {
    let it = Standalone::start().await;
    let gauge = async || {
        let text = Request::get("/metrics").send(it.admin).await.expect("the admin port answers").text();
        let line = text.lines().find(|line| line.starts_with("countersign_manifests_unreadable "));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u32>().ok())
    };
    assert_eq!(gauge().await, Some(0));
    fs::write(it.manifests().join("broken.yaml"), "kind: [\n").unwrap();
    await_condition("the gauge to tell", Duration::from_secs(10), gauge, |it| *it == Some(1)).await;
    fs::remove_file(it.manifests().join("broken.yaml")).unwrap();
    await_condition("the gauge to calm down", Duration::from_secs(10), gauge, |it| *it == Some(0)).await;
}
