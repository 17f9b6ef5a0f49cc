//! Prerequisites of an import in addition to those of every migration: privileges on the foreign server, and the
//! existence of all objects on this cluster that the schema refers to.

use super::guard;
use crate::catalog::migration::Migration;
use crate::error::{Error, Result};
use crate::migration::requirements;
use crate::pg::error::notify;
use crate::remote::Rows;
use crate::remote::Session;
use crate::replication::endpoint::Endpoint;
use crate::replication::endpoints::{self, Endpoints, identifier, literal, names, text};
use crate::replication::foreign_server;
use pgrx::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// The oldest version with the required features of publications.
const OLDEST: i32 = 15;
/// Report transactions on the foreign server that are older than this, in seconds.
const OLD: i32 = 5;

/// Checks the foreign server and the objects that the schema needs. Errors name what is missing and the remedy.
pub fn check(migration: &Migration, endpoints: &mut Endpoints) -> Result<()> {
    check_server(&mut endpoints.source)?;
    check_schemas(migration, &mut endpoints.source)?;
    check_rights(migration, &mut endpoints.source)?;
    check_writers(migration, &mut endpoints.source)?;
    // The definition is created on the target, and as shells on this server.
    let mut here = Endpoint::Local.session()?;
    for side in [&mut here, &mut endpoints.target] {
        check_roles(migration, &mut endpoints.source, side)?;
        check_needed(migration, &mut endpoints.source, side)?;
    }
    if migration.reverse_channel {
        check_reverse_channel(migration, endpoints)?;
    }
    report_old_transactions(&mut endpoints.source)
}

fn check_server(source: &mut Session) -> Result<()> {
    let ask = "SELECT current_setting('server_version_num')::int / 10000 AS version, current_setting('server_encoding') AS encoding,
                      pg_is_in_recovery() AS in_recovery";
    let row = source.query(ask)?.first().cloned().unwrap_or_default();
    let version: i32 = row.parsed("version")?.unwrap_or(0);
    let unsupported = |message: &str, detail: String, hint: &str| {
        Error::new(Code::ERRCODE_FEATURE_NOT_SUPPORTED, message).detail(detail).hint(hint)
    };
    let here = i32::try_from(pgrx::pg_sys::PG_VERSION_NUM / 10000).unwrap_or(0);
    if version < OLDEST || version > here {
        return Err(unsupported(
            "cannot import from this version of PostgreSQL",
            format!(
                "The foreign server runs PostgreSQL {version}; this server runs PostgreSQL {here}."
            ),
            "The foreign server must run PostgreSQL 15 or later, but not a later version than this server.",
        ));
    }
    let encoding = row.text("encoding")?;
    if encoding != "UTF8" {
        return Err(unsupported(
            "encoding of the foreign database is not UTF8",
            format!("Its encoding is {encoding}."),
            "Dump the schema with pg_dump and restore it on this server instead.",
        ));
    }
    if row.flag("in_recovery")? {
        return Err(unsupported(
            "cannot import from a standby",
            "An import creates objects on the foreign server.".to_owned(),
            "Specify the primary in the connection string.",
        ));
    }
    Ok(())
}

fn check_schemas(migration: &Migration, source: &mut Session) -> Result<()> {
    for schema in &migration.schemas {
        let there = format!("SELECT FROM pg_namespace WHERE nspname = {}", literal(schema));
        if source.query(&there)?.is_empty() {
            return Err(Error::new(
                Code::ERRCODE_INVALID_SCHEMA_NAME,
                format!("schema \"{schema}\" does not exist on the foreign server"),
            )
            .hint(
                "Schema names are case-sensitive here. The database is the one named in the connection string.",
            ));
        }
    }
    Ok(())
}

