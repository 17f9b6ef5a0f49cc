//! PostgreSQL: everything that accesses the server's memory, hooks and locks, wrapped so that the rest of the extension
//! is safe Rust. The only room that uses `unsafe`. It does not call Helios: decisions of the extension are passed as
//! arguments, or through traits resolved by the compiler ([`tree::function_rules`], [`exec::triggers`], those of
//! [`hooks`]). The extension's name appears in labels (the custom scan, the wait event, the message domain) and in the
//! texts of a few errors, and [`hooks::scanner`] knows the syntax that it adds.
//!
//! | room | job |
//! |---|---|
//! | [`hooks`] | what PostgreSQL calls; begin here, or in the crate's `hooks.rs`, which implements its traits |
//! | [`exec`] | plans, the custom scan, rows in and out, nesting |
//! | [`tree`] | views of query trees and utility statements, and copies with changes |
//! | [`catalog`] | names, objects and rows of PostgreSQL's catalogs |
//! | [`session`] | the backend's client, transaction, settings and SQL |
//! | [`ipc`] | shared memory, locks, waits, workers |
//! | [`error`] | how an error that is a value is raised |
//!
//! Invariant: no safe function can cause undefined behavior, whatever it is called with. A view of a server object has
//! the lifetime of that object, or knows when it is gone; a function with preconditions that only its caller can
//! guarantee is an `unsafe fn`. And an error raised by PostgreSQL never crosses a frame with destructors.
#![allow(unsafe_code)]

pub mod catalog;
pub mod error;
pub mod exec;
pub mod hooks;
pub mod ipc;
pub mod session;
pub mod tree;
