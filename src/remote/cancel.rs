//! Cancels statements on nodes, also where no error may be raised and the session itself cannot be accessed: a
//! terminated backend runs its abort callbacks while outer stack frames still hold the session. So the keys are kept
//! outside of the sessions.

use super::socket;
use super::target::Target;
use postgres_protocol::message::frontend;
use socket2::{SockAddr, Socket};
use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::rc::{Rc, Weak};
use std::time::Duration;

/// Time limit for each step of a cancel request, because the caller is in a hurry.
const STEP: Duration = Duration::from_millis(250);

/// Result of a cancel request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// The node could not be reached.
    No,
    /// The node has processed it.
    Taken,
    /// Not processed yet: a node that is stopped or very busy does so later.
    Unconfirmed,
}

/// The key needed to cancel a session's statement.
pub struct CancelKey {
    target: Rc<Target>,
    host: String,
    address: SockAddr,
    tls: bool,
    process: i32,
    secret: i32,
    busy: Cell<bool>,
}

thread_local! {
    static KEYS: RefCell<Vec<Weak<CancelKey>>> = const { RefCell::new(Vec::new()) };
}

impl CancelKey {
    /// Registers the key of a new session, from BackendKeyData.
    pub(super) fn register(
        target: Rc<Target>,
        host: &str,
        address: SockAddr,
        tls: bool,
        (process, secret): (i32, i32),
    ) -> Rc<Self> {
        let key = Rc::new(Self {
            target,
            host: host.to_owned(),
            address,
            tls,
            process,
            secret,
            busy: Cell::new(false),
        });
        KEYS.with_borrow_mut(|keys| {
            keys.retain(|k| k.strong_count() > 0);
            keys.push(Rc::downgrade(&key));
        });
        key
    }

    /// PID of the session's backend on the node.
    pub fn process(&self) -> i32 {
        self.process
    }

    pub(super) fn set_busy(&self, busy: bool) {
        self.busy.set(busy);
    }

    /// Sends the request and briefly waits for the node to process it.
    pub fn request_cancel(&self) -> Sent {
        let Ok(mut socket) = self.send() else { return Sent::No };
        // The node closes the connection after sending the signal; otherwise a late cancel could hit the session's next
        // statement.
        loop {
            match socket.read(&mut [0; 64]) {
                Ok(0) => return Sent::Taken,
                Ok(_) => {}
                Err(_) => return Sent::Unconfirmed,
            }
        }
    }

    /// Sends the request; returns the connection used.
    fn send(&self) -> io::Result<Socket> {
        let mut socket = socket::blocking(&self.address, STEP)?;
        let mut request = bytes::BytesMut::new();
        if self.tls {
            frontend::ssl_request(&mut request);
            socket.write_all(&request)?;
            request.clear();
            let mut answer = [0];
            socket.read_exact(&mut answer)?;
            if answer != *b"S" {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            frontend::cancel_request(self.process, self.secret, &mut request);
            let mut tls =
                super::tls::connection(&self.target, &self.host).map_err(io::Error::other)?;
            let mut stream = rustls::Stream::new(&mut tls, &mut socket);
            stream.write_all(&request)?;
            stream.flush()?;
        } else {
            frontend::cancel_request(self.process, self.secret, &mut request);
            socket.write_all(&request)?;
        }
        Ok(socket)
    }
}

/// Cancels everything that nodes still do for this backend, which exits. Does not wait.
pub fn cancel_everything() {
    let keys: Vec<_> = KEYS.with_borrow(|keys| keys.iter().filter_map(Weak::upgrade).collect());
    for key in keys.iter().filter(|key| key.busy.get()) {
        let _ = key.send();
    }
}
