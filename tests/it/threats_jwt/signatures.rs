//! ECDSA signatures that are none (CVE-2022-21449), and the one that is a twin: JWT-04.

use super::{all_accepted, all_refused};
use crate::support::forge::{Forge, decode, encode};
use crate::support::standalone::Standalone;

/// The order of P-256.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7,
    0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// `ORDER - s`, the other signature that holds for the same message.
fn twin(s: &[u8]) -> Vec<u8> {
    let mut difference = vec![0; 32];
    let mut borrow = 0_i16;
    for at in (0..32).rev() {
        let digit = i16::from(ORDER[at]) - i16::from(s[at]) - borrow;
        borrow = i16::from(digit < 0);
        difference[at] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    difference
}

#[tokio::test]
async fn jwt_04_psychic_and_misformed_signatures() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let (message, signature) = forge.token.rsplit_once('.').unwrap();
    let signature = decode(signature);
    let (r, s) = signature.split_at(32);
    let signed = |r: &[u8], s: &[u8]| format!("{message}.{}", encode([r, s].concat()));
    let integer = |value: &[u8]| {
        let padded = if value[0] >= 0x80 { [&[0], value].concat() } else { value.to_vec() };
        [&[2, u8::try_from(padded.len()).unwrap()], &padded[..]].concat()
    };
    let body = [integer(r), integer(s)].concat();
    let der = [&[0x30, u8::try_from(body.len()).unwrap()], &body[..]].concat();
    all_refused(
        &it,
        [
            ("r and s zero", signed(&[0; 32], &[0; 32])),
            ("r zero", signed(&[0; 32], s)),
            ("s zero", signed(r, &[0; 32])),
            ("r the order", signed(&ORDER, s)),
            ("s the order", signed(r, &ORDER)),
            ("r and s the order", signed(&ORDER, &ORDER)),
            ("DER", format!("{message}.{}", encode(der))),
            ("too short", format!("{message}.{}", encode(&signature[..63]))),
            ("too long", format!("{message}.{}", encode([&signature[..], &[0]].concat()))),
        ],
    )
    .await;
    all_accepted(&it, [("the twin of a signature is as good: token bytes are no identity", signed(r, &twin(s)))]).await;
}
