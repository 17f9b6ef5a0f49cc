//! Moves a relation between servers, after ALTER … SET SCHEMA has moved it to its new schema here.
//!
//! Invariant: rows and definition are on the target and no longer on the source in the same transaction. Everything that
//! may run code of the relation's owner (expressions, checks, foreign keys) runs with the owner's privileges only.
//! Lock order: the relation here, then on its source.

use super::local_only::locally;
use super::relation_definition::{self, Definition, Stage};
use super::relocation_plan::{Kind, Place, Relocation};
use super::send::{self, run};
use super::{reference_copy, reference_table, truncate_triggers};
use crate::catalog::{self, NodeId};
use crate::error::Result;
use crate::pg::catalog::privileges::{self, RunAs};
use crate::pg::exec::copy_from::{self, Format, Source};
use crate::pg::exec::row_scan;
use crate::pg::session::{self, sql};
use crate::transaction::{self, Copy, Mode};
use helios_core::quote::literal;
use pgrx::pg_sys::Oid;
use pgrx::spi::{quote_identifier, quote_qualified_identifier};

/// A sequence of the relation, or the relation itself.
struct Sequence {
    id: Oid,
    /// Its name without schema.
    name: String,
}

/// The value of a sequence.
struct Value {
    last: String,
    is_called: String,
}

/// Moves the relation.
pub(super) fn relation(plan: &Relocation) -> Result<()> {
    let relation = plan.object.id;
    let new = session::quoted_relation_name(relation);
    let sequences = sequences_of(relation)?;
    if let (Place::Node(source), Kind::Table) = (plan.source, plan.kind) {
        let lock = format!("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE", plan.old_name);
        run(source, &lock)?;
    }
    let values =
        sequences.iter().map(|sequence| value_of(plan, sequence)).collect::<Result<Vec<_>>>()?;
    match plan.target {
        Place::Node(target) => there(plan, target, &new, &sequences)?,
        Place::Here if plan.kind == Kind::Table => rows_to_here(plan)?,
        Place::Here => {}
    }
    for (sequence, value) in sequences.iter().zip(&values) {
        set_value(plan, sequence, value)?;
    }
    match plan.source {
        Place::Node(source) => run(source, &format!("DROP {} {}", plan.kind.word(), plan.old_name)),
        Place::Here if plan.kind == Kind::Table => empty_here(relation, &new),
        Place::Here => Ok(()),
    }
}

/// Creates the relation on a node, with its rows.
fn there(plan: &Relocation, node: NodeId, new: &str, sequences: &[Sequence]) -> Result<()> {
    let relation = plan.object.id;
    let owner = privileges::owner_of_relation(relation)?;
    let owner = (owner != privileges::current_user()).then(|| privileges::role_name(owner));
    let (before, after): (Vec<_>, Vec<_>) = relation_definition::of(relation)?
        .into_iter()
        .partition(|statement| statement.stage == Stage::BeforeRows);
    let create = |statement: &Definition| run(node, &statement.text);
    send::pinned(node, owner.as_deref(), || {
        before.iter().try_for_each(create)?;
        if plan.kind == Kind::Table {
            rows_to_node(plan, node, new)?;
        }
        after.iter().try_for_each(create)?;
        grant(node, relation, plan.kind.word(), new)?;
        let others = sequences.iter().filter(|sequence| sequence.id != relation);
        others
            .map(|other| other.id)
            .try_for_each(|id| grant(node, id, "SEQUENCE", &session::quoted_relation_name(id)))
    })?;
    reference_table::leave_checks_of_table_to_nodes(relation)
}

fn rows_to_node(plan: &Relocation, target: NodeId, new: &str) -> Result<()> {
    let Place::Node(source) = plan.source else {
        return reference_copy::copy_rows(target, plan.object.id, new);
    };
    let columns = columns_of(plan.object.id)?.join(", ");
    let into = format!("COPY {new} ({columns}) FROM STDIN");
    let mut to = transaction::copy(target, into.as_bytes(), Mode::Transaction, None)?;
    let sent = rows_of_node(source, &plan.old_name, &columns, |from| {
        while from.receive(&mut |data| to.send(data))?.is_none() {}
        Ok(())
    });
    match sent {
        Ok(()) => to.finish().map(|_| ()),
        Err(error) => {
            to.fail("could not read the rows");
            Err(error)
        }
    }
}

fn rows_to_here(plan: &Relocation) -> Result<()> {
    let Place::Node(source) = plan.source else { return Ok(()) };
    let quoted = columns_of(plan.object.id)?;
    let names = column_names(plan.object.id)?;
    rows_of_node(source, &plan.old_name, &quoted.join(", "), |from| {
        let mut rows = NodeRows { from, buffer: Vec::new(), at: 0, ended: false };
        copy_from::copy_from(plan.object.id, &names, Format::Text, false, &mut rows).map(|_| ())
    })
}

/// Reads all rows of a table, whatever its policies.
fn rows_of_node(
    node: NodeId,
    name: &str,
    columns: &str,
    take: impl FnOnce(&mut Copy) -> Result<()>,
) -> Result<()> {
    send::pinned(node, None, || {
        run(node, "SET LOCAL row_security = off")?;
        let text = format!("COPY {name} ({columns}) TO STDOUT");
        let mut copy = transaction::copy(node, text.as_bytes(), Mode::Transaction, None)?;
        take(&mut copy)
    })
}

