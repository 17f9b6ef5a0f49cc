//! Checks of a server that is, or is about to become, a node.

use crate::catalog::{self, Node, ReferenceTable, coordinator};
use crate::cluster::connect;
use crate::cluster::finding::Finding;
use crate::cluster::ownership;
use crate::cluster::{definitions, role_check};
use crate::ddl::reference_table;
use crate::error::{Error, Result};
use crate::pg::exec::row_scan;
use crate::pg::session::sql;
use crate::remote::{Record, Session, own_rows};
use crate::transaction::{self, Mode};
use helios_core::node_interface::{self, Standing};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Properties that a server reports about itself.
struct Facts {
    version: i32,
    version_text: String,
    encoding: String,
    collation: String,
    max_prepared: i32,
    wal_level: String,
    extension: Option<String>,
    available: bool,
    preloaded: bool,
    superuser: bool,
}

/// Text columns, which can be queried on this server as on others.
const FACTS: &str = "SELECT current_setting('server_version_num') AS version, current_setting('server_version') AS version_text,
       pg_encoding_to_char(d.encoding)::text AS encoding, d.datcollate::text AS collation,
       current_setting('max_prepared_transactions') AS max_prepared, current_setting('wal_level') AS wal_level,
       (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'helios') AS extension,
       EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'helios')::text AS available,
       EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name = 'helios.grammar')::text AS preloaded,
       (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)::text AS superuser
  FROM pg_catalog.pg_database d WHERE d.datname = current_database()";

impl Facts {
    fn read(rows: &[Record]) -> Result<Self> {
        let row = rows.first().cloned().unwrap_or_default();
        Ok(Self {
            version: row.parsed("version")?.unwrap_or(0),
            version_text: row.text("version_text")?,
            encoding: row.text("encoding")?,
            collation: row.text("collation")?,
            max_prepared: row.parsed("max_prepared")?.unwrap_or(0),
            wal_level: row.text("wal_level")?,
            extension: row.option("extension")?.map(str::to_owned),
            available: row.flag("available")?,
            preloaded: row.flag("preloaded")?,
            superuser: row.flag("superuser")?,
        })
    }

    fn here() -> Result<Self> {
        Self::read(&own_rows(FACTS)?)
    }

    fn there(session: &mut Session) -> Result<Self> {
        Self::read(&session.query(FACTS)?)
    }

    /// Checks whether the server can be a node of the cluster whose coordinator is `here`.
    fn judge(&self, here: &Facts) -> Vec<Finding> {
        let major = |version: i32| version / 10_000;
        let mut findings = vec![
            Finding::new(
                "major version",
                major(self.version) == major(here.version),
                format!(
                    "The node runs PostgreSQL {}, this server runs {}.",
                    self.version_text, here.version_text
                ),
                "Use the same major version of PostgreSQL on all nodes.",
            ),
            Finding::new(
                "encoding",
                self.encoding == here.encoding,
                format!(
                    "The node's database has encoding {}, this database has {}.",
                    self.encoding, here.encoding
                ),
                "Create the node's database with the same encoding.",
            ),
            Finding::new(
                "collation",
                self.collation == here.collation,
                format!(
                    "The node's database has collation \"{}\", this database has \"{}\".",
                    self.collation, here.collation
                ),
                "Create the node's database with the same collation, or text may sort differently on it.",
            ),
        ];
        findings.extend(self.judge_installation());
        findings
    }

    /// The checks that do not compare the server with the coordinator.
    fn judge_installation(&self) -> Vec<Finding> {
        vec![
            Finding::new(
                "library",
                self.preloaded,
                match self.preloaded {
                    true => "The library is loaded.".into(),
                    false => "The helios library is not loaded on the node.".into(),
                },
                match self.available {
                    true => "Set shared_preload_libraries = 'helios' on the node and restart it.",
                    false => {
                        "Install helios on the node, set shared_preload_libraries = 'helios' there and restart it."
                    }
                },
            ),
            self.judge_version(),
            Finding::new(
                "max_prepared_transactions",
                self.max_prepared > 0,
                format!("max_prepared_transactions is {} on the node.", self.max_prepared),
                "Set max_prepared_transactions to at least max_connections on the node and restart it.",
            ),
            Finding::new(
                "wal_level",
                self.wal_level == "logical",
                format!("wal_level is \"{}\" on the node.", self.wal_level),
                "Set wal_level = logical on the node and restart it.",
            ),
        ]
    }
}

impl Facts {
    /// Compares the extension's version on the node with that of this server. An older, compatible version passes, but
    /// with a remedy.
    fn judge_version(&self) -> Finding {
        let library = env!("CARGO_PKG_VERSION");
        let Some(version) = &self.extension else {
            let detail = "Extension helios is not installed in the node's database.".to_owned();
            return Finding::new(
                "extension",
                false,
                detail,
                "Run CREATE EXTENSION helios on the node.",
            );
        };
        let both = format!("The node has helios {version}, this server has {library}");
        let update = node_interface::node_update();
        match node_interface::standing(version) {
            Standing::Same => Finding::new("extension", true, format!("{both}."), ""),
            Standing::Older => Finding {
                remedy: Some(update),
                ..Finding::new(
                    "extension",
                    true,
                    format!("{both}; the node should be upgraded soon."),
                    "",
                )
            },
            Standing::TooOld => Finding::new(
                "extension",
                false,
                format!("{both}; these versions are not compatible."),
                &update,
            ),
            Standing::Newer => Finding::new(
                "extension",
                false,
                format!("{both}; the coordinator must be upgraded before its nodes."),
                &format!(
                    "Install the library of version {version} on this server, restart it, and run ALTER EXTENSION helios UPDATE here."
                ),
            ),
        }
    }

