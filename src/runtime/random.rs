//! The one place that draws random numbers: aws-lc's generator, seeded by the operating system.

use aws_lc_rs::error::Unspecified;

/// The generator could not be seeded.
#[derive(Debug, thiserror::Error)]
#[error("draw random bytes")]
pub struct RandomError;

/// Fills the bytes.
#[expect(clippy::disallowed_methods, reason = "this is the generator the ban points to")]
pub fn fill(bytes: &mut [u8]) -> Result<(), RandomError> {
    aws_lc_rs::rand::fill(bytes).map_err(|Unspecified| RandomError)
}

/// `N` random bytes.
pub fn bytes<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// A number in `[0, 1)`; a half should the generator fail.
pub fn fraction() -> f64 {
    bytes::<4>().map_or(0.5, |drawn| f64::from(u32::from_be_bytes(drawn)) / (f64::from(u32::MAX) + 1.0))
}

/// A factor in `[0.75, 1.25)` to spread periodic work of many replicas; 1 should the generator fail.
pub fn jitter() -> f64 {
    let Ok([high, low]) = bytes::<2>() else { return 1.0 };
    0.75 + f64::from(u16::from_be_bytes([high, low])) / f64::from(u16::MAX) * 0.5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        assert_ne!(bytes::<16>().unwrap(), bytes::<16>().unwrap());
        assert!((0.75..=1.25).contains(&jitter()));
        assert!((0.0..1.0).contains(&fraction()));
    }
}
