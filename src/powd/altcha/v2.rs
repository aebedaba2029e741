//! ALTCHA, version 2: a counter for which a derived key begins as asked.
//!
//! `signature` is hex of HMAC-SHA-256 over the canonical JSON of `parameters` (see [`super::json`]), `nonce` and `salt`
//! are hex, the password is the nonce's bytes and the counter as four, big-endian; the key is derived as
//! [`super::derive`] tells. The proof is right when that is the submitted key, and its hex begins with `keyPrefix`.
//!
//! A `keySignature` is HMAC-SHA-256 over the key that the issuer has found itself. It lets a wrong key be told for the
//! price of an HMAC; it does not replace the derivation, as it says nothing of counter and prefix.

use hmac::Hmac;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::derive::{Algorithm, Derivation, Parameters};
use super::json::{Fields, canonical};
use super::{PayloadError, encode, lower_hex};
use crate::powd::reason::Reason;
use crate::powd::rules::{Bounds, Keys, Rules, hmac};

/// Lengths of nonce and salt, in bytes.
const RANDOM_LENGTHS: std::ops::RangeInclusive<usize> = 8..=64;

/// Longest `data.challengeId`, in bytes.
const LONGEST_ID: usize = 256;

/// What is signed, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// As it is signed.
    signed: String,
    /// As it was given.
    given: Value,
    signature: Vec<u8>,
    parameters: Parameters,
    nonce: Vec<u8>,
    salt: Vec<u8>,
    key_prefix: String,
    key_signature: Option<Vec<u8>>,
    expires_at: Timestamp,
    id: Option<String>,
}

/// A solved challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    challenge: Challenge,
    counter: u32,
    derived_key: Vec<u8>,
}

impl Challenge {
    fn read(mut fields: Fields) -> Result<Self, PayloadError> {
        let signature = fields.hex("signature")?;
        let parameters = fields.object("parameters")?;
        fields.end()?;
        Self::of(parameters.0, signature)
    }

    fn of(given: Map<String, Value>, signature: Vec<u8>) -> Result<Self, PayloadError> {
        let mut fields = Fields(given.clone());
        let given = Value::Object(given);
        let signed = canonical(&given)
            .ok_or_else(|| PayloadError::malformed("`__proto__` can't be signed"))?;
        let name = fields.text("algorithm")?;
        let algorithm = Algorithm::named(&name).ok_or_else(|| {
            let names = Algorithm::ALL.map(Algorithm::name).join("`, `");
            let told = format!("`algorithm` must be one of `{names}`");
            PayloadError::because(Reason::UnknownAlgorithm, told)
        })?;
        let parameters = Parameters {
            algorithm,
            cost: fields.whole("cost")?,
            memory_cost: fields.optional_whole("memoryCost")?,
            parallelism: fields.optional_whole("parallelism")?,
            key_length: usize::try_from(fields.whole("keyLength")?)
                .map_err(|_| PayloadError::malformed("`keyLength` is too large"))?,
        };
        let [nonce, salt] = ["nonce", "salt"].map(|name| {
            let bytes = fields.hex(name)?;
            if RANDOM_LENGTHS.contains(&bytes.len()) {
                return Ok(bytes);
            }
            Err(PayloadError::malformed(format!("`{name}` must be 8 to 64 bytes of hex")))
        });
        let key_prefix = fields.text("keyPrefix")?;
        if !key_prefix.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(PayloadError::malformed("`keyPrefix` must be lower-case hex"));
        }
        let key_signature = fields.optional_text("keySignature")?;
        let key_signature = key_signature.as_deref().map(lower_hex);
        if key_signature == Some(None) {
            return Err(PayloadError::malformed("`keySignature` must be lower-case hex"));
        }
        let expires_at = fields.optional_whole("expiresAt")?.ok_or_else(|| {
            PayloadError::because(Reason::ExpiryMissing, "`parameters` must say `expiresAt`")
        })?;
        let expires_at = i64::try_from(expires_at).ok();
        let expires_at = expires_at
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .ok_or_else(|| PayloadError::malformed("`expiresAt` must be Unix seconds"))?;
        let id = id(&mut fields)?;
        fields.end()?;
        let (nonce, salt, key_signature) = (nonce?, salt?, key_signature.flatten());
        Ok(Self {
            signed,
            given,
            signature,
            parameters,
            nonce,
            salt,
            key_prefix,
            key_signature,
            expires_at,
            id,
        })
    }

    fn key(&self, derivation: &Derivation, counter: u32) -> Result<Vec<u8>, Reason> {
        let password = [&self.nonce[..], &counter.to_be_bytes()].concat();
        derivation.key(&password, &self.salt)
    }

    /// As a page is given it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({ "parameters": self.given, "signature": hex::encode(&self.signature) })
    }

    /// Solves it by trying; none where no counter does, or it would cost more than is allowed.
    #[must_use]
    pub fn solve(self, bounds: &Bounds) -> Option<Payload> {
        let derivation = self.parameters.within(bounds).ok()?;
        let found = (0..=u32::MAX).find_map(|counter| {
            let key = self.key(&derivation, counter).ok()?;
            hex::encode(&key).starts_with(&self.key_prefix).then_some((counter, key))
        });
        let (counter, derived_key) = found?;
        Some(Payload { challenge: self, counter, derived_key })
    }
}

