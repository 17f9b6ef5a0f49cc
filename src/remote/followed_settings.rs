//! The settings that sessions on nodes follow.

use crate::pg::session::settings_scan::Followed;
use std::ffi::CStr;

/// The client's settings that affect statements on nodes.
pub static FOLLOWED: Followed =
    Followed { always: &ALWAYS, decisive: &DECISIVE, never: &NEVER, never_of: "helios." };

/// These must be equal on both sides regardless of their source: they determine the format of values, the objects that
/// names refer to, and the properties of a transaction.
const ALWAYS: [&CStr; 15] = [
    c"DateStyle",
    c"IntervalStyle",
    c"TimeZone",
    c"bytea_output",
    c"default_text_search_config",
    c"default_transaction_deferrable",
    c"default_transaction_isolation",
    c"default_transaction_read_only",
    c"extra_float_digits",
    c"lc_monetary",
    c"lc_numeric",
    c"lc_time",
    c"search_path",
    c"standard_conforming_strings",
    c"xmlbinary",
];

/// These affect results as well, but are rarely set in a session: a session on a node starts with the values that
/// RESET would set here, regardless of the configuration of the node, its database and role.
pub const FROM_THE_START: [&CStr; 12] = [
    c"array_nulls",
    c"backslash_quote",
    c"check_function_bodies",
    c"client_min_messages",
    c"default_toast_compression",
    c"escape_string_warning",
    c"gin_fuzzy_search_limit",
    c"lock_timeout",
    c"quote_all_identifiers",
    c"row_security",
    c"transform_null_equals",
    c"xmloption",
];

/// Superusers' settings that change the effect of a statement: if one cannot be followed, nothing may run.
const DECISIVE: [&CStr; 2] = [c"session_replication_role", c"plpgsql.variable_conflict"];

/// These describe the client's connection or transaction here, or are followed by other means. A
/// statement that exceeds its timeout is cancelled from here: a timer on the node would also run while settings
/// are being synchronized.
const NEVER: [&str; 22] = [
    "client_connection_check_interval",
    "client_encoding",
    "dynamic_library_path",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "is_superuser",
    "local_preload_libraries",
    "role",
    "seed",
    "session_authorization",
    "session_preload_libraries",
    "statement_timeout",
    "tcp_keepalives_count",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_user_timeout",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
    "transaction_timeout",
    "trace_notify",
    "exit_on_error",
];
