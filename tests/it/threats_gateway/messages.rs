//! Messages no Envoy would send: GWY-10.

use super::Edge;
use crate::ext_authz::{call, check, check_bytes, connect, framed, http_of, question, send};
use crate::support::http::Request;
use crate::support::standalone::{HOST, Standalone};
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};
use prost::Message;

#[tokio::test]
async fn gwy_10_truncated_and_malformed_messages_are_refused() {
    let it = Standalone::start().await;
    let good =
        question("GET", "/orders/7", &[("authorization", &format!("Bearer {}", it.token().await))]).encode_to_vec();
    assert_eq!(check_bytes(it.grpc, &good).await.status, 200);
    for end in (0..good.len()).step_by(13).chain([good.len() - 1]) {
        let seen = check_bytes(it.grpc, &good[..end]).await;
        assert!((400..500).contains(&seen.status), "cut after {end} bytes: {seen:?}");
    }
    for bytes in [&[0xff; 64][..], &[0x0a, 0xff, 0xff, 0xff, 0x0f], &[0x0a, 0x02, 0x22, 0x00], &[0; 3]] {
        assert_eq!(check_bytes(it.grpc, bytes).await.status, 400, "{bytes:?}");
    }
    // A header that is no UTF-8 where protobuf wants it: an authorizer that fails here fails open (CVE-2023-27488).
    let at = good.windows(7).position(|window| window == b"Bearer ").unwrap();
    let mut spoilt = good.clone();
    spoilt[at + 9] = 0xff;
    assert_eq!(check_bytes(it.grpc, &spoilt).await.status, 400);
}

#[tokio::test]
async fn gwy_10_both_forms_of_headers_or_too_many_are_refused() {
    let it = Standalone::start().await;
    let bearer = format!("Bearer {}", it.token().await);
    let raw =
        |key: &str, value: &[u8]| HeaderValue { key: key.to_owned(), value: String::new(), raw_value: value.to_vec() };
    let with = |merged: &[(&str, &str)], headers: Vec<HeaderValue>| {
        let mut asked = question("GET", "/orders/7", merged);
        http_of(&mut asked).header_map = Some(HeaderMap { headers });
        asked
    };
    let good = raw("authorization", bearer.as_bytes());
    assert_eq!(check(it.grpc, &with(&[], vec![good.clone()])).await.status, 200);
    let status = async |asked| check(it.grpc, &asked).await.status;
    assert_eq!(status(with(&[("accept", "*/*")], vec![good.clone()])).await, 400, "both forms");
    assert_eq!(status(with(&[("authorization", &bearer)], vec![raw("accept", b"*/*")])).await, 400, "both forms");
    let invalid = [&bearer.as_bytes()[..20], &[0xff, 0xfe]].concat();
    assert_eq!(status(with(&[], vec![raw("authorization", &invalid)])).await, 400, "no UTF-8");
    assert_eq!(status(with(&[], vec![good.clone(), raw("Authorization", b"Bearer x")])).await, 400, "two credentials");
    assert_eq!(
        status(with(&[], vec![raw("x-other", &[0xff, 0xfe]), good.clone()])).await,
        200,
        "no one else's header counts"
    );
    let many: Vec<_> = (0..10_000).map(|number| raw(&format!("x-header-{number}"), b"1")).chain([good]).collect();
    assert_eq!(status(with(&[], many)).await, 400, "10,000 headers");
    let names: Vec<_> = (0..10_000).map(|number| format!("x-header-{number}")).collect();
    let merged: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).chain([("authorization", &*bearer)]).collect();
    assert_eq!(status(question("GET", "/orders/7", &merged)).await, 400, "10,000 headers, merged");
}

/// Neither large messages nor many at once keep others from their answers, and none is answered with an error of ours.
#[tokio::test]
async fn gwy_10_gigantic_and_many_calls_are_survived() {
    let it = Standalone::start().await;
    let good = question("GET", "/orders/7", &[("authorization", &format!("Bearer {}", it.token().await))]);
    let large = |size: usize| question("GET", "/orders/7", &[("x-large", &"a".repeat(size))]);
    assert_eq!(check(it.grpc, &large(900 << 10)).await.status, 401, "large, and read");
    assert_eq!(check(it.grpc, &large(2 << 20)).await.status, 400);
    assert_eq!(check(it.grpc, &large(65 << 20)).await.status, 400);
    let mut lie = framed(&good.encode_to_vec());
    lie[1..5].copy_from_slice(&u32::MAX.to_be_bytes());
    let (status, _) = call(it.grpc, lie).await.expect("an answer");
    assert_eq!(status.as_deref(), Some("0"), "a length that is a lie is denied, and no error of ours");
    let sender = connect(it.grpc).await;
    let calls = (0..2000).map(|_| {
        let (mut sender, frame) = (sender.clone(), framed(&good.encode_to_vec()));
        async move { send(&mut sender, it.grpc, frame).await }
    });
    let answers = futures::future::join_all(calls).await;
    assert!(answers.into_iter().all(|answer| answer.is_some_and(|(status, _)| status.as_deref() == Some("0"))));
    assert_eq!(check(it.grpc, &good).await.status, 200);
}

#[tokio::test]
async fn gwy_10_thousands_of_headers_through_envoy_are_refused() {
    let edge = Edge::start().await;
    let token = edge.it.token().await;
    let mut many = Request::get("/orders/7");
    for number in 0..10_000 {
        many = many.header(&format!("x-header-{number}"), "1");
    }
    edge.stopped("10,000 headers", many.clone()).await;
    let direct = many.header("host", HOST).send(edge.it.http).await;
    assert!(direct.is_ok_and(|answer| answer.status >= 400), "10,000 headers at the verifier itself");
    edge.expect("afterwards", 200, Request::get("/orders/7").bearer(&token)).await;
}
