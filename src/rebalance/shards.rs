//! Splits shards, merges them, and assigns slots to nodes.

use crate::catalog::{self, Node, NodeId, Resident, Shard, ShardId};
use crate::error::{Error, Result};
use crate::pg::ipc::wait::sleep;
use crate::stats;
use helios_core::shard::{Bounds, Cut, Dimension, Rectangle, Weighed};
use helios_core::slot::SLOTS;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::collections::HashMap;
use std::time::Duration;

/// Lock timeout for a shard: the longest time for which statements may have to queue behind the request.
const STALL: Duration = Duration::from_millis(500);
/// Attempts to lock shards, with increasing pauses between them.
const ATTEMPTS: u32 = 4;

/// The point at which a shard is split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// The midpoint of its bounds.
    Midpoint,
    /// The point at which both parts have about the same load.
    Load,
    /// The point at which both parts have about the same number of bytes.
    Bytes,
    /// Before this slot or key.
    Point(Cut),
}

impl At {
    /// Parses `midpoint`, `load`, `bytes`, `slot:n`, `key:k`, or a bare slot or key, depending on the shard's bounds.
    ///
    /// Errors: 22023.
    pub fn parse(text: &str, shard: &Rectangle) -> Result<Self> {
        let slot = |text: &str| {
            let slot = text.parse().ok().filter(|slot| *slot < SLOTS);
            slot.map(Cut::Slot).ok_or_else(|| {
                invalid(format!("invalid slot \"{text}\""))
                    .hint("Slot numbers range from 0 to 16383.")
            })
        };
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let cut = match (text, text.split_once(':')) {
            ("midpoint", _) => return Ok(Self::Midpoint),
            ("load", _) => return Ok(Self::Load),
            ("bytes", _) => return Ok(Self::Bytes),
            (_, Some(("slot", number))) => slot(number)?,
            (_, Some(("key", key))) => Cut::Key(key.to_owned()),
            _ if shard.dimension() == Dimension::Keys => Cut::Key(text.to_owned()),
            _ if is_number => slot(text)?,
            _ if shard.keys != Default::default() => Cut::Key(text.to_owned()),
            _ => {
                return Err(invalid(format!("invalid split point: \"{text}\"")).hint(
                    "Specify midpoint, load, bytes, a slot number (or slot:n), or a key (key:k).",
                ));
            }
        };
        Ok(Self::Point(cut))
    }
}

/// Outcome of a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    /// The shards were merged into this one.
    Done(ShardId),
    /// The smaller shard must be moved to the other's node first.
    NeedsMove {
        /// The shard to be moved.
        moves: ShardId,
        /// The shard that stays.
        stays: ShardId,
        /// The node of the shard that stays.
        to: NodeId,
    },
}

pub(super) fn invalid(message: String) -> Error {
    Error::new(Code::ERRCODE_INVALID_PARAMETER_VALUE, message)
}

/// Splits a shard; returns the new shard's ID. The old shard keeps the part with more schemas, or the lower one if both
/// have the same number. No schema changes its node.
///
/// Errors: 42704 unknown shard, 42809 dedicated shard, 55006 shard is being moved, 22023 a part would be empty, 55000
/// no split point can be computed, 55P03 shard is in use for too long.
pub fn split(id: ShardId, at: impl Fn(&Rectangle) -> Result<At>) -> Result<ShardId> {
    pooled(&catalog::shard(id)?, "split")?;
    lock(&[id])?;
    let shard = catalog::shard(id)?;
    refuse_moving(&shard, "split")?;
    let bounds = pooled(&shard, "split")?;
    let residents = catalog::residents(id)?;
    let cut = find_cut(&shard, bounds, &at(bounds)?, &residents)?;
    let (low, high) = bounds.split(&cut).ok_or_else(|| outside(&shard, bounds, &cut))?;
    cut_shard(id, low, high, &residents)
}

fn cut_shard(
    id: ShardId,
    low: Rectangle,
    high: Rectangle,
    residents: &[Resident],
) -> Result<ShardId> {
    let names = |bounds: &Rectangle| -> Vec<&str> {
        let inside = residents.iter().filter(|resident| resident.is_in(bounds));
        inside.map(|resident| resident.name.as_str()).collect()
    };
    let (below, above) = (names(&low), names(&high));
    match below.len() >= above.len() {
        true => catalog::split_shard(id, &low, &high, &above),
        false => catalog::split_shard(id, &high, &low, &below),
    }
}