fn check_rights(migration: &Migration, source: &mut Session) -> Result<()> {
    let schemas = names(&migration.schemas);
    let ask = format!(
        "SELECT rolsuper, rolreplication, has_database_privilege(current_database(), 'CREATE') AS creates,
                (SELECT string_agg(c.oid::regclass::text, ', ' ORDER BY c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE n.nspname = ANY ({schemas}) AND c.relkind IN ('r', 'p', 'S', 'v', 'm') AND NOT pg_has_role(c.relowner, 'USAGE')) AS not_owned,
                rolname
           FROM pg_roles WHERE rolname = current_user"
    );
    let row = source.query(&ask)?.first().cloned().unwrap_or_default();
    if row.flag("rolsuper")? {
        return Ok(());
    }
    let mut lacks = Vec::new();
    if !row.flag("rolreplication")? {
        lacks.push("it does not have the REPLICATION attribute".to_owned());
    }
    if !row.flag("creates")? {
        lacks.push("it does not have the CREATE privilege on the database".to_owned());
    }
    if let Some(others) = row.option("not_owned")? {
        lacks.push(format!("it is not the owner of {others}"));
    }
    if migration.reverse_channel {
        lacks.push("it cannot create the subscription that a rollback requires".to_owned());
    }
    if lacks.is_empty() {
        return Ok(());
    }
    let message =
        format!("permission denied for role \"{}\" on the foreign server", row.text("rolname")?);
    Err(Error::new(Code::ERRCODE_INSUFFICIENT_PRIVILEGE, message)
        .detail(format!("The role is not a superuser, and {}.", lacks.join("; ")))
        .hint("Connect as a superuser. With way_back => false, a role is sufficient that has the REPLICATION \
            attribute, the CREATE privilege on the database, and owns the tables."))
}

/// Triggers on the tables themselves do not block writes through parent tables.
fn check_writers(migration: &Migration, source: &mut Session) -> Result<()> {
    let schemas = names(&migration.schemas);
    let inside = format!("(SELECT oid FROM pg_namespace WHERE nspname = ANY ({schemas}))");
    let obstacles = [
        (
            "tables of the schema have parent tables in other schemas",
            format!(
                "SELECT format('%s below %s', i.inhrelid::regclass, i.inhparent::regclass)
                   FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
                  WHERE c.relkind IN ('r', 'p') AND c.relnamespace IN {inside} AND p.relnamespace NOT IN {inside}"
            ),
            "Detach the partitions, or remove the inheritance (ALTER TABLE ... NO INHERIT).",
        ),
        (
            "tables of the schema are the target of a subscription",
            format!(
                "SELECT r.srrelid::regclass::text FROM pg_subscription_rel r JOIN pg_class c ON c.oid = r.srrelid
                  WHERE c.relnamespace IN {inside}"
            ),
            "Drop the subscription on the foreign server first.",
        ),
        (
            "the schema has already been imported into a cluster",
            format!(
                "SELECT DISTINCT t.tgrelid::regclass::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
                  WHERE t.tgname = {} AND t.tgenabled <> 'D' AND c.relnamespace IN {inside}",
                literal(guard::TRIGGER)
            ),
            "To use the copy on the foreign server again, follow the hint of the error that a write to it raises.",
        ),
    ];
    for (what, ask, hint) in obstacles {
        let found = list(source.query(&ask)?);
        if !found.is_empty() {
            return Err(Error::new(Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, what)
                .detail(format!("{}.", found.join(", ")))
                .hint(hint));
        }
    }
    Ok(())
}

fn list(rows: Rows) -> Vec<String> {
    rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect()
}

/// Roles that own objects in the schemas or have privileges on them must exist under the same names.
fn check_roles(migration: &Migration, source: &mut Session, side: &mut Session) -> Result<()> {
    // The bootstrap superuser owns objects without an entry in pg_shdepend.
    let owner = |catalog: &str, owner: &str| {
        format!(
            " UNION SELECT pg_get_userbyid(x.{owner}) FROM {catalog} x JOIN object o ON o.class = '{catalog}'::regclass AND o.oid = x.oid"
        )
    };
    let ask = format!(
        "{} SELECT r.rolname FROM pg_shdepend d JOIN object o ON o.class = d.classid AND o.oid = d.objid
                   JOIN pg_roles r ON r.oid = d.refobjid
             WHERE d.refclassid = 'pg_authid'::regclass AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
            {}{}{}{} ORDER BY 1",
        requirements::objects(&migration.schemas),
        owner("pg_namespace", "nspowner"),
        owner("pg_class", "relowner"),
        owner("pg_proc", "proowner"),
        owner("pg_type", "typowner"),
    );
    let roles = list(source.query(&ask)?);
    let missing = format!(
        "SELECT r FROM unnest({}) AS r WHERE r NOT IN (SELECT rolname FROM pg_roles) ORDER BY 1",
        names(&roles)
    );
    let missing = list(side.query(&missing)?);
    if missing.is_empty() {
        return Ok(());
    }
    let create: Vec<_> =
        missing.iter().map(|role| format!("CREATE ROLE {}", identifier(role))).collect();
    Err(Error::new(
        Code::ERRCODE_UNDEFINED_OBJECT,
        format!("roles used by the schema do not exist on this cluster: {}", missing.join(", ")),
    )
    .detail("These roles own objects in the schema or have privileges on them.")
    .hint(format!(
        "Create the roles on the coordinator, which copies them to all nodes: {}.",
        create.join("; ")
    )))
}

/// Extensions, types, functions and tables outside of the schemas on which objects inside depend.
fn check_needed(migration: &Migration, source: &mut Session, side: &mut Session) -> Result<()> {
    let missing =
        requirements::missing(&migration.schemas, source, side, Endpoint::of(migration.source))?;
    if missing.is_empty() {
        return Ok(());
    }
    let mut extensions: Vec<_> =
        missing.iter().filter_map(|need| need.extension.as_deref()).collect();
    extensions.dedup();
    let (shown, hint): (Vec<_>, _) = if extensions.is_empty() {
        let shown = missing.iter().map(|need| need.shown.clone()).collect();
        (shown, "Create them on the coordinator first. A table referenced by foreign keys must be a reference table: \
            SELECT helios_create_reference_table(…).".to_owned())
    } else {
        let create: Vec<_> = extensions
            .iter()
            .map(|name| format!("CREATE EXTENSION {}", identifier(name)))
            .collect();
        let hint = format!(
            "Create the extensions on the coordinator, which creates them on all nodes: {}.",
            create.join("; ")
        );
        (extensions.iter().map(|name| format!("extension {name}")).collect(), hint)
    };
    Err(Error::new(
        Code::ERRCODE_UNDEFINED_OBJECT,
        format!(
            "the schema depends on objects that do not exist on this cluster: {}",
            shown.join(", ")
        ),
    )
    .hint(hint))
}

/// Creating the slot waits for all transactions that write on that server, in any database.
fn report_old_transactions(source: &mut Session) -> Result<()> {
    let ask = format!(
        "SELECT string_agg(pid::text, ', ' ORDER BY pid) FROM pg_stat_activity
          WHERE backend_xid IS NOT NULL AND xact_start < clock_timestamp() - interval '{OLD} seconds' AND pid <> pg_backend_pid()"
    );
    let pids = source.query(&ask)?.first().map(|row| text(row, 0)).unwrap_or_default();
    if !pids.is_empty() {
        let what = format!(
            "the import waits for transactions on the foreign server to end: processes {pids}"
        );
        notify(PgLogLevel::NOTICE, &Error::new(Code::ERRCODE_SUCCESSFUL_COMPLETION, what));
    }
    Ok(())
}

/// Checks whether the foreign server can connect to the target, which a rollback requires, by a subscription that is
/// rolled back.
fn check_reverse_channel(migration: &Migration, endpoints: &mut Endpoints) -> Result<()> {
    let probe = identifier(&foreign_server::own_schema(migration.id)?);
    let target = Endpoint::of(migration.target).conninfo()?;
    endpoints::keep_secret(&mut endpoints.source)?;
    let tried = endpoints.source.query(&format!(
        "SET client_min_messages = error; BEGIN;
         CREATE SUBSCRIPTION {probe} CONNECTION {} PUBLICATION {probe} WITH (create_slot = false, slot_name = {probe}, copy_data = false, enabled = false)",
        literal(&target)
    ));
    if !endpoints.source.is_lost() {
        endpoints.source.query("ROLLBACK; RESET client_min_messages")?;
    }
    tried.map(|_| ()).map_err(|error| {
        Error::new(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "the foreign server cannot replicate from the new copy, which a rollback requires",
        )
        .detail(error.to_string())
        .hint("The foreign server must be able to connect to the node at its addresses in helios.node as the owner of \
            extension helios. Otherwise, import with way_back => false; helios_rollback_migration() is then not \
            available.")
    })
}
