//! Cancelling what nodes do for this backend, also where nothing may be raised and where the session
//! itself cannot be touched: a backend that is terminated runs its abort callbacks on top of the frames
//! that hold the session. So the keys live outside of the sessions.

use super::socket;
use super::target::Target;
use postgres_protocol::message::frontend;
use socket2::{SockAddr, Socket};
use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::rc::{Rc, Weak};
use std::time::Duration;

/// Bound on each step of a cancel request: whoever sends it is wanted back soon.
const STEP: Duration = Duration::from_millis(250);

/// What became of a request to cancel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// The node could not be reached.
    No,
    /// The node has acted on it.
    Taken,
    /// It is on its way: a node that is stopped, or very busy, acts on it when it can.
    Unconfirmed,
}

/// What is needed to cancel a session's statement.
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
    /// For a new session whose node said BackendKeyData.
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

    /// The process that serves the session on the node.
    pub fn process(&self) -> i32 {
        self.process
    }

    pub(super) fn set_busy(&self, busy: bool) {
        self.busy.set(busy);
    }

    /// Sends the request and waits a moment for the node to act on it.
    pub fn request_cancel(&self) -> Sent {
        let Ok(mut socket) = self.send() else { return Sent::No };
        // The node closes once the signal is sent: a late cancel would hit the session's next statement.
        loop {
            match socket.read(&mut [0; 64]) {
                Ok(0) => return Sent::Taken,
                Ok(_) => {}
                Err(_) => return Sent::Unconfirmed,
            }
        }
    }

    /// Sends the request; gives the connection that it went over.
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

/// Cancels whatever any node still does for this backend, which ends: nothing is waited for.
pub fn cancel_everything() {
    let keys: Vec<_> = KEYS.with_borrow(|keys| keys.iter().filter_map(Weak::upgrade).collect());
    for key in keys.iter().filter(|key| key.busy.get()) {
        let _ = key.send();
    }
}
