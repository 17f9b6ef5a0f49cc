//! One session to one node: connecting, frames, cancel. Knows no transactions and no routing.
//!
//! Invariant: a session is either idle (`is_busy()` false, nothing unsent), or has a request under way whose
//! answers end with ReadyForQuery, or is lost. Nothing here blocks without the backend's latch, except name
//! resolution and cancel requests, which are bounded. No locks are taken.

mod attempt;
mod cancel;
mod connect;
pub mod followed_settings;
mod handshake;
pub mod messages;
mod passfile;
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
pub use record::{Record, Rows, text_row};
pub use session::{Answer, Session, WaitPolicy, wait_for_any};
pub use socket::resolve;
pub use statements::{Known, StatementCache};
pub use target::{SslMode, Target, Tcp};
