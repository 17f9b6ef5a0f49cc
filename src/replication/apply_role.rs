//! Roles that own the subscriptions of migrations.
//!
//! PostgreSQL 15 applies changes with the privileges of the subscription's owner, and so do later versions in part (the
//! search for an index to identify a row by folds constants in its expressions). That runs tenants' code. So the owner
//! is a role of Helios that is a member of the tables' owner and owns nothing but its own marker. Version 15 requires a
//! superuser, but only when the subscription is created: the role is a superuser inside the transaction that creates
//! both, where nobody sees it, and the subscription runs afterwards.
//!
//! Invariant: role and subscription are created in one transaction, so that the cleanup item of the subscription covers
//! both. Server processes may run as the role; clients cannot log in as it.

use crate::catalog::migration_table::MovingTable;
use crate::catalog::remote_sql::lock_markers;
use crate::error::{Error, Result};
use crate::remote::Session;
use crate::replication::endpoints::{column, identifier, literal};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// The owner of the tables that a channel replicates.
pub enum Owner {
    /// The role used by migrations, or no owner.
    Own,
    /// Another role.
    Other {
        /// Its name.
        owner: String,
    },
}

/// The owner of the tables on the server where changes are to be applied.
///
/// 55000 if the tables have several owners there.
pub fn owner<'a>(
    subscriber: &mut Session,
    tables: impl Iterator<Item = &'a MovingTable>,
) -> Result<Owner> {
    let mut all = Vec::new();
    for table in tables {
        all.push(format!("{}::regclass::oid", literal(&table.qualified())));
    }
    let rows = subscriber.query(&format!(
        "SELECT DISTINCT pg_get_userbyid(relowner) AS owner, pg_get_userbyid(relowner) = current_user AS is_own
           FROM pg_class WHERE oid = ANY (ARRAY[{}]::oid[])",
        all.join(", ")
    ))?;
    match rows.as_slice() {
        [] => Ok(Owner::Own),
        [row] if row.flag("is_own")? => Ok(Owner::Own),
        [row] => Ok(Owner::Other { owner: row.text("owner")? }),
        _ => Err(Error::new(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "owners of tables were changed during the move",
        )
        .detail("Changes are applied to each table with the privileges of its owner.")
        .hint("Start the move again.")),
    }
}

/// Options of CREATE SUBSCRIPTION for versions that have them (16 and later): the role needs no password, and Helios'
/// own tables are written as the role itself.
pub fn options(subscriber: &mut Session) -> Result<&'static str> {
    let rows = subscriber.query("SELECT current_setting('server_version_num')::int / 10000")?;
    let version: i32 = rows.first().and_then(|row| column(row, 0)).unwrap_or(0);
    Ok(if version >= 16 { ", password_required = false, run_as_owner = true" } else { "" })
}

/// Statements before and after the creation of a subscription, in the same transaction.
pub fn statements(name: &str, owner: &str) -> [String; 2] {
    let (quoted, subscription, owner) =
        (identifier(&role(name)), identifier(name), identifier(owner));
    let before = format!("CREATE ROLE {quoted} SUPERUSER LOGIN CONNECTION LIMIT 0");
    let after = format!(
        "ALTER SUBSCRIPTION {subscription} OWNER TO {quoted};
         ALTER ROLE {quoted} NOSUPERUSER; GRANT {owner} TO {quoted}"
    );
    [before, after]
}

/// Statements before a subscription is enabled. They do not run at its creation, because definitions copied until then
/// would contain these grants.
///
/// An owner may lack privileges on his own table or its schema; the role is granted the ones that applying changes
/// requires. Although the owner's code may run as the role, he gains no more than he could grant to himself on his
/// tables.
pub fn rights(name: &str, marker: &str) -> String {
    let role = role(name);
    let (quoted, role) = (identifier(&role), literal(&role));
    let tables = format!(
        "FROM pg_subscription_rel t JOIN pg_subscription s ON s.oid = t.srsubid
              JOIN pg_class c ON c.oid = t.srrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE s.subname = {}",
        literal(name)
    );
    // Concurrent grants to several roles would conflict.
    let body = format!(
        "DECLARE s text; BEGIN
           IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {role}) THEN RETURN; END IF;
           LOCK TABLE {marker} IN SHARE UPDATE EXCLUSIVE MODE;
           GRANT SELECT, UPDATE ON {marker} TO {quoted};
           IF NOT has_database_privilege({role}, current_database(), 'CONNECT') THEN
             EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), {role});
           END IF;
           FOR s IN SELECT DISTINCT format('GRANT USAGE ON SCHEMA %I TO %I', n.nspname, {role}) {tables}
                       AND NOT has_schema_privilege({role}, n.oid, 'USAGE') LOOP
             EXECUTE s;
           END LOOP;
           FOR s IN SELECT format('GRANT %s ON %s TO %I', r, c.oid::regclass, {role})
                      FROM (SELECT c.oid {tables}) AS c, unnest('{{SELECT,INSERT,UPDATE,DELETE}}'::text[]) AS r
                     WHERE c.oid <> {}::regclass AND NOT has_table_privilege({role}, c.oid, r) LOOP
             EXECUTE s;
           END LOOP;
         END",
        literal(marker)
    );
    format!("DO {}", literal(&body))
}

/// Name of the role for a subscription. It exists on one server only.
fn role(subscription: &str) -> String {
    let rest = subscription.strip_prefix("helios_").unwrap_or(subscription);
    format!("{PREFIX}{rest}")
}

/// Drops the role of a dropped subscription. Objects that tenants' code created as that role go to their owner.
pub fn drop(session: &mut Session, subscription: &str) -> Result<()> {
    let role = role(subscription);
    let (quoted, name) = (identifier(&role), literal(&role));
    let owner = format!(
        "SELECT (SELECT pg_get_userbyid(m.roleid) FROM pg_auth_members m WHERE m.member = r.oid LIMIT 1)
           FROM pg_roles r WHERE r.rolname = {name}"
    );
    let rows = session.query(&owner)?;
    let Some(row) = rows.first() else { return Ok(()) };
    let hand_over = match row.first().and_then(Option::as_deref) {
        Some(owner) => format!("REASSIGN OWNED BY {quoted} TO {}; ", identifier(owner)),
        None => String::new(),
    };
    let alone = lock_markers(); // a server outside of the cluster has no other migrations
    session
        .query(&format!("{alone}; {hand_over}DROP OWNED BY {quoted}; DROP ROLE {quoted}"))
        .map(|_| ())
}

/// Prefix of the names of such roles.
pub const PREFIX: &str = "helios_apply_";
