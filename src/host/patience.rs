//! Waiting for an answer of the kernel, but not for ever: a driver or a server that does not answer holds the call
//! where nobody can call it back. What that means for what was asked is not known here.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a thread looks whether something has arrived before it goes to sleep.
const LOOKS: usize = 50;

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

/// A call on its way to a thread, which it is told by how that is asked again.
struct Call(Box<dyn FnOnce(&Thread) + Send>);

/// A thread that makes calls, one after the other.
#[derive(Clone)]
struct Thread(Sender<Call>);

/// Threads that have nothing to do. To make one costs more than to ask the kernel for a setting, and a phase may ask for
/// hundreds of them. One whose call hangs is not among them before that returns.
static IDLE: Mutex<Vec<Thread>> = Mutex::new(Vec::new());

fn idle() -> MutexGuard<'static, Vec<Thread>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a call that may hang on a thread of its own, and waits so long for it.
pub fn within<T: Send + 'static>(
    patience: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> Answer<T> {
    let (tell, told) = channel();
    let call = Call(Box::new(move |thread: &Thread| {
        let answer = call();
        // Before it tells, so that whoever is told finds it idle.
        idle().push(thread.clone());
        // Nobody may be waiting any more.
        let _ = tell.send(answer);
    }));
    let thread = idle().pop();
    let sent = thread.map_or_else(start, Ok).and_then(|Thread(calls)| {
        calls.send(call).map_err(|_| std::io::Error::other("the thread for it has ended"))
    });
    if let Err(error) = sent {
        return Answer::NotAsked(error);
    }
    if let Some(answer) = soon(&told) {
        return Answer::Told(answer);
    }
    match told.recv_timeout(patience) {
        Ok(answer) => Answer::Told(answer),
        Err(RecvTimeoutError::Timeout) => Answer::Late(Late(told)),
        Err(RecvTimeoutError::Disconnected) => {
            Answer::NotAsked(std::io::Error::other("the call ended without an answer"))
        }
    }
}

fn start() -> std::io::Result<Thread> {
    let (send, calls) = channel::<Call>();
    let thread = Thread(send);
    let own = thread.clone();
    std::thread::Builder::new().name("patience".to_owned()).spawn(move || {
        while let Some(Call(call)) = soon(&calls).or_else(|| calls.recv().ok()) {
            call(&own);
        }
    })?;
    Ok(thread)
}

/// What arrives within some ten microseconds, without going to sleep for it: the kernel takes longer to wake a thread than
/// to tell a setting, and where one is asked for others are.
fn soon<T>(receiver: &Receiver<T>) -> Option<T> {
    (0..LOOKS).find_map(|_| {
        let arrived = receiver.try_recv().ok();
        if arrived.is_none() {
            std::thread::yield_now();
        }
        arrived
    })
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

    #[test]
    fn calls_that_hang_hold_up_no_other_and_one_that_panics_is_not_waited_for() {
        let (let_go, held) = channel::<()>();
        let first = within(Duration::from_millis(1), move || held.recv().is_err());
        for number in 0..100 {
            let answer = within(Duration::from_mins(1), move || number);
            assert!(matches!(answer, Answer::Told(told) if told == number), "{answer:?}");
        }
        let answer = within(Duration::from_mins(1), || assert_eq!(1, 2, "of a test"));
        assert!(matches!(answer, Answer::NotAsked(_)), "{answer:?}");
        assert!(matches!(within(Duration::from_mins(1), || 8), Answer::Told(8)));
        assert!(matches!(first, Answer::Late(_)), "{first:?}");
        drop(let_go);
    }
}
