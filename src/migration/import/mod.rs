//! Online import of schemas from PostgreSQL servers outside of the cluster, without Helios.
//!
//! The engine is that of every migration. A small schema of Helios on such a server substitutes for what only nodes
//! have: the marker, and triggers that block writers ([`guard`]). The server cannot take part in our two-phase commit;
//! so one copy is closed before the other is opened, in two transactions, and a crash in between leaves both closed
//! until the migration's worker continues.
//!
//! Invariant: the two copies are never writable at the same time. The schema exists on the coordinator from the
//! beginning, empty, to reserve its name; its visible contents are committed with the switch. The old copy is never
//! dropped.
//!
//! Lock order: that of migrations; the foreign server's tables come after everything on the coordinator.

pub mod begin;
pub mod guard;
pub mod preflight;
pub mod shells;

pub use begin::{Import, start};
pub use preflight::check;
