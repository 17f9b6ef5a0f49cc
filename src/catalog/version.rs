//! Catalogs in another version than this library works with: how they are noticed, and what may still be done.
//!
//! Nothing is read of them but single columns, each found by its name and type; what cannot be found counts as if everything were
//! concerned. So statements that touch nothing of Helios run, and all others say what is to be done instead of taking rows for what they
//! are not. The cache keeps what was found; the doors are in `gate.rs`.

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

/// Version of the library, and of the catalogs that it prefers.
pub const LIBRARY: &str = env!("CARGO_PKG_VERSION");

/// Versions of the catalogs whose rows this library understands.
const WORKS_WITH: [&str; 1] = [LIBRARY];

/// How the message of [`Other::refusal`] begins, on this server and on nodes.
const REFUSAL: &str = "the installed version of extension \"helios\" is";

/// Whether an error says that catalogs, here or on the node that it comes from, are in another version than their server's
/// library works with: it passes once somebody has finished the upgrade.
pub fn is_refusal(error: &Error) -> bool {
    error.is(Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
        && error.to_string().starts_with(REFUSAL)
}

/// Catalogs in a version that this library does not work with.
pub struct Other {
    version: String,
    /// Something may live on another server; None: unknown.
    has_nodes: Option<bool>,
    is_node: Option<bool>,
    /// Schemas of the directory, and those that a fence keeps as they are.
    schemas: Option<Vec<String>>,
    fenced: Option<Vec<String>>,
    references: Option<Vec<Oid>>,
}

/// The extension in another version than this library works with, if the database has it so.
pub(super) fn other() -> Option<Other> {
    let Installed { version, .. } = extension::installed(EXTENSION)?;
    if WORKS_WITH.contains(&version.as_str()) {
        return None;
    }
    // An older version had all tables: one that is not there has been dropped by DROP EXTENSION, which comes to others after it.
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
    /// 55000: what is wrong, and the remedy.
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

    /// An error if the schema is one of the directory's.
    pub(super) fn check_schema(&self, namespace: Oid) -> Result<()> {
        self.check_listed(self.schemas.as_deref(), namespace)
    }

    /// An error if a fence keeps the schema as it is.
    pub(super) fn check_fence(&self, namespace: Oid) -> Result<()> {
        self.check_listed(self.fenced.as_deref(), namespace)
    }

    pub(super) fn has_fences(&self) -> bool {
        self.fenced.as_ref().is_none_or(|fenced| !fenced.is_empty())
    }

    /// An error if the relation is a reference table.
    pub(super) fn check_reference(&self, relation: Oid) -> Result<()> {
        match &self.references {
            Some(known) if !known.contains(&relation) => Ok(()),
            _ => Err(self.refusal()),
        }
    }

    /// As [`Other::check_schema`], by name.
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

    /// Whether nothing is lost, but what this database knows, when the extension is dropped: there are no nodes that would
    /// have to be told, or that have transactions to be finished.
    pub(super) fn holds_nothing(&self) -> bool {
        !self.has_nodes()
    }
}
