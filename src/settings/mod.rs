//! The settings `helios.*`: meaning, bounds and context.

mod migrations;
mod replicas;
pub mod session;

pub use migrations::{
    MAX_CONCURRENT_MIGRATIONS, MAX_SWITCH_STALL, MIGRATION_RATE, MIGRATION_STREAMS,
    ROLLBACK_WINDOW, SWITCH_TIMEOUT, VERIFY_MAX_AGE,
};
pub use replicas::{
    MAX_REPLICA_LAG, READ_FROM, REPLICA_INTERVAL, REPLICA_TIMEOUT, ReadFrom, SYNCHRONOUS_REPLICAS,
};
pub use session::MIGRATION_SESSION;

use crate::error::Error;
use helios_core::quote;
use pgrx::PgLogLevel;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::ffi::CString;

pub use crate::pg::session::setting_types::PlacementStrategy;

/// Whether the server's scanner is extended by `CREATE SCHEMA … DISTRIBUTED`.
pub static GRAMMAR: GucSetting<bool> = GucSetting::<bool>::new(true);
/// Whether a plain `CREATE SCHEMA` creates a distributed schema.
pub static DISTRIBUTE_NEW_SCHEMAS: GucSetting<bool> = GucSetting::<bool>::new(false);
/// Schemas to which `helios.distribute_new_schemas` does not apply.
pub static NEVER_DISTRIBUTE: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"public"));
/// Whether tables on this server become reference tables when tables on nodes get foreign keys to them.
pub static AUTO_REFERENCE_TABLES: GucSetting<bool> = GucSetting::<bool>::new(true);
/// Maximum size of a table that becomes a reference table by itself, in kB; -1 for no limit.
pub static MAX_AUTO_REFERENCE_TABLE_SIZE: GucSetting<i32> = GucSetting::<i32>::new(64 << 10);
/// How new schemas are placed.
pub static PLACEMENT_STRATEGY: GucSetting<PlacementStrategy> =
    GucSetting::<PlacementStrategy>::new(PlacementStrategy::Hash);
