//! Faults that tests put in the way of what is written down and of what is written to the host: a kill, or an error of
//! the disk, at a place that is counted from the start of the process.
//!
//! `TRUEUP_FAULT` says which, as `FAULT@N`: at the Nth place that is passed
//! - `kill`: the process is gone, as by `kill -9`;
//! - `tear`: half of a record is written, and then the process is gone;
//! - `eio`, `eperm`: this one write fails;
//! - `enospc`, `erofs`: this write and all after it fail, as on a disk that is full or read-only.
//!
//! That is so in builds with debug assertions alone. In a release nothing is asked and nothing fails.

pub use self::places::{cut, pass};

#[cfg(not(debug_assertions))]
mod places {
    use std::io;

    /// Nothing goes wrong here.
    ///
    /// # Errors
    /// Never.
    #[inline]
    pub fn pass() -> io::Result<()> {
        Ok(())
    }

    /// All that is to be written.
    #[inline]
    #[must_use]
    pub fn cut(bytes: &[u8]) -> &[u8] {
        bytes
    }
}

#[cfg(debug_assertions)]
mod places {
    use std::io;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use nix::errno::Errno;
    use nix::sys::signal::{Signal, raise};

    /// What goes wrong, and at which place.
    struct Wanted {
        fault: Fault,
        place: u64,
    }

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Fault {
        Kill,
        Tear,
        Once(Errno),
        FromNowOn(Errno),
    }

    static WANTED: LazyLock<Option<Wanted>> = LazyLock::new(|| {
        let text = std::env::var("TRUEUP_FAULT").ok()?;
        let (fault, place) = text.split_once('@')?;
        let fault = match fault {
            "kill" => Fault::Kill,
            "tear" => Fault::Tear,
            "eio" => Fault::Once(Errno::EIO),
            "eperm" => Fault::Once(Errno::EPERM),
            "enospc" => Fault::FromNowOn(Errno::ENOSPC),
            "erofs" => Fault::FromNowOn(Errno::EROFS),
            _ => return None,
        };
        Some(Wanted { fault, place: place.parse().ok()? })
    });
    static PASSED: AtomicU64 = AtomicU64::new(0);
    static TORN: AtomicBool = AtomicBool::new(false);

    /// Passes a place at which something may go wrong.
    ///
    /// # Errors
    /// When a test has asked for it.
    pub fn pass() -> io::Result<()> {
        let Some(Wanted { fault, place }) = &*WANTED else { return Ok(()) };
        let here = PASSED.fetch_add(1, Ordering::SeqCst) + 1;
        match fault {
            Fault::Kill if here == *place => end(),
            Fault::Tear if TORN.load(Ordering::SeqCst) => end(),
            Fault::Once(errno) if here == *place => return Err((*errno).into()),
            Fault::FromNowOn(errno) if here >= *place => return Err((*errno).into()),
            _ => {}
        }
        Ok(())
    }

    /// How much of a record is written before the next place: all, or the half of it.
    #[must_use]
    pub fn cut(bytes: &[u8]) -> &[u8] {
        let torn = WANTED.as_ref().is_some_and(|wanted| {
            wanted.fault == Fault::Tear && PASSED.load(Ordering::SeqCst) == wanted.place
        });
        TORN.fetch_or(torn, Ordering::SeqCst);
        if torn { &bytes[..bytes.len() / 2] } else { bytes }
    }

    fn end() {
        // Nothing is left to go wrong with it: the process may always kill itself.
        let _ = raise(Signal::SIGKILL);
    }
}
