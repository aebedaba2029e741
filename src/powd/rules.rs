//! What proofs are held to: how much work, for whom, signed by which keys, and what checking one may cost.
//!
//! Plain data, and bytes where it is about keys: where they are read from is not known here.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hmac::{KeyInit, Mac};
use subtle::{Choice, ConstantTimeEq as _};

use super::header::Target;

/// Largest number of an ALTCHA v1 proof that is taken, unless told otherwise: what its libraries issue.
pub const MAX_NUMBER: u64 = 1_000_000;

/// What proofs must satisfy. Clones are cheap.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Bits of work that are required: leading zero bits of what headers, challenges and stamps claim. ALTCHA's
    /// work is what was signed when it was issued.
    pub difficulty: u8,
    /// The easiest target of a Bitcoin header.
    pub bitcoin_limit: Target,
    /// The easiest target of a Litecoin header.
    pub litecoin_limit: Target,
    /// Those for whom a hashcash stamp may have been made; without any, none is taken.
    pub resources: Arc<BTreeSet<String>>,
    /// What ALTCHA challenges are signed with; without any, none is taken.
    pub keys: Keys,
    /// What the derived keys of ALTCHA v2 are signed with where they are; without any, that is not looked at.
    pub derived_keys: Keys,
    /// Largest number of an ALTCHA v1 proof.
    pub max_number: u64,
    /// What checking one proof may cost.
    pub bounds: Bounds,
}

impl Rules {
    /// Those of the main networks, for nobody's stamps and nobody's keys.
    #[must_use]
    pub fn new(difficulty: u8) -> Self {
        Self {
            difficulty,
            bitcoin_limit: Target::BITCOIN,
            litecoin_limit: Target::LITECOIN,
            resources: Arc::default(),
            keys: Keys::default(),
            derived_keys: Keys::default(),
            max_number: MAX_NUMBER,
            bounds: Bounds::default(),
        }
    }
}

/// What checking one proof may cost; looked at before it is checked, from the parameters alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of memory.
    pub memory: u64,
    /// Time on a processor, as estimated from the parameters for a core that is rather slow.
    pub time: Duration,
}

impl Default for Bounds {
    /// 64 MiB, which is what ALTCHA's libraries take for Argon2id unless told, and 250 ms.
    fn default() -> Self {
        Self { memory: 64 << 20, time: Duration::from_millis(250) }
    }
}

/// Keys that count at the same time: the one that is signed with, and the one before it. None of them is ever shown.
#[derive(Clone, Default)]
pub struct Keys(Arc<[Box<[u8]>]>);

/// Keys that can't be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// Too many.
    #[error("there are {0} keys; at most {MOST_KEYS} count at the same time")]
    TooMany(usize),
    /// Anybody could sign with it.
    #[error("a key is empty")]
    Empty,
}

/// Keys that count at the same time.
const MOST_KEYS: usize = 2;

impl Keys {
    /// The newest first.
    ///
    /// # Errors
    /// When there are more than two, or one is empty.
    pub fn new(keys: Vec<Vec<u8>>) -> Result<Self, KeysError> {
        if keys.len() > MOST_KEYS {
            return Err(KeysError::TooMany(keys.len()));
        }
        if keys.iter().any(Vec::is_empty) {
            return Err(KeysError::Empty);
        }
        Ok(Self(keys.into_iter().map(Vec::into_boxed_slice).collect()))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one to sign with.
    #[must_use]
    pub fn newest(&self) -> Option<&[u8]> {
        self.0.first().map(|key| &**key)
    }

    /// Whether one of them gives this signature by `sign`. Every key is tried, and in constant time.
    pub(super) fn any_gives(
        &self,
        signature: &[u8],
        sign: impl Fn(&[u8]) -> Option<Vec<u8>>,
    ) -> bool {
        let tried = self.0.iter().filter_map(|key| sign(key)).map(|made| made.ct_eq(signature));
        tried.fold(Choice::from(0), |given, one| given | one).into()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

/// The HMAC of a message by a hash; none where the key can't be one, though an HMAC takes keys of any length.
pub(super) fn hmac<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let mac = <M as KeyInit>::new_from_slice(key).ok()?;
    Some(mac.chain_update(message).finalize().into_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use hmac::Hmac;
    use sha2::Sha256;

    use super::*;

    #[test]
    fn the_known_message_has_the_known_signature() {
        assert_eq!(
            hex::encode(hmac::<Hmac<Sha256>>(b"test", b"hello world").unwrap()),
            "d1596e0d4280f2bd2d311ce0819f23bde0dc834d8254b92924088de94c38d922"
        );
    }

    #[test]
    fn two_keys_count_at_the_same_time_and_a_third_does_not() {
        let keys = Keys::new(vec![b"new".to_vec(), b"old".to_vec()]).unwrap();
        let sign = |key: &[u8]| hmac::<Hmac<Sha256>>(key, b"x");
        for (key, counts) in [(&b"new"[..], true), (b"old", true), (b"other", false), (b"", false)]
        {
            assert_eq!(keys.any_gives(&hmac::<Hmac<Sha256>>(key, b"x").unwrap(), sign), counts);
        }
        assert!(!keys.any_gives(&[], sign) && !Keys::default().any_gives(&[], sign));
        assert_eq!(keys.newest(), Some(&b"new"[..]));
        assert_eq!(Keys::new(vec![vec![1]; 3]).unwrap_err(), KeysError::TooMany(3));
        assert_eq!(Keys::new(vec![Vec::new()]).unwrap_err(), KeysError::Empty);
        assert_eq!(format!("{keys:?}"), "2 keys");
    }
}
