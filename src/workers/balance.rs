//! Periodic computation of loads, measurement of sizes, and balancing.

use super::log::log;
use crate::error::Result;
use crate::pg::error::notify;
use crate::pg::ipc::worker;
use crate::rebalance::{self, Automatic};
use crate::settings;
use crate::stats;
use helios_core::rebalance::Adjustment;
use pgrx::PgLogLevel;
use pgrx::guc::GucSetting;
use std::time::{Duration, Instant};

/// Interval between computations of the loads.
const LOADS: Duration = Duration::from_secs(10);
/// Interval between checks for drains, new nodes, and pending merges.
const EVENTS: Duration = Duration::from_secs(5);

/// Times of the last actions.
#[derive(Default)]
pub struct Balance {
    automatic: Automatic,
    loads: Option<Instant>,
    sizes: Option<Instant>,
    events: Option<Instant>,
    plan: Option<Instant>,
}

/// Whether an action is due again; for the first time after one interval.
fn is_due(last: &mut Option<Instant>, interval: Duration) -> Option<Duration> {
    let Some(before) = *last else {
        *last = Some(Instant::now());
        return None;
    };
    let since = before.elapsed();
    (since >= interval).then(|| {
        *last = Some(Instant::now());
        since
    })
}

fn interval(setting: &GucSetting<i32>) -> Duration {
    Duration::from_millis(u64::try_from(setting.get()).unwrap_or(0))
}

/// Runs work in a separate transaction; failures are logged and retried next time.
fn attempt<R: Default>(work: impl FnOnce() -> Result<R>) -> R {
    worker::attempt(work).unwrap_or_else(|error| {
        notify(PgLogLevel::LOG, &error);
        R::default()
    })
}

impl Balance {
    /// Performs the actions that are due; returns the time until the next poll.
    pub fn poll(&mut self) -> Duration {
        if let Some(since) = is_due(&mut self.loads, LOADS) {
            attempt(|| {
                stats::refresh(since);
                Ok(())
            });
        }
        let sizes = interval(&settings::STATISTICS_INTERVAL);
        if !sizes.is_zero() && is_due(&mut self.sizes, sizes).is_some() {
            self.measure();
        }
        let events = is_due(&mut self.events, EVENTS).is_some();
        if events {
            for (left, gone) in attempt(rebalance::finish_merges) {
                log(format!("merged shard {} into shard {}", gone.0, left.0));
            }
        }
        let wanted = events && attempt(|| self.automatic.is_wanted());
        if is_due(&mut self.plan, interval(&settings::REBALANCE_INTERVAL)).is_some() || wanted {
            let started = attempt(|| self.automatic.balance());
            if !started.is_empty() {
                log(format!("started moving {} shards to balance the nodes", started.len()));
            }
        }
        EVENTS
    }

    /// Measures sizes, and splits and merges shards that have grown or shrunk.
    fn measure(&mut self) {
        for (_, error) in attempt(|| Ok(stats::measure(None)?.silent)) {
            notify(PgLogLevel::LOG, &error);
        }
        for adjustment in attempt(|| self.automatic.due()) {
            let done = worker::attempt(|| Automatic::carry_out(adjustment));
            let what = match adjustment {
                Adjustment::Split(shard) => format!("split shard {shard}"),
                Adjustment::Merge(one, other) => format!("merge shards {one} and {other}"),
            };
            match done {
                Ok(()) => log(format!("automatic adjustment completed: {what}")),
                Err(error) => log(format!("could not {what}: {error}")),
            }
        }
    }
}
