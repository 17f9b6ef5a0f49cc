//! The schema of Helios on the foreign server: the marker of the channels, and the triggers that protect the schema
//! being moved.
//!
//! Writers are blocked by triggers, which are visible to everybody who acquires a lock on the table after they were
//! committed; a row with the same information would not be visible to a transaction with an older snapshot. They fire
//! in every session, also with `session_replication_role = replica`; apply workers do not fire statement triggers.
//! Definitions are frozen by an event trigger if the role may create one; otherwise a change is detected before the
//! switch.

use crate::catalog::migration::Migration;
use crate::catalog::{NodeId, cleanup, proof};
use crate::error::{Error, Result};
use crate::pg::session::sql;
use crate::remote::Session;
use crate::replication::endpoint::Endpoint;
use crate::replication::endpoints::{self, Endpoints, identifier, literal, names, text};
use crate::replication::foreign_server::{TOKEN, own_schema};
use helios_core::migration::State;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Name of the triggers.
pub const TRIGGER: &str = "helios_import_fence";

/// Condition, for a function on the foreign server, that the session belongs to Helios.
fn is_ours(server: NodeId) -> Result<String> {
    let digest = sql::read_one::<String>(
        "SELECT pg_catalog.encode(pg_catalog.sha256($1::pg_catalog.bytea), 'hex')",
        &[proof::of_import(server)?.as_bytes().into()],
    )?;
    let digest = literal(&digest.unwrap_or_default());
    Ok(format!(
        "encode(sha256(convert_to(coalesce(current_setting('{TOKEN}', true), ''), 'UTF8')), 'hex') = {digest}"
    ))
}

/// Creates what is needed on both ends, if it does not exist.
pub fn put(migration: &Migration, endpoints: &mut Endpoints) -> Result<()> {
    let own = own_schema(migration.id)?;
    let marker = marker(&own);
    endpoints.target.query(&marker)?;
    endpoints.source.query(&format!("{marker}; {}", refusal(&own, migration)?))?;
    let may = "SELECT FROM pg_roles WHERE rolname = current_user AND rolsuper";
    if !endpoints.source.query(may)?.is_empty() {
        let numbers = format!(
            "SELECT array_agg(oid) FROM pg_namespace WHERE nspname = ANY ({})",
            names(&migration.schemas)
        );
        let rows = endpoints.source.query(&numbers)?;
        let numbers = rows.first().map(|row| text(row, 0)).unwrap_or_default();
        endpoints.source.query(&freeze(&own, migration, &numbers)?)?;
    }
    Ok(())
}

fn marker(own: &str) -> String {
    let own = identifier(own);
    format!(
        "CREATE SCHEMA IF NOT EXISTS {own};
         CREATE TABLE IF NOT EXISTS {own}.migration_marker (
             migration bigint, direction text, token bigint NOT NULL, PRIMARY KEY (migration, direction))"
    )
}

/// The trigger function. It remains when the import is finished, so its message must make sense without context.
fn refusal(own: &str, migration: &Migration) -> Result<String> {
    let (own, ours, migration) = (identifier(own), is_ours(migration.source)?, migration.id);
    let hint = literal(&format!(
        "Connect to the coordinator of that cluster, which has the schema under the same name. To use this copy \
            independently of the cluster, run DROP SCHEMA {own} CASCADE."
    ));
    Ok(format!(
        "CREATE OR REPLACE FUNCTION {own}.refuse_write() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $helios$
         BEGIN
             IF {ours} THEN
                 RETURN NULL;
             END IF;
             RAISE EXCEPTION 'schema \"%\" has moved to a Helios cluster; this copy of it is not written any more', TG_TABLE_SCHEMA
                 USING ERRCODE = 'object_in_use', DETAIL = 'Migration {migration} of that cluster has taken it over.', HINT = {hint};
         END $helios$"
    ))
}

/// `numbers` are the OIDs of the schemas, because ALTER SCHEMA … RENAME changes the name.
fn freeze(own: &str, migration: &Migration, numbers: &str) -> Result<String> {
    let (own, name) = (identifier(own), own);
    let (drops, changes) = (identifier(&format!("{name}_d")), identifier(&format!("{name}_c")));
    let (id, schemas) = (migration.id, names(&migration.schemas));
    let ours = is_ours(migration.source)?;
    let body = literal(&format!(
        "DECLARE
             found_one text;
         BEGIN
             IF {ours} THEN
                 RETURN;
             END IF;
             IF TG_EVENT = 'sql_drop' THEN
                 SELECT object_identity INTO found_one FROM pg_event_trigger_dropped_objects()
                  WHERE schema_name = ANY ({schemas}) OR object_type = 'schema' AND object_name = ANY ({schemas}) LIMIT 1;
             ELSE
                 SELECT object_identity INTO found_one FROM pg_event_trigger_ddl_commands()
                  WHERE command_tag <> 'REFRESH MATERIALIZED VIEW'
                    AND (schema_name = ANY ({schemas}) OR classid = 'pg_namespace'::regclass AND objid = ANY ('{numbers}'::oid[]))
                  LIMIT 1;
             END IF;
             IF FOUND THEN
                 RAISE EXCEPTION 'cannot change % while a Helios cluster takes its schema over', found_one
                     USING ERRCODE = 'object_in_use', DETAIL = 'Migration {id} of that cluster would not see the change.',
                           HINT = 'Wait until the migration has ended, or cancel it on the coordinator: SELECT helios_cancel_migration({id}).';
             END IF;
         END"
    ));
    Ok(format!(
        "CREATE OR REPLACE FUNCTION {own}.refuse_change() RETURNS event_trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body};
         DROP EVENT TRIGGER IF EXISTS {drops}; DROP EVENT TRIGGER IF EXISTS {changes};
         CREATE EVENT TRIGGER {drops} ON sql_drop EXECUTE FUNCTION {own}.refuse_change();
         CREATE EVENT TRIGGER {changes} ON ddl_command_end EXECUTE FUNCTION {own}.refuse_change()"
    ))
}

