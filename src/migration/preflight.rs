//! Checks to be passed before a migration changes anything.

use super::import;
use super::owners;
use super::referrers::{colocation, members, outside};
use super::requirements;
use crate::catalog::migration::Migration;
use crate::error::{Error, Result};
use crate::migration::kind::Kind;
use crate::pg::ipc::worker;
use crate::pg::session::own_settings::OwnSettings;
use crate::remote::{Rows, Session, read_own_rows};
use crate::replication::endpoint::{self, Endpoint};
use crate::replication::endpoints::{Endpoints, column, names, text};
use crate::replication::interruptible::{self, Interruptible};
use helios_core::node_interface::{self, Standing};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Writers wait while unlogged tables are copied; larger ones would block them for too long.
const MOST_UNLOGGED: i64 = 16 * 1024 * 1024;

/// Checks both ends. An error says what prevents the move and how to fix it.
pub fn check(migration: &Migration, endpoints: &mut Endpoints) -> Result<()> {
    let (source, target) =
        (Endpoint::of(migration.source).name()?, Endpoint::of(migration.target).name()?);
    check_servers(&source, &target, endpoints, migration.reverse_channel)?;
    if Kind::of(migration) != Kind::Import {
        check_version(&source, &mut endpoints.source)?;
    }
    check_version(&target, &mut endpoints.target)?;
    if Endpoint::of(migration.target) != Endpoint::Local {
        check_absent(migration, &target, &mut endpoints.target)?;
    }
    match Kind::of(migration) {
        Kind::Import => import::check(migration, endpoints)?,
        Kind::Move | Kind::Distribute | Kind::Undistribute | Kind::Replica => {
            check_needs(migration, &target, endpoints)?;
        }
    }
    check_content(migration, &source, &mut endpoints.source)?;
    owners::check(migration, &source, &endpoint::role()?, &mut endpoints.source)
}

/// Repeats the checks of what may have changed before definitions were frozen.
pub fn check_again(migration: &Migration, endpoints: &mut Endpoints) -> Result<()> {
    let names = worker::attempt(|| {
        Ok([
            Endpoint::of(migration.source).name()?,
            Endpoint::of(migration.target).name()?,
            endpoint::role()?,
        ])
    })?;
    if Kind::of(migration) != Kind::Import {
        check_needs(migration, &names[1], endpoints)?;
    }
    check_content(migration, &names[0], &mut endpoints.source)?;
    owners::check(migration, &names[0], &names[2], &mut endpoints.source)
}

/// Checks that the target has everything outside of the schemas that they depend on.
fn check_needs(migration: &Migration, target: &str, endpoints: &mut Endpoints) -> Result<()> {
    let Endpoints { source, target: side } = endpoints;
    let from = Endpoint::of(migration.source);
    requirements::check(&migration.schemas, source, side, &format!("node \"{target}\""), from)
}

fn refused(code: Code, message: String, detail: &str, hint: &str) -> Error {
    Error::new(code, message).detail(detail).hint(hint)
}

fn check_servers(
    source: &str,
    target: &str,
    endpoints: &mut Endpoints,
    reverse_channel: bool,
) -> Result<()> {
    let ask = "SELECT current_setting('wal_level') AS wal_level, current_setting('server_version_num')::int / 10000 AS version,
                      current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots)
                        AS max_replication_slots,
                      current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_stat_replication) AS max_wal_senders,
                      current_setting('max_logical_replication_workers')::int
                        - (SELECT count(*) FROM pg_stat_subscription WHERE pid IS NOT NULL) AS max_logical_replication_workers";
    let mut versions = Vec::new();
    let both =
        [(source, &mut endpoints.source, reverse_channel), (target, &mut endpoints.target, true)];
    for (name, session, subscribes) in both {
        let row = session.query(ask)?.first().cloned().unwrap_or_default();
        let wal_level = row.text("wal_level")?;
        if wal_level != "logical" {
            return Err(refused(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("logical decoding is not enabled on node \"{name}\""),
                &format!("wal_level is \"{wal_level}\"."),
                "Set wal_level = logical on the node and restart it.",
            ));
        }
        versions.push(row.parsed::<i32>("version")?.unwrap_or(0));
        let mut needed = vec!["max_replication_slots", "max_wal_senders"];
        needed.extend(subscribes.then_some("max_logical_replication_workers"));
        for setting in needed {
            if row.parsed::<i64>(setting)?.unwrap_or(0) < 1 {
                return Err(refused(
                    Code::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                    format!("too many migrations on node \"{name}\""),
                    &format!("All {setting} are in use."),
                    &format!(
                        "Increase {setting} on the node, or wait for other migrations to end."
                    ),
                ));
            }
        }
    }
    if versions[1] < versions[0] {
        return Err(refused(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("node \"{target}\" runs an older version of PostgreSQL than node \"{source}\""),
            &format!(
                "The target runs PostgreSQL {}, the source runs PostgreSQL {}.",
                versions[1], versions[0]
            ),
            "Upgrade the target, or choose another node.",
        ));
    }
    Ok(())
}

