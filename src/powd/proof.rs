//! A proof of work, and what came of it.
//!
//! A check has two steps, and both are pure functions: they touch no clock, ledger or network, and each thing they are in
//! doubt about is a rejection with a [`Reason`].
//!
//! ```text
//! admit    cheap: its signature, its time, its bounds; and where the work itself is cheap to look at, the work.
//!          It gives the name under which the proof counts once, and until when
//! check    what is left: scrypt of a header, the derivation of a key, which take thousands of times as long
//! ```
//! So whoever keeps a record can look there, or reserve the name, before anything expensive is done. That a proof counts
//! only once is the ledger's part.
//!
//! The id of a proof is `SHA-256(NAME ':' WHAT)`, NAME being the format's name and WHAT what can't be had twice for one
//! work: the digest of a header (SHA-256d, of both networks) or of a plain challenge, the text of a stamp, the challenge
//! of ALTCHA v1, the nonce or `challengeId` of v2. The bare digest would not do: SHA-256d of a Bitcoin header is also
//! the digest of the plain challenge whose data and nonce are the header's inner hash.
//!
//! What depends on a secret (signatures, derived keys) is compared in constant time; digests of headers, challenges and
//! stamps, and targets, are public.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::altcha::{Payload, derive, v1, v2};
use super::challenge::{self, Challenge};
use super::hashcash::{self, Stamp};
use super::header::{Header, Target};
use super::reason::Reason;
use super::rules::Rules;
use super::{bitcoin, litecoin};

/// The kinds of proof that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// A Bitcoin block header.
    Bitcoin,
    /// SHA-256 over given data and a nonce.
    Challenge,
    /// A Litecoin block header.
    Litecoin,
    /// A hashcash stamp.
    Hashcash,
    /// A payload of ALTCHA, version 1.
    AltchaV1,
    /// A payload of ALTCHA, version 2.
    AltchaV2,
}

impl Format {
    /// All of them, in the order of [`index`](Self::index).
    pub const ALL: [Self; 6] = [
        Self::Bitcoin,
        Self::Challenge,
        Self::Litecoin,
        Self::Hashcash,
        Self::AltchaV1,
        Self::AltchaV2,
    ];