/// Number of pooled shards created by CREATE EXTENSION.
pub static INITIAL_SHARDS: GucSetting<i32> = GucSetting::<i32>::new(64);
/// Tokens of a node on the ring.
pub static VIRTUAL_NODES: GucSetting<i32> = GucSetting::<i32>::new(150);
/// Maximum time for connecting to a node, in milliseconds.
pub static CONNECT_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(5000);
/// Whether a write that is alone in its transaction queries the transaction ID.
pub static NAME_SINGLE_WRITES: GucSetting<bool> = GucSetting::<bool>::new(false);
/// Idle time before a connection to a node is probed, in seconds; 0 for the system default.
pub static TCP_KEEPALIVES_IDLE: GucSetting<i32> = GucSetting::<i32>::new(30);
/// Interval between two probes, in seconds; 0 for the system default.
pub static TCP_KEEPALIVES_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(10);
/// Number of unanswered probes after which a connection counts as lost; 0 for the system default.
pub static TCP_KEEPALIVES_COUNT: GucSetting<i32> = GucSetting::<i32>::new(3);
/// Time for which sent data may remain unacknowledged, in milliseconds; 0 for the system default.
pub static TCP_USER_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(30_000);
/// Interval between recovery runs, in milliseconds.
pub static RECOVERY_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(5000);
/// Whether statements on nodes are counted for each schema.
pub static STATISTICS: GucSetting<bool> = GucSetting::<bool>::new(true);
/// Maximum number of schemas in all databases for which statements are counted.
pub static STATISTICS_SCHEMAS: GucSetting<i32> = GucSetting::<i32>::new(20_000);
/// Interval between measurements of schema sizes by a database's worker, in milliseconds.
pub static STATISTICS_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(60_000);
/// Whether the cluster balances itself.
pub static AUTO_REBALANCE: GucSetting<bool> = GucSetting::<bool>::new(false);
/// Interval between checks of the balance by a database's worker, in milliseconds.
pub static REBALANCE_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(600_000);
/// For how long a shard must be hot before it is split, in milliseconds.
pub static SPLIT_DELAY: GucSetting<i32> = GucSetting::<i32>::new(300_000);
/// For how long adjacent shards must be cold before they are merged, in milliseconds.
pub static MERGE_DELAY: GucSetting<i32> = GucSetting::<i32>::new(3_600_000);
/// Maximum fraction of the cluster's bytes that one plan moves.
pub static MAX_MOVEMENT: GucSetting<f64> = GucSetting::<f64>::new(0.1);
/// Minimum reduction of the greatest deviation from a fair share by a plan, in fair shares.
pub static MIN_IMPROVEMENT: GucSetting<f64> = GucSetting::<f64>::new(0.1);
/// Deviation of a node from its fair share at which the cluster is rebalanced automatically, in fair shares.
pub static MAX_VARIANCE: GucSetting<f64> = GucSetting::<f64>::new(0.3);
/// Interval between health checks by a database's worker, in milliseconds.
pub static HEALTH_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(5000);
/// Rows that a plan must fetch from nodes before a node that is sent rows instead is considered.
pub static MIN_FETCHED_ROWS: GucSetting<i32> = GucSetting::<i32>::new(1000);
/// Rows that an INSERT must be sent before it is done by COPY.
pub static MIN_COPIED_ROWS: GucSetting<i32> = GucSetting::<i32>::new(10_000);
/// Password file for sessions with nodes, in libpq's format.
pub static PASSFILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// Defines the settings. Called once, from `_PG_init`.
pub fn register() {
    GucRegistry::define_bool_guc(
        c"helios.grammar",
        c"Enables the syntax CREATE SCHEMA ... DISTRIBUTED.",
        c"Without it, helios_create_schema() and SET helios.distribute_new_schemas do the same.",
        &GRAMMAR,
        GucContext::Postmaster,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"helios.distribute_new_schemas",
        c"Makes CREATE SCHEMA create distributed schemas.",
        c"",
        &DISTRIBUTE_NEW_SCHEMAS,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"helios.never_distribute",
        c"List of schemas that helios.distribute_new_schemas does not apply to.",
        c"",
        &NEVER_DISTRIBUTE,
        GucContext::Suset,
        GucFlags::default(),
    );
    define_reference_tables();
    session::register();
    GucRegistry::define_bool_guc(
        c"helios.name_single_writes",
        c"Names writing statements outside of transaction blocks, so that their outcome can be asked for if the reply is lost.",
        c"Nodes then answer such a statement in two parts, which costs some throughput on busy processors.",
        &NAME_SINGLE_WRITES,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"helios.placement_strategy",
        c"Selects how a new distributed schema is placed.",
        c"hash, range and composite use the pooled shards; least_loaded creates a dedicated shard for each schema.",
        &PLACEMENT_STRATEGY,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"helios.min_fetched_rows",
        c"Number of rows that a query over several places must fetch from nodes before a node is sent rows and runs it instead.",
        c"The node runs it if it has to be sent less than a tenth of them. 0 means that a node runs whatever it can; -1 that none does.",
        &MIN_FETCHED_ROWS,
        -1,
        i32::MAX,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"helios.min_copied_rows",
        c"Number of rows that INSERT must send to a node before they are sent by COPY.",
        c"The number is an estimate. 0 means that COPY is used wherever it does the same; -1 that it never is.",
        &MIN_COPIED_ROWS,
        -1,
        i32::MAX,
        GucContext::Userset,
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
        c"Password file for sessions to nodes.",
        c"The format is that of libpq's password file. If empty, the password file of the server's operating system user is used.",
        &PASSFILE,
        GucContext::Sighup,
        GucFlags::SUPERUSER_ONLY,
    );
}

/// Superusers decide, because tables of others change.
fn define_reference_tables() {
    GucRegistry::define_bool_guc(
        c"helios.auto_reference_tables",
        c"Makes a table a reference table when a table of a distributed schema gets a foreign key to it.",
        c"",
        &AUTO_REFERENCE_TABLES,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"helios.max_auto_reference_table_size",
        c"Maximum size of a table that becomes a reference table by itself.",
        c"Indexes do not count. With -1, there is no limit.",
        &MAX_AUTO_REFERENCE_TABLE_SIZE,
        -1,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_KB,
    );
}

