//! Makes valid proofs, for load and for tests.
//!
//! Challenges and block headers are mined here; stamps and ALTCHA's challenges where their formats are. A proof of `bits`
//! costs about 2^bits hashes, so a supply is made before the window in which a service is measured, not in it. A header
//! of the main network would need 2^32 at the least, so headers are mined for targets that are easier. Knows nothing of
//! the service.

use std::thread;

use sha2::block_api::compress256;

use super::challenge::{Challenge, Data};
use super::header::{Header, Target};
use super::litecoin;
use super::proof::Proof;
use super::sha256d;

/// Length of the data of a mined challenge, in bytes.
const PREFIX: usize = 16;

/// The valid answers to one challenge, in the order of their nonces; all are different proofs.
#[derive(Debug, Clone)]
pub struct ChallengeMiner {
    data: Data,
    bits: u8,
    /// Data, nonce and SHA-256's padding: the whole message is one block.
    block: [u8; 64],
    next: Option<u64>,
    hashes: u64,
}

impl ChallengeMiner {
    /// Answers the challenge `prefix` with digests of at least `bits` leading zero bits. Two miners of one prefix
    /// find the same proofs, so a prefix should be random.
    #[must_use]
    pub fn new(prefix: [u8; PREFIX], bits: u8) -> Self {
        let mut block = [0; 64];
        block[..PREFIX].copy_from_slice(&prefix);
        block[PREFIX + 8] = 0x80;
        let message_bits = (PREFIX as u64 + 8) * 8;
        block[56..].copy_from_slice(&message_bits.to_be_bytes());
        Self { data: Data::from(prefix), bits, block, next: Some(0), hashes: 0 }
    }

    /// Answers a random challenge.
    #[must_use]
    pub fn random(bits: u8) -> Self {
        Self::new(rand::random(), bits)
    }

    /// How many hashes it took so far.
    #[must_use]
    pub fn hashes(&self) -> u64 {
        self.hashes
    }

    fn has_work(&self, state: &[u32; 8]) -> bool {
        let mut missing = u32::from(self.bits);
        for word in state {
            if missing < 32 {
                return word.leading_zeros() >= missing;
            }
            if *word != 0 {
                return false;
            }
            missing -= 32;
        }
        true
    }
}

impl Iterator for ChallengeMiner {
    type Item = Proof;

    /// The next proof; none only after all 2^64 nonces.
    fn next(&mut self) -> Option<Proof> {
        loop {
            let nonce = self.next?;
            self.next = nonce.checked_add(1);
            self.block[PREFIX..PREFIX + 8].copy_from_slice(&nonce.to_be_bytes());
            let mut state = sha256d::START;
            compress256(&mut state, std::slice::from_ref(&self.block));
            self.hashes += 1;
            if self.has_work(&state) {
                return Some(Proof::Challenge(Challenge {
                    data: self.data,
                    nonce,
                    bits: self.bits,
                }));
            }
        }
    }
}

/// A header after the one of the digest `previous`, with that Merkle root, whose SHA-256d meets the target of `bits`; none
/// where `bits` stand for no target, or all nonces were tried.
#[must_use]
pub fn mine_header(previous: [u8; 32], root: [u8; 32], bits: u32) -> Option<Header> {
    mine_header_by(previous, root, bits, |header| Some(header.digest()))
}

/// The same by Litecoin's work.
#[must_use]
pub fn mine_litecoin_header(previous: [u8; 32], root: [u8; 32], bits: u32) -> Option<Header> {
    mine_header_by(previous, root, bits, |header| litecoin::work(header).ok())
}

fn mine_header_by(
    previous: [u8; 32],
    root: [u8; 32],
    bits: u32,
    work: impl Fn(&Header) -> Option<[u8; 32]>,
) -> Option<Header> {
    let target = Target::from_compact(bits)?;
    let mut header = Header([0; 80]);
    header.0[0] = 1;
    header.0[4..36].copy_from_slice(&previous);
    header.0[36..68].copy_from_slice(&root);
    header.0[72..76].copy_from_slice(&bits.to_le_bytes());
    for nonce in 0..=u32::MAX {
        header.0[76..].copy_from_slice(&nonce.to_le_bytes());
        if target.is_met_by(&work(&header)?) {
            return Some(header);
        }
    }
    None
}