/// The name that the issuer has given to the challenge.
fn id(fields: &mut Fields) -> Result<Option<String>, PayloadError> {
    if fields.0.get("data").is_none_or(Value::is_null) {
        fields.0.remove("data");
        return Ok(None);
    }
    let data = fields.object("data")?;
    match data.0.get("challengeId") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if (1..=LONGEST_ID).contains(&id.len()) => Ok(Some(id.clone())),
        Some(_) => {
            Err(PayloadError::malformed("`data.challengeId` must be a text of 1 to 256 bytes"))
        }
    }
}

impl Payload {
    /// Reads its fields.
    pub(super) fn read(fields: Map<String, Value>) -> Result<Self, PayloadError> {
        let mut fields = Fields(fields);
        let challenge = Challenge::read(fields.object("challenge")?)?;
        let mut solution = fields.object("solution")?;
        fields.end()?;
        let counter = u32::try_from(solution.whole("counter")?)
            .map_err(|_| PayloadError::malformed("`counter` must be below 2^32"))?;
        let derived_key = solution.hex("derivedKey")?;
        // How long it took the page; some of them say so.
        solution.skip_number("time")?;
        solution.end()?;
        if derived_key.len() != challenge.parameters.key_length {
            return Err(PayloadError::malformed("`derivedKey` must be `keyLength` bytes of hex"));
        }
        Ok(Self { challenge, counter, derived_key })
    }

    /// Until when it counts.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.challenge.expires_at
    }

    /// What counts once: the name that the issuer has given to the challenge, or else its nonce.
    #[must_use]
    pub fn name(&self) -> Vec<u8> {
        match &self.challenge.id {
            Some(id) => [b"id:", id.as_bytes()].concat(),
            None => [b"nonce:", &self.challenge.nonce[..]].concat(),
        }
    }

    /// Checks that it was issued here, is of its time, and begins as asked; all but the work.
    ///
    /// # Errors
    /// The reason for which it is rejected.
    pub fn admit(&self, rules: &Rules, now: Timestamp) -> Result<Derivation, Reason> {
        let challenge = &self.challenge;
        if rules.keys.is_empty() {
            return Err(Reason::KeyMissing);
        }
        let sign = |key: &[u8]| hmac::<Hmac<Sha256>>(key, challenge.signed.as_bytes());
        if !rules.keys.any_gives(&challenge.signature, sign) {
            return Err(Reason::SignatureWrong);
        }
        if challenge.expires_at < now {
            return Err(Reason::Expired);
        }
        if challenge.key_prefix.is_empty() {
            return Err(Reason::DifficultyTooLow);
        }
        if challenge.key_prefix.len() > 2 * challenge.parameters.key_length {
            return Err(Reason::ParameterOutOfBounds);
        }
        let derivation = challenge.parameters.within(&rules.bounds)?;
        if !hex::encode(&self.derived_key).starts_with(&challenge.key_prefix) {
            return Err(Reason::KeyPrefixViolated);
        }
        if let Some(signature) = &challenge.key_signature
            && !rules.derived_keys.is_empty()
        {
            let sign = |key: &[u8]| hmac::<Hmac<Sha256>>(key, &self.derived_key);
            if !rules.derived_keys.any_gives(signature, sign) {
                return Err(Reason::WorkInsufficient);
            }
        }
        Ok(derivation)
    }

    /// Checks the work.
    ///
    /// # Errors
    /// When the key is another, or can't be derived.
    pub fn check(&self, derivation: &Derivation) -> Result<(), Reason> {
        let key = self.challenge.key(derivation, self.counter)?;
        if bool::from(key.ct_eq(&self.derived_key)) {
            Ok(())
        } else {
            Err(Reason::WorkInsufficient)
        }
    }

    /// As a page sends it.
    #[must_use]
    pub fn encode(&self) -> String {
        let derived_key = hex::encode(&self.derived_key);
        encode(&json!({
            "challenge": self.challenge.json(),
            "solution": { "counter": self.counter, "derivedKey": derived_key },
        }))
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.encode())
    }
}