/// 55000 if this server does not support the version of a node's catalogs.
fn check_version(name: &str, session: &mut Session) -> Result<()> {
    let ask = "SELECT extversion FROM pg_extension WHERE extname = 'helios'";
    let version = session.query(ask)?.first().map(|row| text(row, 0)).unwrap_or_default();
    let library = env!("CARGO_PKG_VERSION");
    let (detail, hint) = match node_interface::standing(&version) {
        Standing::Same | Standing::Older => return Ok(()),
        Standing::TooOld => (
            format!("The node has helios {version}, this server has {library}."),
            node_interface::node_update(),
        ),
        Standing::Newer => (
            format!("The node has helios {version}, this server has {library}."),
            format!(
                "Install the library of version {version} here, restart the server, and run ALTER EXTENSION helios UPDATE."
            ),
        ),
    };
    let message = format!(
        "version of helios on node \"{name}\" does not support moving schemas with this server"
    );
    Err(refused(Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message, &detail, &hint))
}

fn check_absent(migration: &Migration, node: &str, target: &mut Session) -> Result<()> {
    let sql = format!(
        "SELECT nspname FROM pg_namespace WHERE nspname = ANY ({}) ORDER BY 1",
        names(&migration.schemas)
    );
    let there: Vec<String> = target.query(&sql)?.into_iter().flatten().flatten().collect();
    if there.is_empty() {
        return Ok(());
    }
    Err(refused(
        Code::ERRCODE_DUPLICATE_SCHEMA,
        format!("a schema with the same name already exists on node \"{node}\""),
        &format!("Schemas: {}.", there.join(", ")),
        "It was created on the node directly. If it is not needed, drop it on the node.",
    ))
}

/// Checks for disk space: a copy of the same size must fit, with some room for concurrent writes. Sizes are only known once
/// definitions are frozen.
pub fn check_room(migration: &Migration, endpoints: &mut Endpoints) -> Result<Interruptible> {
    let size = format!(
        "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = ANY ({}) AND c.relkind IN ('r', 'm')",
        names(&migration.schemas)
    );
    let number = |rows: Rows| rows.first().and_then(|row| column::<i64>(row, 0)).unwrap_or(0);
    let size = interruptible::query(migration, &mut endpoints.source, &size)?.map(number);
    let Interruptible::Completed(size) = size else {
        return Ok(Interruptible::Interrupted);
    };
    let free = number(endpoints.target.query("SELECT helios.free_bytes()")?);
    let wanted = size + size / 5;
    if wanted <= free {
        return Ok(Interruptible::Completed(()));
    }
    let target = worker::attempt(|| Endpoint::of(migration.target).name())?;
    let megabytes = |bytes: i64| format!("{:.1} MB", bytes as f64 / 1e6);
    Err(refused(
        Code::ERRCODE_DISK_FULL,
        format!("not enough free disk space on node \"{target}\""),
        &format!(
            "The schemas have {}; the move requires {}, but only {} is free.",
            megabytes(size),
            megabytes(wanted),
            megabytes(free)
        ),
        "Free disk space on the node, or choose another node.",
    ))
}

/// The obstacle of references from other schemas.
const REFERRED_TO: &str = "objects outside the schema depend on it";

/// An obstacle to a move: a message, a query that lists the objects, one text per row, and the hint.
type Obstacle = (&'static str, String, &'static str);

fn check_content(migration: &Migration, node: &str, source: &mut Session) -> Result<()> {
    let is_here = Endpoint::of(migration.source) == Endpoint::Local;
    let passing = passing_obstacles(&names(&migration.schemas));
    for obstacle in lasting_obstacles(&migration.schemas, is_here).into_iter().chain(passing) {
        let found = source.query(&obstacle.1)?.into_iter().flatten().flatten().collect();
        if let Err(error) = refuse_if_found(&obstacle, node, found) {
            let together = match obstacle.0 == REFERRED_TO {
                true => colocation(&migration.schemas, source)?,
                false => None,
            };
            return Err(match together {
                Some(commands) => error.hint(commands),
                None => error,
            });
        }
    }
    Ok(())
}