fn find_cut(shard: &Shard, bounds: &Rectangle, at: &At, residents: &[Resident]) -> Result<Cut> {
    let weights: HashMap<String, f64> = match at {
        At::Midpoint => {
            return bounds.midpoint().ok_or_else(|| {
                unsplittable(shard, "There is no slot or key between its bounds.".into())
                    .hint("Specify a split point as slot:n or key:k.")
            });
        }
        At::Point(cut) => return Ok(cut.clone()),
        At::Load => stats::loads()?,
        At::Bytes => stats::sizes(Some(&[shard.node]))?,
    };
    let weighed: Vec<_> = residents
        .iter()
        .map(|resident| Weighed {
            slot: resident.slot(),
            key: &resident.key,
            weight: weights.get(&resident.name).copied().unwrap_or(0.0),
        })
        .collect();
    bounds.median(&weighed).ok_or_else(|| {
        let what = if *at == At::Load { "load" } else { "bytes" };
        let detail = match weighed.iter().filter(|item| item.weight > 0.0).count() {
            0 => format!(
                "No {what} has been measured for any of its {} schemas yet.",
                residents.len()
            ),
            _ => format!("All of its {what} belong to a single key."),
        };
        unsplittable(shard, detail).hint("Split it at its midpoint, or specify a split point.")
    })
}

fn unsplittable(shard: &Shard, detail: String) -> Error {
    Error::new(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("cannot split shard {}", shard.id.0),
    )
    .detail(detail)
}

fn outside(shard: &Shard, bounds: &Rectangle, cut: &Cut) -> Error {
    let point = match cut {
        Cut::Slot(slot) => format!("slot {slot}"),
        Cut::Key(key) => format!("key \"{key}\""),
    };
    invalid(format!("cannot split shard {} at {point}", shard.id.0))
        .detail(format!("The shard covers {}.", describe(bounds)))
        .hint("The split point is the first slot or key of the upper part; neither part may be empty.")
}

/// Formats bounds for messages.
fn describe(bounds: &Rectangle) -> String {
    let slots = format!("slots {} to {}", bounds.slots.start, bounds.slots.end - 1);
    match (&bounds.keys.from, &bounds.keys.to) {
        (None, None) => slots,
        (Some(from), None) => format!("{slots} with keys from \"{from}\""),
        (None, Some(to)) => format!("{slots} with keys before \"{to}\""),
        (Some(from), Some(to)) => {
            format!("{slots} with keys from \"{from}\" up to but not including \"{to}\"")
        }
    }
}

/// Merges two adjacent shards. If both are on the same node, that is done at once: the one with more schemas remains.
///
/// Errors: 42704, 42809, 55006, 55P03 as for [`split`]; 22023 if they are not adjacent.
pub fn merge(one: ShardId, other: ShardId) -> Result<Merged> {
    if one == other {
        return Err(invalid(format!("cannot merge shard {} with itself", one.0))
            .hint("Specify two adjacent shards."));
    }
    [one, other].into_iter().try_for_each(|id| joinable(id).map(|_| ()))?;
    lock(&[one, other])?;
    let (a, b) = (joinable(one)?, joinable(other)?);
    let (a_bounds, b_bounds) = (pooled(&a, "merge")?, pooled(&b, "merge")?);
    let joined = a_bounds.join(b_bounds).ok_or_else(|| {
        invalid(format!("cannot merge shards {} and {}", a.id.0, b.id.0))
            .detail(format!(
                "The shards are not adjacent: shard {} covers {}, shard {} covers {}.",
                a.id.0,
                describe(a_bounds),
                b.id.0,
                describe(b_bounds)
            ))
            .hint("Merge shards that share a complete border; the view helios_slots lists shards in order.")
    })?;
    let (stays, goes) = if a.schemas >= b.schemas { (&a, &b) } else { (&b, &a) };
    if stays.node != goes.node {
        if goes.schemas > 0 {
            let (stays, moves) = by_size(stays, goes)?;
            return Ok(Merged::NeedsMove { moves: moves.id, stays: stays.id, to: stays.node });
        }
        catalog::move_shards(&[(goes.id, stays.node)])?;
    }
    catalog::join_shards(stays.id, goes.id, &joined)?;
    Ok(Merged::Done(stays.id))
}

/// The shard that stays and the one that moves, which has fewer bytes; the second if they are equal.
pub(super) fn by_size<'a>(one: &'a Shard, other: &'a Shard) -> Result<(&'a Shard, &'a Shard)> {
    let sizes = stats::sizes(Some(&[one.node, other.node]))?;
    let bytes = |shard: &Shard| -> Result<f64> {
        let residents = catalog::residents(shard.id)?;
        Ok(residents.iter().filter_map(|resident| sizes.get(&resident.name)).sum())
    };
    Ok(if bytes(one)? >= bytes(other)? { (one, other) } else { (other, one) })
}

fn joinable(id: ShardId) -> Result<Shard> {
    let shard = catalog::shard(id)?;
    refuse_moving(&shard, "merge")?;
    pooled(&shard, "merge")?;
    Ok(shard)
}

