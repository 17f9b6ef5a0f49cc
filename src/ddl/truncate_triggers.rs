//! TRUNCATE triggers of shells, which fire on the node and not here.

use super::local_only::locally;
use crate::catalog;
use crate::error::Result;
use crate::pg::catalog::privileges::RunAs;
use crate::pg::session::{self, sql};
use pgrx::pg_sys::Oid;
use pgrx::spi::quote_identifier;

/// A trigger that has been disabled.
pub struct Trigger {
    table: Oid,
    name: String,
    /// How it was enabled: `ENABLE`, `ENABLE REPLICA` or `ENABLE ALWAYS`.
    enable: String,
}

/// Disables the TRUNCATE triggers of all shells that are truncated with these relations or by CASCADE.
pub(super) fn begin(relations: Vec<Oid>) -> Result<Vec<Trigger>> {
    let _as_owner = RunAs::role(catalog::catalogs_owner()?);
    let select = "WITH RECURSIVE leaning (child, parent) AS (
                      SELECT conrelid, confrelid FROM pg_catalog.pg_constraint WHERE contype = 'f'
                      UNION ALL SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits),
                  reached (id) AS (
                      SELECT pg_catalog.unnest($1) UNION SELECT child FROM leaning JOIN reached ON parent = id)
                  SELECT t.tgrelid, t.tgname::text AS name, c.relnamespace,
                         CASE t.tgenabled WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE' END AS enable
                    FROM reached JOIN pg_catalog.pg_trigger t ON t.tgrelid = id
                         JOIN pg_catalog.pg_class c ON c.oid = id
                   WHERE t.tgtype & 32 <> 0 AND t.tgenabled <> 'D' AND NOT t.tgisinternal";
    let found = sql::rows(select, &[relations.into()], |row| {
        let trigger = Trigger {
            table: row.value("tgrelid")?,
            name: row.value("name")?,
            enable: row.value("enable")?,
        };
        Ok((row.value::<Oid>("relnamespace")?, trigger))
    })?;
    let mut silenced = Vec::new();
    for (namespace, trigger) in found {
        if catalog::placement(namespace)?.is_some() {
            trigger.switch("DISABLE")?;
            silenced.push(trigger);
        }
    }
    Ok(silenced)
}

/// Enables them again as before.
pub(super) fn end(silenced: &[Trigger]) -> Result<()> {
    let _as_owner = RunAs::role(catalog::catalogs_owner()?);
    silenced.iter().try_for_each(|trigger| trigger.switch(&trigger.enable))
}

impl Trigger {
    fn switch(&self, how: &str) -> Result<()> {
        let (table, name) =
            (session::quoted_relation_name(self.table), quote_identifier(&self.name));
        locally(|| sql::run(&format!("ALTER TABLE ONLY {table} {how} TRIGGER {name}"), &[]))
    }
}
