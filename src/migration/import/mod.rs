//! Schemas of PostgreSQL servers outside of the cluster, without Helios, that are taken over while they are used.
//!
//! The engine is that of every migration. What a node has and such a server lacks, a small schema of ours there stands in
//! for: the marker, and triggers that keep writers out ([`guard`]). The server cannot be part of our two-phase commit; so
//! one copy is closed before the other is opened, in two transactions, and a crash in between leaves both closed, until the
//! migration's worker goes on.
//!
//! Invariant: at no moment can both copies be written. The schema is here from the beginning, empty, so that its name is
//! kept; what clients see in it is committed with the switch. The old copy is never dropped.
//!
//! Lock order: as of migrations; the foreign server's tables come after everything here.

pub mod begin;
pub mod guard;
pub mod preflight;
pub mod shells;

pub use begin::{Import, start};
pub use preflight::check;
