//! Litecoin block headers as proofs of work.
//!
//! Header, target and the name of a block are Bitcoin's; but what must not exceed the target is scrypt with N = 1024,
//! r = 1, p = 1 of the header with the header as its salt (RFC 7914), 32 bytes of it. That takes 128 KiB and some
//! thousand times as long as the name, under which the proof is single use.

use super::header::{Header, Target, target};
use super::reason::Reason;
use super::rules::Rules;

/// N is two to the power of that.
const LOG_N: u8 = 10;

/// Checks what costs nothing, and answers the target.
///
/// # Errors
/// The reason for which it is rejected.
pub fn admit(header: &Header, rules: &Rules) -> Result<Target, Reason> {
    target(header, &rules.litecoin_limit, rules.difficulty)
}

/// Checks the work.
///
/// # Errors
/// When it is not enough.
pub fn check(header: &Header, target: &Target) -> Result<(), Reason> {
    if target.is_met_by(&work(header)?) { Ok(()) } else { Err(Reason::WorkInsufficient) }
}

/// The digest that shows the work, in the byte order in which it is computed.
///
/// # Errors
/// None: these parameters are right.
pub fn work(header: &Header) -> Result<[u8; 32], Reason> {
    let mut digest = [0; 32];
    let parameters = scrypt::Params::new(LOG_N, 1, 1).map_err(|_| Reason::ParameterOutOfBounds)?;
    scrypt::scrypt(&header.0, &header.0, &parameters, &mut digest)
        .map_err(|_| Reason::ParameterOutOfBounds)?;
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first block of the chain.
    const GENESIS: &str = "010000000000000000000000000000000000000000000000000000000000000000000000d9ced4ed1130f7b7faad9be25323ffafa33232a17c3edf6cfd97bee6bafbdd97b9aa8e4ef0ff0f1ecd513f7c";

    fn shown(mut digest: [u8; 32]) -> String {
        digest.reverse();
        hex::encode(digest)
    }

    #[test]
    fn the_first_block_has_its_known_name_and_its_known_work() {
        let header: Header = GENESIS.parse().unwrap();
        assert_eq!(
            shown(header.digest()),
            "12a765e31ffd4059bada1e25190f6e98c99d9714d334efa41a195a7e7e04bfe2"
        );
        assert_eq!(
            shown(work(&header).unwrap()),
            "0000050c34a64b415b6b15b37f2216634b5b1669cb9a2e38d76f7213b0671e00"
        );
        let target = admit(&header, &Rules::new(20)).unwrap();
        assert_eq!(check(&header, &target), Ok(()));
        assert_eq!(admit(&header, &Rules::new(21)), Err(Reason::DifficultyTooLow));
    }

    #[test]
    fn any_changed_bit_takes_the_work_or_the_target_away() {
        let header: Header = GENESIS.parse().unwrap();
        let rules = Rules::new(1);
        // Each takes milliseconds in a debug build; six of seven bits are left out.
        for bit in (0..640).step_by(7) {
            let mut changed = header;
            changed.0[bit / 8] ^= 1 << (bit % 8);
            let checked = admit(&changed, &rules).and_then(|target| check(&changed, &target));
            assert!(checked.is_err(), "bit {bit}");
        }
    }

    #[test]
    fn the_limit_is_litecoins_own() {
        let mut header: Header = GENESIS.parse().unwrap();
        header.0[72..76].copy_from_slice(&0x1e10_0000_u32.to_le_bytes());
        assert_eq!(admit(&header, &Rules::new(1)), Err(Reason::TargetOutOfRange));
        header.0[72..76].copy_from_slice(&0x1e0f_ffff_u32.to_le_bytes());
        assert_eq!(admit(&header, &Rules::new(1)), Ok(Target::LITECOIN));
    }
}
