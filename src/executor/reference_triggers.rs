//! The trigger functions of reference tables.

use super::reference_writes;
use crate::error::Result;
use crate::pg::exec::triggers::{Firing, TriggerCall, TriggerFunction};

/// `helios.reference_write`: a reference table is being written on this server.
pub struct ReferenceWrite;

impl TriggerFunction for ReferenceWrite {
    const NAME: &'static str = "helios.reference_write";
    const FIRINGS: &'static [Firing] =
        &[Firing::BeforeStatement, Firing::AfterRow, Firing::AfterStatement];

    fn fired(call: &TriggerCall<'_>) -> Result<()> {
        reference_writes::fired(call.relation(), call.view())
    }
}

/// `helios.reference_copy`: the copy of a reference table on a node is about to be written.
pub struct ReferenceCopy;

impl TriggerFunction for ReferenceCopy {
    const NAME: &'static str = "helios.reference_copy";
    const FIRINGS: &'static [Firing] = &[Firing::BeforeStatement];

    fn fired(call: &TriggerCall<'_>) -> Result<()> {
        reference_writes::guard_copy(call.relation())
    }
}
