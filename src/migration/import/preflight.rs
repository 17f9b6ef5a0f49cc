//! What has to hold before a schema is imported, besides what every migration needs: rights there, and here all that the
//! schema refers to.

use super::guard;
use crate::catalog::migration::Migration;
use crate::error::{Error, Result};
use crate::migration::requirements;
use crate::pg::error::notify;
use crate::remote::Rows;
use crate::remote::Session;
use crate::replication::endpoint::Endpoint;
use crate::replication::endpoints::{
    self, Endpoints, column, flag, identifier, literal, names, text,
};
use crate::replication::foreign_server;
use pgrx::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// The oldest version whose publications can do what is needed.
const OLDEST: i32 = 15;
/// Transactions there that are older than this many seconds are told of.
const OLD: i32 = 5;

/// Checks the foreign server, and what it has that is needed here. Errors name what is missing, and the remedy.
pub fn check(migration: &Migration, endpoints: &mut Endpoints) -> Result<()> {
    check_server(&mut endpoints.source)?;
    check_schemas(migration, &mut endpoints.source)?;
    check_rights(migration, &mut endpoints.source)?;
    check_writers(migration, &mut endpoints.source)?;
    // The definition comes to the target, and as shells to this server.
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
    let ask = "SELECT current_setting('server_version_num')::int / 10000, current_setting('server_encoding'),
                      pg_is_in_recovery()";
    let rows = source.query(ask)?;
    let row = rows.first().map(|row| &**row).unwrap_or_default();
    let version: i32 = column(row, 0).unwrap_or(0);
    let unsupported = |message: &str, detail: String, hint: &str| {
        Error::new(Code::ERRCODE_FEATURE_NOT_SUPPORTED, message).detail(detail).hint(hint)
    };
    let here = i32::try_from(pgrx::pg_sys::PG_VERSION_NUM / 10000).unwrap_or(0);
    if version < OLDEST || version > here {
        return Err(unsupported(
            "the foreign server has a version that schemas cannot be imported from",
            format!("It runs PostgreSQL {version}; this server runs {here}."),
            "Versions from 15 to this server's own can be imported from.",
        ));
    }
    if text(row, 1) != "UTF8" {
        return Err(unsupported(
            "the foreign database has another encoding than UTF8",
            format!("It has encoding {}.", text(row, 1)),
            "Dump the schema and restore it here.",
        ));
    }
    if flag(row, 2) {
        return Err(unsupported(
            "the foreign server is a standby",
            "Nothing can be made there.".to_owned(),
            "Name its primary in the connection string.",
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
                "Names are case-sensitive here; the database is the one of the connection string.",
            ));
        }
    }
    Ok(())
}

