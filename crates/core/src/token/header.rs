//! The JOSE header of an access token (RFC 7515 section 4, RFC 9068 section 2.1).
//!
//! Members that would fetch or carry a key (`jku`, `jwk`, `x5u`, `x5c`) are never looked at: a key comes from the
//! rings by its `kid` or not at all.

use serde_json::{Map, Value};

use super::{Algorithm, TokenRefusal, json};
use crate::names::KeyId;

/// What the header says, once it says nothing else of consequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: KeyId,
}

/// Members whose presence asks for processing that is not done here: extensions, an unencoded payload, encryption,
/// compression, a nested token.
const UNSUPPORTED: [&str; 5] = ["crit", "b64", "enc", "zip", "cty"];

/// Reads the decoded header.
pub(super) fn parse(bytes: &[u8]) -> Result<Header, TokenRefusal> {
    let members = supported(bytes)?;
    let media_type = text(&members, "typ").ok_or(TokenRefusal::WrongType)?;
    if !["at+jwt", "application/at+jwt"].iter().any(|expected| media_type.eq_ignore_ascii_case(expected)) {
        return Err(TokenRefusal::WrongType);
    }
    let algorithm = text(&members, "alg").ok_or(TokenRefusal::BadHeader)?;
    let key_id = text(&members, "kid").ok_or(TokenRefusal::BadHeader)?;
    Ok(Header {
        algorithm: algorithm.parse().map_err(|_| TokenRefusal::WrongAlgorithm)?,
        key_id: KeyId::new(key_id).map_err(|_| TokenRefusal::BadHeader)?,
    })
}

/// Reads the decoded header of another issuer's JWT: its algorithm, and its key by a name of their choice.
pub(super) fn parse_foreign(bytes: &[u8]) -> Result<(Algorithm, String), TokenRefusal> {
    let (algorithm, key_id) = parse_assertion(bytes)?;
    Ok((algorithm, key_id.ok_or(TokenRefusal::BadHeader)?))
}

/// Reads the decoded header of an assertion: its algorithm, and its key where it names one. The types are those of RFC 7523 and
/// of draft-ietf-oauth-rfc7523bis; before it most named none.
pub(super) fn parse_assertion(bytes: &[u8]) -> Result<(Algorithm, Option<String>), TokenRefusal> {
    let members = supported(bytes)?;
    let types = ["JWT", "client-authentication+jwt"];
    let fits = |typ: &str| types.iter().any(|expected| typ.eq_ignore_ascii_case(expected));
    if members.contains_key("typ") && !text(&members, "typ").is_some_and(fits) {
        return Err(TokenRefusal::WrongType);
    }
    let algorithm = text(&members, "alg").ok_or(TokenRefusal::BadHeader)?;
    let algorithm = algorithm.parse().map_err(|_| TokenRefusal::WrongAlgorithm)?;
    if !members.contains_key("kid") {
        return Ok((algorithm, None));
    }
    let key_id = text(&members, "kid").ok_or(TokenRefusal::BadHeader)?;
    Ok((algorithm, Some(key_id.to_owned())))
}

fn supported(bytes: &[u8]) -> Result<Map<String, Value>, TokenRefusal> {
    let members = json::object(bytes).ok_or(TokenRefusal::BadHeader)?;
    if UNSUPPORTED.iter().any(|name| members.contains_key(*name)) {
        return Err(TokenRefusal::UnsupportedHeader);
    }
    Ok(members)
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str)
}
