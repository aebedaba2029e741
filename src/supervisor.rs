//! Tells the service manager how the process is getting on (`sd_notify`'s protocol).
//!
//! A message is one datagram of `NAME=VALUE` lines to the socket that `$NOTIFY_SOCKET` names, a path or, after `@`, an
//! abstract name:
//! ```text
//! READY=1
//! STATUS=verifying on 127.0.0.1:41003
//! ```
//! A manager that does not listen is no reason to stop: it is a warning. What is told is the business of whoever tells
//! it.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Longest time that a message may take to be handed over.
const SEND_LIMIT: Duration = Duration::from_secs(1);

/// Whom to tell.
#[derive(Debug, Clone, Default)]
pub struct Notifier(Option<OsString>);

impl Notifier {
    /// Tells nobody.
    #[must_use]
    pub fn silent() -> Self {
        Self(None)
    }

    /// Tells the socket of that name, as in `$NOTIFY_SOCKET`.
    #[must_use]
    pub fn to(socket: OsString) -> Self {
        Self(Some(socket))
    }

    /// Tells the socket that `$NOTIFY_SOCKET` names; nobody when it is not set.
    #[must_use]
    pub fn from_env() -> Self {
        Self(std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()))
    }

    /// True when nobody is told.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.0.is_none()
    }

    /// Hands over a message: lines of `NAME=VALUE`.
    pub fn tell(&self, message: &str) {
        let Some(name) = &self.0 else { return };
        if let Err(error) = send(name, message) {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, socket = ?name, "could not notify the service manager");
        }
    }
}

fn send(name: &OsString, message: &str) -> io::Result<()> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(SEND_LIMIT))?;
    socket.send_to_addr(message.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut message = [0; 256];
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_socket_by_path_hears_what_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(path.into());
        notifier.tell("READY=1\nSTATUS=at work\n");
        assert_eq!(heard(&socket), "READY=1\nSTATUS=at work\n");
        assert!(!notifier.is_silent() && Notifier::silent().is_silent());
    }

    #[test]
    fn an_abstract_socket_hears_it_too() {
        let name = format!("trueup-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Notifier::to(format!("@{name}").into()).tell("STOPPING=1\n");
        assert_eq!(heard(&socket), "STOPPING=1\n");
    }

    #[test]
    fn a_manager_that_does_not_listen_is_an_error_of_the_message_only() {
        let dir = tempfile::tempdir().unwrap();
        let nobody = OsString::from(dir.path().join("nobody"));
        assert_eq!(send(&nobody, "READY=1").unwrap_err().kind(), io::ErrorKind::NotFound);
        Notifier::to(nobody).tell("STOPPING=1\n");
    }
}
