//! Any bytes as a chain of headers, on a network where every second digest is enough: followed as far as it holds.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use trueup::powd::bitcoin;
use trueup::powd::chain::{Flaw, follow};
use trueup::powd::header::{Header, Target};
use trueup::powd::rules::Rules;

static RULES: LazyLock<Rules> = LazyLock::new(|| Rules {
    bitcoin_limit: Target::from_compact(0x207f_ffff).unwrap_or(Target::BITCOIN),
    ..Rules::new(0)
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(followed) = follow(bytes, &RULES) else { panic!("bytes in memory can be read") };
    let (whole, rest) = bytes.as_chunks::<80>();
    let headers: Vec<Header> = whole.iter().copied().map(Header).collect();
    let good = followed.headers as usize;
    assert!(headers[..good].iter().all(|header| bitcoin::check(header, &RULES).is_ok()));
    assert!(headers[..good].windows(2).all(|two| two[1].previous() == two[0].digest()));
    match followed.broken {
        None => assert!(good == headers.len() && rest.is_empty()),
        Some(broken) => {
            assert_eq!(broken.at, followed.headers);
            assert!(!broken.flaw.to_string().is_empty());
            let cut = matches!(broken.flaw, Flaw::Cut { bytes } if bytes == rest.len());
            assert_eq!(cut, good == headers.len());
        }
    }
});
