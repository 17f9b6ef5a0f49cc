//! Views of other schemas that depend on recreated objects.
//!
//! They are not dropped: until the end they have a placeholder query with the same columns that refers to no table. So
//! they keep their owner, privileges, comments, rules and triggers, and the objects that depend on them. Parsing their own
//! query again may run code, for instance the check of a domain in a literal, and so is done as their owner.

use super::create::may_create;
use crate::error::{Error, Result};
use crate::pg::catalog::privileges::RunAs;
use crate::pg::session::{acting, sql, subtransaction};
use crate::remote::own_rows;
use crate::replication::endpoints::{identifier, literal};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// The views that currently have a placeholder query.
#[derive(Default)]
pub struct Views(Vec<View>);

struct View {
    oid: String,
    name: String,
    schema: String,
    owner: String,
    /// Statement that restores the view's own query.
    restore: String,
}

impl Views {
    /// Replaces a view's query by the placeholder; false if that has been done already.
    pub fn set_aside(&mut self, oid: &str) -> Result<bool> {
        if self.0.iter().any(|view| view.oid == oid) {
            return Ok(false);
        }
        let query = format!(
            "SELECT v.name, v.nspname, v.owner, format('CREATE OR REPLACE VIEW %s%s AS %s', v.name, ' WITH (' || v.options || ')', pg_get_viewdef(v.oid)) AS restore,
                    format('CREATE OR REPLACE VIEW %s AS SELECT %s', v.name, v.columns) AS blank
               FROM (SELECT c.oid, n.nspname::text, pg_get_userbyid(c.relowner)::text AS owner, format('%I.%I', n.nspname, c.relname) AS name,
                            (SELECT string_agg(format('%I = %L', o.option_name, o.option_value), ', ') FROM pg_options_to_table(c.reloptions) AS o) AS options,
                            (SELECT string_agg(format('NULL::%s%s AS %I', format_type(a.atttypid, a.atttypmod),
                                                      CASE WHEN a.attcollation <> 0 THEN format(' COLLATE %s', a.attcollation::regcollation) END,
                                                      a.attname), ', ' ORDER BY a.attnum)
                               FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
                       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = {oid}) AS v"
        );
        for row in own_rows(&query)? {
            let view = View {
                oid: oid.to_owned(),
                name: row.text("name")?,
                schema: row.text("nspname")?,
                owner: row.text("owner")?,
                restore: row.text("restore")?,
            };
            view.check_owner()?;
            sql::run(&row.text("blank")?, &[])?;
            self.0.push(view);
        }
        Ok(true)
    }

    /// Restores the views' own queries.
    ///
    /// 55000 if a view depends on something that no longer exists or has another type.
    pub fn restore(&self, schema: &str) -> Result<()> {
        for view in &self.0 {
            let restore = || {
                let _as_owner = RunAs::restricted(acting::role_named(&view.owner)?);
                sql::run(&view.restore, &[])
            };
            subtransaction::attempt(restore).map_err(|error| {
                if crate::replication::fence::is_lock_conflict(&error) {
                    return error;
                }
                Error::new(
                    Code::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
                    format!("cannot repair schema \"{schema}\" because view {} depends on objects that the node does \
                        not have", view.name),
                )
                .detail(error.to_string())
                .hint(format!(
                    "Run DROP VIEW {} and SELECT * FROM helios_repair_schema({}), and create the view again.",
                    view.name,
                    literal(schema)
                ))
            })?;
        }
        Ok(())
    }
}

impl View {
    /// 55000 if the owner may not replace the view.
    fn check_owner(&self) -> Result<()> {
        let Self { name, schema, owner, .. } = self;
        if may_create(owner, schema)? {
            return Ok(());
        }
        let message = format!("role \"{owner}\" lacks permission to create view {name}");
        Err(Error::new(Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .detail("The view depends on objects to be recreated; its query is restored with the privileges of its owner.")
            .hint(format!(
                "GRANT CREATE, USAGE ON SCHEMA {} TO {}",
                identifier(schema),
                identifier(owner)
            )))
    }
}