fn define_balance() {
    GucRegistry::define_bool_guc(
        c"helios.auto_rebalance",
        c"Moves, splits and merges shards automatically.",
        c"Shards move when nodes are unevenly loaded or have been added. Draining nodes are emptied regardless of this setting.",
        &AUTO_REBALANCE,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"helios.rebalance_interval",
        c"Interval between checks of the balance of nodes.",
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
        c"Time for which a shard must carry 0.8 of a node's fair share before it is split automatically.",
        c"",
        &SPLIT_DELAY,
    );
    delay(
        c"helios.merge_delay",
        c"Time for which adjacent shards must together carry less than 0.3 of a mean shard before they are merged automatically.",
        c"",
        &MERGE_DELAY,
    );
    let part = |name, about, long, setting, least, most| {
        let (context, flags) = (GucContext::Suset, GucFlags::default());
        GucRegistry::define_float_guc(name, about, long, setting, least, most, context, flags);
    };
    part(
        c"helios.max_movement",
        c"Maximum fraction of the cluster's bytes that one rebalance plan moves.",
        c"A plan that needs more is carried out in waves.",
        &MAX_MOVEMENT,
        0.001,
        1.0,
    );
    part(
        c"helios.min_improvement",
        c"Minimum reduction of the greatest deviation from a fair share for which a plan is started.",
        c"The unit is fair shares: 0.1 is the reduction from 40 % above the fair share to 30 %.",
        &MIN_IMPROVEMENT,
        0.0,
        10.0,
    );
    part(
        c"helios.max_variance",
        c"Deviation of a node from its fair share above which the cluster rebalances automatically.",
        c"The unit is fair shares.",
        &MAX_VARIANCE,
        0.0,
        10.0,
    );
}

fn define_statistics() {
    GucRegistry::define_bool_guc(
        c"helios.statistics",
        c"Collects statistics on the statements of each distributed schema.",
        c"",
        &STATISTICS,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"helios.statistics_schemas",
        c"Maximum number of schemas for which statistics are collected.",
        c"The limit is for all databases together. Each schema takes about 200 bytes of shared memory.",
        &STATISTICS_SCHEMAS,
        100,
        10_000_000,
        GucContext::Postmaster,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"helios.statistics_interval",
        c"Interval between measurements of the sizes of schemas.",
        c"Each measurement is one query per node. With 0, sizes are measured on demand only.",
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
        c"Number of pooled shards that CREATE EXTENSION helios creates.",
        c"",
        &INITIAL_SHARDS,
        1,
        16384,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"helios.virtual_nodes",
        c"Number of tokens of a node of weight 1 on the hash ring.",
        c"",
        &VIRTUAL_NODES,
        1,
        10_000,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"helios.connect_timeout",
        c"Maximum time to wait for a connection to a node.",
        c"",
        &CONNECT_TIMEOUT,
        1,
        600_000,
        GucContext::Userset,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"helios.recovery_interval",
        c"Interval between runs of the recovery of prepared transactions on nodes.",
        c"",
        &RECOVERY_INTERVAL,
        100,
        3_600_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"helios.health_interval",
        c"Interval between health checks of nodes.",
        c"",
        &HEALTH_INTERVAL,
        100,
        3_600_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
}

/// Defines the settings of connections to nodes, named like the server's own for client connections. Their bounds are
/// the kernel's.
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
        c"Maximum time for which data sent to a node may remain unacknowledged.",
        c"0 uses the system default.",
        &TCP_USER_TIMEOUT,
        0,
        i32::MAX,
        GucContext::Userset,
        GucFlags::UNIT_MS,
    );
}

/// Whether `helios.distribute_new_schemas` applies to a schema of this name.
pub fn distributes_new(schema: &str) -> bool {
    let never = NEVER_DISTRIBUTE.get();
    let never = never.as_deref().map(|list| list.to_string_lossy()).unwrap_or_default();
    DISTRIBUTE_NEW_SCHEMAS.get() && !quote::identifiers(&never).iter().any(|name| name == schema)
}

/// Adds the clause to the scanner, if the setting allows it. If that fails, the server starts with one WARNING.
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