/// What a challenge is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// How keys are derived.
    pub parameters: Parameters,
    /// What the key's lower-case hex is to begin with: each digit makes it 16 times as much work.
    pub key_prefix: String,
    /// Until when it counts; whole seconds of it.
    pub expires_at: Timestamp,
    /// What else is signed with it.
    pub data: Option<Map<String, Value>>,
}

/// Issues a challenge, signed with the newest key; none without one, or where it could not be read back.
#[must_use]
pub fn issue(wanted: &Wanted, keys: &Keys) -> Option<Challenge> {
    sign(given(wanted), keys)
}

/// Issues a challenge that exactly this counter solves: the first half of its key is asked for, and the key signed with
/// the newest of `derived_keys`. None as [`issue`], or where deriving it would cost more than is allowed.
#[must_use]
pub fn issue_solved(wanted: &Wanted, counter: u32, rules: &Rules) -> Option<Challenge> {
    let mut given = given(wanted);
    let derivation = wanted.parameters.within(&rules.bounds).ok()?;
    let key = sign(given.clone(), &rules.keys)?.key(&derivation, counter).ok()?;
    given.insert("keyPrefix".to_owned(), hex::encode(&key[..key.len() / 2]).into());
    let signature = hmac::<Hmac<Sha256>>(rules.derived_keys.newest()?, &key)?;
    given.insert("keySignature".to_owned(), hex::encode(signature).into());
    sign(given, &rules.keys)
}

