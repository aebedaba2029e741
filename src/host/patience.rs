//! Waiting for an answer of the kernel, but not for ever: a driver or a server that does not answer holds the call
//! where nobody can call it back. What that means for what was asked is not known here.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::Duration;

/// What came of a call.
#[derive(Debug)]
pub enum Answer<T> {
    /// It returned in time.
    Told(T),
    /// It has not returned yet, and still may.
    Late(Late<T>),
    /// It could not be made.
    NotAsked(std::io::Error),
}

/// A call that has not returned in time.
#[derive(Debug)]
pub struct Late<T>(Receiver<T>);

impl<T> Late<T> {
    /// Whether it has returned since.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !matches!(self.0.try_recv(), Err(TryRecvError::Empty))
    }
}

/// Makes a call that may hang on a thread of its own, and waits so long for it.
pub fn within<T: Send + 'static>(
    patience: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> Answer<T> {
    let (tell, told) = channel();
    let started = std::thread::Builder::new().name("patience".to_owned()).spawn(move || {
        // Nobody may be waiting any more.
        let _ = tell.send(call());
    });
    if let Err(error) = started {
        return Answer::NotAsked(error);
    }
    match told.recv_timeout(patience) {
        Ok(answer) => Answer::Told(answer),
        Err(RecvTimeoutError::Timeout) => Answer::Late(Late(told)),
        Err(RecvTimeoutError::Disconnected) => {
            Answer::NotAsked(std::io::Error::other("the call ended without an answer"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_does_not_return_is_not_waited_for_and_is_noticed_when_it_does() {
        assert!(matches!(within(Duration::from_mins(1), || 7), Answer::Told(7)));
        let (let_go, held) = channel::<()>();
        let answer = within(Duration::from_millis(1), move || held.recv().is_err());
        let Answer::Late(late) = answer else { panic!("{answer:?}") };
        assert!(!late.is_over());
        drop(let_go);
        while !late.is_over() {
            std::thread::yield_now();
        }
    }
}