/// The data of a COPY on a node.
struct NodeRows<'a> {
    from: &'a mut Copy,
    buffer: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Source for NodeRows<'_> {
    fn read(&mut self, into: &mut [u8], least: usize) -> Result<usize> {
        self.buffer.drain(..std::mem::take(&mut self.at));
        let Self { from, buffer, ended, .. } = self;
        while !*ended && buffer.len() < least.max(1) {
            let mut keep = |data: &[u8]| {
                buffer.extend_from_slice(data);
                Ok(())
            };
            *ended = from.receive(&mut keep)?.is_some();
        }
        let taken = self.buffer.len().min(into.len());
        into[..taken].copy_from_slice(&self.buffer[..taken]);
        self.at = taken;
        Ok(taken)
    }
}

/// Deletes the rows of a table that has become a shell.
fn empty_here(relation: Oid, name: &str) -> Result<()> {
    let silenced = truncate_triggers::begin(vec![relation])?;
    {
        let _as_owner = RunAs::role(catalog::catalogs_owner()?);
        locally(|| sql::run(&format!("TRUNCATE TABLE ONLY {name}"), &[]))?;
    }
    truncate_triggers::end(&silenced)
}

fn sequences_of(relation: Oid) -> Result<Vec<Sequence>> {
    let select = "SELECT s.oid, s.relname::text AS relname FROM pg_class s
                   WHERE s.relkind = 'S' AND (s.oid = $1 OR EXISTS (
                         SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = s.oid
                            AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1 AND d.deptype IN ('a', 'i')))
                   ORDER BY s.oid";
    sql::rows(select, &[relation.into()], |row| {
        Ok(Sequence { id: row.value("oid")?, name: row.value("relname")? })
    })
}

fn value_of(plan: &Relocation, sequence: &Sequence) -> Result<Value> {
    let mut value = Value { last: "1".into(), is_called: "false".into() };
    match plan.source {
        Place::Node(node) => {
            let name = quote_qualified_identifier(&plan.old_schema, &sequence.name);
            let select = format!("SELECT last_value, is_called FROM {name}");
            let rows = transaction::query(node, select.as_bytes(), Mode::Transaction)?;
            if let Some([Some(last), Some(is_called)]) = rows.first().map(Vec::as_slice) {
                value = Value { last: last.clone(), is_called: is_called.clone() };
            }
        }
        Place::Here => row_scan::each_of_sequence(sequence.id, |row| {
            let text = |at: usize| {
                let text = row.get(at).and_then(Option::as_ref);
                text.map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
            };
            value = Value { last: text(0), is_called: text(2) };
            Ok(())
        })?,
    }
    Ok(value)
}

fn set_value(plan: &Relocation, sequence: &Sequence, value: &Value) -> Result<()> {
    let name = literal(&session::quoted_relation_name(sequence.id));
    let text = format!(
        "SELECT pg_catalog.setval({name}::pg_catalog.regclass, {}, {})",
        literal(&value.last),
        literal(&value.is_called)
    );
    match plan.target {
        Place::Node(node) => run(node, &text),
        Place::Here => sql::run(&text, &[]),
    }
}

/// Gives a new relation on a node the privileges of the one here, in place of the default privileges of its schema.
fn grant(node: NodeId, relation: Oid, word: &str, name: &str) -> Result<()> {
    let word = if word == "VIEW" { "TABLE" } else { word };
    let granted = format!(
        "SELECT pg_catalog.format('REVOKE ALL ON {word} %s FROM %s', {0}, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END)
           FROM (SELECT DISTINCT x.grantee FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) AS x
                  WHERE c.oid = {0}::pg_catalog.regclass AND x.grantee <> c.relowner) AS a",
        literal(name)
    );
    let revokes = transaction::query(node, granted.as_bytes(), Mode::Transaction)?;
    for revoke in revokes.into_iter().flatten().flatten() {
        run(node, &revoke)?;
    }
    let select = "SELECT 0 AS step, format('REVOKE ALL ON %s %s FROM %I', $2, $3, pg_get_userbyid(relowner)) AS text
                    FROM pg_class WHERE oid = $1 AND relacl IS NOT NULL
                  UNION ALL
                  SELECT 1, format('GRANT %s%s ON %s %s TO %s%s', a.privilege_type, g.part, $2, $3,
                         CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
                         CASE WHEN a.is_grantable AND a.grantee <> g.owner THEN ' WITH GRANT OPTION' END)
                    FROM (SELECT relacl, '', relowner FROM pg_class WHERE oid = $1
                          UNION ALL
                          SELECT a.attacl, format(' (%I)', a.attname), c.relowner
                            FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                           WHERE a.attrelid = $1 AND NOT a.attisdropped) AS g(acl, part, owner), aclexplode(g.acl) AS a
                   ORDER BY step";
    let grants = sql::rows(select, &[relation.into(), word.into(), name.into()], |row| {
        row.value::<String>("text")
    })?;
    grants.iter().try_for_each(|grant| run(node, grant))
}

fn columns_of(relation: Oid) -> Result<Vec<String>> {
    Ok(column_names(relation)?.iter().map(quote_identifier).collect())
}

/// The columns whose values are stored and not computed.
fn column_names(relation: Oid) -> Result<Vec<String>> {
    let select = "SELECT attname::text AS attname FROM pg_attribute
                   WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum";
    sql::rows(select, &[relation.into()], |row| row.value("attname"))
}
