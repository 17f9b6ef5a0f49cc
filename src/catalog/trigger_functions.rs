//! The trigger functions of the extension's own tables, which notify other backends of changes.

use crate::catalog;
use crate::catalog::own_objects::SCHEMA;
use crate::error::Result;
use crate::pg::catalog::names;
use crate::pg::exec::triggers::{Firing, TriggerCall, TriggerFunction};
use crate::pg::hooks::invalidation;
use crate::pg::session;
use pgrx::pg_sys::Oid;

/// `helios.directory_changed`: a table of the directory was changed.
pub struct DirectoryChanged;

impl TriggerFunction for DirectoryChanged {
    const NAME: &'static str = "helios.directory_changed";
    const FIRINGS: &'static [Firing] = &[Firing::AfterStatement];

    fn fired(call: &TriggerCall<'_>) -> Result<()> {
        own_table(call)?;
        catalog::changed();
        Ok(())
    }
}

/// `helios.fence_changed`: the table of fences was changed.
pub struct FenceChanged;

impl TriggerFunction for FenceChanged {
    const NAME: &'static str = "helios.fence_changed";
    const FIRINGS: &'static [Firing] = &[Firing::AfterStatement];

    fn fired(call: &TriggerCall<'_>) -> Result<()> {
        invalidation::table_changed(own_table(call)?);
        Ok(())
    }
}

/// The table of the trigger, which is one of the extension's own.
fn own_table(call: &TriggerCall<'_>) -> Result<Oid> {
    let table = call.relation();
    let schema = names::relation_namespace(table).and_then(session::namespace_name);
    if schema.is_some_and(|schema| schema == SCHEMA) {
        return Ok(table);
    }
    let name = names::displayed_relation_name(table);
    Err(call.misused(&format!("table \"{name}\" does not belong to the extension")))
}
