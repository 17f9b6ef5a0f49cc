//! A session with a node: connection, protocol messages, cancellation. Independent of transactions and routing.
//!
//! Invariant: a session is idle (`is_busy()` is false, nothing is unsent), has an outstanding request whose responses
//! end with ReadyForQuery, or is lost. All waits use the backend's latch, except for name resolution and cancel
//! requests, which are limited in time. No locks are taken.

mod attempt;
mod cancel;
mod connect;
pub mod followed_settings;
mod handshake;
pub mod messages;
mod passfile;
pub mod pg_dump;
mod record;
mod reply;
mod session;
pub mod settings;
mod socket;
mod statements;
mod stream;
mod target;
mod tls;
mod trust;

pub use cancel::cancel_everything;
pub use helios_core::frames::Frame;
pub use messages::{Statement, Value};
pub use record::{Record, Rows, cells, own_rows, read_own_rows, text_row};
pub use session::{Answer, Session, WaitPolicy, wait_for_any};
pub use socket::resolve;
pub use statements::{Known, StatementCache};
pub use target::{SslMode, Target, Tcp};
