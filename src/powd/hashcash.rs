//! Hashcash stamps, version 1: `1:bits:date:resource:ext:rand:counter`.
//!
//! SHA-1 of the whole stamp must begin with as many zero bits as the stamp claims. More of them earn nothing: who
//! searches until 22 and claims 20 has paid for 20. Dates are UTC, `YYMMDD[hhmm[ss]]` of this century; a stamp counts
//! for 28 days, and two days of grace on either side allow for clocks and time zones that differ.
//!
//! A stamp has one spelling: exactly seven fields of printable ASCII, and numbers without signs or leading zeros. So its
//! text names it, and nothing about it is hashed but that.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};
use sha1::{Digest as _, Sha1};

use super::proof::leading_zero_bits;
use super::reason::Reason;
use super::rules::Rules;

/// How long a stamp counts.
const VALIDITY: SignedDuration = SignedDuration::from_hours(28 * 24);

/// How far clocks may differ.
const GRACE: SignedDuration = SignedDuration::from_hours(2 * 24);

/// Longest stamp, in bytes.
const LONGEST: usize = 1024;

/// Bits of a digest.
const MOST_BITS: u8 = 160;

/// A stamp as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stamp {
    text: String,
    bits: u8,
    date: Timestamp,
    resource: Range<usize>,
}

/// What is wrong with a text that is no stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stamp {0}")]
pub struct ParseStampError(&'static str);

impl Stamp {
    /// All of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// For whom it was made.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.text[self.resource.clone()]
    }

    /// From when on nobody takes it any more.
    ///
    /// # Errors
    /// When that can't be told; a stamp's year has two digits, so it can.
    pub fn expires_at(&self) -> Result<Timestamp, Reason> {
        self.date.checked_add(VALIDITY + GRACE).map_err(|_| Reason::ParameterOutOfBounds)
    }

    fn digest(&self) -> [u8; 20] {
        Sha1::digest(self.text.as_bytes()).into()
    }
}