fn check_rights(migration: &Migration, source: &mut Session) -> Result<()> {
    let schemas = names(&migration.schemas);
    let ask = format!(
        "SELECT rolsuper, rolreplication, has_database_privilege(current_database(), 'CREATE'),
                (SELECT string_agg(c.oid::regclass::text, ', ' ORDER BY c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE n.nspname = ANY ({schemas}) AND c.relkind IN ('r', 'p', 'S', 'v', 'm') AND NOT pg_has_role(c.relowner, 'USAGE')),
                rolname
           FROM pg_roles WHERE rolname = current_user"
    );
    let rows = source.query(&ask)?;
    let row = rows.first().map(|row| &**row).unwrap_or_default();
    if flag(row, 0) {
        return Ok(());
    }
    let mut lacks = Vec::new();
    if !flag(row, 1) {
        lacks.push("it has not the attribute REPLICATION".to_owned());
    }
    if !flag(row, 2) {
        lacks.push("it cannot create a schema in the database".to_owned());
    }
    if !text(row, 3).is_empty() {
        lacks.push(format!("it does not own {}", text(row, 3)));
    }
    if migration.reverse_channel {
        lacks.push("it cannot make a subscription, which the way back needs".to_owned());
    }
    if lacks.is_empty() {
        return Ok(());
    }
    let message = format!("role \"{}\" of the foreign server lacks rights", text(row, 4));
    Err(Error::new(Code::ERRCODE_INSUFFICIENT_PRIVILEGE, message)
        .detail(format!("It is no superuser, and {}.", lacks.join("; ")))
        .hint("Connect as a superuser; or, with way_back => false, as a role with REPLICATION that owns the tables and may create in the database."))
}

/// Whoever writes past the triggers on the tables themselves would be missed.
fn check_writers(migration: &Migration, source: &mut Session) -> Result<()> {
    let schemas = names(&migration.schemas);
    let inside = format!("(SELECT oid FROM pg_namespace WHERE nspname = ANY ({schemas}))");
    let obstacles = [
        (
            "tables of the schema are written through tables outside of it",
            format!(
                "SELECT format('%s below %s', i.inhrelid::regclass, i.inhparent::regclass)
                   FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
                  WHERE c.relkind IN ('r', 'p') AND c.relnamespace IN {inside} AND p.relnamespace NOT IN {inside}"
            ),
            "DETACH the partitions, or end the inheritance.",
        ),
        (
            "tables of the schema follow a subscription",
            format!(
                "SELECT r.srrelid::regclass::text FROM pg_subscription_rel r JOIN pg_class c ON c.oid = r.srrelid
                  WHERE c.relnamespace IN {inside}"
            ),
            "End the subscription there first.",
        ),
        (
            "the schema was taken over by a cluster before",
            format!(
                "SELECT DISTINCT t.tgrelid::regclass::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
                  WHERE t.tgname = {} AND t.tgenabled <> 'D' AND c.relnamespace IN {inside}",
                literal(guard::TRIGGER)
            ),
            "If the copy on the foreign server is to be used again: the error that a write there gets says how.",
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

/// Roles that own something in the schemas, or are granted something, must be known under the same names.
fn check_roles(migration: &Migration, source: &mut Session, side: &mut Session) -> Result<()> {
    // The role that made the server's first database owns things without an entry in pg_shdepend.
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
        format!("roles that the schema names do not exist here: {}", missing.join(", ")),
    )
    .detail("They own something in it, or are granted something.")
    .hint(format!(
        "On the coordinator, from where roles come to all nodes: {}.",
        create.join("; ")
    )))
}

/// Extensions, types, functions and tables outside of the schemas that something inside needs.
fn check_needed(migration: &Migration, source: &mut Session, side: &mut Session) -> Result<()> {
    let missing = requirements::missing(&migration.schemas, source, side)?;
    if missing.is_empty() {
        return Ok(());
    }
    let mut extensions: Vec<_> =
        missing.iter().filter_map(|need| need.extension.as_deref()).collect();
    extensions.dedup();
    let (shown, hint): (Vec<_>, _) = if extensions.is_empty() {
        let shown = missing.iter().map(|need| need.shown.clone()).collect();
        (shown, "Make them on the coordinator first. A table that foreign keys refer to has to be a reference table: SELECT helios_create_reference_table(…).".to_owned())
    } else {
        let create: Vec<_> = extensions
            .iter()
            .map(|name| format!("CREATE EXTENSION {}", identifier(name)))
            .collect();
        let hint = format!(
            "On the coordinator, from where extensions come to all nodes: {}.",
            create.join("; ")
        );
        (extensions.iter().map(|name| format!("extension {name}")).collect(), hint)
    };
    Err(Error::new(
        Code::ERRCODE_UNDEFINED_OBJECT,
        format!("the schema needs what does not exist here: {}", shown.join(", ")),
    )
    .hint(hint))
}

/// The slot waits for everybody who writes there, in any database.
fn report_old_transactions(source: &mut Session) -> Result<()> {
    let ask = format!(
        "SELECT string_agg(pid::text, ', ' ORDER BY pid) FROM pg_stat_activity
          WHERE backend_xid IS NOT NULL AND xact_start < clock_timestamp() - interval '{OLD} seconds' AND pid <> pg_backend_pid()"
    );
    let pids = source.query(&ask)?.first().map(|row| text(row, 0)).unwrap_or_default();
    if !pids.is_empty() {
        let what = format!(
            "the import begins when transactions of the foreign server have ended: processes {pids}"
        );
        notify(PgLogLevel::NOTICE, &Error::new(Code::ERRCODE_SUCCESSFUL_COMPLETION, what));
    }
    Ok(())
}

/// Whether the foreign server reaches the target, which the way back needs: it tries, and takes it back.
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
            "the foreign server cannot follow the new copy, which the way back needs",
        )
        .detail(error.to_string())
        .hint("It must reach the node at the addresses in helios.node, as the owner of Helios' catalogs. Without it, import with way_back => false: then there is no helios_rollback_migration().")
    })
}
