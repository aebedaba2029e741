//! ALTCHA, version 1: a number within a range, found by trying.
//!
//! `challenge` is hex of H(`salt` || `number` in decimal), and `signature` hex of HMAC-H(key, the hex of `challenge`), H
//! being the `algorithm`. The query part of the salt says until when it counts, and the salt ends with `&`: without
//! that, digits of the number can be moved into the salt, and one solution passes for several with other times.
//!
//! Single use is by the challenge and not by its signature, of which there are two while keys are changed.

use hmac::Hmac;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq as _;

use super::json::Fields;
use super::{PayloadError, encode};
use crate::powd::reason::Reason;
use crate::powd::rules::{Keys, Rules, hmac};

/// Longest salt, in bytes.
const LONGEST_SALT: usize = 1024;

/// The hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-1, which older pages ask for.
    Sha1,
    /// SHA-256, as all that do not say.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha512];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
        }
    }

    /// The algorithm of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    fn length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    fn hash(self, salt: &str, number: u64) -> Vec<u8> {
        let text = format!("{salt}{number}");
        match self {
            Self::Sha1 => Sha1::digest(text).to_vec(),
            Self::Sha256 => Sha256::digest(text).to_vec(),
            Self::Sha512 => Sha512::digest(text).to_vec(),
        }
    }

    fn sign(self, key: &[u8], challenge: &[u8]) -> Option<Vec<u8>> {
        let text = hex::encode(challenge);
        match self {
            Self::Sha1 => hmac::<Hmac<Sha1>>(key, text.as_bytes()),
            Self::Sha256 => hmac::<Hmac<Sha256>>(key, text.as_bytes()),
            Self::Sha512 => hmac::<Hmac<Sha512>>(key, text.as_bytes()),
        }
    }
}

/// A solved challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    algorithm: Algorithm,
    challenge: Vec<u8>,
    number: u64,
    salt: String,
    expires_at: Timestamp,
    signature: Vec<u8>,
}

impl Payload {
    /// Reads its fields.
    pub(super) fn read(fields: Map<String, Value>) -> Result<Self, PayloadError> {
        let mut fields = Fields(fields);
        let name = fields.text("algorithm")?;
        let algorithm = Algorithm::named(&name).ok_or_else(|| {
            let told = "`algorithm` must be `SHA-1`, `SHA-256` or `SHA-512`";
            PayloadError::because(Reason::UnknownAlgorithm, told)
        })?;
        let challenge = fields.hex("challenge")?;
        let number = fields.whole("number")?;
        let salt = fields.text("salt")?;
        let signature = fields.hex("signature")?;
        // How long it took the page; some of them say so.
        fields.skip_number("took")?;
        fields.end()?;
        if challenge.len() != algorithm.length() || signature.len() != algorithm.length() {
            let told = format!(
                "`challenge` and `signature` must be {} hex digits with {}",
                algorithm.length() * 2,
                algorithm.name()
            );
            return Err(PayloadError::malformed(told));
        }
        let expires_at = expires_at(&salt)?;
        Ok(Self { algorithm, challenge, number, salt, expires_at, signature })
    }

    /// Until when it counts.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// The challenge, of which one solution counts.
    #[must_use]
    pub fn challenge(&self) -> &[u8] {
        &self.challenge
    }

    /// Checks that it was issued here and is of its time; all but the work.
    ///
    /// # Errors
    /// The reason for which it is rejected.
    pub fn admit(&self, rules: &Rules, now: Timestamp) -> Result<(), Reason> {
        if rules.keys.is_empty() {
            return Err(Reason::KeyMissing);
        }
        let sign = |key: &[u8]| self.algorithm.sign(key, &self.challenge);
        if !rules.keys.any_gives(&self.signature, sign) {
            return Err(Reason::SignatureWrong);
        }
        if self.expires_at < now {
            return Err(Reason::Expired);
        }
        if self.number > rules.max_number {
            return Err(Reason::ParameterOutOfBounds);
        }
        Ok(())
    }

