//! An INSERT that is done by a COPY of the rows of other places.

use super::{NodeScan, failed};
use crate::error::Result;
use crate::executor::parts::PartScan;
use crate::executor::{locate, note_write, shipping};
use crate::pg::exec::custom_scan::ScanContext;
use crate::transaction;

impl NodeScan {
    /// Copies the rows to the node if the plan has a COPY; tells whether it has.
    pub(super) fn copy_rows(&mut self, context: &mut ScanContext) -> Result<bool> {
        let plan = context.plan();
        let Some(text) = plan.copy() else { return Ok(false) };
        self.check_reader(context)?;
        let node = locate(plan.namespaces())?;
        plan.namespaces().take(1).for_each(note_write);
        let copied = shipping::copy::<Self>(context, node, text, &|error| failed(&plan, error))?;
        if plan.unsettles() {
            transaction::forget_settings_of(node);
        }
        context.add_processed(copied);
        self.counted.done(copied);
        self.done = true;
        Ok(true)
    }
}
