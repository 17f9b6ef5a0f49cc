//! The schemas' definitions on the target, and the temporary differences while two copies exist.

use super::code::Code as TenantCode;
use super::dump::{self, Definitions, Section};
use super::import;
use crate::catalog::migration::Migration;
use crate::catalog::{self, remote_sql};
use crate::error::Result;
use crate::migration::kind::Kind;
use crate::migration::kind::target_has_definition;
use crate::pg::ipc::worker;
use crate::remote::Record;
use crate::remote::Session;
use crate::replication::endpoint::{self, Endpoint};
use crate::replication::endpoints::{identifier, literal, names, text};
use crate::replication::interruptible::{self, Interruptible};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Statement that leaves a mark in a transaction on the target, by which it is known to have committed.
fn done(migration: &Migration, step: &str) -> String {
    remote_sql::add_marker(migration.id, step)
}

fn is_done(migration: &Migration, target: &mut Session, step: &str) -> Result<bool> {
    Ok(!target.query(&remote_sql::find_marker(migration.id, step))?.is_empty())
}

/// Creates the schemas' objects required to store rows on the target, and prevents all other writes there.
pub fn before_rows(
    migration: &Migration,
    target: &mut Session,
    snapshot: &str,
) -> Result<Interruptible> {
    if target_has_definition(migration) || is_done(migration, target, "pre_data")? {
        return Ok(Interruptible::Completed(()));
    }
    let mut fence = remote_sql::fence_writes(migration);
    let definition = if Kind::of(migration) == Kind::Import {
        if Endpoint::of(migration.target) == Endpoint::Local {
            for schema in &migration.schemas {
                // Drop the placeholder that reserved the name.
                fence.push_str(&format!("; DROP SCHEMA {} RESTRICT", identifier(schema)));
            }
        }
        worker::attempt(|| {
            let definition = import::shells::definition(migration, Some(snapshot))?;
            catalog::foreign_server::note_definition(
                migration.source,
                &import::shells::digest(&definition),
            )?;
            Ok(definition.0)
        })?
    } else {
        dumped(migration, Section::PreData, Some(snapshot))?
    };
    let text = script(migration, &definition)?;
    apply(migration, &[&fence, &text, &done(migration, "pre_data")])
}

/// Creates indexes, constraints, triggers, policies and so on, for rows that were copied in `rounds` rounds.
pub fn after_rows(
    migration: &Migration,
    rounds: i32,
    target: &mut Session,
) -> Result<Interruptible> {
    if target_has_definition(migration) || is_done(migration, target, "post_data")? {
        return Ok(Interruptible::Completed(()));
    }
    let all = dumped(migration, Section::PostData, None)?;
    // Tables of different rounds have different snapshots, so their foreign keys must wait.
    let wanted = if rounds > 1 { all.split_foreign_keys().0 } else { all };
    let text = script(migration, &wanted)?;
    let disable = disable(&migration.schemas);
    apply(migration, &[&text, &disable, &done(migration, "post_data")])
}

/// Creates the foreign keys that [`after_rows`] left out.
pub fn foreign_keys(migration: &Migration, target: &mut Session) -> Result<Interruptible> {
    if target_has_definition(migration)
        || migration.round <= 1
        || is_done(migration, target, "foreign_keys")?
    {
        return Ok(Interruptible::Completed(()));
    }
    let all = dumped(migration, Section::PostData, None)?;
    let text = script(migration, &all.split_foreign_keys().1)?;
    apply(migration, &[&text, &done(migration, "foreign_keys")])
}

/// Statement that disables triggers that also fire for replicated changes, and row-level security that would apply to
/// the tables' owner.
fn disable(schemas: &[String]) -> String {
    let body = format!(
        "DECLARE s text; BEGIN
           FOR s IN SELECT format('ALTER TABLE ONLY %s DISABLE TRIGGER %I', t.tgrelid::regclass, t.tgname) {} LOOP EXECUTE s; END LOOP;
           UPDATE pg_catalog.pg_class SET relforcerowsecurity = false
            WHERE relforcerowsecurity AND relnamespace IN (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = ANY ({}));
         END",
        firing_always(schemas),
        names(schemas)
    );
    format!("DO {}", literal(&body))
}

/// Disables the triggers of shells before rows are copied into them. They are enabled again by the switch or by
/// cleanup.
pub fn disable_shell_triggers(migration: &Migration, target: &mut Session) -> Result<()> {
    let changes = trigger_changes(target, &migration.schemas)?;
    worker::attempt(|| {
        let note = |statement| {
            catalog::cleanup::add(migration.id, migration.target, "identity", statement)
        };
        changes
            .enable
            .iter()
            .chain(&changes.force_row_security)
            .try_for_each(|statement| note(statement))
    })?;
    let all: Vec<_> =
        changes.disable.iter().chain(&changes.no_force_row_security).map(String::as_str).collect();
    target.query(&all.join("; ")).map(|_| ())
}

/// Triggers that also fire for replicated changes; on the copy that follows they would repeat what they did on the
/// other.
fn firing_always(schemas: &[String]) -> String {
    format!(
        "FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = ANY ({}) AND NOT t.tgisinternal AND t.tgenabled IN ('A', 'R')",
        names(schemas)
    )
}