impl FromStr for Stamp {
    type Err = ParseStampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > LONGEST {
            return Err(ParseStampError("is at most 1024 bytes long"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ParseStampError("is printable ASCII without spaces"));
        }
        let fields: Vec<&str> = text.split(':').collect();
        let &[version, bits, date, resource, _, rand, counter] = &fields[..] else {
            return Err(ParseStampError("has seven fields with `:` between them"));
        };
        if version != "1" {
            return Err(ParseStampError("is of version 1"));
        }
        let bits = claimed(bits).ok_or(ParseStampError("claims 0 to 160 bits, in plain digits"))?;
        let date = timestamp(date).ok_or(ParseStampError(
            "has a date that is `YYMMDD`, `YYMMDDhhmm` or `YYMMDDhhmmss`",
        ))?;
        if resource.is_empty() {
            return Err(ParseStampError("names a resource"));
        }
        if ![rand, counter].iter().all(|field| !field.is_empty() && field.bytes().all(is_random)) {
            return Err(ParseStampError(
                "ends with a random text and a counter, of `a-zA-Z0-9+/=`",
            ));
        }
        let start = text.len()
            - [resource, fields[4], rand, counter].map(str::len).iter().sum::<usize>()
            - 3;
        Ok(Self { text: text.to_owned(), bits, date, resource: start..start + resource.len() })
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

fn is_random(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// A number of bits, in the one way in which it is written.
fn claimed(text: &str) -> Option<u8> {
    let plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|bits| plain && *bits <= MOST_BITS)
}

fn timestamp(text: &str) -> Option<Timestamp> {
    if !matches!(text.len(), 6 | 10 | 12) || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let two = |at: usize| text.get(at..at + 2).map_or(Some(0), |digits| digits.parse::<i8>().ok());
    let year = 2000 + i16::from(two(0)?);
    let moment = DateTime::new(year, two(2)?, two(4)?, two(6)?, two(8)?, two(10)?, 0).ok()?;
    Offset::UTC.to_timestamp(moment).ok()
}

/// Checks a stamp against the rules at a moment, the digest last.
///
/// # Errors
/// The reason for which it is rejected.
pub fn check(stamp: &Stamp, rules: &Rules, now: Timestamp) -> Result<(), Reason> {
    if !rules.resources.contains(stamp.resource()) {
        return Err(Reason::ResourceNotOurs);
    }
    if stamp.bits < rules.difficulty {
        return Err(Reason::DifficultyTooLow);
    }
    if stamp.date > now.saturating_add(GRACE).unwrap_or(now) {
        return Err(Reason::NotYetValid);
    }
    if stamp.expires_at()? < now {
        return Err(Reason::Expired);
    }
    if leading_zero_bits(&stamp.digest()) < u32::from(stamp.bits) {
        return Err(Reason::WorkInsufficient);
    }
    Ok(())
}

/// A resource that no stamp can name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` can't be a stamp's resource: it is printable ASCII without spaces and `:`")]
pub struct ResourceError(pub String);

/// The resources for which stamps are taken.
///
/// # Errors
/// When no stamp could name one of them.
pub fn resources(names: &[String]) -> Result<BTreeSet<String>, ResourceError> {
    let nameable = |name: &String| {
        !name.is_empty()
            && name.len() <= 512
            && name.bytes().all(|b| b.is_ascii_graphic() && b != b':')
    };
    match names.iter().find(|name| !nameable(name)) {
        Some(name) => Err(ResourceError(name.clone())),
        None => Ok(names.iter().cloned().collect()),
    }
}

/// Searches a stamp for a resource, dated to the day; its random text is to be such as nobody else takes.
///
/// # Errors
/// When no stamp can be written so.
pub fn mint(
    resource: &str,
    bits: u8,
    now: Timestamp,
    rand: &str,
) -> Result<Stamp, ParseStampError> {
    let day = now.strftime("%y%m%d");
    let begun = format!("1:{bits}:{day}:{resource}::{rand}:");
    let mut stamp: Stamp = format!("{begun}0").parse()?;
    let mut counter = 0_u64;
    while leading_zero_bits(&stamp.digest()) < u32::from(bits) {
        counter += 1;
        stamp.text.truncate(begun.len());
        // Writing to a String can't fail.
        let _ = fmt::Write::write_fmt(&mut stamp.text, format_args!("{counter:x}"));
    }
    Ok(stamp)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A stamp of the format's own description, of 22 bits.
    const KNOWN: &str = "1:20:040428:foo::0298b26853c8ebb3:beca0";
    const OTHER: &str = "1:20:1303030600:adam@cypherspace.org::McMybZIhxKXu57jd:ckvi";

    fn rules(difficulty: u8) -> Rules {
        let names = ["foo", "adam@cypherspace.org"].map(str::to_owned);
        Rules { resources: Arc::new(resources(&names).unwrap()), ..Rules::new(difficulty) }
    }

    fn checked(stamp: &str, difficulty: u8, now: &str) -> Result<(), Reason> {
        check(&stamp.parse().unwrap(), &rules(difficulty), now.parse().unwrap())
    }

    #[test]
    fn known_stamps_have_their_known_digests_and_are_taken_in_their_time() {
        for (stamp, digest, bits, now) in [
            (KNOWN, "0000035566db5515582d30e899155ba237b9e82c", 22, "2004-04-28T12:00:00Z"),
            (OTHER, "00000b7c65ac70650eb8d4f034e86d7d5cd1852f", 20, "2013-03-03T06:00:00Z"),
        ] {
            let parsed: Stamp = stamp.parse().unwrap();
            assert_eq!(hex::encode(parsed.digest()), digest);
            assert_eq!(leading_zero_bits(&parsed.digest()), bits);
            assert_eq!(checked(stamp, 20, now), Ok(()));
        }
    }

    #[test]
    fn credit_is_what_was_claimed_and_not_what_was_found() {
        assert_eq!(checked(KNOWN, 21, "2004-04-28T00:00:00Z"), Err(Reason::DifficultyTooLow));
        let raised = KNOWN.replacen(":20:", ":22:", 1);
        assert_eq!(checked(&raised, 21, "2004-04-28T00:00:00Z"), Err(Reason::WorkInsufficient));
    }

    #[test]
    fn a_stamp_counts_from_two_days_before_its_date_to_thirty_days_after() {
        for (now, wanted) in [
            ("2004-04-25T23:59:59Z", Err(Reason::NotYetValid)),
            ("2004-04-26T00:00:00Z", Ok(())),
            ("2004-05-28T00:00:00Z", Ok(())),
            ("2004-05-28T00:00:00.001Z", Err(Reason::Expired)),
            ("2026-01-01T00:00:00Z", Err(Reason::Expired)),
        ] {
            assert_eq!(checked(KNOWN, 20, now), wanted, "{now}");
        }
        assert_eq!(checked(OTHER, 20, "2013-03-01T05:59:59Z"), Err(Reason::NotYetValid));
        assert_eq!(checked(OTHER, 20, "2013-04-02T06:00:01Z"), Err(Reason::Expired));
    }

    #[test]
    fn a_stamp_for_somebody_else_is_refused() {
        let stamp = KNOWN.parse().unwrap();
        let now = "2004-04-28T00:00:00Z".parse().unwrap();
        assert_eq!(check(&stamp, &Rules::new(20), now), Err(Reason::ResourceNotOurs));
        for other in ["FOO", "foo2", "fo"] {
            let stamp = KNOWN.replacen("foo", other, 1);
            assert_eq!(checked(&stamp, 20, "2004-04-28T00:00:00Z"), Err(Reason::ResourceNotOurs));
        }
    }

    #[test]
    fn what_is_written_in_another_way_is_no_stamp() {
        for wrong in [
            "",
            "1:20:040428:foo::0298b26853c8ebb3",
            "1:20:040428:foo::0298b26853c8ebb3:beca0:",
            "0:040428:foo:0298b26853c8ebb3",
            "2:20:040428:foo::0298b26853c8ebb3:beca0",
            "01:20:040428:foo::0298b26853c8ebb3:beca0",
            "1:020:040428:foo::0298b26853c8ebb3:beca0",
            "1:+20:040428:foo::0298b26853c8ebb3:beca0",
            "1:-1:040428:foo::0298b26853c8ebb3:beca0",
            "1::040428:foo::0298b26853c8ebb3:beca0",
            "1:161:040428:foo::0298b26853c8ebb3:beca0",
            "1:300:040428:foo::0298b26853c8ebb3:beca0",
            "1:2x:040428:foo::0298b26853c8ebb3:beca0",
            "1:20:04042:foo::0298b26853c8ebb3:beca0",
            "1:20:040431:foo::0298b26853c8ebb3:beca0",
            "1:20:041328:foo::0298b26853c8ebb3:beca0",
            "1:20:0404282400:foo::0298b26853c8ebb3:beca0",
            "1:20:040428126000:foo::0298b26853c8ebb3:beca0",
            "1:20:04042812:foo::0298b26853c8ebb3:beca0",
            "1:20:20040428:foo::0298b26853c8ebb3:beca0",
            "1:20:+40428:foo::0298b26853c8ebb3:beca0",
            "1:20:040428:::0298b26853c8ebb3:beca0",
            "1:20:040428:foo:::beca0",
            "1:20:040428:foo::0298b26853c8ebb3:",
            "1:20:040428:foo::0298b268 3c8ebb3:beca0",
            "1:20:040428:foo::0298b268-3c8ebb3:beca0",
            "1:20:040428:foo::0298b26853c8ebb3:beca0\n",
            " 1:20:040428:foo::0298b26853c8ebb3:beca0",
            "1:20:040428:f\u{f6}\u{f6}::0298b26853c8ebb3:beca0",
            "1:20:040428:foo::0298b26853c8ebb3:beca\0",
        ] {
            assert!(wrong.parse::<Stamp>().is_err(), "{wrong:?}");
        }
        assert!(format!("{KNOWN}{}", "a".repeat(1024)).parse::<Stamp>().is_err());
    }

    #[test]
    fn a_minted_stamp_is_taken_and_no_change_of_a_bit_is() {
        let now = "2026-11-24T12:00:00Z".parse().unwrap();
        let stamp = mint("foo", 12, now, "McMybZIhxKXu57jd").unwrap();
        assert_eq!(stamp.to_string().parse::<Stamp>(), Ok(stamp.clone()));
        assert_eq!(check(&stamp, &rules(12), now), Ok(()));
        for bit in 0..stamp.text.len() * 8 {
            let mut bytes = stamp.text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(text) = String::from_utf8(bytes) else { continue };
            let Ok(changed) = text.parse::<Stamp>() else { continue };
            assert!(check(&changed, &rules(12), now).is_err(), "{text}");
        }
        assert!(mint("a:b", 1, now, "x").is_err() && mint("a", 1, now, "").is_err());
    }

    #[test]
    fn a_resource_that_no_stamp_can_name_is_told() {
        for name in ["", "a b", "a:b", "\u{e4}", &"a".repeat(513)] {
            assert_eq!(resources(&[name.to_owned()]), Err(ResourceError(name.to_owned())));
        }
    }
}
