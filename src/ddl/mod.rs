//! Utility commands: distributed schemas, and DDL that must be executed on both shells and nodes.
//!
//! A command runs on the shells first, so that errors are raised early and permissions are checked here. The objects
//! that it touches are recorded; then its own text is sent to the nodes of those objects in the same transaction, so
//! that it takes effect on both or on neither.
//!
//! Invariant: a command that touches neither a distributed schema nor a shared object behaves exactly as without
//! Helios; and no command succeeds if it leaves shell and node with different definitions.
//! Lock order: the locks that PostgreSQL takes for the command, then the shard's lock, then the node's own locks.
//! Read first: `dispatch.rs`.

pub mod auto_reference;
pub mod bodies;
pub mod concurrent;
pub mod convert;
pub mod dependencies;
pub mod dispatch;
pub mod drop_extension;
pub mod expressions;
pub mod extension;
pub mod fence_check;
pub mod follow_up;
pub mod large_objects;
pub mod like;
pub mod local_only;
pub mod locations;
pub mod multi_target;
pub mod names_in_text;
pub mod nested_ddl;
pub mod new_schema;
pub mod object_list;
pub mod object_location;
pub mod on_node;
pub mod outside_references;
pub mod propagate;
pub mod reference_copy;
pub mod reference_rules;
pub mod reference_table;
pub mod relation_definition;
pub mod relocation;
pub mod relocation_plan;
pub mod routine;
pub mod schema;
pub mod send;
pub mod session_commands;
pub mod set_schema;
pub mod statement_scope;
pub mod subscription;
pub mod table_as;
pub mod truncate_triggers;
pub mod unfinished;

pub use dispatch::{after, before, touches};
