//! The roles that subscriptions of migrations belong to.
//!
//! PostgreSQL 15 applies changes with the rights of the subscription's owner, and so do later versions in parts (the
//! search for an index to find a row by folds constants of its expressions). That runs tenants' code: so the owner is a
//! role of ours that is a member of the tables' owner and has nothing else but its own marker. Version 15 wants a
//! superuser there, but only when the subscription is made: the role is one inside of the transaction that makes both,
//! where nobody sees it, and the subscription runs afterwards.
//!
//! Invariant: role and subscription are made by one transaction, so that the note of the subscription counts for both.
//! Processes of the server may work as the role; clients cannot log in as it.

use super::ends::{column, identifier, literal, names, text};
use super::record::MovingTable;
use crate::error::{Error, Result};
use crate::remote::Session;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Whose tables a channel is for.
pub enum Owner {
    /// The role that works here, or nobody's.
    Own,
    /// Another one.
    Other {
        /// Its name.
        owner: String,
        /// The schemas that the tables are in.
        schemas: Vec<String>,
    },
}

/// Who owns the tables on the server that is to apply changes to them.
///
/// 55000 if they have several owners there.
pub fn owner<'a>(
    subscriber: &mut Session,
    tables: impl Iterator<Item = &'a MovingTable>,
) -> Result<Owner> {
    let (mut all, mut schemas) = (Vec::new(), Vec::new());
    for table in tables {
        all.push(format!("{}::regclass::oid", literal(&table.qualified())));
        if !schemas.contains(&table.schema) {
            schemas.push(table.schema.clone());
        }
    }
    let rows = subscriber.query(&format!(
        "SELECT DISTINCT pg_get_userbyid(relowner), pg_get_userbyid(relowner) = current_user
           FROM pg_class WHERE oid = ANY (ARRAY[{}]::oid[])",
        all.join(", ")
    ))?;
    match rows.as_slice() {
        [] => Ok(Owner::Own),
        [row] if text(row, 1) == "t" => Ok(Owner::Own),
        [row] => Ok(Owner::Other { owner: text(row, 0), schemas }),
        _ => Err(Error::new(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "tables of the schemas have other owners than when the move began",
        )
        .detail("Changes are applied to each table with the rights of its owner.")
        .hint("Begin the move again.")),
    }
}

/// What CREATE SUBSCRIPTION has to be told where it knows these options (from version 16 on): no password is asked of
/// the role, and tables of ours are written as the role itself.
pub fn options(subscriber: &mut Session) -> Result<&'static str> {
    let rows = subscriber.query("SELECT current_setting('server_version_num')::int / 10000")?;
    let version: i32 = rows.first().and_then(|row| column(row, 0)).unwrap_or(0);
    Ok(if version >= 16 { ", password_required = false, run_as_owner = true" } else { "" })
}

/// What is to be said before a subscription is made, and after it, in one transaction.
pub fn statements(name: &str, owner: &str, schemas: &[String], marker: &str) -> [String; 2] {
    let role = role(name);
    let (quoted, subscription, owner) = (identifier(&role), identifier(name), identifier(owner));
    let (marker_schema, _) = marker.rsplit_once('.').unwrap_or((marker, ""));
    let mut used = schemas.to_vec();
    used.push(marker_schema.to_owned());
    let before = format!("CREATE ROLE {quoted} SUPERUSER LOGIN CONNECTION LIMIT 0");
    // Grants to several roles at the same time would be in each other's way.
    let rights = literal(&format!(
        "DECLARE s text; BEGIN
           IF NOT has_database_privilege({0}, current_database(), 'CONNECT') THEN
             EXECUTE format('GRANT CONNECT ON DATABASE %I TO {quoted}', current_database());
           END IF;
           FOR s IN SELECT unnest({1}) LOOP
             IF NOT has_schema_privilege({0}, s, 'USAGE') THEN
               EXECUTE format('GRANT USAGE ON SCHEMA %I TO {quoted}', s);
             END IF;
           END LOOP;
         END",
        literal(&role),
        names(&used)
    ));
    let after = format!(
        "ALTER SUBSCRIPTION {subscription} OWNER TO {quoted};
         ALTER ROLE {quoted} NOSUPERUSER; GRANT {owner} TO {quoted};
         LOCK TABLE {marker} IN SHARE UPDATE EXCLUSIVE MODE;
         GRANT SELECT, UPDATE ON {marker} TO {quoted};
         DO {rights}"
    );
    [before, after]
}

/// Name of the role for a subscription. It is made and dropped on one server, and concerns no other.
fn role(subscription: &str) -> String {
    let rest = subscription.strip_prefix("helios_").unwrap_or(subscription);
    format!("{PREFIX}{rest}")
}

/// Removes the role of a subscription that is gone. What code of tenants has made as that role is their owner's.
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
    // A server outside of the cluster has no such table, and no other migration.
    let alone = "DO $$BEGIN IF to_regclass('helios.migration_marker') IS NOT NULL THEN
                 LOCK TABLE helios.migration_marker IN SHARE UPDATE EXCLUSIVE MODE; END IF; END$$";
    session
        .query(&format!("{alone}; {hand_over}DROP OWNED BY {quoted}; DROP ROLE {quoted}"))
        .map(|_| ())
}

/// How names of such roles begin.
pub const PREFIX: &str = "helios_apply_";
