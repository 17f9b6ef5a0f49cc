//! Waits, on the primary's node, for replicas to apply changes.

use crate::catalog;
use crate::error::Result;
use crate::pg::ipc::wait;
use crate::pg::session::{self, sql};
use std::time::{Duration, Instant};

/// Initial and maximum pause between two polls.
const PAUSES: (Duration, Duration) = (Duration::from_micros(500), Duration::from_millis(20));

/// Waits until replicas have applied this session's last commit; returns the slots of those that have not when the
/// timeout expires. Callable by everyone: it reveals only whether slots have passed the caller's own commit.
pub fn wait_for_replicas(mut slots: Vec<String>, timeout: Duration) -> Result<Vec<String>> {
    // The position that a subscription's worker reports as replayed is what it has applied.
    let late = "SELECT s AS slot FROM pg_catalog.unnest($1) AS s
                 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_get_replication_slots() AS r
                                          JOIN pg_catalog.pg_stat_get_wal_senders() AS w ON w.pid = r.active_pid
                                    WHERE r.slot_name = s::name AND w.replay_lsn >= $2::pg_catalog.pg_lsn)";
    let place = session::last_commit();
    let place = format!("{:X}/{:X}", place >> 32, place & 0xFFFF_FFFF);
    let until = Instant::now() + timeout;
    let mut pause = PAUSES.0;
    loop {
        let arguments = [slots.clone().into(), place.as_str().into()];
        slots = catalog::as_owner(|| sql::read_rows(late, &arguments, |row| row.value("slot")))?;
        if slots.is_empty() || Instant::now() >= until {
            return Ok(slots);
        }
        wait::for_any(&[], pause);
        pause = (pause * 3 / 2).min(PAUSES.1);
    }
}
