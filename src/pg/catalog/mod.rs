//! Names, objects, privileges and rows of PostgreSQL's catalogs.

pub mod extension;
pub mod index_scan;
pub mod names;
pub mod object;
pub mod privileges;
pub mod recorded;
pub mod roles;
pub mod transaction_records;
pub mod types;
