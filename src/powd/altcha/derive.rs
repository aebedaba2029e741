//! The functions that ALTCHA v2 derives keys by, and what they cost before they are run.
//!
//! | algorithm | key |
//! | --- | --- |
//! | `SHA-256`, `SHA-384`, `SHA-512` | H(salt, password), then H of that, `cost` hashes in all |
//! | `PBKDF2/SHA-256`, `/SHA-384`, `/SHA-512` | PBKDF2-HMAC of `cost` rounds (RFC 8018) |
//! | `SCRYPT` | scrypt, N = `cost`, r = `memoryCost` or 8, p = `parallelism` or 1 (RFC 7914) |
//! | `ARGON2ID` | Argon2id 1.3, t = `cost`, m = `memoryCost` KiB or 65536, p = `parallelism` or 1 (RFC 9106) |
//!
//! Knows no challenge and no signature.

use std::time::Duration;

use hmac::EagerHash;
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::powd::reason::Reason;
use crate::powd::rules::Bounds;

/// Lengths of a key, in bytes: Argon2's least, and as much as SHA-512 gives.
const KEY_LENGTHS: std::ops::RangeInclusive<usize> = 4..=64;

/// Lanes of Argon2id and scrypt: they are computed one after the other.
const MOST_LANES: u64 = 64;

/// Nanoseconds for a block of SHA-256, on a processor with instructions for it.
const SHA256_BLOCK: u64 = 100;

/// Nanoseconds for a block of SHA-384 or SHA-512.
const SHA512_BLOCK: u64 = 500;

/// Nanoseconds for a block of 1 KiB of Argon2's memory, each time that it is filled.
const ARGON2_BLOCK: u64 = 500;

/// Nanoseconds for 1 KiB of scrypt's memory, which is written once and read once.
const SCRYPT_BLOCK: u64 = 2000;

/// A hash of the SHA-2 family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// Length of its digest, in bytes.
    const fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    const fn block(self) -> u64 {
        match self {
            Self::Sha256 => SHA256_BLOCK,
            Self::Sha384 | Self::Sha512 => SHA512_BLOCK,
        }
    }
}

/// A function that derives keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// A hash, again and again.
    Sha(Hash),
    /// PBKDF2 with a hash's HMAC.
    Pbkdf2(Hash),
    /// scrypt.
    Scrypt,
    /// Argon2id.
    Argon2id,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Sha(Hash::Sha256),
        Self::Sha(Hash::Sha384),
        Self::Sha(Hash::Sha512),
        Self::Pbkdf2(Hash::Sha256),
        Self::Pbkdf2(Hash::Sha384),
        Self::Pbkdf2(Hash::Sha512),
        Self::Scrypt,
        Self::Argon2id,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha(Hash::Sha256) => "SHA-256",
            Self::Sha(Hash::Sha384) => "SHA-384",
            Self::Sha(Hash::Sha512) => "SHA-512",
            Self::Pbkdf2(Hash::Sha256) => "PBKDF2/SHA-256",
            Self::Pbkdf2(Hash::Sha384) => "PBKDF2/SHA-384",
            Self::Pbkdf2(Hash::Sha512) => "PBKDF2/SHA-512",
            Self::Scrypt => "SCRYPT",
            Self::Argon2id => "ARGON2ID",
        }
    }

    /// The algorithm of that name, in upper or lower case as its libraries take it. There is none to fall back to.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }
}

/// How a key is derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// The function.
    pub algorithm: Algorithm,
    /// How often, or scrypt's N.
    pub cost: u64,
    /// KiB of Argon2id, or scrypt's r.
    pub memory_cost: Option<u64>,
    /// Lanes of Argon2id, or scrypt's p.
    pub parallelism: Option<u64>,
    /// Length of the key, in bytes.
    pub key_length: usize,
}

/// What deriving a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    memory: u64,
    nanoseconds: u64,
}

/// Parameters that can be run, within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Derivation(Function, usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Sha(Hash, u64),
    Pbkdf2(Hash, u32),
    Scrypt { log_n: u8, r: u32, p: u32 },
    Argon2id { t: u32, m: u32, p: u32 },
}