/// OIDs of Helios' triggers on the foreign server; must be called in a transaction.
pub fn triggers(migration: &Migration) -> Result<Vec<u32>> {
    let ask = format!(
        "SELECT t.oid FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
          WHERE t.tgname = {} AND p.proname = 'refuse_write' AND n.nspname = {}",
        literal(TRIGGER),
        literal(&own_schema(migration.id)?)
    );
    let rows = Endpoint::of(migration.source).session()?.query(&ask)?;
    Ok(rows.iter().filter_map(|row| endpoints::column(row, 0)).collect())
}

/// Closes the schemas to writers and commits the transaction that has locked their tables. `disable` are additional
/// statements for that transaction.
pub fn close(migration: &Migration, locker: &mut Session, disable: &[String]) -> Result<()> {
    let own = identifier(&own_schema(migration.id)?);
    let trigger = identifier(TRIGGER);
    let mut all: String = disable.iter().map(|statement| format!("{statement}; ")).collect();
    let body = format!(
        "DECLARE
             t regclass;
         BEGIN
             FOR t IN SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                       WHERE n.nspname = ANY ({}) AND c.relkind IN ('r', 'p') LOOP
                 EXECUTE format('CREATE OR REPLACE TRIGGER {trigger} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s
                                 FOR EACH STATEMENT EXECUTE FUNCTION {own}.refuse_write()', t);
                 EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER {trigger}', t);
             END LOOP;
         END",
        names(&migration.schemas)
    );
    all.push_str(&format!("DO {}; COMMIT", literal(&body)));
    locker.query(&all).map(|_| ())
}

/// Reopens the schemas to writers. Takes no lock that conflicts with readers.
pub fn open(migration: &Migration, source: &mut Session) -> Result<()> {
    let own = literal(&format!("{}.refuse_write()", identifier(&own_schema(migration.id)?)));
    let trigger = identifier(TRIGGER);
    source.query(&format!(
        "DO $helios$
         DECLARE
             t regclass;
         BEGIN
             FOR t IN SELECT tgrelid FROM pg_trigger WHERE tgfoid = to_regprocedure({own}) AND tgenabled <> 'D' LOOP
                 EXECUTE format('ALTER TABLE ONLY %s DISABLE TRIGGER {trigger}', t);
             END LOOP;
         END $helios$"
    ))?;
    Ok(())
}

/// Drops Helios' schema. The triggers remain on the foreign server after a finished import, because its copy is
/// outdated.
pub fn remove(
    migration: &Migration,
    own: &str,
    endpoint: Endpoint,
    session: &mut Session,
) -> Result<()> {
    let there = format!("SELECT to_regnamespace({})", literal(&identifier(own)));
    if !session.query(&there)?.first().and_then(|row| row.first()).is_some_and(Option::is_some) {
        return Ok(());
    }
    let keep = endpoint.is_foreign() && migration.outcome == Some(State::Finished);
    let (name, own) = (own, identifier(own));
    let drop = match keep {
        true => format!(
            "DROP TABLE IF EXISTS {own}.migration_marker; DROP FUNCTION IF EXISTS {own}.refuse_change() CASCADE;
             COMMENT ON SCHEMA {own} IS 'keeps a schema from being written that a Helios cluster has taken over'"
        ),
        false => format!("DROP SCHEMA {own} CASCADE"),
    };
    session.query(&drop).map(|_| ()).map_err(|error| match endpoint {
        Endpoint::Foreign(_) => error.context(format!("schema {name} of the foreign server")),
        Endpoint::Local | Endpoint::Node(_) => error,
    })
}

/// Adds the remedy for a foreign server that does not come back.
pub fn gone_for_good(migration: &Migration, error: Error) -> Error {
    if !error.is_class("08") {
        return error;
    }
    Error::new(
        Code::ERRCODE_CONNECTION_FAILURE,
        "could not remove the import's objects from the foreign server",
    )
    .detail(error.to_string())
    .hint(format!(
        "The removal will be retried. If that server no longer exists, run {}.",
        cleanup::forget_by_hand(migration.id, migration.source)
    ))
}
