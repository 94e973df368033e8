//! What clients discover: RFC 8414 and OpenID Connect Discovery documents.
//!
//! Flows in: the issuer URL from configuration, once. Flows out: the same bytes for every request: nothing a request
//! says, its Host header least of all, can change where a client is sent.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use countersign_core::oauth::TOKEN_EXCHANGE;
use countersign_core::token::Algorithm;
use serde_json::json;

/// How long a client may keep the documents: long enough to spare us, short enough to see an upgrade within the hour.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// Both documents, serialised.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    pub(crate) authorization_server: Bytes,
    pub(crate) openid_configuration: Bytes,
}

/// What clients may prove who they are by, besides a secret.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Methods {
    /// Assertions signed with a key of their own.
    pub(crate) own_keys: bool,
    /// A certificate.
    pub(crate) certificates: bool,
}

impl Metadata {
    pub(crate) fn new(issuer_url: &str, Methods { certificates, own_keys }: Methods) -> Self {
        let base = issuer_url.trim_end_matches('/');
        let mut methods = vec!["client_secret_basic", "client_secret_post"];
        methods.extend(own_keys.then_some("private_key_jwt"));
        methods.extend(certificates.then_some("tls_client_auth"));
        let algorithms = Algorithm::ALL.map(Algorithm::name);
        let mut document = json!({
            "issuer": issuer_url,
            "token_endpoint": format!("{base}/oauth2/token"),
            "jwks_uri": format!("{base}/oauth2/jwks"),
            "introspection_endpoint": format!("{base}/oauth2/introspect"),
            "revocation_endpoint": format!("{base}/oauth2/revoke"),
            "grant_types_supported": ["client_credentials", TOKEN_EXCHANGE],
            // Required by RFC 8414 section 2, and never empty by section 3.2: strict clients refuse both. There is no
            // authorization endpoint yet.
            "response_types_supported": ["none"],
            "token_endpoint_auth_methods_supported": methods,
            "introspection_endpoint_auth_methods_supported": methods,
            "revocation_endpoint_auth_methods_supported": methods,
        });
        if let Some(members) = document.as_object_mut() {
            if own_keys {
                for endpoint in ["token", "introspection", "revocation"] {
                    members.insert(format!("{endpoint}_endpoint_auth_signing_alg_values_supported"), json!(algorithms));
                }
            }
            if certificates {
                // RFC 8705 section 3.3; the endpoints are the usual ones, which ask for a certificate and need none.
                members.insert("tls_client_certificate_bound_access_tokens".to_owned(), json!(true));
            }
        }
        let authorization_server = Bytes::from(document.to_string());
        if let Some(members) = document.as_object_mut() {
            members.insert("subject_types_supported".to_owned(), json!(["public"]));
            members.insert("id_token_signing_alg_values_supported".to_owned(), json!(algorithms));
        }
        Self { authorization_server, openid_configuration: Bytes::from(document.to_string()) }
    }
}

/// One of the documents as an answer.
pub(crate) fn answer(document: &Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, CACHE_CONTROL),
        // Public, and read by browsers' clients; no credentials are involved.
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    ];
    (headers, document.clone()).into_response()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn endpoints_lie_under_the_issuer_url_which_is_repeated_exactly() {
        for (issuer, token) in [
            ("https://auth.example.com", "https://auth.example.com/oauth2/token"),
            ("https://auth.example.com/t1/", "https://auth.example.com/t1/oauth2/token"),
        ] {
            let metadata = Metadata::new(issuer, Methods::default());
            for document in [&metadata.authorization_server, &metadata.openid_configuration] {
                let document: Value = serde_json::from_slice(document).unwrap();
                assert_eq!((&document["issuer"], &document["token_endpoint"]), (&json!(issuer), &json!(token)));
                assert_eq!(document["grant_types_supported"], json!(["client_credentials", TOKEN_EXCHANGE]));
            }
        }
    }

    #[test]
    fn no_member_is_an_empty_list() {
        let metadata = Metadata::new("https://auth.example.com", Methods { own_keys: true, certificates: true });
        for document in [&metadata.authorization_server, &metadata.openid_configuration] {
            let members: serde_json::Map<String, Value> = serde_json::from_slice(document).unwrap();
            assert_eq!(members.iter().find(|(_, value)| **value == json!([])), None);
            assert_eq!(members["response_types_supported"], json!(["none"]));
            assert!(members["token_endpoint_auth_methods_supported"].to_string().contains("private_key_jwt"));
            let algorithms = json!(["ES256", "ES384", "EdDSA", "RS256", "PS256"]);
            assert_eq!(members["token_endpoint_auth_signing_alg_values_supported"], algorithms);
        }
    }

    #[test]
    fn a_method_is_offered_where_it_can_be_judged() {
        for (asked, offered) in [(true, json!(true)), (false, Value::Null)] {
            let metadata = Metadata::new("https://auth.example.com", Methods { certificates: asked, own_keys: !asked });
            for document in [&metadata.authorization_server, &metadata.openid_configuration] {
                let document: Value = serde_json::from_slice(document).unwrap();
                assert_eq!(document["tls_client_certificate_bound_access_tokens"], offered);
                let names = ["token", "introspection", "revocation"];
                let names = names.map(|name| format!("{name}_endpoint_auth_methods_supported"));
                for methods in names.map(|name| document[name.as_str()].to_string()) {
                    assert_eq!(methods.contains("tls_client_auth"), asked, "{methods}");
                    assert_eq!(methods.contains("private_key_jwt"), !asked, "{methods}");
                }
            }
        }
    }
}