/// Proofs that were made beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supply {
    /// The proofs, all different.
    pub proofs: Vec<Proof>,
    /// How many hashes they took together.
    pub hashes: u64,
}

/// Makes `count` different proofs of `bits` bits on `threads` threads (at least one).
#[must_use]
pub fn supply(count: usize, bits: u8, threads: usize) -> Supply {
    let threads = threads.clamp(1, count.max(1));
    let share = |index: usize| count / threads + usize::from(index < count % threads);
    let mut made = Supply { proofs: Vec::with_capacity(count), hashes: 0 };
    thread::scope(|scope| {
        let mine = |wanted: usize| {
            let mut miner = ChallengeMiner::random(bits);
            let proofs: Vec<Proof> = miner.by_ref().take(wanted).collect();
            (proofs, miner.hashes())
        };
        let miners: Vec<_> =
            (0..threads).map(|index| scope.spawn(move || mine(share(index)))).collect();
        for miner in miners {
            match miner.join() {
                Ok((proofs, hashes)) => {
                    made.proofs.extend(proofs);
                    made.hashes += hashes;
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    made
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use jiff::Timestamp;

    use crate::powd::proof::verify;
    use crate::powd::rules::Rules;

    #[test]
    fn every_mined_proof_is_valid_and_none_comes_twice() {
        let supply = supply(101, 8, 4);
        let rules = Rules::new(8);
        let ids: HashSet<_> = supply
            .proofs
            .iter()
            .map(|proof| verify(proof, &rules, Timestamp::UNIX_EPOCH).unwrap().id)
            .collect();
        assert_eq!(ids.len(), 101);
        assert!(supply.hashes > 101 * 64, "{} hashes for 101 proofs of 8 bits", supply.hashes);
    }

    #[test]
    fn a_miner_finds_every_nonce_that_the_verifier_takes() {
        let mined: Vec<Proof> = ChallengeMiner::new([7; 16], 5).take(20).collect();
        let Some(Proof::Challenge(last)) = mined.last() else { panic!("challenges") };
        let all = (0..=last.nonce).map(|nonce| Proof::Challenge(Challenge { nonce, ..*last }));
        let valid: Vec<Proof> = all
            .filter(|proof| verify(proof, &Rules::new(5), Timestamp::UNIX_EPOCH).is_ok())
            .collect();
        assert_eq!(mined, valid);
    }

    #[test]
    fn mined_headers_are_valid_and_no_change_of_a_bit_is() {
        let easy = |bits| Target::from_compact(bits).unwrap();
        let litecoin = mine_litecoin_header([7; 32], [8; 32], 0x2007_ffff).unwrap();
        let rules = Rules { litecoin_limit: easy(0x2007_ffff), ..Rules::new(5) };
        let proof = Proof::Litecoin { header: litecoin };
        assert!(verify(&proof, &rules, Timestamp::UNIX_EPOCH).is_ok());

        let rules = Rules { bitcoin_limit: easy(0x1f00_ffff), ..Rules::new(16) };
        let header = mine_header([7; 32], [8; 32], 0x1f00_ffff).unwrap();
        assert!(verify(&Proof::Bitcoin { header }, &rules, Timestamp::UNIX_EPOCH).is_ok());
        for bit in 0..640 {
            let mut header = header;
            header.0[bit / 8] ^= 1 << (bit % 8);
            // Another header may have the work by chance, one in 2^16; of these none has.
            let changed = Proof::Bitcoin { header };
            assert!(verify(&changed, &rules, Timestamp::UNIX_EPOCH).is_err(), "{bit}");
        }
        assert_eq!(mine_header([7; 32], [8; 32], 0), None);
    }

    #[test]
    fn a_miner_counts_its_hashes_and_ends_after_the_last_nonce() {
        let mut miner =
            ChallengeMiner { next: Some(u64::MAX - 2), ..ChallengeMiner::new([0; 16], 0) };
        assert_eq!(miner.by_ref().count(), 3);
        assert_eq!(miner.hashes(), 3);
        let impossible =
            ChallengeMiner { next: Some(u64::MAX - 99), ..ChallengeMiner::new([0; 16], 255) };
        assert_eq!(impossible.count(), 0);
    }
}