/// Checks schemas of this server, including changes of the transaction itself. 55000 names the objects that cannot
/// move.
pub fn check_here(schemas: &[String]) -> Result<()> {
    let here = Endpoint::Local.name()?;
    let _path = OwnSettings::safe_path();
    for obstacle in lasting_obstacles(schemas, true) {
        let found = read_own_rows(&obstacle.1)?.into_iter().flatten().flatten().collect();
        refuse_if_found(&obstacle, &here, found)?;
    }
    Ok(())
}

fn refuse_if_found((what, _, hint): &Obstacle, node: &str, mut found: Vec<String>) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let more = found.len().saturating_sub(10);
    found.truncate(10);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(refused(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("{what} (node \"{node}\")"),
        &format!("{}{more}.", found.join(", ")),
        hint,
    ))
}

/// Obstacles that stay until somebody removes them.
fn lasting_obstacles(schemas: &[String], is_here: bool) -> [Obstacle; 7] {
    let list = names(schemas);
    let members = members(schemas);
    let schemas = list.as_str();
    [
        (
            "foreign tables cannot move",
            format!(
                "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE n.nspname = ANY ({schemas}) AND c.relkind = 'f'"
            ),
            "Drop them, and create them again after the move.",
        ),
        (
            "extensions in a schema cannot move with it",
            format!(
                "SELECT x.extname::text FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace WHERE n.nspname = ANY ({schemas})"
            ),
            "Move them to a plain schema: ALTER EXTENSION … SET SCHEMA.",
        ),
        (
            "large objects cannot move",
            format!(
                "SELECT format('%I.%I.%I', n.nspname, c.relname, a.attname)
                   FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                        JOIN pg_type t ON t.oid = a.atttypid
                  WHERE n.nspname = ANY ({schemas}) AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p')
                    AND (t.typname = 'lo' OR t.oid = 'oid'::regtype AND EXISTS (SELECT FROM pg_largeobject_metadata))"
            ),
            "Store the contents in columns of type bytea.",
        ),
        (
            REFERRED_TO,
            outside(schemas, is_here, "pg_describe_object(d.classid, d.objid, 0)"),
            "Drop them, or move them into the schema.",
        ),
        (
            "objects that depend on the schema without belonging to it cannot move",
            members,
            "Drop them or their members (ALTER PUBLICATION … DROP, ALTER OPERATOR FAMILY … DROP), and create them \
                again after the move.",
        ),
        (
            "invalid indexes cannot move",
            format!(
                "SELECT x.indexrelid::regclass::text FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_namespace n ON n.oid = i.relnamespace
                  WHERE n.nspname = ANY ({schemas}) AND i.relkind = 'i' AND NOT (x.indisvalid AND x.indisready AND x.indislive)"
            ),
            "Drop them with DROP INDEX, or rebuild them with REINDEX INDEX.",
        ),
        (
            "partitions that are being detached cannot move",
            format!(
                "SELECT format('%s of %s', h.inhrelid::regclass, h.inhparent::regclass) FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
                   JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ANY ({schemas}) AND h.inhdetachpending"
            ),
            "Complete the detach with ALTER TABLE … DETACH PARTITION … FINALIZE.",
        ),
    ]
}

/// Obstacles that may disappear by themselves, or whose check may have to wait.
fn passing_obstacles(schemas: &str) -> [Obstacle; 2] {
    [
        (
            "unlogged tables are too large to be copied while writers wait",
            format!(
                "SELECT format('%s of %s', c.oid::regclass, pg_size_pretty(pg_relation_size(c.oid)))
                   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE n.nspname = ANY ({schemas}) AND c.relkind = 'r' AND c.relpersistence = 'u' AND pg_relation_size(c.oid) > {MOST_UNLOGGED}"
            ),
            "Use ALTER TABLE … SET LOGGED, or TRUNCATE them.",
        ),
        (
            "a user's prepared transaction is in progress",
            "SELECT format('%L of %s since %s', gid, owner, prepared) FROM pg_prepared_xacts
              WHERE database = current_database() AND gid NOT LIKE 'helios\\_%'"
                .to_owned(),
            "Finish it with COMMIT PREPARED or ROLLBACK PREPARED.",
        ),
    ]
}