/// Statements for such triggers, and for row-level security that applies to the tables' owner.
pub struct TriggerChanges {
    /// Disable them in the copy that becomes the follower.
    pub disable: Vec<String>,
    /// Enable them in the other copy.
    pub enable: Vec<String>,
    /// The same for shells on this server, behind a fence. Sessions that wait for the fence hold locks on the tables
    /// that would conflict with ALTER TABLE as long as the fence exists; and triggers of shells never fire.
    pub enable_on_shells: Vec<String>,
    /// Changes are applied with the privileges of the tables' owner, so policies must not apply to him in the copy that
    /// becomes the follower. ALTER TABLE would have to wait for readers.
    pub no_force_row_security: Vec<String>,
    /// Apply policies to him again in the other copy.
    pub force_row_security: Vec<String>,
}

/// Finds the statements for the triggers of both copies.
pub fn trigger_changes(leader: &mut Session, schemas: &[String]) -> Result<TriggerChanges> {
    let sql = format!(
        "SELECT format('ALTER TABLE ONLY %s DISABLE TRIGGER %I', t.tgrelid::regclass, t.tgname) AS disable,
                format('ALTER TABLE ONLY %s ENABLE %s TRIGGER %I', t.tgrelid::regclass,
                       CASE t.tgenabled WHEN 'A' THEN 'ALWAYS' ELSE 'REPLICA' END, t.tgname) AS enable,
                format('UPDATE pg_catalog.pg_trigger SET tgenabled = %L WHERE tgrelid = %L::pg_catalog.regclass AND tgname = %L AND NOT tgisinternal',
                       t.tgenabled, t.tgrelid::regclass, t.tgname) AS enable_on_shells {}",
        firing_always(schemas)
    );
    let rows = leader.query(&sql)?;
    let column = |column| rows.iter().map(|row| row.text(column)).collect::<Result<_>>();
    let forced = leader.query(&format!(
        "SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = ANY ({}) AND c.relforcerowsecurity ORDER BY c.oid",
        names(schemas)
    ))?;
    let set_force = |on: bool| {
        let set = |row: &Record| {
            let table = literal(&text(row, 0));
            format!(
                "UPDATE pg_catalog.pg_class SET relforcerowsecurity = {on} WHERE oid = {table}::pg_catalog.regclass"
            )
        };
        forced.iter().map(set).collect()
    };
    Ok(TriggerChanges {
        disable: column("disable")?,
        enable: column("enable")?,
        enable_on_shells: column("enable_on_shells")?,
        no_force_row_security: set_force(false),
        force_row_security: set_force(true),
    })
}

/// A digest of tables, columns, constraints and indexes. (NOT NULL belongs to the columns; since PostgreSQL 18 it is
/// also a constraint.)
pub fn digest(session: &mut Session, schemas: &[String]) -> Result<String> {
    let schemas = names(schemas);
    let rows = session.query(&format!(
        "SELECT md5(array_agg(line ORDER BY line COLLATE \"C\")::text) FROM (
           SELECT format('%I.%I %s', n.nspname, c.relname, c.relkind) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = ANY ({schemas})
           UNION ALL
           SELECT format('%I.%I.%I %s %s', n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull)
             FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = ANY ({schemas}) AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'c')
           UNION ALL
           SELECT format('%I.%I %s', n.nspname, k.conname, replace(pg_get_constraintdef(k.oid), ' NOT VALID', '')) FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
            WHERE n.nspname = ANY ({schemas}) AND k.contype <> 'n'
           UNION ALL
           SELECT format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
            WHERE n.nspname = ANY ({schemas})
         ) AS l(line)"
    ))?;
    Ok(rows.first().map(|row| text(row, 0)).unwrap_or_default())
}

fn dumped(migration: &Migration, section: Section, snapshot: Option<&str>) -> Result<Definitions> {
    worker::attempt(|| dump::definitions(migration.source, &migration.schemas, section, snapshot))
}

/// The statements that create the objects in one session. Those that run code use the privileges of the objects'
/// owners.
fn script(migration: &Migration, definitions: &Definitions) -> Result<String> {
    let (own, mut source) =
        worker::attempt(|| Ok((endpoint::role()?, Endpoint::of(migration.source).session()?)))?;
    let code = TenantCode::of(&mut source, &migration.schemas)?;
    Ok(definitions.script(&own, &code, ""))
}

/// Runs statements on the target in one transaction of a separate session, because a dump changes settings.
fn apply(migration: &Migration, texts: &[&str]) -> Result<Interruptible> {
    let mut session = worker::attempt(|| Endpoint::of(migration.target).session())?;
    let mut all = String::from("BEGIN;\n");
    for text in texts {
        all.push_str(text);
        all.push_str(";\n");
    }
    all.push_str("COMMIT");
    let made = interruptible::query(migration, &mut session, &all);
    made.map(|rows| rows.map(drop)).map_err(|error| {
        match error.is(Code::ERRCODE_INSUFFICIENT_PRIVILEGE) {
            true => error.hint(
                "Definitions that run code are created with the privileges of the objects' owners. Grant them the \
                    missing privileges.",
            ),
            false => error,
        }
    })
}
