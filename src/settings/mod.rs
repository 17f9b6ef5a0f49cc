//! The settings `helios.*`: what each means, its bounds and who may change it.

mod migrations;
mod replicas;

pub use migrations::{
    MAX_CONCURRENT_MIGRATIONS, MAX_SWITCH_STALL, MIGRATION_RATE, MIGRATION_STREAMS,
    ROLLBACK_WINDOW, SWITCH_TIMEOUT, VERIFY_MAX_AGE,
};
pub use replicas::{
    MAX_REPLICA_LAG, READ_FROM, REPLICA_INTERVAL, REPLICA_TIMEOUT, ReadFrom, SYNCHRONOUS_REPLICAS,
};

use crate::error::Error;
use crate::pg::session::session_settings;
use helios_core::quote;
use pgrx::PgLogLevel;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::ffi::CString;

pub use crate::pg::session::session_settings::MIGRATION_SESSION;
pub use crate::pg::session::setting_types::PlacementStrategy;

/// Whether `CREATE SCHEMA … DISTRIBUTED` is taught to the server's scanner.
pub static GRAMMAR: GucSetting<bool> = GucSetting::<bool>::new(true);
/// Whether a plain `CREATE SCHEMA` makes a distributed one.
pub static DISTRIBUTE_NEW_SCHEMAS: GucSetting<bool> = GucSetting::<bool>::new(false);
/// Schemas that `helios.distribute_new_schemas` leaves plain.
pub static NEVER_DISTRIBUTE: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"public"));
/// How the place of a new schema is found.
pub static PLACEMENT_STRATEGY: GucSetting<PlacementStrategy> =
    GucSetting::<PlacementStrategy>::new(PlacementStrategy::Hash);
/// Pooled shards that CREATE EXTENSION makes.
pub static INITIAL_SHARDS: GucSetting<i32> = GucSetting::<i32>::new(64);
/// Tokens of a node on the ring.
pub static VIRTUAL_NODES: GucSetting<i32> = GucSetting::<i32>::new(150);
/// Longest time for connecting to a node, in milliseconds.
pub static CONNECT_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(5000);
/// Whether a write that is alone in its transaction asks for that transaction's id.
pub static NAME_SINGLE_WRITES: GucSetting<bool> = GucSetting::<bool>::new(false);
/// Seconds without traffic before a connection to a node is probed; 0 is the system's.
pub static TCP_KEEPALIVES_IDLE: GucSetting<i32> = GucSetting::<i32>::new(30);
/// Seconds between two probes; 0 is the system's.
pub static TCP_KEEPALIVES_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(10);
/// Probes without an answer before a connection counts as lost; 0 is the system's.
pub static TCP_KEEPALIVES_COUNT: GucSetting<i32> = GucSetting::<i32>::new(3);
/// Milliseconds that what was sent to a node may stay without acknowledgement; 0 is the system's.
pub static TCP_USER_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(30_000);
/// Time between two looks of the launcher at what is left behind, in milliseconds.
pub static RECOVERY_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(5000);
/// Whether statements on nodes are counted for each schema.
pub static STATISTICS: GucSetting<bool> = GucSetting::<bool>::new(true);
/// Schemas of all databases that statements can be counted for.
pub static STATISTICS_SCHEMAS: GucSetting<i32> = GucSetting::<i32>::new(20_000);
/// Time between two questions of a database's worker for the sizes of schemas, in milliseconds.
pub static STATISTICS_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(60_000);
/// Whether the cluster balances itself.
pub static AUTO_REBALANCE: GucSetting<bool> = GucSetting::<bool>::new(false);
/// Time between two looks of a database's worker whether the nodes are evenly loaded, in milliseconds.
pub static REBALANCE_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(600_000);
/// For how long a shard carries much of a node's share before it is split, in milliseconds.
pub static SPLIT_DELAY: GucSetting<i32> = GucSetting::<i32>::new(300_000);
/// For how long neighbours carry little before they are merged, in milliseconds.
pub static MERGE_DELAY: GucSetting<i32> = GucSetting::<i32>::new(3_600_000);
/// Part of the cluster's bytes that one plan moves at most.
pub static MAX_MOVEMENT: GucSetting<f64> = GucSetting::<f64>::new(0.1);
/// By how much a plan has to reduce the greatest deviation from a fair share, in fair shares.
pub static MIN_IMPROVEMENT: GucSetting<f64> = GucSetting::<f64>::new(0.1);
/// Deviation from its fair share that a node may have before the cluster balances itself, in fair shares.
pub static MAX_VARIANCE: GucSetting<f64> = GucSetting::<f64>::new(0.3);
/// Time between two looks of a database's worker at its nodes, in milliseconds.
pub static HEALTH_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(5000);
/// File of passwords for sessions to nodes, in libpq's format.
pub static PASSFILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// Makes the settings known. Called once, from `_PG_init`.
pub fn register() {
    GucRegistry::define_bool_guc(
        c"helios.grammar",
        c"Teaches the server's scanner CREATE SCHEMA ... DISTRIBUTED.",
        c"Without it, helios_create_schema() and SET helios.distribute_new_schemas do the same.",
        &GRAMMAR,
        GucContext::Postmaster,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"helios.distribute_new_schemas",
        c"Makes every new schema a distributed one.",
        c"",
        &DISTRIBUTE_NEW_SCHEMAS,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"helios.never_distribute",
        c"Schemas that helios.distribute_new_schemas leaves plain, as a list of names.",
        c"",
        &NEVER_DISTRIBUTE,
        GucContext::Suset,
        GucFlags::default(),
    );
    session_settings::register();
    GucRegistry::define_bool_guc(
        c"helios.name_single_writes",
        c"Gives writing statements outside of transaction blocks a name to ask for when their reply is lost.",
        c"Nodes then answer such a statement in two parts, which costs some throughput where processors are busy.",
        &NAME_SINGLE_WRITES,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"helios.placement_strategy",
        c"Chooses the place of a new distributed schema.",
        c"hash, range and composite use the pooled shards; least_loaded makes a shard for each schema.",
        &PLACEMENT_STRATEGY,
        GucContext::Suset,
        GucFlags::default(),
    );
    define_numbers();
    define_tcp();
    migrations::register();
    define_statistics();
    define_balance();
    replicas::register();
    GucRegistry::define_string_guc(
        c"helios.passfile",
        c"File of passwords for sessions to nodes.",
        c"In the format of libpq's password file; empty means the one of the server's user.",
        &PASSFILE,
        GucContext::Sighup,
        GucFlags::SUPERUSER_ONLY,
    );
}