impl Parameters {
    /// Looks at what a derivation would cost, and at whether it is one at all.
    ///
    /// # Errors
    /// When a number is out of its range, or it would cost more than is allowed.
    pub fn within(&self, bounds: &Bounds) -> Result<Derivation, Reason> {
        let (function, cost) = self.function().ok_or(Reason::ParameterOutOfBounds)?;
        let fits =
            cost.memory <= bounds.memory && Duration::from_nanos(cost.nanoseconds) <= bounds.time;
        if fits {
            Ok(Derivation(function, self.key_length))
        } else {
            Err(Reason::ParameterOutOfBounds)
        }
    }

    /// What is to be run, and what that takes; none where a number is out of its range, or overflows.
    fn function(&self) -> Option<(Function, Cost)> {
        if !KEY_LENGTHS.contains(&self.key_length) || self.cost == 0 {
            return None;
        }
        let lanes = self.parallelism.unwrap_or(1);
        match self.algorithm {
            Algorithm::Sha(hash) => {
                let fits = self.key_length <= hash.length();
                let nanoseconds = self.cost.checked_mul(hash.block())?;
                fits.then_some((Function::Sha(hash, self.cost), Cost { memory: 0, nanoseconds }))
            }
            Algorithm::Pbkdf2(hash) => {
                let rounds = u32::try_from(self.cost).ok()?;
                // A round is an HMAC of a digest: two blocks, for each piece of the key.
                let pieces = self.key_length.div_ceil(hash.length()) as u64;
                let nanoseconds = self.cost.checked_mul(2 * pieces * hash.block())?;
                Some((Function::Pbkdf2(hash, rounds), Cost { memory: 0, nanoseconds }))
            }
            Algorithm::Scrypt => {
                let (n, r) = (self.cost, self.memory_cost.unwrap_or(8));
                if !n.is_power_of_two() || n < 2 || r == 0 || !(1..=MOST_LANES).contains(&lanes) {
                    return None;
                }
                let lane = r.checked_mul(128)?.checked_mul(n)?;
                let memory = lane.checked_add(128 * r.checked_mul(lanes)?)?;
                let nanoseconds =
                    lane.checked_mul(lanes)?.div_ceil(1024).checked_mul(SCRYPT_BLOCK)?;
                let log_n = n.trailing_zeros() as u8;
                let function =
                    Function::Scrypt { log_n, r: r.try_into().ok()?, p: lanes.try_into().ok()? };
                Some((function, Cost { memory, nanoseconds }))
            }
            Algorithm::Argon2id => {
                let m = self.memory_cost.unwrap_or(65_536);
                if !(1..=MOST_LANES).contains(&lanes) || m < 8 * lanes {
                    return None;
                }
                let nanoseconds = m.checked_mul(self.cost)?.checked_mul(ARGON2_BLOCK)?;
                let memory = m.checked_mul(1024)?;
                let function = Function::Argon2id {
                    t: self.cost.try_into().ok()?,
                    m: m.try_into().ok()?,
                    p: lanes.try_into().ok()?,
                };
                Some((function, Cost { memory, nanoseconds }))
            }
        }
    }
}

impl Derivation {
    /// Derives a key.
    ///
    /// # Errors
    /// When the memory can't be had, or the salt is too short for Argon2id.
    pub fn key(&self, password: &[u8], salt: &[u8]) -> Result<Vec<u8>, Reason> {
        let Self(function, length) = *self;
        let mut key = vec![0; length];
        match function {
            Function::Sha(Hash::Sha256, times) => hashed::<Sha256>(password, salt, times, &mut key),
            Function::Sha(Hash::Sha384, times) => hashed::<Sha384>(password, salt, times, &mut key),
            Function::Sha(Hash::Sha512, times) => hashed::<Sha512>(password, salt, times, &mut key),
            Function::Pbkdf2(hash, rounds) => {
                let derive = match hash {
                    Hash::Sha256 => pbkdf2::<Sha256>,
                    Hash::Sha384 => pbkdf2::<Sha384>,
                    Hash::Sha512 => pbkdf2::<Sha512>,
                };
                derive(password, salt, rounds, &mut key);
            }
            Function::Scrypt { log_n, r, p } => {
                let parameters = scrypt::Params::new(log_n, r, p);
                let parameters = parameters.map_err(|_| Reason::ParameterOutOfBounds)?;
                scrypt::scrypt(password, salt, &parameters, &mut key)
                    .map_err(|_| Reason::ParameterOutOfBounds)?;
            }
            Function::Argon2id { t, m, p } => {
                use argon2::{Algorithm, Argon2, Params, Version};
                let parameters = Params::new(m, t, p, Some(length));
                let parameters = parameters.map_err(|_| Reason::ParameterOutOfBounds)?;
                Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
                    .hash_password_into(password, salt, &mut key)
                    .map_err(|_| Reason::ParameterOutOfBounds)?;
            }
        }
        Ok(key)
    }
}

