//! Runs a statement on its node and brings its rows to where they belong.
//!
//! Invariant: the placement is read again after the shard's lock is held, and the statement goes to what was read then.
//! Rows go to the client as they came wherever that gives the same bytes; memory does not grow with a result.
//!
//! Locks: shards in share mode, in the order of their ids, until the end of the transaction.

pub mod copy;
pub mod explain;
pub mod function_calls;
pub mod function_rules;
pub mod locate;
pub mod position;
mod redirect;
pub mod reference_change;
pub mod reference_text;
pub mod reference_triggers;
pub mod reference_writes;
pub mod remote_statement;
pub mod remote_types;
pub mod replica_reads;
pub mod scalar;
pub mod scan;
pub mod server_functions;
pub mod session_state;
pub mod utility;

pub use locate::{locate, locate_or_replan};
pub use session_state::{last_written, mode, note_write};
