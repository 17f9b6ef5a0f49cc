//! The start time of the local transaction, which those on nodes share.

use crate::catalog::proof;
use crate::pg::session::transaction_start::{self, Trusted};
use crate::settings;

pub use crate::pg::session::transaction_start::command;

struct Coordinators;

impl Trusted for Coordinators {
    fn is_coordinators() -> bool {
        proof::is_coordinators()
    }

    fn claims_to_be() -> bool {
        settings::session::claims_to_be_coordinators()
    }
}

/// Defines the setting by which a node is told; to be called once, from `_PG_init`.
pub fn register() {
    transaction_start::define::<Coordinators>();
}
