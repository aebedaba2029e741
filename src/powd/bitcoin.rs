//! Bitcoin block headers as proofs of work.
//!
//! A header's digest is SHA-256 of SHA-256 of it, read as a little-endian 256-bit number, which must not exceed the target
//! that nBits encodes; and the target must not be easier than the network's limit. Whether the header belongs to the
//! chain is not known here.

use super::header::{Header, target};
use super::reason::Reason;
use super::rules::Rules;
use super::sha256d;

/// Checks a header's target and work, and answers its digest.
///
/// # Errors
/// The reason for which it is rejected.
pub fn check(header: &Header, rules: &Rules) -> Result<[u8; 32], Reason> {
    let target = target(header, &rules.bitcoin_limit, rules.difficulty)?;
    let digest = header.digest();
    if target.is_met_by(&digest) { Ok(digest) } else { Err(Reason::WorkInsufficient) }
}

/// The same of many, in their order; faster than one after the other.
#[must_use]
pub fn check_all(headers: &[Header], rules: &Rules) -> Vec<Result<[u8; 32], Reason>> {
    let digests = sha256d::digests(headers.iter().map(|header| &header.0));
    // Neighbours of a chain mostly have the same target, and decoding it takes a quarter as long as hashing.
    let mut last = (None, Err(Reason::TargetOutOfRange));
    let checked = headers.iter().zip(digests).map(|(header, digest)| {
        if last.0 != Some(header.bits()) {
            let target = target(header, &rules.bitcoin_limit, rules.difficulty);
            last = (Some(header.bits()), target);
        }
        if last.1?.is_met_by(&digest) { Ok(digest) } else { Err(Reason::WorkInsufficient) }
    });
    checked.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::powd::header::tests::GENESIS;

    const LATER: &str = "010000004ddccd549d28f385ab457e98d1b11ce80bfea2c5ab93015ade4973e400000000bf4473e53794beae34e64fccc471dace6ae544180816f89591894e0f417a914cd74d6e49ffff001d323b3a7b";

    fn shown(mut digest: [u8; 32]) -> String {
        digest.reverse();
        hex::encode(digest)
    }

    #[test]
    fn known_headers_have_their_known_hashes() {
        for (header, hash) in [
            (GENESIS, "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"),
            (LATER, "00000000b0c5a240b2a61d2e75692224efd4cbecdf6eaf4cc2cf477ca7c270e7"),
        ] {
            let header: Header = header.parse().unwrap();
            assert_eq!(check(&header, &Rules::new(16)).map(shown).unwrap(), hash);
        }
    }

    #[test]
    fn a_header_changed_in_one_byte_has_not_the_work() {
        let mut header: Header = LATER.parse().unwrap();
        header.0[0] = 0x02;
        assert_eq!(check(&header, &Rules::new(16)), Err(Reason::WorkInsufficient));
    }

    #[test]
    fn a_target_easier_than_the_network_allows_is_out_of_range() {
        for bits in [0x1d01_0000_u32, 0x207f_ffff, 0x2101_0000, 0x0492_3456, 0] {
            let mut header: Header = GENESIS.parse().unwrap();
            header.0[72..76].copy_from_slice(&bits.to_le_bytes());
            assert_eq!(
                check(&header, &Rules::new(16)),
                Err(Reason::TargetOutOfRange),
                "{bits:08x}"
            );
        }
    }

    #[test]
    fn a_target_easier_than_the_service_requires_is_too_low() {
        let header: Header = GENESIS.parse().unwrap();
        assert_eq!(check(&header, &Rules::new(33)), Err(Reason::DifficultyTooLow));
        assert!(check(&header, &Rules::new(32)).is_ok());
    }

    #[test]
    fn many_headers_are_checked_as_each_by_itself() {
        let genesis: Header = GENESIS.parse().unwrap();
        let headers: Vec<Header> = (0..11)
            .map(|number| {
                let mut header = genesis;
                header.0[70] ^= number % 3;
                header.0[75] ^= number & 4;
                header
            })
            .collect();
        let rules = Rules::new(16);
        for count in 0..headers.len() {
            let wanted: Vec<_> = headers[..count].iter().map(|one| check(one, &rules)).collect();
            assert_eq!(check_all(&headers[..count], &rules), wanted);
        }
    }

    proptest! {
        #[test]
        fn a_random_header_is_never_accepted(bytes in proptest::collection::vec(any::<u8>(), 80)) {
            let header = Header(bytes.try_into().unwrap());
            prop_assert!(check(&header, &Rules::new(1)).is_err());
        }
    }
}
