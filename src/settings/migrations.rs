//! Settings of migrations.

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::ffi::CStr;

/// Maximum time for which a fence makes writers wait, in milliseconds.
pub static MAX_SWITCH_STALL: GucSetting<i32> = GucSetting::<i32>::new(1000);
/// Time after which a switch that cannot get its locks reports what it waits for and retries less often, in
/// milliseconds.
pub static SWITCH_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(60_000);
/// Time after a switch during which it can be rolled back, in seconds.
pub static ROLLBACK_WINDOW: GucSetting<i32> = GucSetting::<i32>::new(600);
/// Maximum age of a verification that a switch relies on, in seconds.
pub static VERIFY_MAX_AGE: GucSetting<i32> = GucSetting::<i32>::new(600);
/// Maximum number of rows per second that a migration copies; 0 for no limit.
pub static MIGRATION_RATE: GucSetting<i32> = GucSetting::<i32>::new(0);
/// Number of sessions that copy rows in parallel in one migration.
pub static MIGRATION_STREAMS: GucSetting<i32> = GucSetting::<i32>::new(2);
/// Maximum number of migrations that copy rows at the same time.
pub static MAX_CONCURRENT_MIGRATIONS: GucSetting<i32> = GucSetting::<i32>::new(5);

/// Name, description, variable, minimum and maximum, unit.
type Number = (&'static CStr, &'static CStr, &'static GucSetting<i32>, (i32, i32), GucFlags);

/// Defines the settings.
pub(super) fn register() {
    let none = GucFlags::default();
    let (ms, s) = (GucFlags::UNIT_MS, GucFlags::UNIT_S);
    let numbers: [Number; 7] = [
        (
            c"helios.max_switch_stall",
            c"Maximum time for which a migration makes writers wait.",
            &MAX_SWITCH_STALL,
            (20, 60_000),
            ms,
        ),
        (
            c"helios.switch_timeout",
            c"Time after which a migration that cannot get its locks reports what it waits for and retries less often.",
            &SWITCH_TIMEOUT,
            (0, i32::MAX),
            ms,
        ),
        (
            c"helios.rollback_window",
            c"Time after a switch during which it can be rolled back.",
            &ROLLBACK_WINDOW,
            (0, i32::MAX),
            s,
        ),
        (
            c"helios.verify_max_age",
            c"Maximum age of a verification that a switch relies on.",
            &VERIFY_MAX_AGE,
            (1, i32::MAX),
            s,
        ),
        (
            c"helios.migration_rate",
            c"Maximum number of rows that a migration copies per second; 0 means no limit.",
            &MIGRATION_RATE,
            (0, i32::MAX),
            none,
        ),
        (
            c"helios.migration_streams",
            c"Number of sessions that copy rows in parallel in one migration.",
            &MIGRATION_STREAMS,
            (1, 32),
            none,
        ),
        (
            c"helios.max_concurrent_migrations",
            c"Maximum number of migrations that copy rows at the same time.",
            &MAX_CONCURRENT_MIGRATIONS,
            (1, 64),
            none,
        ),
    ];
    for (name, description, setting, (least, most), flags) in numbers {
        let context = GucContext::Sighup;
        GucRegistry::define_int_guc(name, description, c"", setting, least, most, context, flags);
    }
}
