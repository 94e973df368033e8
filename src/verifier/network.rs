//! Networks of trusted proxies: `10.0.0.0/8`, `fd00::/8`, `127.0.0.1`.
//!
//! Flows in: text from a flag. Flows out: whether an address lies in the network. The whole Internet is no network of
//! trusted proxies: a prefix of length 0 is refused.

use std::net::IpAddr;
use std::str::FromStr;

/// Addresses with a common prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: u128,
    mask: u128,
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("network {0:?} must be an address or address/prefix length, the length not 0")]
pub struct NetworkError(String);

impl Network {
    /// Whether the address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        number(address) & self.mask == self.address
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let error = || NetworkError(text.chars().take(64).collect());
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let (bits, unused) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let length = length.map_or(Ok(bits), str::parse).map_err(|_| error())?;
        if !(1..=bits).contains(&length) {
            return Err(error());
        }
        let mask = u128::MAX << (128 - unused - length);
        Ok(Self { address: number(address) & mask, mask })
    }
}

/// IPv4 addresses count as the IPv6 addresses they are mapped to, since a dual-stack socket shows them so.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_lies_in_the_networks_whose_prefix_it_has() {
        let contains = |network: &str, address: &str| {
            network.parse::<Network>().expect("a network").contains(address.parse().expect("an address"))
        };
        assert!(contains("10.0.0.0/8", "10.1.2.3") && !contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("10.0.0.0/8", "::ffff:10.1.2.3") && contains("127.0.0.1", "127.0.0.1"));
        assert!(
            !contains("127.0.0.1", "127.0.0.2") && contains("fd00::/8", "fd12::1") && !contains("fd00::/8", "fe80::1")
        );
    }

    #[test]
    fn everything_is_no_network() {
        for text in ["0.0.0.0/0", "::/0", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "", "host"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