/// Splits shards at the borders of a range of slots (first to last, inclusive) and assigns the range to the node. Empty
/// shards are reassigned at once; returns the shards that must be moved.
///
/// Errors: 22023 slots that do not exist, 55006, 55P03 as for [`split`].
pub fn assign(from: i32, to: i32, node: &Node) -> Result<Vec<ShardId>> {
    let slot = |slot: i32| {
        u16::try_from(slot).ok().filter(|slot| *slot < SLOTS).ok_or_else(|| {
            invalid(format!("slot {slot} does not exist"))
                .hint("Slot numbers range from 0 to 16383.")
        })
    };
    let (first, last) = (slot(from)?, slot(to)?);
    if first > last {
        return Err(invalid(format!("invalid slot range: {from} to {to}"))
            .hint("The first slot must not be greater than the last one."));
    }
    let slots = first..last + 1;
    let concerned = |shard: &Shard| {
        shard.rectangle().is_some_and(|r| r.slots.start < slots.end && slots.start < r.slots.end)
    };
    let wanted = || -> Result<Vec<Shard>> {
        Ok(catalog::shards()?.into_iter().filter(concerned).filter(|s| s.node != node.id).collect())
    };
    lock(&wanted()?.iter().map(|shard| shard.id).collect::<Vec<_>>())?;
    for shard in wanted()? {
        refuse_moving(&shard, "assign slots of")?;
        // Cut the upper border first, so that the part still to be cut keeps the shard's ID.
        let bounds = pooled(&shard, "split")?;
        let mut part = (shard.id, bounds.clone());
        for cut in bounds.borders(&slots).into_iter().rev() {
            part = cut_off(part.0, &part.1, &cut)?;
        }
    }
    let (empty, full): (Vec<_>, Vec<_>) = wanted()?.into_iter().partition(|s| s.schemas == 0);
    let moves: Vec<_> = empty.iter().map(|shard| (shard.id, node.id)).collect();
    catalog::move_shards(&moves)?;
    Ok(full.iter().map(|shard| shard.id).collect())
}

/// Splits a shard; returns the lower part.
fn cut_off(id: ShardId, bounds: &Rectangle, cut: &Cut) -> Result<(ShardId, Rectangle)> {
    let shard = catalog::shard(id)?;
    let (low, high) = bounds.split(cut).ok_or_else(|| outside(&shard, bounds, cut))?;
    let new = cut_shard(id, low.clone(), high, &catalog::residents(id)?)?;
    let keeps_low = pooled(&catalog::shard(id)?, "split")? == &low;
    Ok((if keeps_low { id } else { new }, low))
}

/// Locks shards until the end of the transaction. Concurrent statements never wait long: 55P03 after several attempts.
pub(super) fn lock(shards: &[ShardId]) -> Result<()> {
    let mut pause = Duration::from_millis(100);
    for attempt in 1..=ATTEMPTS {
        if catalog::lock_shards_within(shards, STALL)? {
            return Ok(());
        }
        if attempt < ATTEMPTS {
            sleep(pause);
            pause *= 2;
        }
    }
    let names: Vec<String> = shards.iter().map(|shard| shard.0.to_string()).collect();
    Err(Error::new(
        Code::ERRCODE_LOCK_NOT_AVAILABLE,
        format!("could not lock shard {}", names.join(", ")),
    )
    .detail("Open transactions are using the shard.")
    .hint("Try again when these transactions have ended; they hold locks of locktype object in pg_locks."))
}

pub(super) fn refuse_moving(shard: &Shard, what: &str) -> Result<()> {
    if !shard.is_moving {
        return Ok(());
    }
    if shard.replicas > 1 {
        return Err(Error::new(
            Code::ERRCODE_OBJECT_IN_USE,
            format!("cannot {what} shard {} while it has replicas on other nodes", shard.id.0),
        )
        .hint(format!(
            "Remove them with SELECT helios_set_replicas({}, 1), and create them again after the change.",
            shard.id.0
        )));
    }
    Err(Error::new(
        Code::ERRCODE_OBJECT_IN_USE,
        format!("cannot {what} shard {} while it is being moved", shard.id.0),
    )
    .detail("A migration of the shard or of one of its schemas is in progress.")
    .hint("Wait for the migration with helios_wait_for_migration(), or cancel it with helios_cancel_migration()."))
}

fn pooled<'a>(shard: &'a Shard, what: &str) -> Result<&'a Rectangle> {
    match &shard.bounds {
        Bounds::Pooled(rectangle) => Ok(rectangle),
        Bounds::Dedicated => Err(Error::new(
            Code::ERRCODE_WRONG_OBJECT_TYPE,
            format!("cannot {what} shard {}", shard.id.0),
        )
        .detail("It is a dedicated shard, which holds a single schema or schemas that are colocated.")
        .hint("Only pooled shards can be split or merged. To move a schema, use helios_migrate_schema().")),
    }
}
