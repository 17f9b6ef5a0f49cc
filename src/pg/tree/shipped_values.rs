//! What a statement for a node computes and the node cannot: VALUES, the values of an INSERT, and calls that are the same for each row.

use crate::error::Result;
use crate::pg::tree::function_rules::FunctionRules;
use crate::pg::tree::shipment::Shipment;
use crate::pg::tree::survey::survey_expression;
use crate::pg::tree::{constant_calls, insert_source, subqueries, values_lists};
use pgrx::pg_sys;

impl<R: FunctionRules> Shipment<'_, R> {
    /// Sends a list of VALUES that the node cannot compute: its entry becomes a subquery, which is returned.
    ///
    /// # Safety
    /// `entry` is such a list, in FROM, and is ours to change.
    pub(in crate::pg::tree) unsafe fn ship_list(
        &mut self,
        entry: *mut pg_sys::RangeTblEntry,
    ) -> Result<Option<*mut pg_sys::Query>> {
        // SAFETY: by the caller's promise; what is made are complete nodes.
        unsafe {
            if self.places.stays(&survey_expression::<R>((*entry).values_lists.cast()))? {
                return Ok(None);
            }
            let rows = values_lists::rows(entry)?;
            if !subqueries::is_closed(rows) {
                return Ok(None);
            }
            Ok(Some(values_lists::replace(entry, self.ship(rows)?)))
        }
    }

    /// Sends the values of an INSERT that the node cannot compute, if it has a single row of them.
    ///
    /// # Safety
    /// `query` is an INSERT, and `source` was made for it by [`insert_source::make`].
    pub(in crate::pg::tree) unsafe fn ship_values(
        &mut self,
        source: *mut pg_sys::Query,
    ) -> Result<()> {
        // SAFETY: by the caller's promise; what is made are complete nodes.
        unsafe {
            if !(*(*source).jointree).fromlist.is_null() {
                return Ok(());
            }
            let places = self.places;
            let stays = |value| places.stays(&survey_expression::<R>(value));
            let (values, taken) = insert_source::take_values(source, &stays)?;
            if taken.is_empty() || !subqueries::is_closed(values) {
                return Ok(());
            }
            let shipped = self.ship(values)?;
            insert_source::read_values(source, &taken, shipped);
        }
        Ok(())
    }

    /// Sends the results of calls that the node cannot make, and that are the same for all rows.
    ///
    /// # Safety
    /// `query` changes rows, is valid, and ours to change.
    pub(in crate::pg::tree) unsafe fn ship_calls(
        &mut self,
        query: *mut pg_sys::Query,
    ) -> Result<()> {
        let mut result = Ok(());
        // SAFETY: by the caller's promise.
        unsafe {
            if self.places.stays(&survey_expression::<R>(query.cast()))? {
                return Ok(());
            }
            constant_calls::replace::<R>(query, &mut |call| {
                let value = match self.places.stays(&survey_expression::<R>(call)) {
                    Ok(true) => return None,
                    Ok(false) => self.ship(constant_calls::query_of(call)),
                    Err(error) => Err(error),
                };
                let value = value.map_err(|error| result = Err(error));
                value.ok()
            });
        }
        result
    }
}