    /// 55000 unless the server has this server's version of the extension, which a new node must have.
    fn check_same_version(&self, node: &str) -> Result<()> {
        match self.judge_version() {
            finding if finding.remedy.is_some() => Err(finding.into_error(node)),
            _ => Ok(()),
        }
    }
}

/// Checks a server that is about to become a node. Fixes what it can; fails with the first problem that it cannot fix.
pub fn prepare(node: &Node, session: &mut Session) -> Result<()> {
    let here = Facts::here()?;
    let mut there = Facts::there(session)?;
    if !there.superuser {
        return Err(Error::new(
            Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("role is not a superuser on server \"{}\"", node.name),
        )
        .hint("Add nodes as a role that is a superuser on both servers."));
    }
    refuse_itself(node, session)?;
    let can_have_it = there.preloaded && there.available && there.encoding == here.encoding;
    if can_have_it && there.extension.is_none() {
        session.query("CREATE EXTENSION IF NOT EXISTS helios")?;
        there = Facts::there(session)?;
    }
    for finding in there.judge(&here) {
        if !finding.ok && finding.check != "collation" {
            return Err(finding.into_error(&node.name));
        }
        if !finding.ok {
            let warning = finding.into_error(&node.name);
            crate::pg::error::notify(pgrx::PgLogLevel::WARNING, &warning);
        }
    }
    there.check_same_version(&node.name)?;
    refuse_known(node, session)?;
    refuse_other_cluster(node, session)?;
    match own_relations(&[], &[], session)? {
        finding if finding.ok => Ok(()),
        finding => Err(finding.into_error(&node.name)),
    }
}

const SELF: &str = "SELECT concat_ws(' ', (SELECT system_identifier FROM pg_catalog.pg_control_system()),
       extract(epoch FROM pg_catalog.pg_postmaster_start_time()), current_setting('port'), current_database())";

fn refuse_itself(node: &Node, session: &mut Session) -> Result<()> {
    let there = session.query(SELF)?.into_iter().next().and_then(|row| row.into_iter().next());
    if sql::one::<String>(SELF, &[])? == there.flatten() {
        return Err(Error::new(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("cannot add this server as node \"{}\"", node.name),
        )
        .detail("This server is already part of the cluster, as node \"coordinator\".")
        .hint("Specify the address of another server, or another database name."));
    }
    Ok(())
}

/// A server registered under two names would deadlock with itself: each shared definition goes to both in one
/// transaction.
fn refuse_known(node: &Node, session: &mut Session) -> Result<()> {
    let there = session.query(SELF)?.into_iter().next().and_then(|row| row.into_iter().next());
    for known in catalog::remote_nodes()?.iter().filter(|known| known.name != node.name) {
        // An unreachable node cannot be the server that was just reached.
        let Ok(rows) = transaction::query(known.id, SELF.as_bytes(), Mode::Transaction) else {
            continue;
        };
        if rows.into_iter().next().and_then(|row| row.into_iter().next()) == there {
            return Err(Error::new(
                Code::ERRCODE_DUPLICATE_OBJECT,
                format!(
                    "cannot add node \"{}\" because it is already node \"{}\"",
                    node.name, known.name
                ),
            )
            .detail("Both addresses refer to the same server and database.")
            .hint("Specify the address of another server, or another database name."));
        }
    }
    Ok(())
}

fn refuse_other_cluster(node: &Node, session: &mut Session) -> Result<()> {
    ownership::check(node, session)?;
    let rows = session.query(coordinator::NODES)?;
    if rows.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = rows.into_iter().flatten().flatten().collect();
    Err(Error::new(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("server \"{}\" is the coordinator of another cluster", node.name),
    )
    .detail(format!("Its nodes: {}.", names.join(", ")))
    .hint("Remove its nodes with helios_remove_node() on that coordinator first."))
}

fn hint_of(error: &Error) -> Option<String> {
    let hint = error.fields().hint.as_ref();
    hint.map(|text| String::from_utf8_lossy(text).into_owned())
}

