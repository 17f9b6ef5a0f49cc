//! From a connected socket to ReadyForQuery: TLS, startup, authentication. See "Message Flow" and "SASL Authentication"
//! in PostgreSQL's protocol documentation.

use super::attempt::Attempt;
use super::cancel::CancelKey;
use super::followed_settings::FROM_THE_START;
use super::passfile::{self, PassfileKey};
use super::session::Session;
use super::target::SslMode;
use super::tls;
use crate::error::{Error, Result};
use crate::pg::ipc::wait::Interest;
use crate::pg::session::settings_scan;
use bytes::BytesMut;
use helios_core::frames::Frame;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use postgres_protocol::message::frontend;
use std::io;
use std::rc::Rc;

/// A node's timeouts, set for the server, database or role, are meant for its own clients. The timeouts of a session's
/// client apply on this server, and a session is idle while the client is busy elsewhere. A statement in an abandoned
/// session ends by itself, even if a cancel request came too early or not at all.
const NODE_TIMEOUTS: [(&str, &str); 4] = [
    ("client_connection_check_interval", "1s"),
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
];

/// Takes a connected session to ReadyForQuery.
pub(super) fn run(attempt: &Attempt<'_>, session: &mut Session) -> Result<()> {
    let encrypted = attempt.target.sslmode != SslMode::Disable && !attempt.address.is_unix();
    if encrypted {
        start_tls(attempt, session)?;
    }
    let encoding = crate::pg::session::encoding();
    let proof = attempt.target.proof.as_deref();
    let parameters = [
        ("user", attempt.user),
        ("database", attempt.target.database.as_str()),
        ("client_encoding", encoding.as_str()),
        ("application_name", "helios"),
    ];
    let own = settings_scan::reset_values(&FROM_THE_START);
    let own = own.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let all = parameters.into_iter().chain(own).chain(NODE_TIMEOUTS);
    // Tells Helios on the node that the session belongs to a coordinator, whose shells must match the node's
    // definitions.
    let all = all.chain(proof.map(|proof| ("helios.coordinator_proof", proof)));
    let further = attempt.target.parameters.iter();
    let all = all.chain(further.map(|(name, value)| (*name, value.as_str())));
    send(attempt, session, |out| frontend::startup_message(all, out))?;
    authenticate(attempt, session)?;
    finish(attempt, session)?;
    if session.has_transaction_timeout() {
        session.set_time_limit(Some(attempt.deadline));
        session.query(Session::NO_TRANSACTION_TIMEOUT)?;
        session.set_time_limit(None);
    }
    Ok(())
}

/// Everything between AuthenticationOk and ReadyForQuery.
fn finish(attempt: &Attempt<'_>, session: &mut Session) -> Result<()> {
    loop {
        let frame = session.next(attempt.policy())?;
        match frame.kind {
            b'K' => {
                let (Some(process), Some(secret)) = (number(&frame, 0), number(&frame, 4)) else {
                    return Err(session.unexpected(b'K'));
                };
                let encrypted = session.stream().tls().is_some();
                session.set_cancel_key(CancelKey::register(
                    Rc::clone(attempt.target),
                    attempt.host,
                    attempt.address.clone(),
                    encrypted,
                    (process, secret),
                ));
            }
            b'E' => return Err(session.error(&frame)),
            b'Z' => return Ok(()),
            b'v' => {} // a newer server that negotiates down
            other => return Err(session.unexpected(other)),
        }
    }
}

fn start_tls(attempt: &Attempt<'_>, session: &mut Session) -> Result<()> {
    send(attempt, session, |out| {
        frontend::ssl_request(out);
        Ok(())
    })?;
    // Read exactly one byte: unencrypted data after it would not come from the node.
    let mut answer = [0];
    let n = read(attempt, session, &mut answer)?;
    match answer[0] {
        b'S' if n == 1 => {}
        b'N' if attempt.target.sslmode == SslMode::Prefer => return Ok(()),
        b'N' => {
            return Err(connection_error(
                "the node does not support TLS, but its sslmode requires it",
            )
            .hint("Set ssl = on in the node's configuration, or set the node option sslmode to prefer."));
        }
        _ => {
            return Err(connection_error(
                "the node closed the connection in response to the TLS request",
            ));
        }
    }
    session.stream().start_tls(tls::connection(attempt.target, attempt.host)?);
    loop {
        match session.stream().handshake() {
            Ok(true) => return Ok(()),
            Ok(false) => {
                let sending = session.stream().tls().is_some_and(|tls| tls.wants_write());
                let interest = if sending { Interest::ReadWrite } else { Interest::Read };
                session.wait(interest, attempt.policy())?;
            }
            Err(e) => return Err(connection_error(format!("TLS: {e}"))),
        }
    }
}

fn read(attempt: &Attempt<'_>, session: &mut Session, bytes: &mut [u8]) -> Result<usize> {
    loop {
        match session.stream().read(bytes) {
            Ok(n) => return Ok(n),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                session.wait(Interest::Read, attempt.policy())?;
            }
            Err(e) => return Err(connection_error(e.to_string())),
        }
    }
}

