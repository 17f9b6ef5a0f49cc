//! The only room that says `unsafe`: everything that touches PostgreSQL's memory, hooks and locks, wrapped
//! so that the rest of the extension is safe Rust.
//!
//! Invariant: no function outside this folder can cause undefined behaviour through it, and an error raised by
//! PostgreSQL never crosses a frame with destructors.
#![allow(unsafe_code)]

pub mod catalog;
pub mod error;
pub mod exec;
pub mod hooks;
pub mod ipc;
pub mod session;
pub mod tree;
