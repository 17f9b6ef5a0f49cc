//! Catalogs of a version that this library does not support: how they are detected, and what is still possible.
//!
//! Only single columns are read from them, each found by name and type; if one cannot be found, everything is assumed
//! to be affected. So statements that touch nothing of Helios run, and all others raise an error with the remedy
//! instead of misreading rows. The result is kept in the cache; the checks are in `gate.rs`.

use crate::error::{Error, Result};
use crate::pg::catalog::extension::{self, Installed};
use crate::pg::catalog::names::relation;
use crate::pg::catalog::value::{Name, RegClass};
use crate::pg::session;
use helios_core::node_interface::compare;
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode as Code};
use std::cmp::Ordering;
use std::ffi::CStr;

/// The extension's name.
pub const EXTENSION: &CStr = c"helios";

/// Version of the library, and of the catalogs that belong to it.
pub const LIBRARY: &str = env!("CARGO_PKG_VERSION");

/// Versions of the catalogs whose rows this library understands.
const WORKS_WITH: [&str; 1] = [LIBRARY];

/// Beginning of the message of [`Other::refusal`], on this server and on nodes.
const REFUSAL: &str = "the installed version of extension \"helios\" is";

/// Whether an error says that the catalogs, here or on the node that raised it, are of a version that the server's
/// library does not support. Such errors disappear when the upgrade is completed.
pub fn is_refusal(error: &Error) -> bool {
    error.is(Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
        && error.to_string().starts_with(REFUSAL)
}

/// Catalogs of a version that this library does not support.
pub struct Other {
    version: String,
    /// Objects may be on other servers; None if unknown.
    has_nodes: Option<bool>,
    is_node: Option<bool>,
    /// Schemas in the directory, and fenced schemas.
    schemas: Option<Vec<String>>,
    fenced: Option<Vec<String>>,
    references: Option<Vec<Oid>>,
}

/// The installed extension, if this library does not support its version.
pub(super) fn other() -> Option<Other> {
    let Installed { version, .. } = extension::installed(EXTENSION)?;
    if WORKS_WITH.contains(&version.as_str()) {
        return None;
    }
    // An older version had all tables: a missing one has been dropped by DROP EXTENSION, which is not complete yet.
    let was_dropped =
        |table| relation("helios", table).is_none() && compare(&version, LIBRARY) == Ordering::Less;
    let names = |table, column| match was_dropped(table) {
        true => Some(Vec::new()),
        false => {
            let found = extension::column::<Name>(relation("helios", table)?, column)?;
            Some(found.into_iter().flatten().map(|name| name.0).collect())
        }
    };
    let local = || match was_dropped("node") {
        true => Some(Vec::new()),
        false => extension::column::<bool>(relation("helios", "node")?, c"is_local"),
    };
    let member = || match was_dropped("cluster") {
        true => Some(Vec::new()),
        false => extension::column::<i64>(relation("helios", "cluster")?, c"node_of"),
    };
    let copied = || match was_dropped("reference_table") {
        true => Some(Vec::new()),
        false => {
            let table = relation("helios", "reference_table")?;
            let found = extension::column::<RegClass>(table, c"relation")?;
            Some(found.into_iter().flatten().map(|relation| relation.0).collect())
        }
    };
    Some(Other {
        has_nodes: local().map(|rows| rows.contains(&Some(false))),
        is_node: member().map(|rows| rows.iter().any(Option::is_some)),
        schemas: names("schema", c"name"),
        fenced: names("fence", c"schema"),
        references: copied(),
        version,
    })
}

impl Other {
    /// 55000 with the remedy.
    pub fn refusal(&self) -> Error {
        let error = Error::new(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!(
                "{REFUSAL} {}, but the loaded library works with {}",
                self.version,
                WORKS_WITH.join(", ")
            ),
        );
        match compare(&self.version, LIBRARY) {
            Ordering::Greater => error.hint(format!(
                "Install the library of version {} and restart the server.",
                self.version
            )),
            _ => error.hint("Run ALTER EXTENSION helios UPDATE."),
        }
    }

    pub(super) fn has_nodes(&self) -> bool {
        self.has_nodes.unwrap_or(true)
    }

    pub(super) fn is_node(&self) -> bool {
        self.is_node.unwrap_or(true)
    }

    /// Raises an error if the schema is in the directory.
    pub(super) fn check_schema(&self, namespace: Oid) -> Result<()> {
        self.check_listed(self.schemas.as_deref(), namespace)
    }

    /// Raises an error if the schema is fenced.
    pub(super) fn check_fence(&self, namespace: Oid) -> Result<()> {
        self.check_listed(self.fenced.as_deref(), namespace)
    }

    pub(super) fn has_fences(&self) -> bool {
        self.fenced.as_ref().is_none_or(|fenced| !fenced.is_empty())
    }

    /// Raises an error if the relation is a reference table.
    pub(super) fn check_reference(&self, relation: Oid) -> Result<()> {
        match &self.references {
            Some(known) if !known.contains(&relation) => Ok(()),
            _ => Err(self.refusal()),
        }
    }

    /// Like [`Other::check_schema`], by name.
    pub(super) fn check_name(&self, schema: &str) -> Result<()> {
        match &self.schemas {
            Some(known) if !known.iter().any(|name| name == schema) => Ok(()),
            _ => Err(self.refusal()),
        }
    }

    fn check_listed(&self, schemas: Option<&[String]>, namespace: Oid) -> Result<()> {
        let Some(schemas) = schemas else { return Err(self.refusal()) };
        match session::namespace_name(namespace) {
            Some(name) if schemas.contains(&name) => Err(self.refusal()),
            _ => Ok(()),
        }
    }

    /// Whether dropping the extension loses nothing but this database's own state: there are no nodes to be released or
    /// with unfinished transactions.
    pub(super) fn holds_nothing(&self) -> bool {
        !self.has_nodes()
    }
}