    /// Its stable name, as in the record and in the metrics; at most 16 bytes of ASCII.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bitcoin => "bitcoin",
            Self::Challenge => "challenge",
            Self::Litecoin => "litecoin",
            Self::Hashcash => "hashcash",
            Self::AltchaV1 => "altcha_v1",
            Self::AltchaV2 => "altcha_v2",
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// A proof of work as submitted; its syntax is right, its work not yet checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "format", rename_all = "snake_case")]
pub enum Proof {
    /// `{"format":"bitcoin","header":"<160 hex digits>"}`
    Bitcoin {
        /// The 80 bytes.
        header: Header,
    },
    /// `{"format":"challenge","data":"<hex, 1 to 64 bytes>","nonce":7,"bits":16}`
    Challenge(Challenge),
    /// `{"format":"litecoin","header":"<160 hex digits>"}`
    Litecoin {
        /// The 80 bytes.
        header: Header,
    },
    /// `{"format":"hashcash","stamp":"1:20:040428:foo::0298b26853c8ebb3:beca0"}`
    Hashcash {
        /// All of it.
        stamp: Stamp,
    },
    /// `{"format":"altcha","payload":"<base64>"}`
    #[serde(rename = "altcha")]
    AltchaV1 {
        /// What the page sent.
        payload: Box<v1::Payload>,
    },
    /// `{"format":"altcha","payload":"<base64>"}`
    #[serde(rename = "altcha")]
    AltchaV2 {
        /// What the page sent.
        payload: Box<v2::Payload>,
    },
}

impl Proof {
    /// Its kind.
    #[must_use]
    pub const fn format(&self) -> Format {
        match self {
            Self::Bitcoin { .. } => Format::Bitcoin,
            Self::Challenge(_) => Format::Challenge,
            Self::Litecoin { .. } => Format::Litecoin,
            Self::Hashcash { .. } => Format::Hashcash,
            Self::AltchaV1 { .. } => Format::AltchaV1,
            Self::AltchaV2 { .. } => Format::AltchaV2,
        }
    }
}

impl From<Payload> for Proof {
    fn from(payload: Payload) -> Self {
        match payload {
            Payload::V1(payload) => Self::AltchaV1 { payload },
            Payload::V2(payload) => Self::AltchaV2 { payload },
        }
    }
}

/// The name under which a proof counts once: 32 bytes, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProofId(pub [u8; 32]);

impl ProofId {
    /// The id of the proof of that format, and what can't be had twice for its work.
    #[must_use]
    pub fn new(format: Format, what: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(format.name());
        hash.update(b":");
        hash.update(what);
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

/// A proof that has passed all that is cheap to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted<'p> {
    /// The name under which it counts once.
    pub id: ProofId,
    /// Its kind.
    pub format: Format,
    /// When it will be refused for its age, if ever; until then its name must be remembered.
    pub expires_at: Option<Timestamp>,
    left: Left<'p>,
}

/// What is left to be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left<'p> {
    Nothing,
    Scrypt(&'p Header, Target),
    Number(&'p v1::Payload),
    Key(&'p v2::Payload, derive::Derivation),
}

impl Admitted<'_> {
    /// Checks what is left, which may be expensive.
    ///
    /// # Errors
    /// The reason for which the proof is rejected.
    pub fn check(&self) -> Result<Verified, Reason> {
        match &self.left {
            Left::Nothing => {}
            Left::Scrypt(header, target) => litecoin::check(header, target)?,
            Left::Number(payload) => payload.check()?,
            Left::Key(payload, derivation) => payload.check(derivation)?,
        }
        Ok(Verified { id: self.id, format: self.format })
    }
}

/// Checks all that is cheap.
///
/// # Errors
/// The reason for which the proof is rejected.
pub fn admit<'p>(proof: &'p Proof, rules: &Rules, now: Timestamp) -> Result<Admitted<'p>, Reason> {
    let format = proof.format();
    let named = |what: &[u8], expires_at, left| {
        Ok(Admitted { id: ProofId::new(format, what), format, expires_at, left })
    };
    match proof {
        Proof::Bitcoin { header } => named(&bitcoin::check(header, rules)?, None, Left::Nothing),
        Proof::Challenge(challenge) => {
            named(&challenge::check(challenge, rules.difficulty)?, None, Left::Nothing)
        }
        Proof::Litecoin { header } => {
            let target = litecoin::admit(header, rules)?;
            named(&header.digest(), None, Left::Scrypt(header, target))
        }
        Proof::Hashcash { stamp } => {
            hashcash::check(stamp, rules, now)?;
            named(stamp.as_str().as_bytes(), Some(stamp.expires_at()?), Left::Nothing)
        }
        Proof::AltchaV1 { payload } => {
            payload.admit(rules, now)?;
            named(payload.challenge(), Some(payload.expires_at()), Left::Number(payload))
        }
        Proof::AltchaV2 { payload } => {
            let derivation = payload.admit(rules, now)?;
            named(&payload.name(), Some(payload.expires_at()), Left::Key(payload, derivation))
        }
    }
}

/// Checks all of a proof.
///
/// # Errors
/// The reason for which it is rejected.
pub fn verify(proof: &Proof, rules: &Rules, now: Timestamp) -> Result<Verified, Reason> {
    admit(proof, rules, now)?.check()
}

/// Zero bits before the first one, of bytes read as a big-endian number.
#[must_use]
pub fn leading_zero_bits(number: &[u8]) -> u32 {
    let zero_bytes = number.iter().take_while(|byte| **byte == 0).count();
    let rest = number.get(zero_bytes).map_or(0, |byte| byte.leading_zeros());
    zero_bytes as u32 * 8 + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::powd::header::tests::GENESIS;

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
    fn every_format_has_its_own_name_and_place() {
        for (index, format) in Format::ALL.into_iter().enumerate() {
            assert_eq!(format.index(), index);
            assert_eq!(Format::ALL.iter().filter(|other| other.name() == format.name()).count(), 1);
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