    /// Checks the work.
    ///
    /// # Errors
    /// When the number is not the one that was sought, or the salt not the one that was issued.
    pub fn check(&self) -> Result<(), Reason> {
        let hash = self.algorithm.hash(&self.salt, self.number);
        if bool::from(hash.ct_eq(&self.challenge)) { Ok(()) } else { Err(Reason::WorkInsufficient) }
    }

    /// As a page sends it.
    #[must_use]
    pub fn encode(&self) -> String {
        encode(&json!({
            "algorithm": self.algorithm.name(),
            "challenge": hex::encode(&self.challenge),
            "number": self.number,
            "salt": self.salt,
            "signature": hex::encode(&self.signature),
        }))
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.encode())
    }
}

/// Until when a salt says that its challenge counts.
fn expires_at(salt: &str) -> Result<Timestamp, PayloadError> {
    if salt.len() > LONGEST_SALT || !salt.bytes().all(|byte| byte.is_ascii_graphic()) {
        let told = format!("`salt` must be printable ASCII, at most {LONGEST_SALT} bytes of it");
        return Err(PayloadError::malformed(told));
    }
    let Some(inner) = salt.strip_suffix('&') else {
        return Err(PayloadError::malformed("`salt` must end with `&`"));
    };
    let missing = || PayloadError::because(Reason::ExpiryMissing, "`salt` must say `expires`");
    let (_, query) = inner.split_once('?').ok_or_else(missing)?;
    let mut found = query.split('&').filter_map(|pair| pair.strip_prefix("expires="));
    let seconds = found.next().ok_or_else(missing)?;
    if found.next().is_some() {
        return Err(PayloadError::malformed("`salt` says `expires` twice"));
    }
    let plain = seconds.bytes().all(|byte| byte.is_ascii_digit()) && !seconds.starts_with('0');
    let moment = seconds.parse().ok().filter(|_| plain);
    moment
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .ok_or_else(|| PayloadError::malformed("`expires` must be Unix seconds in plain digits"))
}

/// A challenge to be solved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    algorithm: Algorithm,
    digest: Vec<u8>,
    max_number: u64,
    salt: String,
    expires_at: Timestamp,
    signature: Vec<u8>,
}

/// What a challenge is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The hash.
    pub algorithm: Algorithm,
    /// Up to where the number is; half of that are tried on average.
    pub max_number: u64,
    /// Until when it counts; whole seconds of it.
    pub expires_at: Timestamp,
}

/// Issues a challenge, signed with the newest key; none without one.
#[must_use]
pub fn issue(wanted: &Wanted, keys: &Keys) -> Option<Challenge> {
    let Wanted { algorithm, max_number, expires_at } = *wanted;
    let expires_at = Timestamp::from_second(expires_at.as_second()).ok()?;
    let random: [u8; 12] = rand::random();
    let salt = format!("{}?expires={}&", hex::encode(random), expires_at.as_second());
    let number = rand::random_range(0..=max_number);
    let digest = algorithm.hash(&salt, number);
    let signature = algorithm.sign(keys.newest()?, &digest)?;
    Some(Challenge { algorithm, digest, max_number, salt, expires_at, signature })
}

