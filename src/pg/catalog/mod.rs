//! Names, objects, privileges and rows of PostgreSQL's catalogs.

pub mod databases;
pub mod names;
pub mod object;
pub mod privileges;
pub mod recorded;
pub mod roles;
pub mod table;
pub mod types;
pub mod value;
