//! Names, objects, privileges and rows of PostgreSQL's catalogs.
//!
//! Invariant: without a lock, an object that was found may be dropped a moment later; a missing object is a value, not
//! an error. Begin with [`object`], which determines to what an object belongs.

pub mod databases;
pub mod extension;
pub mod function_body;
pub mod names;
pub mod object;
pub mod privileges;
pub mod recorded;
pub mod references;
pub mod server_file_rights;
pub mod table;
mod table_insert;
pub mod trigger_state;
pub mod types;
pub mod value;
