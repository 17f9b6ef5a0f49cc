//! The only room that says `unsafe`: everything that touches PostgreSQL's memory, hooks and locks, wrapped
//! so that the rest of the extension is safe Rust.
//!
//! Invariant: no function outside this folder can cause undefined behaviour through it, and an error raised by
//! PostgreSQL never crosses a frame with destructors.
#![allow(unsafe_code)]

pub mod catalog;
pub mod encoding;
pub mod error;
pub mod invalidation;
pub mod lock;
pub mod preload;
pub mod privileges;
pub mod session;
pub mod setting_types;
pub mod settings_scan;
pub mod shared_memory;
pub mod sql;
pub mod transaction_records;
pub mod wait;
pub mod xact;
