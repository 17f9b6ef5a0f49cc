//! Helios shards plain PostgreSQL by schema: installs settings, hooks and workers; nothing else.

mod error;
mod pg;
mod remote;

pgrx::pg_module_magic!();
