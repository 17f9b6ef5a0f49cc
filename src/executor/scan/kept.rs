//! Rows that are read at once, because the node's portal may not live as long as the one here.

use super::{NodeScan, failed};
use crate::error::Result;
use crate::pg::exec::custom_scan::{Attempt, ScanContext};
use crate::transaction::{Fetch, Step};
use helios_core::frames;
use std::collections::VecDeque;

impl NodeScan {
    /// Reads all rows: a cursor first fetched from inside a savepoint survives a rollback to it, but a portal opened on
    /// the node inside the savepoint does not.
    pub(super) fn keep_rows(&mut self, context: &mut ScanContext) -> Result<Attempt<()>> {
        let Attempt::Done(mut execution) = self.start(context, None, Some(Fetch::All))? else {
            return Ok(Attempt::Replan);
        };
        let counted = &mut self.counted;
        let mut rows = VecDeque::new();
        loop {
            let step = execution.step(&mut |row| {
                counted.row(row.len());
                rows.push_back(row.to_vec());
                Ok(())
            });
            let plan = context.plan();
            if let Step::Complete(tag) = step.map_err(|error| failed(&plan, error))? {
                let changed = frames::rows_affected(&tag).unwrap_or(0);
                context.add_processed(changed.saturating_sub(rows.len() as u64));
                counted.done(changed.saturating_sub(rows.len() as u64));
                self.kept = Some(rows);
                return Ok(Attempt::Done(()));
            }
        }
    }
}
