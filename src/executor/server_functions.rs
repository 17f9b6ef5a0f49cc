//! Functions of PostgreSQL whose effect or answer belongs to the server or session that they run on.

use crate::pg::catalog::object::FIRST_USER_OID;
use crate::pg::session;
use crate::pg::tree::function_rules::RelationAccess;
use pgrx::pg_sys::{self, Oid};
use std::cell::Cell;
use std::ops::RangeInclusive;

/// What a function is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionScope {
    /// The session: it acts on the one that it is called in.
    Session,
    /// The server: it tells something of the one that it is called on, or acts on it.
    Server,
    /// The large objects of the database that it is called in.
    LargeObject,
    /// The numbers that follow from this session's seed.
    Seed,
}

thread_local! {
    /// Whether `setseed` was called.
    static SEEDED: Cell<bool> = const { Cell::new(false) };
}

/// `setseed` is about to be called. Plans that were made before may call `random`.
pub fn note_seed() {
    if !SEEDED.replace(true) {
        session::forget_plans();
    }
}

/// Forgets the seed when the session is reset to its initial state.
pub fn forget_seed() {
    SEEDED.set(false);
}

/// `random`, `random_normal`.
const RANDOM: [RangeInclusive<u32>; 3] = [1598..=1598, 6212..=6212, 6339..=6341];

/// `pg_notify`, the session-level advisory locks, `setseed`.
const SESSION: [RangeInclusive<u32>; 3] = [3036..=3036, 2880..=2892, 1599..=1599];

const SERVER: [RangeInclusive<u32>; 26] = [
    2026..=2026, // pg_backend_pid
    2196..=2199, // inet_client_addr, inet_client_port, inet_server_addr, inet_server_port
    2034..=2034, // pg_conf_load_time
    2560..=2561, // pg_postmaster_start_time, pg_blocking_pids
    3376..=3376, // pg_safe_snapshot_blocking_pids
    3810..=3810, // pg_is_in_recovery
    2096..=2096, // pg_terminate_backend
    2171..=2171, // pg_cancel_backend
    4543..=4543, // pg_log_backend_memory_contexts
    2621..=2622, // pg_reload_conf, pg_rotate_logfile
    2848..=2849, // pg_switch_wal, pg_current_wal_lsn
    2852..=2852, // pg_current_wal_insert_lsn
    3330..=3330, // pg_current_wal_flush_lsn
    3098..=3098, // pg_create_restore_point
    3820..=3821, // pg_last_wal_receive_lsn, pg_last_wal_replay_lsn
    3830..=3830, // pg_last_xact_replay_timestamp
    3809..=3809, // pg_export_snapshot
    2854..=2854, // pg_my_temp_schema
    2623..=2625, // pg_stat_file, pg_read_file, pg_ls_dir
    3293..=3293, // pg_read_file
    3295..=3295, // pg_read_binary_file
    3297..=3297, // pg_ls_dir
    3307..=3307, // pg_stat_file
    3826..=3828, // pg_read_file, pg_read_binary_file
    3436..=3436, // pg_promote
    3441..=3444, // pg_control_system, …_checkpoint, …_recovery, …_init
];

const LARGE_OBJECT: [RangeInclusive<u32>; 10] = [
    715..=715,   // lo_create
    764..=765,   // lo_import, lo_export
    767..=767,   // lo_import
    952..=958,   // lo_open, lo_close, loread, lowrite, lo_lseek, lo_creat, lo_tell
    964..=964,   // lo_unlink
    1004..=1004, // lo_truncate
    3170..=3172, // lo_lseek64, lo_tell64, lo_truncate64
    3457..=3457, // lo_from_bytea
    3458..=3459, // lo_get
    3460..=3460, // lo_put
];

/// What a function that came with the server is bound to, if anything.
pub fn scope_of(function: Oid) -> Option<FunctionScope> {
    let oid = function.to_u32();
    let among = |ranges: &[RangeInclusive<u32>]| ranges.iter().any(|range| range.contains(&oid));
    if oid >= FIRST_USER_OID {
        None
    } else if among(&SESSION) {
        Some(FunctionScope::Session)
    } else if among(&SERVER) {
        Some(FunctionScope::Server)
    } else if among(&LARGE_OBJECT) {
        Some(FunctionScope::LargeObject)
    } else if SEEDED.get() && among(&RANDOM) {
        Some(FunctionScope::Seed)
    } else {
        None
    }
}

/// How a function accesses the data of the relation passed as its first argument.
pub(super) fn relation_access(function: Oid) -> Option<RelationAccess> {
    match function.to_u32() {
        pg_sys::F_NEXTVAL
        | pg_sys::F_SETVAL_REGCLASS_INT8
        | pg_sys::F_SETVAL_REGCLASS_INT8_BOOL => Some(RelationAccess::Changes),
        pg_sys::F_CURRVAL
        | pg_sys::F_PG_SEQUENCE_LAST_VALUE
        | pg_sys::F_PG_RELATION_SIZE_REGCLASS
        | pg_sys::F_PG_RELATION_SIZE_REGCLASS_TEXT
        | pg_sys::F_PG_TOTAL_RELATION_SIZE
        | pg_sys::F_PG_TABLE_SIZE
        | pg_sys::F_PG_INDEXES_SIZE => Some(RelationAccess::Reads),
        _ => None,
    }
}

/// Whether a function that came with the server answers from, or changes, a relation that only its arguments name.
pub fn asks_relation(function: Oid) -> bool {
    function.to_u32() == pg_sys::F_LASTVAL || relation_access(function).is_some()
}

/// Whether it matters that this function is about to be called.
pub fn is_watched(function: Oid) -> bool {
    function.to_u32() >= FIRST_USER_OID
        || matches!(function.to_u32(), pg_sys::F_SET_CONFIG | pg_sys::F_SETSEED)
        || asks_relation(function)
        || scope_of(function) == Some(FunctionScope::LargeObject)
}

/// Whether a catalog has rows of large objects, which are this server's alone: `pg_largeobject`,
/// `pg_largeobject_metadata`.
pub fn holds_large_objects(relation: Oid) -> bool {
    matches!(relation.to_u32(), 2613 | 2995)
}