fn hashed<H: Digest>(password: &[u8], salt: &[u8], times: u64, key: &mut [u8]) {
    let mut digest = H::new().chain_update(salt).chain_update(password).finalize();
    for _ in 1..times {
        digest = H::digest(&digest);
    }
    for (byte, of) in key.iter_mut().zip(digest) {
        *byte = of;
    }
}

fn pbkdf2<H: EagerHash>(password: &[u8], salt: &[u8], rounds: u32, key: &mut [u8]) {
    pbkdf2::pbkdf2_hmac::<H>(password, salt, rounds, key);
}

#[cfg(test)]
mod tests {
    use super::*;

    type Known = (&'static str, u64, Option<u64>, Option<u64>, &'static str);

    /// Name, cost, memory cost, parallelism, and the key that the libraries of others derive of the counter 123.
    const KNOWN: [Known; 12] = [
        (
            "SHA-256",
            1,
            None,
            None,
            "6deccc5eecdb14c99d57129ef8f2f7d3e71812d8bd022c1caaf9e56512ec186c",
        ),
        (
            "SHA-256",
            1000,
            None,
            None,
            "34e63da7e077a1cdaf0d60e29881cc783e14f70d259acfb18e58049fa1a085b1",
        ),
        (
            "SHA-384",
            3,
            None,
            None,
            "0469a0aaf5329ed012c4c5810e590d49101dfd80a3684fa5d1859f53fe4ef808",
        ),
        (
            "SHA-512",
            3,
            None,
            None,
            "2f2b7bf69d4b1fd727bc4b3ad16b44db18d3898a3c9b1639093117603b88f8e1",
        ),
        (
            "PBKDF2/SHA-256",
            1,
            None,
            None,
            "722ede188d41e7a7c9fd5447dca6cbb84e09c15724dbaadfb5bfb37d2cd4effa",
        ),
        (
            "PBKDF2/SHA-256",
            1000,
            None,
            None,
            "6642bbd6d5936e4d0c909e2239bc4270b040ee8605977d95efd239a00555e6ac",
        ),
        (
            "PBKDF2/SHA-384",
            10,
            None,
            None,
            "42986ef33ae295e0cc5a203ffa5d11017e07e1449baabd2ab3333d724fd82489",
        ),
        (
            "PBKDF2/SHA-512",
            10,
            None,
            None,
            "fa3185ae0d280cd3828c3dd0a8c85cfee429c0a98f38e8cf2bea147f40e124de",
        ),
        (
            "scrypt",
            16384,
            Some(8),
            None,
            "1cc78d75577b791a65ba2b27894aec3c6af99b64155e79f50f4725fd43341070",
        ),
        (
            "SCRYPT",
            1024,
            Some(1),
            Some(2),
            "db8883d0fd0c7d5549d663abbf667ce23094664187255ba5104a7a39cf988ced",
        ),
        (
            "ARGON2ID",
            1,
            Some(1024),
            Some(1),
            "7d42da446fd09337046cccec5a8e8d6a6c6ab34a348fd8a13f7048d865a6685b",
        ),
        (
            "Argon2id",
            2,
            Some(256),
            Some(2),
            "a9c5cac46f7135e7d608186c2d31909403183e74e6f18e33ad7562a86a4df7e6",
        ),
    ];

    fn parameters(name: &str, cost: u64, memory: Option<u64>, lanes: Option<u64>) -> Parameters {
        let algorithm = Algorithm::named(name).unwrap();
        Parameters { algorithm, cost, memory_cost: memory, parallelism: lanes, key_length: 32 }
    }

