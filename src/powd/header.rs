//! Block headers of Bitcoin and its descendants, and the targets that they are measured by.
//!
//! A header is 80 bytes: version (i32, little-endian as all numbers here), hash of the previous block (32),
//! Merkle root (32), time (u32), nBits (u32), nonce (u32). What is hashed of it, and how, is each network's own; so is
//! the easiest target that it allows.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::proof::leading_zero_bits;
use super::reason::Reason;
use super::sha256d;

/// Where nBits is in a header.
const BITS: usize = 72;

/// The 80 bytes of a block header.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header(pub [u8; 80]);

impl Header {
    /// Its SHA-256d, in the byte order in which it is computed: the name of its block, to which the next one points.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        sha256d::digest(&self.0)
    }

    /// The name of the block before.
    #[must_use]
    pub fn previous(&self) -> [u8; 32] {
        let mut previous = [0; 32];
        previous.copy_from_slice(&self.0[4..36]);
        previous
    }

    /// Its target in compact form.
    #[must_use]
    pub fn bits(&self) -> u32 {
        u32::from_le_bytes([self.0[BITS], self.0[BITS + 1], self.0[BITS + 2], self.0[BITS + 3]])
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut digits = [0; 160];
        hex::encode_to_slice(self.0, &mut digits).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(str::from_utf8(&digits).map_err(serde::ser::Error::custom)?)
    }
}

/// A text that is not a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`header` must be 160 hex digits: the 80 bytes of a block header")]
pub struct ParseHeaderError;

impl FromStr for Header {
    type Err = ParseHeaderError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut header = [0; 80];
        hex::decode_to_slice(text, &mut header).map_err(|_| ParseHeaderError)?;
        Ok(Self(header))
    }
}

/// The largest digest that is enough work: 32 bytes, big-endian, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target([u8; 32]);

impl Target {
    /// Decodes nBits: the high byte is an exponent to base 256, the rest a mantissa with a sign bit. None when
    /// it stands for zero, a negative number, or one of more than 256 bits.
    #[must_use]
    pub fn from_compact(bits: u32) -> Option<Self> {
        let [exponent, mantissa @ ..] = bits.to_be_bytes();
        if mantissa[0] > 0x7f {
            return None;
        }
        let mut target = [0; 32];
        for (place, byte) in mantissa.into_iter().enumerate() {
            // The first byte is worth 256^(exponent - 1), the last 256^(exponent - 3); what is worth less than one is cut off.
            let Some(power) = usize::from(exponent).checked_sub(place + 1) else { continue };
            match 31_usize.checked_sub(power) {
                Some(at) => target[at] = byte,
                None if byte == 0 => {}
                None => return None,
            }
        }
        (target != [0; 32]).then_some(Self(target))
    }

    /// The easiest of Bitcoin's main network: nBits 1d00ffff.
    pub const BITCOIN: Self = Self::starting(3, [0x00, 0xff, 0xff]);

    /// The easiest of Litecoin's main network: nBits 1e0fffff.
    pub const LITECOIN: Self = Self::starting(2, [0x0f, 0xff, 0xff]);

    const fn starting(at: usize, mantissa: [u8; 3]) -> Self {
        let mut target = [0; 32];
        [target[at], target[at + 1], target[at + 2]] = mantissa;
        Self(target)
    }

    /// Whether a digest, read as a little-endian number, is at most this.
    #[must_use]
    pub fn is_met_by(&self, digest: &[u8; 32]) -> bool {
        digest.iter().rev().le(self.0.iter())
    }
}

/// The target of a header, where its network allows it and it asks for enough work.
///
/// # Errors
/// The reason for which the header is rejected.
pub fn target(header: &Header, limit: &Target, difficulty: u8) -> Result<Target, Reason> {
    let target = Target::from_compact(header.bits()).ok_or(Reason::TargetOutOfRange)?;
    if target > *limit {
        return Err(Reason::TargetOutOfRange);
    }
    if leading_zero_bits(&target.0) < u32::from(difficulty) {
        return Err(Reason::DifficultyTooLow);
    }
    Ok(target)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first block of Bitcoin.
    pub const GENESIS: &str = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c";
    fn target(text: &str) -> Target {
        let mut target = [0; 32];
        hex::decode_to_slice(format!("{text:0>64}"), &mut target).unwrap();
        Target(target)
    }

    #[test]
    fn compact_targets_decode_to_the_known_numbers() {
        for (bits, number) in [
            (0x0112_3456, target("12")),
            (0x0212_3456, target("1234")),
            (0x0312_3456, target("123456")),
            (0x0412_3456, target("12345600")),
            (0x0500_9234, target("92340000")),
            (0x2012_3456, target(&format!("123456{}", "00".repeat(29)))),
            (0x2200_0001, target(&format!("01{}", "00".repeat(31)))),
            (0x1d00_ffff, target(&format!("ffff{}", "00".repeat(26)))),
        ] {
            assert_eq!(Target::from_compact(bits), Some(number), "{bits:08x}");
        }
        assert_eq!(Target::from_compact(0x1d00_ffff), Some(Target::BITCOIN));
        assert_eq!(Target::from_compact(0x1e0f_ffff), Some(Target::LITECOIN));
        for bits in
            [0x0492_3456, 0x01fe_dcba, 0x2101_0000, 0xff12_3456, 0x0100_3456, 0x0012_3456, 0]
        {
            assert_eq!(Target::from_compact(bits), None, "{bits:08x}");
        }
    }

    #[test]
    fn a_digest_equal_to_the_target_meets_it_and_one_above_does_not() {
        let target = Target::from_compact(0x0400_9234).unwrap();
        let mut digest = target.0;
        digest.reverse();
        assert!(target.is_met_by(&digest));
        digest[0] += 1;
        assert!(!target.is_met_by(&digest));
    }

    #[test]
    fn a_header_of_another_length_or_alphabet_is_refused() {
        for text in ["", "00", &GENESIS[..158], &format!("{GENESIS}00"), &"zz".repeat(80)] {
            assert_eq!(text.parse::<Header>(), Err(ParseHeaderError));
        }
    }

    proptest! {
        #[test]
        fn a_compact_target_agrees_with_its_definition(exponent in 0_u32..=16, mantissa in 0_u32..=0xff_ffff) {
            let number = match exponent {
                _ if mantissa > 0x7f_ffff => 0,
                0..=3 => u128::from(mantissa >> (8 * (3 - exponent))),
                _ => u128::from(mantissa) << (8 * (exponent - 3)),
            };
            let mut wanted = [0; 32];
            wanted[16..].copy_from_slice(&number.to_be_bytes());
            let wanted = (number != 0).then_some(Target(wanted));
            prop_assert_eq!(Target::from_compact(exponent << 24 | mantissa), wanted);
        }
    }
}