fn define_balance() {
    GucRegistry::define_bool_guc(
        c"helios.auto_rebalance",
        c"Moves, splits and merges shards by itself.",
        c"When nodes are unevenly loaded, were added, or drain. A draining node is emptied in any case.",
        &AUTO_REBALANCE,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"helios.rebalance_interval",
        c"Time between two looks whether the nodes are evenly loaded.",
        c"",
        &REBALANCE_INTERVAL,
        1000,
        86_400_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    let delay = |name, about, long, setting| {
        let (context, flags) = (GucContext::Sighup, GucFlags::UNIT_MS);
        GucRegistry::define_int_guc(name, about, long, setting, 0, 86_400_000, context, flags);
    };
    delay(
        c"helios.split_delay",
        c"For how long a shard carries 0.8 of a node's fair share before it is split by itself.",
        c"",
        &SPLIT_DELAY,
    );
    delay(
        c"helios.merge_delay",
        c"For how long neighbours together carry 0.3 of a mean shard before they are merged by themselves.",
        c"",
        &MERGE_DELAY,
    );
    let part = |name, about, long, setting, least, most| {
        let (context, flags) = (GucContext::Suset, GucFlags::default());
        GucRegistry::define_float_guc(name, about, long, setting, least, most, context, flags);
    };
    part(
        c"helios.max_movement",
        c"Part of the cluster's bytes that one plan of the rebalancer moves at most.",
        c"What needs more is done in waves.",
        &MAX_MOVEMENT,
        0.001,
        1.0,
    );
    part(
        c"helios.min_improvement",
        c"Reduction of the greatest deviation from a fair share that makes a plan worthwhile.",
        c"In fair shares: 0.1 means from 40 % above it to 30 %.",
        &MIN_IMPROVEMENT,
        0.0,
        10.0,
    );
    part(
        c"helios.max_variance",
        c"Deviation from its fair share that a node may have before the cluster balances itself.",
        c"In fair shares.",
        &MAX_VARIANCE,
        0.0,
        10.0,
    );
}

fn define_statistics() {
    GucRegistry::define_bool_guc(
        c"helios.statistics",
        c"Counts statements, rows, bytes, time and errors for each distributed schema.",
        c"",
        &STATISTICS,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"helios.statistics_schemas",
        c"Number of schemas that statements are counted for.",
        c"Of all databases together; each takes about 200 bytes of shared memory.",
        &STATISTICS_SCHEMAS,
        100,
        10_000_000,
        GucContext::Postmaster,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"helios.statistics_interval",
        c"Time between two measurements of the sizes of schemas.",
        c"Every node is asked once; 0 asks only when somebody wants to know.",
        &STATISTICS_INTERVAL,
        0,
        86_400_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
}

fn define_numbers() {
    GucRegistry::define_int_guc(
        c"helios.initial_shards",
        c"Number of pooled shards that CREATE EXTENSION helios makes.",
        c"",
        &INITIAL_SHARDS,
        1,
        16384,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"helios.virtual_nodes",
        c"Number of tokens that a node of weight 1 has on the ring.",
        c"",
        &VIRTUAL_NODES,
        1,
        10_000,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"helios.connect_timeout",
        c"Longest time for making a connection to a node.",
        c"",
        &CONNECT_TIMEOUT,
        1,
        600_000,
        GucContext::Userset,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"helios.recovery_interval",
        c"Time between two runs that finish prepared transactions left behind on nodes.",
        c"",
        &RECOVERY_INTERVAL,
        100,
        3_600_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"helios.health_interval",
        c"Time between two looks whether the nodes answer.",
        c"",
        &HEALTH_INTERVAL,
        100,
        3_600_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
}

/// The settings of connections to nodes, named like the server's own for those of clients. Their bounds are the kernel's.
fn define_tcp() {
    GucRegistry::define_int_guc(
        c"helios.tcp_keepalives_idle",
        c"Time between issuing TCP keepalives on connections to nodes.",
        c"0 uses the system default.",
        &TCP_KEEPALIVES_IDLE,
        0,
        32_767,
        GucContext::Userset,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"helios.tcp_keepalives_interval",
        c"Time between TCP keepalive retransmits on connections to nodes.",
        c"0 uses the system default.",
        &TCP_KEEPALIVES_INTERVAL,
        0,
        32_767,
        GucContext::Userset,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"helios.tcp_keepalives_count",
        c"Maximum number of TCP keepalive retransmits on connections to nodes.",
        c"0 uses the system default.",
        &TCP_KEEPALIVES_COUNT,
        0,
        127,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"helios.tcp_user_timeout",
        c"Longest time that data sent to a node may stay unacknowledged.",
        c"0 uses the system default.",
        &TCP_USER_TIMEOUT,
        0,
        i32::MAX,
        GucContext::Userset,
        GucFlags::UNIT_MS,
    );
}

/// Whether `helios.distribute_new_schemas` makes a schema of this name a distributed one.
pub fn distributes_new(schema: &str) -> bool {
    let never = NEVER_DISTRIBUTE.get();
    let never = never.as_deref().map(|list| list.to_string_lossy()).unwrap_or_default();
    DISTRIBUTE_NEW_SCHEMAS.get() && !quote::identifiers(&never).iter().any(|name| name == schema)
}

/// Teaches the scanner the clause, if the setting allows it. If it is not done, the server starts with one WARNING.
pub fn install_grammar() {
    let installed = match GRAMMAR.get() {
        true => crate::pg::hooks::scanner::install(),
        false => Err("helios.grammar is off."),
    };
    if let Err(reason) = installed {
        let warning = Error::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "CREATE SCHEMA ... DISTRIBUTED is not available on this server",
        )
        .detail(reason)
        .hint("Use helios_create_schema(), or SET helios.distribute_new_schemas = on.");
        crate::pg::error::notify(PgLogLevel::WARNING, &warning);
    }
}
