//! Single values from a node: expressions of procedural languages, and sequences that only a function call names.

use super::remote_statement::{RemoteStatement, run};
use crate::catalog::{self, NodeId, ShardId};
use crate::error::{Error, Result};
use crate::pg::catalog::names::{relation_local_name, relation_namespace};
use crate::pg::exec::custom_scan::Attempt;
use crate::pg::exec::evaluate::Evaluation;
use crate::pg::exec::redirected_calls::{RelationCall, SequenceCall};
use crate::pg::session::namespace_name;
use crate::transaction;
use helios_core::{frames, quote};
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode};
use std::cell::Cell;

thread_local! {
    /// The shard that is locked while one of its sequences is used here.
    static HELD: Cell<Option<ShardId>> = const { Cell::new(None) };
}

/// Whether this namespace is local, and stays so until [`done`] is called: no longer than that, because a transaction
/// may call nextval() before and after it has locked tables, and the fence takes both locks.
fn stays_here(namespace: Oid) -> Result<bool> {
    HELD.set(None);
    loop {
        match catalog::any_placement(namespace)? {
            None => return Ok(true),
            Some(placement) if placement.node != NodeId::LOCAL => {
                done();
                return Ok(false);
            }
            Some(placement) if HELD.get() == Some(placement.shard) => return Ok(true),
            Some(placement) => {
                done();
                catalog::lock_shard_shared(placement.shard);
                HELD.set(Some(placement.shard));
            }
        }
    }
}

/// Unlocks the shard that was locked for a call that ran here.
pub fn done() {
    if let Some(shard) = HELD.take() {
        catalog::unlock_shard_shared(shard);
    }
}

/// Evaluates an expression on its node.
pub fn evaluate(mut evaluation: Evaluation) -> Result<Option<Vec<u8>>> {
    let node = super::locate(evaluation.namespaces.iter().copied())?;
    if evaluation.writes {
        evaluation.namespaces.iter().take(1).copied().for_each(super::note_write);
    }
    let remote = RemoteStatement {
        node,
        sql: &evaluation.sql,
        offset: None,
        mode: None,
        writes: evaluation.writes,
        unsettles: evaluation.writes,
        reuse: true,
        columns: evaluation.columns,
    };
    let mut value = None;
    run(&remote, &mut evaluation.params, &mut |row| {
        let first = frames::columns(row).ok().and_then(|mut columns| columns.next());
        value = first.and_then(|column| column.ok().flatten().map(<[u8]>::to_vec));
        Ok(())
    })?;
    Ok(value)
}

/// A relation's qualified name, quoted, as a string literal.
fn name_as_literal(namespace: Oid, relation: Oid) -> String {
    quote::literal(&quote::qualified(
        &namespace_name(namespace).unwrap_or_default(),
        &relation_local_name(relation).unwrap_or_default(),
    ))
}

/// Calls a sequence function on the sequence's node; `None` if the sequence is local.
pub fn sequence(relation: Oid, call: SequenceCall) -> Result<Option<i64>> {
    if !catalog::in_use() {
        return Ok(None);
    }
    let Some(namespace) = relation_namespace(relation) else { return Ok(None) };
    if stays_here(namespace)? {
        if call == SequenceCall::Advance {
            super::note_local_sequence();
        }
        return Ok(None);
    }
    let name = name_as_literal(namespace, relation);
    let sql = match call {
        SequenceCall::Advance => format!("SELECT pg_catalog.nextval({name})"),
        SequenceCall::Current => format!("SELECT pg_catalog.currval({name})"),
        SequenceCall::Set(value, None) => format!("SELECT pg_catalog.setval({name}, {value})"),
        SequenceCall::Set(value, Some(called)) => {
            format!("SELECT pg_catalog.setval({name}, {value}, {called})")
        }
    };
    let Attempt::Done(node) = super::locate_or_replan(std::iter::once(namespace))? else {
        return Ok(None); // it has just been undistributed
    };
    // The others leave lastval() as it is.
    if call == SequenceCall::Advance {
        super::note_write(namespace);
    }
    let rows = transaction::query(node, sql.as_bytes(), super::mode())?;
    let value = rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok());
    value.map(Some).ok_or_else(|| {
        Error::new(
            PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
            format!("no value received from a node for sequence {name}"),
        )
    })
}

/// Gets the size of a relation's files, or a sequence's last value, from its node; `None` if the relation is local.
pub fn relation_data(relation: Oid, call: RelationCall) -> Result<Option<Option<i64>>> {
    if !catalog::in_use() {
        return Ok(None);
    }
    let Some(namespace) = relation_namespace(relation) else { return Ok(None) };
    if catalog::placement(namespace)?.is_none() {
        return Ok(None);
    }
    // It may have been dropped there after it was found here.
    let there = format!("pg_catalog.to_regclass({})", name_as_literal(namespace, relation));
    let sql = match call {
        RelationCall::Size(fork) => {
            format!("SELECT pg_catalog.pg_relation_size({there}, {})", quote::literal(&fork))
        }
        RelationCall::TotalSize => format!("SELECT pg_catalog.pg_total_relation_size({there})"),
        RelationCall::TableSize => format!("SELECT pg_catalog.pg_table_size({there})"),
        RelationCall::IndexesSize => format!("SELECT pg_catalog.pg_indexes_size({there})"),
        RelationCall::LastValue => format!("SELECT pg_catalog.pg_sequence_last_value({there})"),
    };
    let Attempt::Done(node) = super::locate_or_replan(std::iter::once(namespace))? else {
        return Ok(None); // it has just been undistributed
    };
    let rows = transaction::query(node, sql.as_bytes(), super::mode())?;
    Ok(Some(rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok())))
}
