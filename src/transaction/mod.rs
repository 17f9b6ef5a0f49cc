//! Statements on nodes as part of the local transaction: planner, executor and DDL send everything through this module.
//!
//! Invariant: the state of a node's session (transaction, savepoints, settings, role, request) is known exactly, or the
//! session is closed. When a local transaction commits, everything it wrote on nodes has been committed, or is prepared
//! with a commit record; when it rolls back, everything on nodes is rolled back, or is prepared without a record.
//!
//! A link is borrowed only while nothing else runs on behalf of the client: never while a row is processed. Lock order:
//! no own locks; locks on nodes are taken in the order of the client's statements.

pub mod after_commit;
pub mod block;
pub mod callbacks;
pub mod client_settings;
pub mod commit;
pub mod constraints;
pub mod copy_data;
pub mod cursor;
pub mod end;
pub mod execution;
pub mod gid;
pub mod introduction;
pub mod link;
pub mod links;
pub mod mode;
pub mod node_settings;
pub mod node_version;
pub mod open_portals;
pub mod portals;
pub mod recovery;
pub mod result_stream;
pub mod safe_path;
pub mod sessions;
pub mod snapshots;
pub mod standby;
pub mod start_time;
pub mod status;
pub mod synchronous_replicas;
pub mod target;
pub mod two_phase;

pub use after_commit::{execute as execute_afterwards, warn_not_released};
pub use client_settings::note_change as note_settings_changed;
pub use constraints::note_all as note_all_constraints;
pub use copy_data::{Copy, copy};
pub use cursor::NodeCursor;
pub use execution::{
    Execution, Step, check_columns, execute, execute_all, query, query_that_writes, start,
};
pub use links::{requests_sent, sessions_made};
pub use mode::{Fetch, Mode};
pub use node_version::{has_function, require_function};
pub use open_portals::{OpenPortal, PortalQuery, open_portals};
pub use recovery::{RecoveryAction, in_doubt, recover};
pub use safe_path::SafePath;
pub use sessions::{
    close_portals, close_sessions, forget_settings_of, forget_statements, has_written, in_use,
    open_nodes,
};
pub use standby::{is_refused, refuse as refuse_standby};
pub use status::{finish_user_prepared, status, user_prepared};
pub use synchronous_replicas::expect as expect_replicas;
pub use target::{passfile, refuse_silent, target};
