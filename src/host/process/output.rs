//! What a process writes to a pipe, read at once and kept within bounds.
//!
//! A process never waits for its reader: what is over the limit is read and dropped. Knows nothing of how
//! the process was started or how it ends.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::JoinHandle;

/// Which end of an output is kept when it grows over its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    First,
    Last,
}

/// What a process wrote to one pipe, within bounds. A process never waits for its reader.
#[derive(Debug)]
pub(super) struct Output {
    keep: Keep,
    limit: usize,
    state: Mutex<(Vec<u8>, bool)>,
}

impl Output {
    pub(super) fn new(keep: Keep, limit: usize) -> Arc<Self> {
        Arc::new(Self { keep, limit, state: Mutex::default() })
    }

    pub(super) fn push(&self, more: &[u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, truncated) = &mut *state;
        match self.keep {
            Keep::First => {
                let taken = more.len().min(self.limit - bytes.len());
                bytes.extend_from_slice(&more[..taken]);
                *truncated |= taken < more.len();
            }
            Keep::Last => {
                bytes.extend_from_slice(more);
                let over = bytes.len().saturating_sub(self.limit);
                bytes.drain(..over);
                *truncated |= over > 0;
            }
        }
    }

    pub(super) fn taken(&self) -> (Vec<u8>, bool) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn drain(
        self: &Arc<Self>,
        pipe: Option<impl AsyncRead + Send + Unpin + 'static>,
    ) -> Reader {
        let output = Arc::clone(self);
        Reader(tokio::spawn(async move {
            let Some(mut pipe) = pipe else { return };
            let mut buffer = vec![0; 16 << 10];
            while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
                output.push(&buffer[..read]);
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

    #[test]
    fn the_tail_of_an_output_is_its_last_bytes() {
        let output = Output::new(Keep::Last, 4);
        output.push(b"abc");
        output.push(b"def");
        assert_eq!(output.taken(), (b"cdef".to_vec(), true));
    }

    #[test]
    fn the_beginning_of_an_output_is_its_first_bytes() {
        let output = Output::new(Keep::First, 4);
        output.push(b"abc");
        assert_eq!(output.taken(), (b"abc".to_vec(), false));
        output.push(b"def");
        assert_eq!(output.taken(), (b"abcd".to_vec(), true));
    }
}
