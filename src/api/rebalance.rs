//! Rebalancing: plans, their execution, drains, moves by pattern.

use super::given;
use crate::catalog;
use crate::error::Result;
use crate::pg::error::OrRaise;
use crate::rebalance::{self, Prepared};
use crate::transaction;
use helios_core::rebalance::Verdict;
use pgrx::prelude::*;

type Rows = TableIterator<
    'static,
    (
        name!(step, i32),
        name!(shard, i64),
        name!(source, String),
        name!(target, String),
        name!(schemas, i64),
        name!(bytes, i64),
        name!(load, f64),
        name!(seconds, f64),
        name!(fullest_before, f64),
        name!(fullest_after, f64),
        name!(waves, i32),
    ),
>;

/// The moves that `helios_rebalance` would start now.
#[pg_extern(sql = false)]
fn helios_rebalance_plan() -> Rows {
    let rows = || -> Result<Vec<_>> {
        let _path = transaction::SafePath::begin();
        let Prepared { plan, schemas, rate } = rebalance::prepare()?;
        let name = |id| catalog::node(catalog::NodeId(id)).map(|node| node.name.clone());
        let row = |(step, m): (i32, &helios_core::rebalance::Move)| {
            let count = schemas.get(&m.shard).copied().unwrap_or(0) as i64;
            let (source, target) = (name(m.from)?, name(m.to)?);
            let (before, after) = (m.before.fullest, m.after.fullest);
            let (bytes, seconds) = (m.bytes as i64, m.bytes / rate);
            let waves = i32::try_from(plan.waves).unwrap_or(i32::MAX);
            Ok((step, m.shard, source, target, count, bytes, m.load, seconds, before, after, waves))
        };
        (1..).zip(&plan.moves).map(row).collect()
    };
    TableIterator::new(rows().or_raise())
}

type Status = TableIterator<
    'static,
    (
        name!(verdict, &'static str),
        name!(moves, i64),
        name!(bytes, i64),
        name!(waves, i32),
        name!(fullest_before, f64),
        name!(fullest_after, f64),
        name!(deviation_before, f64),
        name!(deviation_after, f64),
        name!(too_big, Vec<i64>),
    ),
>;

/// Expected result of the current plan.
#[pg_extern(sql = false)]
fn helios_balance() -> Status {
    let status = || -> Result<_> {
        let _path = transaction::SafePath::begin();
        let plan = rebalance::prepare()?.plan;
        let verdict = match plan.verdict {
            Verdict::Worthwhile => "worthwhile",
            Verdict::TooLittle => "too little to gain",
            Verdict::Even => "even",
        };
        let bytes: f64 = plan.moves.iter().map(|m| m.bytes).sum();
        let (before, after) = (plan.before, plan.after);
        let waves = i32::try_from(plan.waves).unwrap_or(i32::MAX);
        let (full, deviation) = (before.fullest, before.deviation);
        let moves = plan.moves.len() as i64;
        let (full_after, deviation_after) = (after.fullest, after.deviation);
        Ok((
            verdict,
            moves,
            bytes as i64,
            waves,
            full,
            full_after,
            deviation,
            deviation_after,
            plan.too_big,
        ))
    };
    TableIterator::once(status().or_raise())
}

fn begin(start: impl FnOnce() -> Result<Vec<i64>>) -> SetOfIterator<'static, i64> {
    let run = || {
        let _path = transaction::SafePath::begin();
        start()
    };
    SetOfIterator::new(run().or_raise())
}

/// Starts the moves of the plan; returns their migrations.
#[pg_extern(sql = false)]
fn helios_rebalance() -> SetOfIterator<'static, i64> {
    begin(|| {
        catalog::lock_cluster_shared();
        Ok(rebalance::execute(&rebalance::prepare()?.plan))
    })
}

/// Starts draining a node; returns the migrations of the first wave.
#[pg_extern(sql = false)]
fn helios_drain_node(name: Option<&str>) -> SetOfIterator<'static, i64> {
    begin(|| rebalance::drain(given(name, "name")?))
}

/// Ends draining a node.
#[pg_extern(sql = false)]
fn helios_undrain_node(name: Option<&str>) {
    let undrain = || {
        let _path = transaction::SafePath::begin();
        rebalance::undrain(given(name, "name")?)
    };
    undrain().or_raise();
}

/// Starts moving all schemas on a node that match a pattern; returns their migrations.
#[pg_extern(sql = false)]
fn helios_migrate(
    source: Option<&str>,
    target: Option<&str>,
    pattern: Option<&str>,
) -> SetOfIterator<'static, i64> {
    begin(|| {
        let (source, target) = (given(source, "source")?, given(target, "target")?);
        catalog::lock_cluster_shared();
        let (source, target) = (catalog::node_named(source)?, catalog::node_named(target)?);
        rebalance::migrate_matching(&source, &target, given(pattern, "pattern")?)
    })
}