/// Checks a node of the cluster without changing anything.
pub fn examine(node: &Node) -> Result<Vec<Finding>> {
    let here = Facts::here()?;
    if node.is_local {
        return Ok(here.judge(&here));
    }
    let mut session = match connect(node) {
        Ok(session) => session,
        Err(error) => {
            let (detail, hint) = (Some(error.to_string()), hint_of(&error));
            return Ok(vec![Finding { check: "connection", ok: false, detail, remedy: hint }]);
        }
    };
    let mut findings =
        vec![Finding::new("connection", true, "The node accepts connections.".into(), "")];
    match Facts::there(&mut session) {
        Ok(there) => findings.extend(there.judge(&here)),
        // The node's library and catalogs are of incompatible versions; its error says what to do.
        Err(error) if catalog::is_version_refusal(&error) => {
            let (detail, remedy) = (Some(error.to_string()), hint_of(&error));
            let remedy = remedy.map(|hint| format!("On the node: {hint}"));
            findings.push(Finding { check: "extension", ok: false, detail, remedy });
            return Ok(findings);
        }
        Err(error) => return Err(error),
    }
    findings.push(schemas_are_there(node, &mut session)?);
    findings.push(definitions::compare(node, &mut session)?);
    let references = catalog::references()?;
    findings.push(own_relations(&catalog::schemas_on(node.id)?, &references, &mut session)?);
    if !references.is_empty() {
        findings.push(same_rows(&references, &mut session)?);
    }
    findings.push(is_ours(&mut session)?);
    findings.extend(role_check::compare(node)?);
    Ok(findings)
}

fn schemas_are_there(node: &Node, session: &mut Session) -> Result<Finding> {
    let rows = session.query("SELECT nspname FROM pg_catalog.pg_namespace")?;
    let there: Vec<String> = rows.into_iter().flatten().flatten().collect();
    let schemas = catalog::schemas_on(node.id)?;
    let missing: Vec<&str> =
        schemas.iter().filter(|s| !there.contains(s)).map(String::as_str).collect();
    let detail = match missing.is_empty() {
        true => format!("All {} distributed schemas exist on the node.", schemas.len()),
        false => format!("Missing on the node: {}.", missing.join(", ")),
    };
    let remedy =
        "Restore the node's database from its backup, or drop the schemas on the coordinator.";
    Ok(Finding::new("schemas", missing.is_empty(), detail, remedy))
}

/// Checks that the rows of every reference table match the coordinator's.
fn same_rows(references: &[ReferenceTable], session: &mut Session) -> Result<Finding> {
    let mut different = Vec::new();
    for table in references {
        // It may have been dropped since they were listed.
        if !row_scan::lock(table.relation) || !catalog::is_reference(table.relation)? {
            continue;
        }
        let here = reference_table::digest(table)?;
        let there = match session.query(&reference_table::digest_there(table)) {
            Ok(rows) => rows.into_iter().flatten().flatten().next().unwrap_or_default(),
            Err(error) => error.to_string(),
        };
        if there != here {
            different
                .push(format!("{}: {there} on the node, {here} on the coordinator", table.name));
        }
    }
    let detail = match different.is_empty() {
        true => format!("All {} reference tables match the coordinator.", references.len()),
        false => format!("Different: {}.", different.join("; ")),
    };
    let remedy = "Run helios_undistribute_table() and helios_create_reference_table() to copy the rows to the nodes \
        again.";
    Ok(Finding::new("reference tables", different.is_empty(), detail, remedy))
}

fn is_ours(session: &mut Session) -> Result<Finding> {
    let ours = catalog::cluster_id()?;
    let holder = ownership::holder(session)?;
    let detail = match holder {
        Some(holder) if holder == ours => "The node belongs to this cluster.".into(),
        Some(holder) => {
            format!("The node is registered in cluster {holder}; this is cluster {ours}.")
        }
        None => "The node is not registered in any cluster.".into(),
    };
    let remedy = "Make sure that no other coordinator uses the node, then run SELECT helios_adopt_nodes() here.";
    Ok(Finding::new("cluster", holder == Some(ours), detail, remedy))
}

/// Statements are sent to a node with the names that the client wrote. A relation that exists only on the node would
/// mask a tenant's relation if its schema comes first in search_path.
fn own_relations(
    tenants: &[String],
    references: &[ReferenceTable],
    session: &mut Session,
) -> Result<Finding> {
    const SHOWN: usize = 20;
    let select = "SELECT n.nspname, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
                    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                   WHERE c.relkind IN ('r', 'v', 'm', 'S', 'f', 'p')
                     AND n.nspname NOT IN ('information_schema', 'helios') AND n.nspname !~ '^pg_'
                     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                                      WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
                                        AND d.deptype = 'e')
                   ORDER BY 2";
    let mut own = Vec::new();
    for row in session.query(select)? {
        let (schema, name) = (row.text("nspname")?, row.text("name")?);
        if !tenants.contains(&schema) && !references.iter().any(|table| table.name == name) {
            own.push(name);
        }
    }
    let detail = match own.len() {
        0 => "The node has no relations unknown to the coordinator.".into(),
        count if count > SHOWN => {
            format!(
                "The node has {count} relations unknown to the coordinator; the first are: {}.",
                own[..SHOWN].join(", ")
            )
        }
        _ => format!("Unknown to the coordinator: {}.", own.join(", ")),
    };
    let remedy = "Use an empty database, or drop the relations on the node: a statement could find them instead of a \
        tenant's.";
    Ok(Finding::new("unknown relations", own.is_empty(), detail, remedy))
}
