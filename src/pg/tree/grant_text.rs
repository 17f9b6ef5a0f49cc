//! Reassembles GRANT, REVOKE and ALTER DEFAULT PRIVILEGES, for lists that are split between nodes, and for names that differ between
//! servers.

use crate::pg::tree::statement::Statement;
use crate::pg::tree::statement_parts::AroundList;
use crate::pg::tree::{list, parse_nodes};
use pgrx::pg_sys::{self, GrantTargetType, NodeTag, ObjectType};
use pgrx::spi::quote_identifier;

impl Statement {
    /// GRANT or REVOKE on a list of objects; None for other commands, and for objects that every server has its own of.
    pub fn around_granted(&self) -> Option<AroundList> {
        if self.tag() != NodeTag::T_GrantStmt {
            return None;
        }
        let node = self.node::<pg_sys::GrantStmt>();
        // SAFETY: the tag says what the node is, and so what its lists hold.
        unsafe {
            let kind = kind((*node).objtype)?;
            let kind = match (*node).targtype {
                GrantTargetType::ACL_TARGET_ALL_IN_SCHEMA => format!("ALL {kind}S IN SCHEMA"),
                _ => kind.to_owned(),
            };
            let head = format!("{} ON {kind} ", privileges(node));
            let length = list::len((*node).objects);
            Some(AroundList { head, tail: grantees(node), length })
        }
    }

    /// ALTER DEFAULT PRIVILEGES in a list of schemas, and the names of these; None for other commands.
    pub fn around_default_privileges(&self) -> Option<(AroundList, Vec<String>)> {
        if self.tag() != NodeTag::T_AlterDefaultPrivilegesStmt {
            return None;
        }
        let node = self.node::<pg_sys::AlterDefaultPrivilegesStmt>();
        // SAFETY: the tag says what the node is, and so what its lists hold.
        unsafe {
            let mut head = "ALTER DEFAULT PRIVILEGES ".to_owned();
            let mut schemas = Vec::new();
            for option in list::iter::<pg_sys::DefElem>((*node).options) {
                let values = (*option).arg.cast::<pg_sys::List>();
                match parse_nodes::text((*option).defname)?.as_str() {
                    "roles" => {
                        let roles: Vec<String> =
                            list::iter(values).map(|role| role_text(role)).collect();
                        head.push_str(&format!("FOR ROLE {} ", roles.join(", ")));
                    }
                    _ => {
                        let names = list::iter::<pg_sys::Node>(values);
                        schemas = names.filter_map(|name| parse_nodes::string(name)).collect();
                    }
                }
            }
            let action = (*node).action;
            let kind = kind((*action).objtype)?;
            let tail = format!(" {} ON {kind}S{}", privileges(action), grantees(action));
            head.push_str("IN SCHEMA ");
            Some((AroundList { head, tail, length: schemas.len() }, schemas))
        }
    }

    /// GRANT or REVOKE on a database, with another database name.
    pub fn grant_on_database(&self, database: &str) -> Option<String> {
        if self.tag() != NodeTag::T_GrantStmt {
            return None;
        }
        let node = self.node::<pg_sys::GrantStmt>();
        let database = quote_identifier(database);
        // SAFETY: the tag says what the node is.
        unsafe { Some(format!("{} ON DATABASE {database}{}", privileges(node), grantees(node))) }
    }
}

fn kind(kind: ObjectType::Type) -> Option<&'static str> {
    Some(match kind {
        ObjectType::OBJECT_TABLE => "TABLE",
        ObjectType::OBJECT_SEQUENCE => "SEQUENCE",
        ObjectType::OBJECT_SCHEMA => "SCHEMA",
        ObjectType::OBJECT_FUNCTION => "FUNCTION",
        ObjectType::OBJECT_PROCEDURE => "PROCEDURE",
        ObjectType::OBJECT_ROUTINE => "ROUTINE",
        ObjectType::OBJECT_TYPE => "TYPE",
        ObjectType::OBJECT_DOMAIN => "DOMAIN",
        _ => return None,
    })
}

/// Such as `GRANT SELECT (a), INSERT`.
///
/// # Safety
/// A valid GrantStmt.
unsafe fn privileges(node: *mut pg_sys::GrantStmt) -> String {
    // SAFETY: by the caller's promise; columns are String nodes.
    unsafe {
        let mut all: Vec<String> = Vec::new();
        for privilege in list::iter::<pg_sys::AccessPriv>((*node).privileges) {
            let name = parse_nodes::text((*privilege).priv_name).unwrap_or_else(|| "ALL".into());
            let columns = list::iter::<pg_sys::Node>((*privilege).cols);
            let columns: Vec<String> = columns
                .filter_map(|name| parse_nodes::string(name))
                .map(quote_identifier)
                .collect();
            all.push(match columns.is_empty() {
                true => name,
                false => format!("{name} ({})", columns.join(", ")),
            });
        }
        if all.is_empty() {
            all.push("ALL".into());
        }
        let verb = match ((*node).is_grant, (*node).grant_option) {
            (true, _) => "GRANT",
            (false, false) => "REVOKE",
            (false, true) => "REVOKE GRANT OPTION FOR",
        };
        format!("{verb} {}", all.join(", "))
    }
}

/// Such as ` TO alice WITH GRANT OPTION`.
///
/// # Safety
/// A valid GrantStmt.
unsafe fn grantees(node: *mut pg_sys::GrantStmt) -> String {
    // SAFETY: by the caller's promise.
    unsafe {
        let roles: Vec<String> = list::iter((*node).grantees).map(|role| role_text(role)).collect();
        let roles = roles.join(", ");
        let grantor = match (*node).grantor.is_null() {
            true => String::new(),
            false => format!(" GRANTED BY {}", role_text((*node).grantor)),
        };
        if (*node).is_grant {
            let option = if (*node).grant_option { " WITH GRANT OPTION" } else { "" };
            format!(" TO {roles}{option}{grantor}")
        } else {
            let cascade = (*node).behavior == pg_sys::DropBehavior::DROP_CASCADE;
            let cascade = if cascade { " CASCADE" } else { "" };
            format!(" FROM {roles}{grantor}{cascade}")
        }
    }
}

/// # Safety
/// A valid RoleSpec.
unsafe fn role_text(role: *mut pg_sys::RoleSpec) -> String {
    // SAFETY: by the caller's promise; a role that is not PUBLIC has a name.
    unsafe {
        if (*role).roletype == pg_sys::RoleSpecType::ROLESPEC_PUBLIC {
            return "PUBLIC".into();
        }
        quote_identifier(parse_nodes::text(pg_sys::get_rolespec_name(role)).unwrap_or_default())
    }
}
