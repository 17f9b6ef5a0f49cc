//! Utility statements: distributed schemas, and definitions that have to be the same on shells and nodes.
//!
//! A statement runs on the shells first, so that errors come early and permissions are checked here. What it
//! touched is noted on the way; then its own text goes to the nodes where those objects live, in the same
//! transaction: both or neither.
//!
//! Invariant: a statement that does not touch a distributed schema, or an object that tenants share, behaves
//! exactly as without Helios; and no statement ends successfully with shell and node defined differently.
//! Lock order: what PostgreSQL locks for the statement, then the shard's lock, then the node's own locks.
//! Read first: `dispatch.rs`.

pub mod concurrent;
pub mod convert;
pub mod dependencies;
pub mod dispatch;
pub mod drop_extension;
pub mod drop_list;
pub mod expressions;
pub mod extension;
pub mod fence_check;
pub mod follow_up;
pub mod large_objects;
pub mod local_only;
pub mod locations;
pub mod multi_target;
pub mod names_in_text;
pub mod nested_ddl;
pub mod new_schema;
pub mod object_location;
pub mod on_node;
pub mod outside_references;
pub mod propagate;
pub mod reference_copy;
pub mod reference_rules;
pub mod reference_table;
pub mod schema;
pub mod send;
pub mod session_commands;
pub mod statement_scope;
pub mod subscription;
pub mod table_as;
pub mod truncate_triggers;
pub mod unfinished;

pub use dispatch::{after, before, touches};
