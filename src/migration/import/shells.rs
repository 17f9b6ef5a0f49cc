//! The imported schema on the coordinator: reserved when the import starts, filled with shells by the switch, set aside
//! by a rollback.

use super::guard;
use crate::catalog::migration::Migration;
use crate::catalog::{self, NodeId, REFERENCES};
use crate::error::{Error, Result};
use crate::migration::code::Code as TenantCode;
use crate::migration::dump::{self, Definitions, Group, Section};
use crate::pg::catalog::privileges::RunAs;
use crate::pg::session::own_settings::OwnSettings;
use crate::pg::session::{self, acting, sql};
use crate::replication::endpoint;
use crate::replication::endpoints::{identifier, names};
use helios_core::archive::Entry;
use helios_core::migration::State;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Lock timeout of the switch for reference tables that the schema refers to.
const LOCK_TIMEOUT: &str = "500ms";

/// The definition of the schemas on the foreign server: pre-data and post-data section.
pub type Definition = (Definitions, Definitions);

/// Reads the definition from the foreign server.
pub fn definition(migration: &Migration, snapshot: Option<&str>) -> Result<Definition> {
    let ours = guard::triggers(migration)?;
    let dump = |section| {
        let all = dump::definitions(migration.source, &migration.schemas, section, snapshot)?;
        let is_ours = |entry: &Entry| entry.kind == "TRIGGER" && ours.contains(&entry.object);
        Ok::<_, Error>(all.divide(is_ours).0)
    };
    Ok((dump(Section::PreData)?, dump(Section::PostData)?))
}

/// A digest of a definition.
pub fn digest((pre_data, post_data): &Definition) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    pre_data.digest(&mut context);
    post_data.digest(&mut context);
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 55000 if the definition has changed since it was copied.
pub fn check_unchanged(migration: &Migration, now: &Definition) -> Result<()> {
    match catalog::foreign_server::noted_definition(migration.source)? {
        Some(before) if before != digest(now) => Err(Error::new(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "the definition of the schema was changed on the foreign server during the import",
        )
        .hint("Start the import again.")),
        _ => Ok(()),
    }
}

/// Reserves the schema's name by an empty schema.
pub fn reserve(schema: &str) -> Result<()> {
    let _own = OwnSettings::begin(&[]);
    sql::run("SET LOCAL helios.migration_session = on", &[])?;
    sql::run(&format!("CREATE SCHEMA {}", identifier(schema)), &[])
}

/// Creates the shells in place of the schema that reserved the name. Part of the switch's transaction.
pub fn make(
    migration: &Migration,
    (pre_data, post_data): &Definition,
    code: &TenantCode,
) -> Result<()> {
    let _own = OwnSettings::begin(&[]);
    let mut all = String::from("SET LOCAL helios.migration_session = on;\n");
    for schema in &migration.schemas {
        all.push_str(&format!("DROP SCHEMA {} RESTRICT;\n", identifier(schema)));
    }
    sql::run(&all, &[])?;
    let own = endpoint::role()?;
    for part in [pre_data, post_data] {
        for Group { owner, statements } in part.groups(&own, code) {
            sql::run(&part.head(LOCK_TIMEOUT), &[])?;
            let owner = owner.map(|owner| acting::role_named(&owner)).transpose()?;
            // Settings made by the code are reset afterwards.
            let _as_owner = owner.map(RunAs::restricted);
            sql::run(&part.head(LOCK_TIMEOUT), &[])?;
            sql::run(&statements, &[])?;
        }
    }
    leave_checks_to_node(&migration.schemas)
}

/// The node enforces foreign keys to reference tables; checks on the coordinator would look at empty shells. Part of a
/// transaction with `helios.migration_session` on.
pub fn leave_checks_to_node(schemas: &[String]) -> Result<()> {
    let select = format!(
        "SELECT format('ALTER TABLE %s DISABLE TRIGGER %I', k.confrelid::regclass, t.tgname) AS statement
           FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_trigger t ON t.tgconstraint = k.oid AND t.tgrelid = k.confrelid
                JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE k.contype = 'f' AND n.nspname = ANY ({})
            AND k.confrelid IN ({REFERENCES})",
        names(schemas)
    );
    let statements = sql::rows(&select, &[], |row| row.value::<String>("statement"))?;
    statements.iter().try_for_each(|statement| sql::run(statement, &[]))
}

/// Name of a schema that was rolled back and is not dropped yet.
fn aside(migration: &Migration, schema: &str) -> String {
    let number = migration.schemas.iter().position(|one| one == schema).unwrap_or(0);
    format!("helios_gone_{}_{number}", migration.id)
}

/// Hides the schemas from users and from the directory. Dropping them would require locks that are not available soon;
/// renaming requires none, and invalidates cached plans, so that the old name is looked up again.
pub fn set_aside(migration: &Migration) -> Result<()> {
    let _own = OwnSettings::begin(&[]);
    sql::run("SET LOCAL helios.migration_session = on", &[])?;
    for schema in &migration.schemas {
        let name = aside(migration, schema);
        catalog::cleanup::add(migration.id, NodeId::LOCAL, "aside", &name)?;
        let rename = format!("ALTER SCHEMA {} RENAME TO {}", identifier(schema), identifier(&name));
        sql::run(&rename, &[])?;
        catalog::forget_schema(schema)?;
    }
    Ok(())
}

/// Ends an import: DDL is allowed again; a schema that was not imported is removed from the directory.
pub fn settle(migration: &Migration, outcome: State) -> Result<()> {
    let _own = OwnSettings::begin(&[]);
    sql::run("SET LOCAL helios.migration_session = on", &[])?;
    catalog::fences::lift(migration.id)?;
    catalog::foreign_server::forget_password(migration.source)?;
    if outcome == State::Finished {
        return Ok(());
    }
    for schema in catalog::schemas_of(migration.shard)? {
        if session::namespace(&schema).is_some() {
            sql::run(&format!("DROP SCHEMA {} RESTRICT", identifier(&schema)), &[])?;
        }
        catalog::forget_schema(&schema)?;
    }
    Ok(())
}

/// 42P06 unless the name is available on this server.
pub fn check_free(schema: &str) -> Result<()> {
    if session::namespace(schema).is_none() {
        catalog::placement_strategy::check_name(schema)?;
        return Ok(());
    }
    Err(Error::new(Code::ERRCODE_DUPLICATE_SCHEMA, format!("schema \"{schema}\" already exists"))
        .hint(format!(
            "Drop it, or rename one of the schemas: ALTER SCHEMA {} RENAME TO {}.",
            identifier(schema),
            identifier(&format!("old_{schema}"))
        )))
}