    fn derived(parameters: Parameters) -> String {
        let nonce = hex::decode("39baf91a19d671f8231217f9e28342a6").unwrap();
        let salt = hex::decode("5e00d5d152e1a5db7d44fb6404a40a5e").unwrap();
        let derivation = parameters.within(&Bounds::default()).unwrap();
        let password = [&nonce[..], &123_u32.to_be_bytes()].concat();
        hex::encode(derivation.key(&password, &salt).unwrap())
    }

    #[test]
    fn known_passwords_have_their_known_keys() {
        for (name, cost, memory, lanes, key) in KNOWN {
            assert_eq!(derived(parameters(name, cost, memory, lanes)), key, "{name} {cost}");
        }
        let long = Parameters { key_length: 64, ..parameters("PBKDF2/SHA-256", 7, None, None) };
        assert_eq!(
            derived(long),
            "9983ad3aef624c99028baa695768f5f3dbf89826177f84808b8e48947c709cac\
             2834efe51b9d283fa1e090fff2b753a97e978171624c802612a6ba8ac944d101"
        );
    }

    #[test]
    fn what_would_cost_too_much_or_is_no_derivation_is_refused_before_it_is_run() {
        let gib = 1 << 20;
        for (name, cost, memory, lanes) in [
            ("ARGON2ID", 1, Some(64 * gib), None),
            ("ARGON2ID", 1, Some(u64::MAX), None),
            ("ARGON2ID", u64::MAX, Some(1024), None),
            ("ARGON2ID", 1 << 33, Some(8), None),
            ("ARGON2ID", 100, None, None),
            ("ARGON2ID", 1, Some(7), None),
            ("ARGON2ID", 1, Some(15), Some(2)),
            ("ARGON2ID", 1, Some(1024), Some(0)),
            ("ARGON2ID", 1, Some(65536), Some(1000)),
            ("SCRYPT", 1 << 20, Some(8), None),
            ("SCRYPT", 1 << 63, Some(8), None),
            ("SCRYPT", 1000, Some(8), None),
            ("SCRYPT", 1, Some(8), None),
            ("SCRYPT", 16384, Some(0), None),
            ("SCRYPT", 16384, Some(u64::MAX), None),
            ("SCRYPT", 2, Some(1 << 40), None),
            ("SCRYPT", 16384, Some(8), Some(64)),
            ("SCRYPT", 1024, Some(1), Some(65)),
            ("SCRYPT", 1024, Some(1), Some(u64::MAX)),
            ("PBKDF2/SHA-256", 1_250_001, None, None),
            ("PBKDF2/SHA-512", 250_001, None, None),
            ("PBKDF2/SHA-256", u64::MAX, None, None),
            ("SHA-256", 2_500_001, None, None),
            ("SHA-256", u64::MAX, None, None),
            ("SHA-256", 0, None, None),
        ] {
            let refused = parameters(name, cost, memory, lanes).within(&Bounds::default());
            assert_eq!(
                refused,
                Err(Reason::ParameterOutOfBounds),
                "{name} {cost} {memory:?} {lanes:?}"
            );
        }
        for (name, key_length) in [("SHA-256", 33), ("SHA-384", 49), ("SCRYPT", 65), ("SHA-512", 3)]
        {
            let parameters = Parameters { key_length, ..parameters(name, 1, Some(8), None) };
            assert!(parameters.within(&Bounds::default()).is_err(), "{name} {key_length}");
        }
    }

    #[test]
    fn what_libraries_and_guides_recommend_is_within_bounds() {
        for (name, cost, memory, lanes) in [
            ("ARGON2ID", 1, None, None),
            ("ARGON2ID", 3, Some(65536), Some(4)),
            ("ARGON2ID", 2, Some(19456), Some(1)),
            ("SCRYPT", 32768, Some(8), Some(3)),
            ("PBKDF2/SHA-256", 600_000, None, None),
            ("PBKDF2/SHA-512", 210_000, None, None),
        ] {
            let found = parameters(name, cost, memory, lanes).within(&Bounds::default());
            assert!(found.is_ok(), "{name} {cost} {memory:?}");
        }
    }

    #[test]
    fn an_algorithm_that_is_not_one_is_not_taken_for_another() {
        for name in
            ["", "SHA-1", "SHA256", "PBKDF2", "PBKDF2/SHA-1", "ARGON2", "ARGON2I", "SHA-256 "]
        {
            assert_eq!(Algorithm::named(name), None, "{name}");
        }
    }
}
