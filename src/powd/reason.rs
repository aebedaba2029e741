//! Why a proof is not accepted: one reason for each cause, with a stable name and a sentence.
//!
//! Knows no format; which check gives which reason is told where the check is.

/// Why a proof is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is not a proof of a known format, or not written as that format is.
    Malformed,
    /// It names an algorithm that its format does not have.
    UnknownAlgorithm,
    /// No key is set by which it could be told from a forgery.
    KeyMissing,
    /// It was not issued here: no key gives its signature.
    SignatureWrong,
    /// It does not say until when it counts.
    ExpiryMissing,
    /// Its time is over.
    Expired,
    /// It is dated in the future.
    NotYetValid,
    /// It was made for somebody else.
    ResourceNotOurs,
    /// It claims less work than is required here.
    DifficultyTooLow,
    /// Checking it would take more time or memory than is allowed, or a number is out of its range.
    ParameterOutOfBounds,
    /// Its derived key does not begin as it has to.
    KeyPrefixViolated,
    /// Its digest does not show the work it claims.
    WorkInsufficient,
    /// Its target is zero, negative, overflows, or is easier than its network allows.
    TargetOutOfRange,
    /// It was accepted before.
    Replayed,
    /// It was not looked at: too much is waiting already.
    Overloaded,
    /// It could not be recorded, so it does not count.
    LedgerUnavailable,
}

impl Reason {
    /// All of them, in the order of [`index`](Self::index).
    pub const ALL: [Self; 16] = [
        Self::Malformed,
        Self::UnknownAlgorithm,
        Self::KeyMissing,
        Self::SignatureWrong,
        Self::ExpiryMissing,
        Self::Expired,
        Self::NotYetValid,
        Self::ResourceNotOurs,
        Self::DifficultyTooLow,
        Self::ParameterOutOfBounds,
        Self::KeyPrefixViolated,
        Self::WorkInsufficient,
        Self::TargetOutOfRange,
        Self::Replayed,
        Self::Overloaded,
        Self::LedgerUnavailable,
    ];

    /// Its stable name, as on the wire and in the metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownAlgorithm => "unknown_algorithm",
            Self::KeyMissing => "key_missing",
            Self::SignatureWrong => "signature_wrong",
            Self::ExpiryMissing => "expiry_missing",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::ResourceNotOurs => "resource_not_ours",
            Self::DifficultyTooLow => "difficulty_too_low",
            Self::ParameterOutOfBounds => "parameter_out_of_bounds",
            Self::KeyPrefixViolated => "key_prefix_violated",
            Self::WorkInsufficient => "work_insufficient",
            Self::TargetOutOfRange => "target_out_of_range",
            Self::Replayed => "replayed",
            Self::Overloaded => "overloaded",
            Self::LedgerUnavailable => "ledger_unavailable",
        }
    }

    /// The same in a sentence.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Malformed => "it is not a proof of a known format",
            Self::UnknownAlgorithm => "its format has no such algorithm",
            Self::KeyMissing => "no key is set by which it could be told from a forgery",
            Self::SignatureWrong => "it was not issued here: no key gives its signature",
            Self::ExpiryMissing => "it does not say until when it counts",
            Self::Expired => "its time is over",
            Self::NotYetValid => "it is dated in the future",
            Self::ResourceNotOurs => "it was made for somebody else",
            Self::DifficultyTooLow => "it claims less work than is required here",
            Self::ParameterOutOfBounds => {
                "one of its numbers is out of range, or checking it would take more time or memory than is allowed"
            }
            Self::KeyPrefixViolated => "its derived key does not begin as it has to",
            Self::WorkInsufficient => "its digest does not show the work it claims",
            Self::TargetOutOfRange => {
                "its target is zero, overflows, or is easier than the network allows"
            }
            Self::Replayed => "it was accepted before; each proof counts once",
            Self::Overloaded => "too many proofs are waiting already",
            Self::LedgerUnavailable => "it could not be recorded, so it does not count",
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_name_and_place() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
            assert!(!reason.detail().is_empty());
            assert_eq!(Reason::ALL.iter().filter(|other| other.name() == reason.name()).count(), 1);
        }
    }
}
