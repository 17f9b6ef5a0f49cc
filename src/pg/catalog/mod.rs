//! Names, objects, privileges and rows of PostgreSQL's catalogs.
//!
//! Invariant: what is looked up may be gone a moment later unless its lock is held; a missing object is a value, not an error
//! of the server's. Begin with [`object`], which says where an object belongs.

pub mod databases;
pub mod extension;
pub mod names;
pub mod object;
pub mod privileges;
pub mod recorded;
pub mod references;
pub mod server_file_rights;
pub mod table;
mod table_insert;
pub mod types;
pub mod value;
