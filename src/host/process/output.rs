//! What a process writes to a pipe, read at once and kept within bounds.
//!
//! A process does not wait for its reader: what is over the limit is read and dropped. Knows nothing of how
//! the process was started or how it ends.

use std::io::{self, ErrorKind, PipeReader, Read as _};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinHandle;

/// What may be read beyond the limit before it is dropped, in bytes.
const SLACK: usize = 64 << 10;

/// Where something of an output was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// How many bytes stand before it.
    pub at: usize,
    /// How many bytes were left out.
    pub bytes: u64,
}

/// The beginning and the end of what a process wrote to one pipe; all of it where that is not too long.
#[derive(Debug)]
pub(super) struct Ends {
    limit: usize,
    bytes: Vec<u8>,
    left_out: u64,
}

impl Ends {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, bytes: Vec::new(), left_out: 0 }
    }

    /// Reads a pipe until it is closed.
    ///
    /// What is in it is read at once; the runtime is asked to watch it only where more may come, since that costs as much
    /// as the reading.
    pub(super) async fn fill(&mut self, mut pipe: PipeReader) {
        let at_once = pipe.by_ref().take(SLACK as u64).read_to_end(&mut self.bytes);
        let more = match at_once {
            Ok(read) => read >= SLACK,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        if more && let Ok(pipe) = Receiver::from_owned_fd(pipe.into()) {
            self.fill_slowly(pipe).await;
        }
    }

    async fn fill_slowly(&mut self, mut pipe: impl AsyncRead + Unpin) {
        while let Ok(1..) = pipe.read_buf(&mut self.bytes).await {
            if self.bytes.len() > self.limit.saturating_add(SLACK) {
                self.cut();
            }
        }
    }

    /// Leaves out of the middle what is over the limit.
    fn cut(&mut self) {
        let over = self.bytes.len().saturating_sub(self.limit);
        if over > 0 {
            let middle = self.limit / 2;
            self.bytes.drain(middle..middle + over);
            self.left_out += over as u64;
        }
    }

    /// What was kept.
    pub(super) fn kept(mut self) -> (Vec<u8>, Option<Gap>) {
        self.cut();
        let gap = Gap { at: self.limit / 2, bytes: self.left_out };
        (self.bytes, (self.left_out > 0).then_some(gap))
    }
}

/// A pipe to read without waiting, and what writes to it.
pub(super) fn pipe() -> io::Result<(PipeReader, Stdio)> {
    let (reader, writer) = io::pipe()?;
    rustix::io::ioctl_fionbio(&reader, true)?;
    Ok((reader, writer.into()))
}

/// The end of what a kept process wrote to one pipe.
#[derive(Debug)]
pub(super) struct Tail {
    limit: usize,
    bytes: Mutex<Vec<u8>>,
}

impl Tail {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, bytes: Mutex::default() })
    }

    fn push(&self, more: &[u8]) {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.extend_from_slice(more);
        let over = bytes.len().saturating_sub(self.limit);
        bytes.drain(..over);
    }

    pub(super) fn taken(&self) -> Vec<u8> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads a pipe until it is closed, in a task of its own.
    pub(super) fn drain(
        self: &Arc<Self>,
        pipe: Option<impl AsyncRead + Send + Unpin + 'static>,
    ) -> Reader {
        let tail = Arc::clone(self);
        Reader(tokio::spawn(async move {
            let Some(mut pipe) = pipe else { return };
            let mut buffer = vec![0; 16 << 10];
            while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
                tail.push(&buffer[..read]);
            }
        }))
    }
}

/// A task that ends with the value that stands for it.
pub(super) struct Reader(pub(super) JoinHandle<()>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ends(written: &[u8], limit: usize) -> (Vec<u8>, Option<Gap>) {
        let mut ends = Ends::new(limit);
        ends.fill_slowly(written).await;
        ends.kept()
    }

    #[test]
    fn the_tail_of_an_output_is_its_last_bytes() {
        let tail = Tail::new(4);
        tail.push(b"abc");
        tail.push(b"def");
        assert_eq!(tail.taken(), b"cdef");
    }

    #[tokio::test]
    async fn a_short_output_is_whole_and_of_a_long_one_the_middle_is_left_out() {
        assert_eq!(ends(b"abcd", 4).await, (b"abcd".to_vec(), None));
        assert_eq!(ends(b"abcdefg", 4).await, (b"abfg".to_vec(), Some(Gap { at: 2, bytes: 3 })));
        assert_eq!(ends(b"ab", 0).await, (Vec::new(), Some(Gap { at: 0, bytes: 2 })));
        let long: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
        let (kept, gap) = ends(&long, 1001).await;
        assert_eq!((&kept[..500], &kept[500..]), (&long[..500], &long[1_000_000 - 501..]));
        assert_eq!(gap, Some(Gap { at: 500, bytes: 1_000_000 - 1001 }));
    }
}
