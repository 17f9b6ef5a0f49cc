//! Settings of replicas.

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

pub use crate::pg::session::setting_types::ReadFrom;

/// Whether a commit waits until the replicas have applied it.
pub static SYNCHRONOUS_REPLICAS: GucSetting<bool> = GucSetting::<bool>::new(false);
/// Maximum time of that wait, in milliseconds.
pub static REPLICA_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(2000);
/// Where read-only statements run.
pub static READ_FROM: GucSetting<ReadFrom> = GucSetting::<ReadFrom>::new(ReadFrom::Primary);
/// Maximum lag of a replica that is read from, in milliseconds.
pub static MAX_REPLICA_LAG: GucSetting<i32> = GucSetting::<i32>::new(10_000);
/// Interval between checks of the replicas' progress, in milliseconds.
pub static REPLICA_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(1000);

/// Defines the settings.
pub(super) fn register() {
    GucRegistry::define_bool_guc(
        c"helios.synchronous_replicas",
        c"Makes a commit wait until the replicas of what it changed have applied it.",
        c"A replica that takes longer than helios.replica_timeout is not waited for again until it is in sync.",
        &SYNCHRONOUS_REPLICAS,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"helios.read_from",
        c"Selects where read-only statements run.",
        c"primary uses the primary only; any also uses replicas within helios.max_replica_lag, for statements that are alone in their transaction.",
        &READ_FROM,
        GucContext::Userset,
        GucFlags::default(),
    );
    let time = |name, about, long, setting, least, context| {
        let (most, flags) = (i32::MAX, GucFlags::UNIT_MS);
        GucRegistry::define_int_guc(name, about, long, setting, least, most, context, flags);
    };
    time(
        c"helios.replica_timeout",
        c"Maximum time for which a commit waits for replicas.",
        c"",
        &REPLICA_TIMEOUT,
        1,
        GucContext::Userset,
    );
    time(
        c"helios.max_replica_lag",
        c"Maximum lag of a replica that statements read from.",
        c"The lag is measured every helios.replica_interval.",
        &MAX_REPLICA_LAG,
        1,
        GucContext::Userset,
    );
    time(
        c"helios.replica_interval",
        c"Interval between measurements of the lag of replicas.",
        c"",
        &REPLICA_INTERVAL,
        20,
        GucContext::Sighup,
    );
}
