//! A proof of work, the rules it is held to, and what came of it.
//!
//! [`verify`] is a pure function: it touches no clock, ledger or network, and each thing it is in doubt about is a
//! rejection with a [`Reason`]. That a proof counts only once is the ledger's part.
//!
//! The id of a proof is `SHA-256(NAME ':' DIGEST)`, NAME being the format's name and DIGEST the 32 bytes of
//! its proof-of-work hash. The bare digest would not do: SHA-256d of a Bitcoin header is also the digest of the
//! challenge whose data and nonce are the header's inner hash.
//!
//! No comparison here is of a secret (proofs, digests and targets are all public), so none needs constant time.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::bitcoin::{self, Header};
use super::challenge::{self, Challenge};

/// The kinds of proof that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// A Bitcoin block header of the main network.
    Bitcoin,
    /// SHA-256 over given data and a nonce.
    Challenge,
}

impl Format {
    /// All of them, in the order of [`index`](Self::index).
    pub const ALL: [Self; 2] = [Self::Bitcoin, Self::Challenge];

    /// Its stable name, as in `"format"` on the wire; at most 16 bytes of ASCII.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bitcoin => "bitcoin",
            Self::Challenge => "challenge",
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The format of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// A proof of work as submitted; its syntax is right, its work not yet checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "format", rename_all = "snake_case")]
pub enum Proof {
    /// `{"format":"bitcoin","header":"<160 hex digits>"}`
    Bitcoin {
        /// The 80 bytes.
        header: Header,
    },
    /// `{"format":"challenge","data":"<hex, 1 to 64 bytes>","nonce":7,"bits":16}`
    Challenge(Challenge),
}

impl Proof {
    /// Its kind.
    #[must_use]
    pub const fn format(&self) -> Format {
        match self {
            Self::Bitcoin { .. } => Format::Bitcoin,
            Self::Challenge(_) => Format::Challenge,
        }
    }
}

/// What a proof must satisfy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Leading zero bits of the digest that are required, of every format.
    pub difficulty: u8,
}

/// The name under which a proof counts once: 32 bytes, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProofId(pub [u8; 32]);

impl ProofId {
    /// The id of the proof of that format and digest.
    #[must_use]
    pub fn new(format: Format, digest: &[u8; 32]) -> Self {
        let mut hash = Sha256::new();
        hash.update(format.name());
        hash.update(b":");
        hash.update(digest);
        Self(hash.finalize().into())
    }
}

impl fmt::Display for ProofId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 64];
        hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str(str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for ProofId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ProofId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a proof's id is 64 hex digits")]
pub struct ParseIdError;

impl FromStr for ProofId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut id = [0; 32];
        hex::decode_to_slice(text, &mut id).map_err(|_| ParseIdError)?;
        Ok(Self(id))
    }
}

/// A proof whose work is right; whether it is new only the ledger knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// The name under which it counts once.
    pub id: ProofId,
    /// Its kind.
    pub format: Format,
}

/// Why a proof is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is not a proof of a known format.
    Malformed,
    /// It claims less work than is required here.
    DifficultyTooLow,
    /// Its digest does not show the work it claims.
    WorkInsufficient,
    /// Its target is zero, negative, overflows, or is easier than its network allows.
    TargetOutOfRange,
    /// It was accepted before.
    Replayed,
    /// It was not looked at: too much is waiting already.
    Overloaded,
    /// It could not be recorded, so it does not count.
    LedgerUnavailable,
}

impl Reason {
    /// All of them, in the order of [`index`](Self::index).
    pub const ALL: [Self; 7] = [
        Self::Malformed,
        Self::DifficultyTooLow,
        Self::WorkInsufficient,
        Self::TargetOutOfRange,
        Self::Replayed,
        Self::Overloaded,
        Self::LedgerUnavailable,
    ];