impl Challenge {
    /// As a page is given it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "algorithm": self.algorithm.name(),
            "challenge": hex::encode(&self.digest),
            "maxnumber": self.max_number,
            "salt": self.salt,
            "signature": hex::encode(&self.signature),
        })
    }

    /// Solves it by trying; none where no number does.
    #[must_use]
    pub fn solve(self) -> Option<Payload> {
        let Self { algorithm, digest, max_number, salt, expires_at, signature } = self;
        let number = (0..=max_number).find(|number| algorithm.hash(&salt, *number) == digest)?;
        Some(Payload { algorithm, challenge: digest, number, salt, expires_at, signature })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::powd::altcha::{self, Payload as Any};

    /// Solved challenges that the library of the format's makers has issued, with the key `super-secret`.
    const ISSUED: [&str; 3] = [
        r#"{"algorithm": "SHA-1", "challenge": "b4b4e0b8c2a32d515c21f7940512953412b84850", "number": 1234,
            "salt": "54Di61GGB9BpN2Iy?expires=1800000000&form=a+b&", "signature": "8520013874d849bd06e149e86cceb3ae63cbb18b"}"#,
        r#"{"algorithm": "SHA-256", "challenge": "0efa5fa6d36618044a10fb4185d84e0608c5cc8cf5e03b4ce4b5256e20d2ac4e",
            "number": 1234, "salt": "54Di61GGB9BpN2Iy?expires=1800000000&form=a+b&",
            "signature": "7470ccebe99edda22dcdd756de69ae8af72fc12ce83d932e3eae0e23e838eeda", "took": 9417}"#,
        r#"{"algorithm": "SHA-512", "challenge": "44d44d59887427ba216871d54b28d4ca766c7146d8b6677cb165074ec6680d0d0cb29b6d620d2170e6402a05d9a302bcf5cd4630ea8e541ff351d3d496539639",
            "number": 1234, "salt": "54Di61GGB9BpN2Iy?expires=1800000000&form=a+b&",
            "signature": "0990a7755c14ae16abf9659a9de69164388509dbcc64db602b3722ea797b5b1ad3f952f8bb85da488e030976d8fb60bf23e62b076b48d57ad52a9bbe902c560b"}"#,
    ];

    fn keyed(key: &str) -> Rules {
        Rules { keys: Keys::new(vec![key.into()]).unwrap(), ..Rules::new(1) }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn read(json: &str) -> Result<Payload, PayloadError> {
        altcha::read(json).map(|payload| match payload {
            Any::V1(payload) => *payload,
            Any::V2(_) => panic!("version 1"),
        })
    }

    fn checked(json: &str, rules: &Rules, now: Timestamp) -> Result<(), Reason> {
        let payload = read(json).map_err(|error| error.reason)?;
        payload.admit(rules, now)?;
        payload.check()
    }

    #[test]
    fn what_the_makers_library_issued_is_accepted_until_it_expires() {
        let rules = keyed("super-secret");
        for json in ISSUED {
            assert_eq!(checked(json, &rules, at(1_800_000_000)), Ok(()), "{json}");
            assert_eq!(checked(json, &rules, at(1_800_000_001)), Err(Reason::Expired));
            assert_eq!(checked(json, &keyed("other"), at(0)), Err(Reason::SignatureWrong));
            assert_eq!(checked(json, &Rules::new(1), at(0)), Err(Reason::KeyMissing));
        }
    }

    #[test]
    fn both_keys_count_while_they_are_changed() {
        let keys = Keys::new(vec![b"new".to_vec(), b"super-secret".to_vec()]).unwrap();
        let rules = Rules { keys, ..Rules::new(1) };
        assert_eq!(checked(ISSUED[1], &rules, at(0)), Ok(()));
    }

    #[test]
    fn a_salt_without_its_last_sign_is_refused() {
        let legacy = r#"{"algorithm":"SHA-256","challenge":"aa9c8ec8057413dd8220e21e15ab54b095fb3c840601d44c39bece8d9df34529","number":971813,"salt":"3065d108b2314f5ecc7e1207","signature":"d6c436288f1979f298f6532cea31db9e84e6338f4f58a9e00cb4105abbd11397","took":9417}"#;
        assert!(read(legacy).unwrap_err().told.contains("must end with `&`"));
    }

    #[test]
    fn digits_that_move_from_the_number_into_the_salt_are_not_accepted() {
        let hash = |salt, number| hex::encode(Algorithm::Sha256.hash(salt, number));
        let spliced = "94c03c51c1d701a535aa62dbbac9a25d5549b48eaf22a378e32cef6b5b049f7c";
        assert_eq!(hash("54Di61GGB9BpN2Iy?expires=1722530524", 147_224), spliced);
        assert_eq!(hash("54Di61GGB9BpN2Iy?expires=1722530524147", 224), spliced);
        for (salt, number) in [
            ("54Di61GGB9BpN2Iy?expires=1722530524", 147_224),
            ("54Di61GGB9BpN2Iy?expires=1722530524147", 224),
        ] {
            let signature = Algorithm::Sha256.sign(b"k", &hex::decode(spliced).unwrap()).unwrap();
            let json = json!({ "algorithm": "SHA-256", "challenge": spliced, "number": number, "salt": salt,
                "signature": hex::encode(signature) });
            assert!(read(&json.to_string()).unwrap_err().told.contains("must end with `&`"));
        }
        let moved = ISSUED[1].replace("1234", "234").replace("a+b&", "a+b&1");
        assert!(read(&moved).is_err());
    }

    #[test]
    fn what_is_not_as_it_was_issued_is_refused_with_its_reason() {
        let rules = keyed("super-secret");
        for (old, new, reason) in [
            ("\"SHA-256\"", "\"SHA-384\"", Reason::UnknownAlgorithm),
            ("\"SHA-256\"", "\"sha-256\"", Reason::UnknownAlgorithm),
            ("\"SHA-256\"", "\"SHA-512\"", Reason::Malformed),
            ("\"SHA-256\"", "256", Reason::Malformed),
            ("0efa5", "0EFA5", Reason::Malformed),
            ("0efa5", "1efa5", Reason::SignatureWrong),
            ("eeda\"", "eedb\"", Reason::SignatureWrong),
            ("eeda\"", "EEDA\"", Reason::Malformed),
            ("eeda\"", "ee\"", Reason::Malformed),
            ("1234", "1235", Reason::WorkInsufficient),
            ("1234", "-1", Reason::Malformed),
            ("1234", "1234.0", Reason::Malformed),
            ("1234", "\"1234\"", Reason::Malformed),
            ("1234", "01234", Reason::Malformed),
            ("1234", "1e3", Reason::Malformed),
            ("1234", "null", Reason::Malformed),
            ("1234", "1000001", Reason::ParameterOutOfBounds),
            ("1234", "18446744073709551616", Reason::Malformed),
            ("54Di", "54di", Reason::WorkInsufficient),
            ("54Di", "54D\u{ef}", Reason::Malformed),
            ("expires=1800000000&", "", Reason::ExpiryMissing),
            ("?expires", "expires", Reason::ExpiryMissing),
            ("expires", "Expires", Reason::ExpiryMissing),
            ("=1800000000", "=01800000000", Reason::Malformed),
            ("=1800000000", "=+1800000000", Reason::Malformed),
            ("=1800000000", "=-1", Reason::Malformed),
            ("=1800000000", "=", Reason::Malformed),
            ("=1800000000", "=1800000000.5", Reason::Malformed),
            ("=1800000000", "=99999999999999999999", Reason::Malformed),
            ("form=a+b", "expires=1900000000", Reason::Malformed),
            ("=1800000000", "=1900000000", Reason::WorkInsufficient),
            ("\"took\": 9417", "\"took\": \"x\"", Reason::Malformed),
            ("\"took\": 9417", "\"test\": true", Reason::Malformed),
            ("\"took\": 9417", "\"number\": 1234", Reason::Malformed),
        ] {
            assert!(ISSUED[1].contains(old), "{old}");
            let changed = ISSUED[1].replacen(old, new, 1);
            assert_eq!(checked(&changed, &rules, at(0)), Err(reason), "{old} -> {new}");
        }
    }

    #[test]
    fn a_challenge_that_was_issued_and_solved_is_accepted_and_no_change_of_a_bit_is() {
        let rules = keyed("k");
        for algorithm in Algorithm::ALL {
            let wanted = Wanted { algorithm, max_number: 50, expires_at: at(1_800_000_000) };
            let payload = issue(&wanted, &rules.keys).unwrap().solve().unwrap();
            let text = payload.encode();
            let Any::V1(read) = altcha::decode(&text).unwrap() else { panic!("version 1") };
            assert_eq!(*read, payload);
            assert_eq!(payload.admit(&rules, at(0)).and_then(|()| payload.check()), Ok(()));
            for bit in 0..text.len() * 8 {
                let mut bytes = text.clone().into_bytes();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let Ok(text) = String::from_utf8(bytes) else { continue };
                let Ok(Any::V1(changed)) = altcha::decode(&text) else { continue };
                let checked = changed.admit(&rules, at(0)).and_then(|()| changed.check());
                assert!(checked.is_err(), "{changed:?}");
            }
        }
        assert_eq!(
            issue(
                &Wanted { algorithm: Algorithm::Sha1, max_number: 1, expires_at: at(0) },
                &Keys::default()
            ),
            None
        );
    }
}