/// The parameters as they are given to a page.
fn given(wanted: &Wanted) -> Map<String, Value> {
    let Wanted { parameters, key_prefix, expires_at, data } = wanted;
    let random = || hex::encode(rand::random::<[u8; 16]>());
    let fields = [
        ("algorithm", Some(parameters.algorithm.name().into())),
        ("cost", Some(parameters.cost.into())),
        ("data", data.clone().map(Value::Object)),
        ("expiresAt", Some(expires_at.as_second().into())),
        ("keyLength", Some(parameters.key_length.into())),
        ("keyPrefix", Some(key_prefix.as_str().into())),
        ("memoryCost", parameters.memory_cost.map(Value::from)),
        ("nonce", Some(random().into())),
        ("parallelism", parameters.parallelism.map(Value::from)),
        ("salt", Some(random().into())),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn sign(given: Map<String, Value>, keys: &Keys) -> Option<Challenge> {
    let mut challenge = Challenge::of(given, Vec::new()).ok()?;
    challenge.signature = hmac::<Hmac<Sha256>>(keys.newest()?, challenge.signed.as_bytes())?;
    Some(challenge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::powd::altcha::{self, Payload as Any};

    /// A solved challenge that the library of the format's makers has issued and solved, with the key `signature.secret`.
    const ISSUED: &str = "eyJjaGFsbGVuZ2UiOiB7InBhcmFtZXRlcnMiOiB7ImFsZ29yaXRobSI6ICJQQktERjIvU0hBLTI1NiIsICJjb3N0IjogMTAsICJrZXlMZW5ndGgiOiAzMiwgImtleVByZWZpeCI6ICIwMCIsICJub25jZSI6ICIzOWJhZjkxYTE5ZDY3MWY4MjMxMjE3ZjllMjgzNDJhNiIsICJzYWx0IjogIjM5YmFmOTFhMTlkNjcxZjgyMzEyMTdmOWUyODM0MmE2IiwgImV4cGlyZXNBdCI6IDE4MDAwMDAwMDAsICJkYXRhIjogeyJjaGFsbGVuZ2VJZCI6ICJhYmMiLCAieCI6IFsxLCAyXX19LCAic2lnbmF0dXJlIjogIjU0MDIyYzhiOTZlOWY4ZGYxZWZmM2ZmMGIzNWQxMzFjNzliYTdlZjhjNTU5MmNlMDYxZjBiNGQ3MTczMDRlZGEifSwgInNvbHV0aW9uIjogeyJjb3VudGVyIjogMzA2LCAiZGVyaXZlZEtleSI6ICIwMDBhMzBiYTUxMmUxYzg4ZWRlMmJjMGEwYTM4YTZkOTEwMmQ0NWYwZjk4YjNiMTFhNmNlNDY3YjMzNTFmZGRmIiwgInRpbWUiOiAxLjV9fQ==";

    /// One whose issuer has solved it itself, and signed the key with `key.secret`.
    const PRESOLVED: &str = r#"{"challenge": {"parameters": {"algorithm": "SHA-256", "cost": 5, "keyLength": 32,
        "keyPrefix": "f5dcc86294264902b577a0c6275a66b1", "nonce": "39baf91a19d671f8231217f9e28342a6",
        "salt": "39baf91a19d671f8231217f9e28342a6", "keySignature":
        "6787a397d312dcd0d9852d13aaac5ef29e2e28d5dd1e65f7473579d60025c7b3", "expiresAt": 1800000000}, "signature":
        "af14fd12df23635707514f3a45c206b1f45d23d3b5a786ea135976de7b92ca41"}, "solution": {"counter": 77, "derivedKey":
        "f5dcc86294264902b577a0c6275a66b16d440f1853539e54eeb7616aef4050d6", "time": 0.2155819965992123}}"#;

    fn keyed(key: &str, derived: &str) -> Rules {
        let keys = |key: &str| if key.is_empty() { vec![] } else { vec![key.as_bytes().to_vec()] };
        Rules {
            keys: Keys::new(keys(key)).unwrap(),
            derived_keys: Keys::new(keys(derived)).unwrap(),
            ..Rules::new(1)
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn of(payload: Result<Any, PayloadError>) -> Result<Payload, PayloadError> {
        payload.map(|payload| match payload {
            Any::V2(payload) => *payload,
            Any::V1(_) => panic!("version 2"),
        })
    }

    fn checked(payload: Result<Any, PayloadError>, rules: &Rules, now: i64) -> Result<(), Reason> {
        let payload = of(payload).map_err(|error| error.reason)?;
        payload.check(&payload.admit(rules, at(now))?)
    }

    /// The JSON of a proof with these parameters, signed with `k`, whatever its key; `counter` and its key are right.
    fn forged(change: &[(&str, Value)]) -> String {
        let parameters = json!({ "algorithm": "SHA-256", "cost": 2, "expiresAt": 1_800_000_000, "keyLength": 32,
            "keyPrefix": "0", "nonce": "00112233445566778899aabbccddeeff", "salt": "00112233445566778899aabbccddeeff" });
        let Value::Object(mut parameters) = parameters else { panic!("an object") };
        for (name, value) in change {
            parameters.insert((*name).to_owned(), value.clone());
        }
        let signed = canonical(&Value::Object(parameters.clone())).unwrap();
        let signature = hex::encode(hmac::<Hmac<Sha256>>(b"k", signed.as_bytes()).unwrap());
        json!({ "challenge": { "parameters": parameters, "signature": signature },
                "solution": { "counter": 1, "derivedKey": "00".repeat(32) } })
        .to_string()
    }

    #[test]
    fn the_known_parameters_have_their_known_signature() {
        let parameters = r#"{"algorithm":"PBKDF2/SHA-256","cost":1000,"keyLength":32,"keyPrefix":"00",
            "nonce":"39baf91a19d671f8231217f9e28342a6","salt":"5e00d5d152e1a5db7d44fb6404a40a5e"}"#;
        let signed = canonical(&serde_json::from_str(parameters).unwrap()).unwrap();
        let signature = hmac::<Hmac<Sha256>>(b"signature.secret", signed.as_bytes()).unwrap();
        assert_eq!(
            hex::encode(signature),
            "a10045ef3381d5516e0c3fd6bf0b90e02fab68d576ffe9e0e1c2d1cd1e404f2a"
        );
    }

    #[test]
    fn what_the_makers_library_issued_is_accepted_until_it_expires() {
        let rules = keyed("signature.secret", "");
        assert_eq!(checked(altcha::decode(ISSUED), &rules, 1_800_000_000), Ok(()));
        assert_eq!(checked(altcha::decode(ISSUED), &rules, 1_800_000_001), Err(Reason::Expired));
        let other = keyed("other", "");
        assert_eq!(checked(altcha::decode(ISSUED), &other, 0), Err(Reason::SignatureWrong));
        assert_eq!(checked(altcha::decode(ISSUED), &keyed("", ""), 0), Err(Reason::KeyMissing));
        let payload = of(altcha::decode(ISSUED)).unwrap();
        assert_eq!(payload.name(), b"id:abc");
    }

    #[test]
    fn a_signed_key_is_looked_at_and_does_not_replace_the_derivation() {
        for derived in ["", "key.secret"] {
            let rules = keyed("signature.secret", derived);
            assert_eq!(checked(altcha::read(PRESOLVED), &rules, 0), Ok(()));
            let other_counter = PRESOLVED.replace("\"counter\": 77", "\"counter\": 78");
            assert_eq!(
                checked(altcha::read(&other_counter), &rules, 0),
                Err(Reason::WorkInsufficient),
                "the library that issued it accepts any counter"
            );
            let other_key = PRESOLVED.replace("4050d6", "4050d7");
            assert_eq!(checked(altcha::read(&other_key), &rules, 0), Err(Reason::WorkInsufficient));
        }
        let wrong = keyed("signature.secret", "other");
        assert_eq!(checked(altcha::read(PRESOLVED), &wrong, 0), Err(Reason::WorkInsufficient));
    }

    #[test]
    fn a_right_key_that_does_not_begin_as_asked_is_refused() {
        let rules = keyed("k", "");
        let mut counter = 0;
        // A key is derived right, but not searched for.
        let payload = loop {
            let mut payload = of(altcha::read(&forged(&[]))).unwrap();
            let derivation = payload.challenge.parameters.within(&rules.bounds).unwrap();
            payload.counter = counter;
            payload.derived_key = payload.challenge.key(&derivation, counter).unwrap();
            if payload.derived_key[0] >= 0x10 {
                break payload;
            }
            counter += 1;
        };
        assert_eq!(payload.admit(&rules, at(0)), Err(Reason::KeyPrefixViolated));
    }

    #[test]
    fn what_is_signed_and_asks_for_too_much_or_nothing_is_refused() {
        let rules = keyed("k", "");
        for (change, reason) in [
            (&[][..], Reason::WorkInsufficient),
            (
                &[
                    ("algorithm", json!("ARGON2ID")),
                    ("cost", json!(1)),
                    ("memoryCost", json!(64 << 20)),
                ][..],
                Reason::ParameterOutOfBounds,
            ),
            (&[("cost", json!(1_u64 << 40))], Reason::ParameterOutOfBounds),
            (&[("cost", json!(0))], Reason::ParameterOutOfBounds),
            (&[("keyPrefix", json!(""))], Reason::DifficultyTooLow),
            (&[("keyPrefix", json!("0".repeat(65)))], Reason::ParameterOutOfBounds),
            (&[("keyPrefix", json!("1"))], Reason::KeyPrefixViolated),
            (&[("keyPrefix", json!("A"))], Reason::Malformed),
            (&[("keyPrefix", json!("0x"))], Reason::Malformed),
            (&[("keyLength", json!(31))], Reason::Malformed),
            (&[("algorithm", json!("SHA-1"))], Reason::UnknownAlgorithm),
            (&[("algorithm", json!("SHA-257"))], Reason::UnknownAlgorithm),
            (&[("algorithm", json!(7))], Reason::Malformed),
            (&[("cost", json!(-1))], Reason::Malformed),
            (&[("cost", json!(1.5))], Reason::Malformed),
            (&[("cost", json!("1"))], Reason::Malformed),
            (&[("expiresAt", json!(null))], Reason::ExpiryMissing),
            (&[("expiresAt", json!("1800000000"))], Reason::Malformed),
            (&[("expiresAt", json!(u64::MAX))], Reason::Malformed),
            (&[("expiresAt", json!(1.8e9))], Reason::Malformed),
            (&[("nonce", json!("0011"))], Reason::Malformed),
            (&[("nonce", json!("00112233445566778899AABBCCDDEEFF"))], Reason::Malformed),
            (&[("salt", json!("00".repeat(65)))], Reason::Malformed),
            (&[("data", json!("x"))], Reason::Malformed),
            (&[("data", json!({ "challengeId": 7 }))], Reason::Malformed),
            (&[("data", json!({ "challengeId": "" }))], Reason::Malformed),
            (&[("extra", json!(1))], Reason::Malformed),
            (&[("keySignature", json!("zz"))], Reason::Malformed),
            (&[("memoryCost", json!(null)), ("data", json!(null))], Reason::WorkInsufficient),
        ] {
            assert_eq!(
                checked(altcha::read(&forged(change)), &rules, 0),
                Err(reason),
                "{change:?}"
            );
        }
    }

    #[test]
    fn a_solution_that_is_not_one_is_malformed() {
        for (old, new) in [
            ("\"counter\":1", "\"counter\":4294967296"),
            ("\"counter\":1", "\"counter\":-1"),
            ("\"counter\":1", "\"counter\":1.0"),
            ("\"counter\":1", "\"counter\":1,\"counter\":1"),
            ("\"counter\":1", "\"counter\":1,\"extra\":1"),
            ("\"derivedKey\":\"00", "\"derivedKey\":\""),
            ("\"derivedKey\":\"00", "\"derivedKey\":\"0G"),
            ("\"signature\":\"", "\"signature\":\"z"),
            ("\"solution\":{", "\"x\":1,\"solution\":{"),
            ("\"challenge\":{", "\"challenge\":{\"x\":1,"),
        ] {
            let json = forged(&[]);
            assert!(json.contains(old), "{old}");
            let error = of(altcha::read(&json.replacen(old, new, 1))).unwrap_err();
            assert_eq!(error.reason, Reason::Malformed, "{old} -> {new}");
        }
    }

    #[test]
    fn a_challenge_counts_once_by_the_name_it_was_given_or_else_by_its_nonce() {
        let name = |change: &[_]| of(altcha::read(&forged(change))).unwrap().name();
        let nonce =
            [&b"nonce:"[..], &hex::decode("00112233445566778899aabbccddeeff").unwrap()].concat();
        assert_eq!(name(&[]), nonce);
        assert_eq!(name(&[("data", json!({ "other": 1 }))]), nonce);
        assert_eq!(name(&[("data", json!({ "challengeId": "a" }))]), b"id:a");
    }

    fn wanted(algorithm: Algorithm) -> Wanted {
        let (cost, memory_cost) = match algorithm {
            Algorithm::Scrypt => (16, Some(1)),
            Algorithm::Argon2id => (1, Some(16)),
            _ => (3, None),
        };
        let parameters =
            Parameters { algorithm, cost, memory_cost, parallelism: Some(1), key_length: 32 };
        Wanted { parameters, key_prefix: "0".to_owned(), expires_at: at(1_800_000_000), data: None }
    }

    #[test]
    fn a_challenge_that_was_issued_and_solved_is_accepted_and_no_change_of_a_bit_is() {
        let rules = keyed("k", "d");
        for algorithm in Algorithm::ALL {
            let challenge = issue(&wanted(algorithm), &rules.keys).unwrap();
            let payload = challenge.solve(&rules.bounds).unwrap();
            let text = payload.encode();
            assert_eq!(of(altcha::decode(&text)), Ok(payload));
            assert_eq!(checked(altcha::decode(&text), &rules, 0), Ok(()), "{algorithm:?}");
            // Every bit of the JSON: of the base64 most changes are none of it.
            let json = String::from_utf8(altcha_bytes(&text)).unwrap();
            for bit in 0..json.len() * 8 {
                let mut bytes = json.clone().into_bytes();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                let checked = checked(altcha::read(&changed), &rules, 0);
                assert!(checked.is_err(), "{changed}");
            }
        }
    }

    fn altcha_bytes(text: &str) -> Vec<u8> {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.decode(text).unwrap()
    }

    #[test]
    fn a_challenge_that_was_issued_solved_has_the_counter_it_was_issued_for() {
        let rules = keyed("k", "d");
        let challenge = issue_solved(&wanted(Algorithm::ALL[0]), 33, &rules).unwrap();
        assert!(challenge.json()["parameters"]["keySignature"].is_string());
        let payload = challenge.solve(&rules.bounds).unwrap();
        assert_eq!(payload.counter, 33);
        assert_eq!(checked(altcha::decode(&payload.encode()), &rules, 0), Ok(()));
    }
}
