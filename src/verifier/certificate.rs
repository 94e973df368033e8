//! The caller's certificate, as Envoy reports it of the connection the request came by (`source.certificate`): PEM,
//! percent-encoded. No header says anything about certificates here, whoever sent it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_core::token::Thumbprint;
use percent_encoding::percent_decode_str;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The thumbprint of what is reported; none where that is not one certificate and nothing else.
pub(super) fn thumbprint(reported: &str) -> Option<Thumbprint> {
    let text = percent_decode_str(reported).decode_utf8().ok()?;
    let body = text.trim_ascii().strip_prefix(BEGIN)?.strip_suffix(END)?;
    let lines: String = body.split_ascii_whitespace().collect();
    let certificate = STANDARD.decode(lines).ok().filter(|certificate| !certificate.is_empty())?;
    Some(Thumbprint::of(&certificate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_certificate_reported_has_a_thumbprint_and_nothing_else_has() {
        let der = [7; 100];
        let pem = format!("{BEGIN}\n{}\n{}\n{END}\n", &STANDARD.encode(der)[..64], &STANDARD.encode(der)[64..]);
        let encoded = percent_encoding::utf8_percent_encode(&pem, percent_encoding::NON_ALPHANUMERIC).to_string();
        assert_eq!(thumbprint(&encoded), Some(Thumbprint::of(&der)));
        assert_eq!(thumbprint(&pem.replace('\n', "%0A").replace('+', "%2B")), Some(Thumbprint::of(&der)));
        let twice = format!("{encoded}{encoded}");
        let empty = format!("{BEGIN}\n{END}");
        for bad in ["", "x", "%ff", &encoded[..encoded.len() - 4], &twice, &empty, &STANDARD.encode(der), "Hash=abc"] {
            assert_eq!(thumbprint(bad), None, "{bad:.40}");
        }
    }
}
