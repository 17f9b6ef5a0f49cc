//! Runs a statement on its node and returns its rows.
//!
//! Invariant: the placement is read again under the shard's lock, and the statement is sent to that node. Rows are
//! passed through to the client wherever that yields the same bytes; memory use does not depend on the size of a
//! result.
//!
//! Locks: shards in share mode, in the order of their IDs, until the end of the transaction.

pub mod absent;
pub mod coordinator_request;
pub mod copy;
pub mod explain;
pub mod function_calls;
pub mod function_rules;
pub mod locate;
pub mod parts;
pub mod position;
pub mod random;
mod reader;
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
mod sequence_values;
pub mod server_functions;
pub mod session_state;
pub mod shipping;
pub mod utility;

pub use locate::{locate, locate_or_replan};
pub use session_state::{last_written, mode, note_local_sequence, note_write};
