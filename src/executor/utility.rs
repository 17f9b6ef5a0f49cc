//! Utility statements that move rows: COPY of a table on a node, CALL of a procedure on a node.

use super::copy::{self, CopyStatement, Data};
use super::function_rules::KnownFunctions;
use super::remote_statement::{RemoteStatement, run};
use crate::catalog::{self, fences};
use crate::error::{Error, Result};
use crate::pg;
use crate::pg::catalog::names::{displayed_relation_name, function_namespace, relation_namespace};
use crate::pg::exec::custom_scan::Attempt;
use crate::pg::hooks::run_by::RunBy;
use crate::pg::tree::parser::params_are_numbered;
use crate::pg::tree::utility_view::{CallView, CopyView};
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode};

/// Rejects EXPLAIN ANALYZE CREATE TABLE AS in a distributed schema: the table and its rows would be created here only.
pub fn explained_table(namespace: Oid) -> Result<()> {
    fences::check_definition(namespace)?;
    if !catalog::in_use() || catalog::placement(namespace)?.is_none() {
        return Ok(());
    }
    Err(Error::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        "EXPLAIN ANALYZE CREATE TABLE AS is not supported in a distributed schema",
    )
    .hint("Use EXPLAIN ANALYZE on the query only."))
}

fn remote(namespace: Option<Oid>) -> Result<Option<Oid>> {
    match namespace {
        Some(namespace) => Ok(catalog::placement(namespace)?.map(|_| namespace)),
        None => Ok(None),
    }
}

/// Runs COPY for a table on a node and returns the number of rows.
pub fn copy(view: &CopyView, statement: &pg::tree::statement::Statement) -> Result<RunBy<u64>> {
    catalog::gate::admit()?;
    let fenced = view.is_from() && fences::is_up()?;
    if !fenced && !catalog::in_use() {
        return Ok(RunBy::Server);
    }
    let relation = view.relation();
    let here = remote(relation.and_then(relation_namespace))?.is_none();
    if fenced && here {
        fences::check_writes(&mut relation.into_iter())?;
    }
    if !catalog::in_use() {
        return Ok(RunBy::Server);
    }
    let place = match remote(relation.and_then(relation_namespace))? {
        // It may have just been undistributed: rows can be added here, but existing ones may not be visible yet.
        Some(namespace) if view.is_from() => {
            match super::locate_or_replan(std::iter::once(namespace))? {
                Attempt::Done(node) => Some((namespace, node)),
                Attempt::Replan => None,
            }
        }
        Some(namespace) => Some((namespace, super::locate(std::iter::once(namespace))?)),
        None => None,
    };
    let (Some((namespace, node)), Some(relation)) = (place, relation) else {
        if let Some(relation) = relation.filter(|_| view.is_from()) {
            check_defaults(view, relation)?;
        }
        return Ok(RunBy::Server);
    };
    if let Some(column) = view.column_without_portable_binary(relation) {
        let table = displayed_relation_name(relation);
        return Err(Error::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!(
                "cannot COPY column \"{column}\" of distributed table \"{table}\" in binary format"
            ),
        )
        .detail("Its binary format contains OIDs, which are different on the table's node.")
        .hint("Use the text or CSV format, or omit the column."));
    }
    let data = match view.server_side() {
        None => Data::Client,
        Some((path, false)) => Data::File(path),
        Some((command, true)) => Data::Program(command),
    };
    copy::run(&CopyStatement {
        node,
        relation,
        namespace,
        sql: statement.text(),
        offset: statement.characters_before(),
        from: view.is_from(),
        data,
    })
    .map(RunBy::Extension)
}

/// A default that uses a tenant's sequence would use the shell's.
fn check_defaults(view: &CopyView, relation: Oid) -> Result<()> {
    let refused = |detail: String| {
        Error::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!(
                "cannot COPY into table \"{}\" with its default values",
                displayed_relation_name(relation)
            ),
        )
        .detail(detail)
        .hint("List all columns in COPY, or use a sequence in a plain schema.")
    };
    let defaults = view.defaults::<KnownFunctions>(relation);
    for used in &defaults.data_arguments {
        if remote(relation_namespace(used.oid))?.is_some() {
            let sequence = displayed_relation_name(used.oid);
            return Err(refused(format!("A column default uses {sequence}, which is on a node.")));
        }
    }
    match defaults.names_at_run_time() {
        true => Err(refused(
            "A column default computes the name of a sequence, which may be on a node.".into(),
        )),
        false => Ok(()),
    }
}

/// Runs CALL for a procedure on a node.
pub fn call(view: &CallView, command: &pg::tree::statement::Statement) -> Result<RunBy> {
    catalog::gate::admit()?;
    if !catalog::in_use() {
        return Ok(RunBy::Server);
    }
    let Some(namespace) = remote(function_namespace(view.procedure()))? else {
        return Ok(RunBy::Server);
    };
    let uses = view.param_uses();
    let own_text = params_are_numbered(command.source(), &uses);
    if !own_text && view.has_out_arguments() {
        return Err(Error::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "cannot CALL a procedure with OUT or INOUT arguments on a node from within a procedural language",
        )
        .hint("Call it from the client, or make it a function."));
    }
    let sql = if own_text { command.text().to_vec() } else { view.deparsed() };
    let mut params = view.params(uses.iter().map(|p| p.id).max().unwrap_or(0));
    let Attempt::Done(node) = super::locate_or_replan(std::iter::once(namespace))? else {
        return Ok(RunBy::Server); // the schema has just been undistributed
    };
    super::note_write(namespace);
    let remote = RemoteStatement {
        node,
        sql: &sql,
        offset: own_text.then_some(command.characters_before()),
        mode: None,
        writes: true,
        unsettles: true,
        reuse: false,
        columns: view.columns(),
    };
    let mut output = view.output()?;
    run(&remote, &mut params, &mut |row| match &mut output {
        Some(output) => output.row(row),
        None => Ok(()),
    })?;
    if let Some(output) = output {
        output.finish();
    }
    Ok(RunBy::Extension(()))
}
