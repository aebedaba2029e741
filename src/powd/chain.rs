//! Chains of Bitcoin headers: a file of raw headers, 80 bytes each, one after the other.
//!
//! Each must be valid by itself, and name the one before it by its digest. The first may name anything: what came before
//! it is not in the file. That targets are adjusted as the network does, and times go on, is not looked at.

use std::fmt;
use std::io::{self, Read};

use super::bitcoin;
use super::header::Header;
use super::reason::Reason;
use super::rules::Rules;

/// Headers that are hashed together.
const TOGETHER: usize = 1024;

/// Where a chain ends before its file does, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Break {
    /// The place of the header, counted from 0.
    pub at: u64,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// What is wrong with a header of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It is not valid by itself.
    Invalid(Reason),
    /// It names another than the one before it.
    Unlinked {
        /// What it names.
        names: [u8; 32],
        /// The one before it.
        before: [u8; 32],
    },
    /// The file ends within it.
    Cut {
        /// Bytes of it that are there.
        bytes: usize,
    },
}

impl Flaw {
    /// Its stable name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Invalid(reason) => reason.name(),
            Self::Unlinked { .. } => "unlinked",
            Self::Cut { .. } => "cut",
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(reason) => f.write_str(reason.detail()),
            Self::Unlinked { names, before } => {
                write!(f, "it names {}, but the one before it is {}", shown(names), shown(before))
            }
            Self::Cut { bytes } => write!(f, "the file ends after {bytes} of its 80 bytes"),
        }
    }
}

/// A digest as block explorers show it.
fn shown(digest: &[u8; 32]) -> String {
    hex::encode(digest.iter().rev().copied().collect::<Vec<u8>>())
}

/// How far a chain was followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Followed {
    /// Headers that are valid and linked.
    pub headers: u64,
    /// The digest of the last of them.
    pub tip: Option<[u8; 32]>,
    /// Where it breaks.
    pub broken: Option<Break>,
}

impl Followed {
    /// The last header's digest as block explorers show it.
    #[must_use]
    pub fn tip_shown(&self) -> Option<String> {
        self.tip.as_ref().map(shown)
    }
}

/// Follows a chain to its end, or to where it breaks.
///
/// # Errors
/// When it can't be read.
pub fn follow(mut from: impl Read, rules: &Rules) -> io::Result<Followed> {
    let mut followed = Followed { headers: 0, tip: None, broken: None };
    let mut bytes = Vec::with_capacity(TOGETHER * 80);
    loop {
        bytes.clear();
        from.by_ref().take(TOGETHER as u64 * 80).read_to_end(&mut bytes)?;
        let (whole, rest) = bytes.as_chunks::<80>();
        let headers: Vec<Header> = whole.iter().copied().map(Header).collect();
        let checked = bitcoin::check_all(&headers, rules);
        for (header, checked) in headers.iter().zip(checked) {
            match link(header, checked, followed.tip) {
                Ok(digest) => followed.tip = Some(digest),
                Err(flaw) => {
                    followed.broken = Some(Break { at: followed.headers, flaw });
                    return Ok(followed);
                }
            }
            followed.headers += 1;
        }
        if !rest.is_empty() {
            let flaw = Flaw::Cut { bytes: rest.len() };
            followed.broken = Some(Break { at: followed.headers, flaw });
            return Ok(followed);
        }
        if whole.is_empty() {
            return Ok(followed);
        }
    }
}

fn link(
    header: &Header,
    checked: Result<[u8; 32], Reason>,
    before: Option<[u8; 32]>,
) -> Result<[u8; 32], Flaw> {
    let names = header.previous();
    if let Some(before) = before.filter(|before| *before != names) {
        return Err(Flaw::Unlinked { names, before });
    }
    checked.map_err(Flaw::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::powd::header::Target;
    use crate::powd::header::tests::GENESIS;
    use crate::powd::mine::mine_header;

    /// Rules of a network on which every second digest is enough.
    fn easy() -> Rules {
        Rules { bitcoin_limit: Target::from_compact(0x207f_ffff).unwrap(), ..Rules::new(0) }
    }

    fn chain(length: usize) -> Vec<Header> {
        let mut headers: Vec<Header> = Vec::new();
        for number in 0..length {
            let before = headers.last().map_or([0; 32], Header::digest);
            headers.push(mine_header(before, [number as u8; 32], 0x207f_ffff).unwrap());
        }
        headers
    }

    fn followed(headers: &[Header], rules: &Rules) -> Followed {
        let bytes: Vec<u8> = headers.iter().flat_map(|header| header.0).collect();
        follow(&bytes[..], rules).unwrap()
    }

    #[test]
    fn a_chain_is_followed_to_its_end_over_whatever_is_read_together() {
        let headers = chain(2 * TOGETHER + 3);
        for length in [0, 1, TOGETHER, TOGETHER + 1, headers.len()] {
            let found = followed(&headers[..length], &easy());
            assert_eq!(found.headers, length as u64);
            assert_eq!(found.broken, None);
            assert_eq!(found.tip, headers[..length].last().map(Header::digest));
        }
        let genesis: Header = GENESIS.parse().unwrap();
        assert_eq!(
            followed(&[genesis], &Rules::new(0)).tip_shown().unwrap(),
            "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
        );
    }

    #[test]
    fn where_a_chain_breaks_is_told_with_the_reason() {
        let headers = chain(TOGETHER + 10);
        for at in [1, TOGETHER - 1, TOGETHER, TOGETHER + 5] {
            let mut missing = headers.clone();
            missing.remove(at);
            let flaw =
                Flaw::Unlinked { names: headers[at].digest(), before: headers[at - 1].digest() };
            let broken = Some(Break { at: at as u64, flaw });
            assert_eq!(followed(&missing, &easy()).broken, broken);
        }
        let mut weak = headers.clone();
        let nonce = (0..=u32::MAX).find(|nonce| {
            weak[7].0[76..].copy_from_slice(&nonce.to_le_bytes());
            bitcoin::check(&weak[7], &easy()).is_err()
        });
        assert!(nonce.is_some());
        let flaw = Flaw::Invalid(Reason::WorkInsufficient);
        assert_eq!(followed(&weak, &easy()).broken, Some(Break { at: 7, flaw }));
        let main = followed(&headers, &Rules::new(0)).broken;
        let flaw = Flaw::Invalid(Reason::TargetOutOfRange);
        assert_eq!(main, Some(Break { at: 0, flaw }), "the main network allows no such target");
    }

    #[test]
    fn a_file_that_ends_within_a_header_is_a_break() {
        let mut bytes: Vec<u8> = chain(3).iter().flat_map(|header| header.0).collect();
        bytes.pop();
        let found = follow(&bytes[..], &easy()).unwrap();
        assert_eq!(found.broken, Some(Break { at: 2, flaw: Flaw::Cut { bytes: 79 } }));
        assert_eq!(found.headers, 2);
    }
}
