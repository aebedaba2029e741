//! Plain challenges: data, and a nonce that gives SHA-256 over both enough leading zero bits.
//!
//! The digest is `SHA-256(data || nonce)`, the nonce as 8 bytes big-endian. Its width is fixed, so no two pairs
//! of data and nonce are hashed as the same bytes, and none can be passed off as another. One challenge may be
//! answered by many nonces; each answer is a proof of its own and counts once.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::proof::leading_zero_bits;
use super::reason::Reason;

/// What a nonce was found for: 1 to 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Data {
    bytes: [u8; 64],
    length: u8,
}

/// Bytes that are none or too many, or a text that is not hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`data` must be 2 to 128 hex digits: 1 to 64 bytes")]
pub struct DataError;

impl Data {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl TryFrom<&[u8]> for Data {
    type Error = DataError;

    fn try_from(given: &[u8]) -> Result<Self, DataError> {
        let length = u8::try_from(given.len()).map_err(|_| DataError)?;
        let mut bytes = [0; 64];
        match bytes.get_mut(..given.len()) {
            Some(space) if !given.is_empty() => space.copy_from_slice(given),
            _ => return Err(DataError),
        }
        Ok(Self { bytes, length })
    }
}

impl From<[u8; 16]> for Data {
    fn from(given: [u8; 16]) -> Self {
        let mut bytes = [0; 64];
        bytes[..16].copy_from_slice(&given);
        Self { bytes, length: 16 }
    }
}

impl FromStr for Data {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let mut bytes = [0; 64];
        let space = bytes.get_mut(..text.len() / 2).ok_or(DataError)?;
        hex::decode_to_slice(text, space).map_err(|_| DataError)?;
        Self::try_from(&*space)
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.as_bytes()))
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut space = [0; 128];
        let digits = &mut space[..2 * usize::from(self.length)];
        hex::encode_to_slice(self.as_bytes(), digits).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(str::from_utf8(digits).map_err(serde::ser::Error::custom)?)
    }
}

/// An answered challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Challenge {
    /// What the nonce was found for.
    pub data: Data,
    /// The answer.
    pub nonce: u64,
    /// Leading zero bits that the digest is claimed to have.
    pub bits: u8,
}

impl Challenge {
    /// `SHA-256(data || nonce)`; what is claimed is no part of it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.data.as_bytes());
        hash.update(self.nonce.to_be_bytes());
        hash.finalize().into()
    }
}

/// Checks what is claimed and that it is so, and answers the digest.
///
/// # Errors
/// The reason for which it is rejected.
pub fn check(challenge: &Challenge, difficulty: u8) -> Result<[u8; 32], Reason> {
    if challenge.bits < difficulty {
        return Err(Reason::DifficultyTooLow);
    }
    let digest = challenge.digest();
    if leading_zero_bits(&digest) < u32::from(challenge.bits) {
        return Err(Reason::WorkInsufficient);
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answered(data: &str, nonce: u64, bits: u8) -> Challenge {
        Challenge { data: data.parse().unwrap(), nonce, bits }
    }

    #[test]
    fn the_digest_is_sha_256_over_the_data_and_eight_bytes_of_nonce() {
        let wanted = Sha256::digest(b"\xab\xcd\0\0\0\0\0\0\x01\x02");
        assert_eq!(answered("abcd", 0x0102, 0).digest(), <[u8; 32]>::from(wanted));
    }

    #[test]
    fn work_is_measured_in_bits_and_must_reach_what_is_claimed() {
        let found = (0..).map(|nonce| answered("00ff", nonce, 0));
        let mut found = found.filter(|c| leading_zero_bits(&c.digest()) == 9);
        let nine = found.next().unwrap();
        assert!(check(&Challenge { bits: 9, ..nine }, 8).is_ok());
        assert_eq!(check(&Challenge { bits: 10, ..nine }, 8), Err(Reason::WorkInsufficient));
        assert_eq!(check(&Challenge { bits: 7, ..nine }, 8), Err(Reason::DifficultyTooLow));
    }

    #[test]
    fn a_claim_raised_afterwards_does_not_make_another_proof() {
        let once = answered("00ff", 5, 1);
        assert_eq!(once.digest(), Challenge { bits: 2, ..once }.digest());
    }

    #[test]
    fn data_is_one_to_64_bytes_of_hex() {
        assert_eq!("Ab".parse::<Data>().unwrap().as_bytes(), [0xab]);
        assert_eq!("11".repeat(64).parse::<Data>().unwrap().as_bytes().len(), 64);
        for text in ["", "a", "abc", "xy", "é", &"11".repeat(65), &"11".repeat(300)] {
            assert_eq!(text.parse::<Data>(), Err(DataError), "{text}");
        }
        assert_eq!(Data::try_from(&[0; 256][..]), Err(DataError));
    }

    proptest! {
        #[test]
        fn no_byte_moves_between_data_and_nonce(
            data in proptest::collection::vec(any::<u8>(), 1..=64),
            other in proptest::collection::vec(any::<u8>(), 1..=64),
            nonce: u64, another: u64,
        ) {
            let made = |data: &[u8], nonce| Challenge { data: data.try_into().unwrap(), nonce, bits: 0 };
            let (one, two) = (made(&data, nonce), made(&other, another));
            prop_assert_eq!(one.digest() == two.digest(), one == two);
        }
    }
}
