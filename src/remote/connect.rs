//! Connects to a node: tries its addresses in order, with a timeout for each, interruptibly.

use super::attempt::Attempt;
use super::handshake;
use super::session::Session;
use super::socket::{resolve, tune};
use super::stream::Stream;
use super::target::Target;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::pg::ipc::wait::{Interest, SocketWait, sleep};
use crate::shared::node_health;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use socket2::{Socket, Type};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

impl Session {
    /// Connects to a node as a role. Addresses are tried in order. A standby is skipped, and so is a server with
    /// default_transaction_read_only if another one accepts writes (like libpq with `target_session_attrs=read-write`).
    /// If one of several is a standby, another may be about to be promoted; then all are retried, with increasing
    /// pauses, until the connect timeout.
    ///
    /// 08001 with the reason for each address if none accepted the connection.
    pub fn connect(target: &Rc<Target>, user: &str) -> Result<Self> {
        failpoint::hit(failpoint::CONNECT_BEFORE)?;
        let session = Self::search(target, user)?;
        failpoint::hit(failpoint::CONNECT_AFTER)?;
        Ok(session)
    }

    fn search(target: &Rc<Target>, user: &str) -> Result<Self> {
        let until = Instant::now() + target.connect_timeout;
        let mut pause = Duration::from_millis(25);
        loop {
            let mut search = Search::default();
            let found = search.round(target, user)?;
            if let Some(session) = found.or(search.read_only.take()) {
                return Ok(session);
            }
            let failing_over = search.saw_standby && target.addresses.len() > 1;
            if !failing_over || Instant::now() + pause > until {
                return Err(unreachable(target, &search.reasons));
            }
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(400));
        }
    }
}

/// State of a round through the addresses of a node.
#[derive(Default)]
struct Search {
    reasons: Vec<String>,
    saw_standby: bool,
    /// A session with a server that is not a standby but rejects writes.
    read_only: Option<Session>,
}

impl Search {
    /// The first session with a primary. An error is one that would be the same for all addresses.
    fn round(&mut self, target: &Rc<Target>, user: &str) -> Result<Option<Session>> {
        for (host, port) in in_order(target) {
            let addresses = match resolve(host, *port) {
                Ok(addresses) => addresses,
                Err(e) => {
                    self.reasons.push(format!("{}: {e}", shown(host, *port)));
                    continue;
                }
            };
            for address in addresses {
                let deadline = Instant::now() + target.connect_timeout;
                let attempt = Attempt { target, user, host, port: *port, address, deadline };
                match attempt.run() {
                    Ok(session) if session.parameter("in_hot_standby") == Some("on") => {
                        self.saw_standby = true;
                        self.reasons
                            .push(format!("{}: the server is a standby", shown(host, *port)));
                    }
                    Ok(session) if is_read_only(&session) && target.addresses.len() > 1 => {
                        self.read_only.get_or_insert(session);
                    }
                    Ok(session) => {
                        note_primary(target, host, *port);
                        return Ok(Some(session));
                    }
                    // Wrong credentials are wrong on all addresses; retrying could only lock the role.
                    Err(error) if error.is_class("28") => {
                        return Err(refused(target, host, *port, &error));
                    }
                    Err(error) => self.reasons.push(format!("{}: {error}", shown(host, *port))),
                }
            }
        }
        Ok(None)
    }
}

/// The addresses, with the last known primary first: an earlier one may belong to a dead machine, which costs the
/// connect timeout.
fn in_order(target: &Target) -> Vec<&(String, u16)> {
    let mut addresses: Vec<_> = target.addresses.iter().collect();
    if let (Some(id), 2..) = (target.id, addresses.len()) {
        let last = node_health::primary(id);
        addresses.sort_by_key(|(host, port)| number_of(host, *port) != last);
    }
    addresses
}

fn note_primary(target: &Target, host: &str, port: u16) {
    if let (Some(id), 2..) = (target.id, target.addresses.len()) {
        node_health::set_primary(id, number_of(host, port));
    }
}

/// A hash of an address, the same in all processes.
fn number_of(host: &str, port: u16) -> u64 {
    let mut hasher = DefaultHasher::new();
    (host, port).hash(&mut hasher);
    hasher.finish()
}

/// Whether transactions are read-only by default.
fn is_read_only(session: &Session) -> bool {
    session.parameter("default_transaction_read_only") == Some("on")
}

impl Attempt<'_> {
    fn run(&self) -> Result<Session> {
        let lost =
            |e: io::Error| Error::new(PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE, e.to_string());
        let socket = Socket::new(self.address.domain(), Type::STREAM, None).map_err(lost)?;
        socket.set_nonblocking(true).map_err(lost)?;
        if !self.address.is_unix() {
            tune(&socket, self.target.tcp).map_err(lost)?;
        }
        self.begin(&socket).map_err(lost)?;
        let wait = SocketWait::new(socket.as_raw_fd())?;
        let node = Rc::from(self.target.name.as_str());
        let mut session = Session::new(Stream::new(socket), wait, node);
        while !session.wait(Interest::Connected, self.policy())?.writable {}
        if let Some(error) = session.stream().socket().take_error().map_err(lost)? {
            return Err(lost(error));
        }
        handshake::run(self, &mut session)?;
        Ok(session)
    }

    /// Starts the connection. A unix socket with a full backlog is retried until the deadline.
    fn begin(&self, socket: &Socket) -> io::Result<()> {
        loop {
            match socket.connect(&self.address) {
                Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => return Ok(()),
                Err(e)
                    if e.kind() == io::ErrorKind::WouldBlock && Instant::now() < self.deadline =>
                {
                    sleep(Duration::from_millis(5));
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

fn shown(host: &str, port: u16) -> String {
    if host.starts_with('/') { format!("{host}/.s.PGSQL.{port}") } else { format!("{host}:{port}") }
}

fn refused(target: &Target, host: &str, port: u16, error: &Error) -> Error {
    let text = format!(
        "node \"{}\" at {} refused the connection: {error}",
        target.name,
        shown(host, port)
    );
    let refused =
        Error::new(PgSqlErrorCode::ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION, text);
    match &error.fields().hint {
        Some(hint) => refused.hint(hint.clone()),
        None => refused
            .hint("The role must exist on the node, have the LOGIN attribute, and be allowed to connect by the node's \
                pg_hba.conf."),
    }
}

fn unreachable(target: &Target, reasons: &[String]) -> Error {
    let addresses: Vec<_> = target.addresses.iter().map(|(h, p)| shown(h, *p)).collect();
    Error::new(
        PgSqlErrorCode::ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
        format!("could not connect to node \"{}\" at {}", target.name, addresses.join(", ")),
    )
    .detail(reasons.join("\n"))
    .hint("Check that the node is running and that its addresses in helios.node are correct.")
}