fn authenticate(attempt: &Attempt<'_>, session: &mut Session) -> Result<()> {
    loop {
        let frame = session.next(attempt.policy())?;
        let code = match frame.kind {
            b'R' => number(&frame, 0),
            b'E' => return Err(session.error(&frame)),
            b'v' => continue,
            other => return Err(session.unexpected(other)),
        };
        match code {
            Some(0) => return Ok(()),
            Some(3) => {
                if session.stream().tls().is_none() && !attempt.address.is_unix() {
                    return Err(in_clear());
                }
                let password = password(attempt)?;
                send(attempt, session, |out| frontend::password_message(password.as_bytes(), out))?;
            }
            Some(5) => {
                let salt = frame.get(4..8).and_then(|s| <[u8; 4]>::try_from(s).ok());
                let Some(salt) = salt else { return Err(session.unexpected(b'R')) };
                let hash = md5_hash(attempt.user.as_bytes(), password(attempt)?.as_bytes(), salt);
                send(attempt, session, |out| frontend::password_message(hash.as_bytes(), out))?;
            }
            Some(10) => scram(attempt, session, &frame)?,
            _ => {
                return Err(Error::new(
                    PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                    "the node requested an unsupported authentication method",
                )
                .hint(
                    "Use scram-sha-256, md5, password, cert or trust in the node's pg_hba.conf.",
                ));
            }
        }
    }
}

fn scram(attempt: &Attempt<'_>, session: &mut Session, frame: &Frame) -> Result<()> {
    let offered = |name: &str| frame[4..].split(|&b| b == 0).any(|m| m == name.as_bytes());
    let binding = session.stream().tls().map(tls::channel_binding);
    let (mechanism, binding) = match binding {
        Some(Some(hash)) if offered(SCRAM_SHA_256_PLUS) => {
            (SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(hash))
        }
        Some(Some(_)) => (SCRAM_SHA_256, ChannelBinding::unrequested()),
        _ => (SCRAM_SHA_256, ChannelBinding::unsupported()),
    };
    let mut exchange = ScramSha256::new(password(attempt)?.as_bytes(), binding);
    send(attempt, session, |out| {
        frontend::sasl_initial_response(mechanism, exchange.message(), out)
    })?;
    let challenge = sasl_message(attempt, session, 11)?;
    exchange.update(&challenge[4..]).map_err(|e| wrong_password(&e))?;
    drop(challenge);
    send(attempt, session, |out| frontend::sasl_response(exchange.message(), out))?;
    let verdict = sasl_message(attempt, session, 12)?;
    exchange.finish(&verdict[4..]).map_err(|e| wrong_password(&e))
}

fn sasl_message(attempt: &Attempt<'_>, session: &mut Session, code: i32) -> Result<Frame> {
    let frame = session.next(attempt.policy())?;
    match frame.kind {
        b'R' if number(&frame, 0) == Some(code) => Ok(frame),
        b'E' => Err(session.error(&frame)),
        other => Err(session.unexpected(other)),
    }
}

fn password(attempt: &Attempt<'_>) -> Result<String> {
    if let Some(password) = &attempt.target.password {
        return Ok(password.clone());
    }
    let missing = |detail: Option<String>| {
        let error = Error::new(
            PgSqlErrorCode::ERRCODE_INVALID_PASSWORD,
            format!("no password available for role \"{}\" on the node", attempt.user),
        )
        .hint("Store the role's password in helios.credential or in the server's password file (helios.passfile).");
        match detail {
            Some(detail) => error.detail(detail),
            None => error,
        }
    };
    let Some(path) = &attempt.target.passfile else { return Err(missing(None)) };
    let key = PassfileKey {
        host: attempt.host,
        port: attempt.port,
        database: &attempt.target.database,
        user: attempt.user,
    };
    match passfile::lookup(path, key) {
        Ok(Some(password)) => Ok(password),
        Ok(None) => Err(missing(None)),
        Err(e) => Err(missing(Some(e.to_string()))),
    }
}

fn send(
    attempt: &Attempt<'_>,
    session: &mut Session,
    write: impl FnOnce(&mut BytesMut) -> io::Result<()>,
) -> Result<()> {
    let mut message = BytesMut::new();
    write(&mut message).map_err(|e| connection_error(e.to_string()))?;
    session.output().extend_from_slice(&message);
    session.flush(attempt.policy())
}

fn number(body: &[u8], at: usize) -> Option<i32> {
    body.get(at..at + 4)?.try_into().ok().map(i32::from_be_bytes)
}

/// The requesting server may not be the node, and the password could be overheard.
fn in_clear() -> Error {
    Error::new(
        PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
        "the node requested a clear-text password on a connection without TLS",
    )
    .hint("Use scram-sha-256 instead of password in the node's pg_hba.conf, or enable TLS.")
}

fn wrong_password(reason: &io::Error) -> Error {
    Error::new(
        PgSqlErrorCode::ERRCODE_INVALID_PASSWORD,
        format!("SCRAM authentication failed: {reason}"),
    )
}

fn connection_error(message: impl Into<Vec<u8>>) -> Error {
    Error::new(PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE, message)
}