    /// Its stable name, as on the wire and in the metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::DifficultyTooLow => "difficulty_too_low",
            Self::WorkInsufficient => "work_insufficient",
            Self::TargetOutOfRange => "target_out_of_range",
            Self::Replayed => "replayed",
            Self::Overloaded => "overloaded",
            Self::LedgerUnavailable => "ledger_unavailable",
        }
    }

    /// The same in a sentence.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Malformed => "it is not a proof of a known format",
            Self::DifficultyTooLow => "it claims less work than is required here",
            Self::WorkInsufficient => "its digest does not show the work it claims",
            Self::TargetOutOfRange => {
                "its target is zero, overflows, or is easier than the network allows"
            }
            Self::Replayed => "it was accepted before; each proof counts once",
            Self::Overloaded => "too many proofs are waiting already",
            Self::LedgerUnavailable => "it could not be recorded, so it does not count",
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// What came of a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is right, new, and durably recorded.
    Accepted {
        /// The name under which it is recorded.
        id: ProofId,
    },
    /// It does not count.
    Rejected {
        /// Why.
        reason: Reason,
    },
}

/// Checks the work of a proof.
///
/// # Errors
/// The reason for which it is rejected.
pub fn verify(proof: &Proof, rules: &Rules) -> Result<Verified, Reason> {
    let digest = match proof {
        Proof::Bitcoin { header } => bitcoin::check(header, rules.difficulty)?,
        Proof::Challenge(challenge) => challenge::check(challenge, rules.difficulty)?,
    };
    let format = proof.format();
    Ok(Verified { id: ProofId::new(format, &digest), format })
}

/// Zero bits before the first one, of 32 bytes read as a big-endian number: 0 to 256.
#[must_use]
pub fn leading_zero_bits(number: &[u8; 32]) -> u32 {
    let zero_bytes = number.iter().take_while(|byte| **byte == 0).count();
    let rest = number.get(zero_bytes).map_or(0, |byte| byte.leading_zeros());
    zero_bytes as u32 * 8 + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::powd::bitcoin::tests::GENESIS;

    #[test]
    fn two_formats_with_the_same_digest_have_different_ids() {
        let header: Header = GENESIS.parse().unwrap();
        let inner: [u8; 32] = Sha256::digest(header.0).into();
        let nonce = u64::from_be_bytes(inner[24..].try_into().unwrap());
        let forged = Challenge { data: inner[..24].try_into().unwrap(), nonce, bits: 0 };
        assert_eq!(forged.digest(), header.digest(), "the collision this is about");
        assert_ne!(
            ProofId::new(Format::Bitcoin, &header.digest()),
            ProofId::new(Format::Challenge, &forged.digest())
        );
    }

    #[test]
    fn an_id_is_read_back_from_its_text_and_nothing_else_is() {
        let id = ProofId([0xa5; 32]);
        assert_eq!(id.to_string(), "a5".repeat(32));
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "a5", &"a5".repeat(33), &"g5".repeat(32)] {
            assert_eq!(wrong.parse::<ProofId>(), Err(ParseIdError), "{wrong}");
        }
    }

    #[test]
    fn every_reason_and_format_has_its_own_name_and_place() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
            assert_eq!(Reason::ALL.iter().filter(|other| other.name() == reason.name()).count(), 1);
        }
        for (index, format) in Format::ALL.into_iter().enumerate() {
            assert_eq!(format.index(), index);
            assert_eq!(Format::named(format.name()), Some(format));
            assert!(format.name().len() <= 16, "the ledger packs names into 16 bytes");
        }
    }

    #[test]
    fn leading_zero_bits_are_counted_bit_by_bit() {
        let mut number = [0; 32];
        assert_eq!(leading_zero_bits(&number), 256);
        number[2] = 0b0001_0000;
        assert_eq!(leading_zero_bits(&number), 19);
        number[0] = 0x80;
        assert_eq!(leading_zero_bits(&number), 0);
    }
}
