//! Compares the grammar of distributed schemas with the server's own parser.
//!
//! Two servers of the same version, one plain, one with Helios, parse the same texts:
//! PostgreSQL's own regression suites, mutations of them, and statements that create distributed
//! schemas. In an aborted transaction a statement is only parsed: the result is 25P02
//! if it parses, and the parser's own error otherwise.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails by panicking"
)]

mod corpus;
mod deparse;
mod hook;
mod mutate;
mod oracle;
mod smoke;
