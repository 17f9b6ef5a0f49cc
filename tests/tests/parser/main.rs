//! The grammar of distributed schemas beside the server's own parser.
//!
//! Two servers of one version, one plain, one with Helios, are asked to parse the same texts:
//! PostgreSQL's own regression suites, mutations of them, and statements that create distributed
//! schemas. In an aborted transaction a statement is parsed and nothing more: the answer is 25P02
//! if it parses, and the parser's own error if it does not.

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
