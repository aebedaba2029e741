//! Any text as a proof, in every form, and any bytes as the body of a request: a proof that means the same when it is
//! written and read again, or a word about what is wrong with it. Nothing is taken for signed that was not.
#![no_main]

use std::sync::LazyLock;

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use trueup::powd::altcha::json::{canonical, read as read_json};
use trueup::powd::hashcash::resources;
use trueup::powd::line::{self, Form};
use trueup::powd::proof::{Format, Proof, admit};
use trueup::powd::rules::{Keys, Rules};
use trueup::powd::wire::{self, Submission};

/// Most proofs of a body.
const LIMIT: usize = 4;

static RULES: LazyLock<Rules> = LazyLock::new(|| Rules {
    keys: Keys::new(vec![b"a key that no input knows".to_vec()]).unwrap_or_default(),
    resources: std::sync::Arc::new(resources(&["foo".to_owned()]).unwrap_or_default()),
    ..Rules::new(1)
});

fn examine(proof: &Proof) {
    let text = serde_json::to_string(proof).unwrap_or_default();
    let again = line::read(&text, Form::Auto);
    assert_eq!(again.as_ref(), Ok(proof), "{text}");
    // Nothing expensive is run: of what is admitted here, no format leaves more than the scrypt of a header.
    let admitted = admit(proof, &RULES, Timestamp::UNIX_EPOCH);
    if matches!(proof.format(), Format::AltchaV1 | Format::AltchaV2) {
        assert!(admitted.is_err(), "nobody has signed {text}");
    }
    if let Ok(admitted) = admitted {
        let _ = admitted.check();
    }
}

fuzz_target!(|bytes: &[u8]| {
    match wire::read(bytes, LIMIT) {
        Ok(Submission::One(entry)) => entry.iter().for_each(examine),
        Ok(Submission::Many(entries)) => {
            assert!(entries.len() <= LIMIT);
            entries.iter().flatten().for_each(examine);
        }
        Err(_) => {}
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let forms =
        [Form::Auto, Form::Json, Form::Bitcoin, Form::Litecoin, Form::Hashcash, Form::Altcha];
    for form in forms {
        match line::read(text, form) {
            Ok(proof) => examine(&proof),
            Err(malformed) => assert!(!malformed.told.is_empty()),
        }
    }
    if let Some(signed) = read_json(text).ok().and_then(|value| canonical(&value)) {
        let again = read_json(&signed).ok().and_then(|value| canonical(&value));
        assert_eq!(again.as_ref(), Some(&signed), "what is signed is read as what was signed");
    }
});
