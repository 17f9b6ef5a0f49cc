//! What each SQLSTATE means when Helios raises it.

/// Names of conditions, and when Helios raises them with what remedy.
pub const RAISED: &[(&str, &str)] = &[
    (
        "SUCCESSFUL_COMPLETION",
        "Messages in the server's log and notices of progress; never an error.",
    ),
    (
        "WARNING",
        "A warning about something that is done and may need you: a replica that is late, a node that could not be told that it left the cluster. The detail says what is left to do.",
    ),
    (
        "SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION",
        "No connection to a node: it does not answer, refuses, or is known to be offline. Check the node with helios_check_cluster().",
    ),
    (
        "CONNECTION_FAILURE",
        "A connection to a node, or the client's own, was lost. As an ERROR: nothing was committed, run the transaction again. As a WARNING after COMMIT: the transaction is committed, and recovery finishes it on the node; do not run it again.",
    ),
    (
        "TRANSACTION_RESOLUTION_UNKNOWN",
        "A node was lost after it was told to commit and before it answered. The hint names the transaction for helios_transaction_status().",
    ),
    (
        "PROTOCOL_VIOLATION",
        "A node or client sent bytes that the protocol does not allow. Look for a proxy between the servers, or a version that is not supported.",
    ),
    (
        "FEATURE_NOT_SUPPORTED",
        "The statement cannot mean on a cluster what it means on one server. The hint says how to write it instead.",
    ),
    (
        "NULL_VALUE_NOT_ALLOWED",
        "A function was called with NULL for something it needs. Give a value.",
    ),
    (
        "INVALID_PARAMETER_VALUE",
        "An argument, an option or a setting has a value that is not allowed. The detail names the values that are.",
    ),
    (
        "CHECK_VIOLATION",
        "A change of helios.shard leaves hash slots without a shard. Change neighbouring shards in one transaction.",
    ),
    (
        "INVALID_CURSOR_NAME",
        "The rows of a cursor are gone with the transaction on the node that produced them. Open the cursor again.",
    ),
    (
        "ACTIVE_SQL_TRANSACTION",
        "A function that needs a transaction of its own, or a snapshot that must come first, was used too late in a block. Call it first, or outside of a block.",
    ),
    (
        "READ_ONLY_SQL_TRANSACTION",
        "This server is a standby of the coordinator, or a node became read-only during the transaction. Connect to the primary, or run the transaction again.",
    ),
    (
        "IN_FAILED_SQL_TRANSACTION",
        "The transaction on the node was rolled back. Roll back, and begin again.",
    ),
    (
        "INVALID_AUTHORIZATION_SPECIFICATION",
        "A node asks for a kind of authentication that Helios refuses, such as a password in clear without TLS. Change the node's pg_hba.conf.",
    ),
    (
        "INVALID_PASSWORD",
        "A node wants a password and none is known, or it is wrong. Add it to helios.credential, or to the password file named by helios.passfile.",
    ),
    (
        "DEPENDENT_OBJECTS_STILL_EXIST",
        "Something on nodes still depends on what is to be dropped, converted or repaired. The detail names it.",
    ),
    ("INVALID_SCHEMA_NAME", "There is no schema of this name, or it is not a distributed one."),
    (
        "TRANSACTION_ROLLBACK",
        "A node rolled the transaction back instead of committing or preparing it. Run the transaction again.",
    ),
    (
        "T_R_SERIALIZATION_FAILURE",
        "A schema moved while the transaction used an older snapshot. Run the transaction again.",
    ),
    (
        "T_R_DEADLOCK_DETECTED",
        "Transactions waited for each other on more than one server, and this one was chosen to end. Run it again.",
    ),
    (
        "SYNTAX_ERROR",
        "The clause DISTRIBUTED has conflicting or unknown options, or a text sent to a node contains a NUL byte.",
    ),
    ("INVALID_NAME", "A name is empty or longer than 63 bytes, or a path is not absolute."),
    (
        "INSUFFICIENT_PRIVILEGE",
        "The role may not do this to the object, or only a coordinator may. Ask the owner, or a superuser, for the privilege.",
    ),
    (
        "DATATYPE_MISMATCH",
        "A node returns columns that differ from the definitions on the coordinator. Run helios_check_cluster() and helios_repair_schema().",
    ),
    (
        "WRONG_OBJECT_TYPE",
        "The object is of another kind than the command works on, such as a view where a table is needed.",
    ),
    (
        "UNDEFINED_OBJECT",
        "There is no node, shard, migration, role or other object of this name or number.",
    ),
    ("UNDEFINED_TABLE", "There is no table of this name, or not any more."),
    ("DUPLICATE_SCHEMA", "A schema of this name exists already, here or on the node."),
    (
        "DUPLICATE_OBJECT",
        "A node, a server or a distributed schema of this name or address exists already.",
    ),
    ("RESERVED_NAME", "The schema belongs to PostgreSQL or to Helios and cannot be distributed."),
    ("UNDEFINED_FILE", "COPY cannot open the file that it is to read."),
    (
        "INSUFFICIENT_RESOURCES",
        "The server process has no file descriptor left for a session to a node. Raise max_files_per_process.",
    ),
    (
        "DISK_FULL",
        "The target of a migration has less free disk space than 1.2 times the size of what moves, or a disk is full. Free some space.",
    ),
    (
        "CONFIGURATION_LIMIT_EXCEEDED",
        "A setting of a node, such as max_replication_slots, has no room for another migration. Raise it.",
    ),
    (
        "PROGRAM_LIMIT_EXCEEDED",
        "A message to a node exceeds 2 GB, or a statement has more than 65535 parameters.",
    ),
    (
        "OBJECT_NOT_IN_PREREQUISITE_STATE",
        "The object is not in a state in which this is possible: a migration that has switched, a schema that has replicas, a server that does not preload the library. The hint says what comes first.",
    ),
    (
        "OBJECT_IN_USE",
        "Something else works on the same schema, shard or node. Wait for it, or cancel it.",
    ),
    (
        "LOCK_NOT_AVAILABLE",
        "A lock was not granted in time. Migrations try again by themselves; otherwise run the command again.",
    ),
    ("QUERY_CANCELED", "The statement was cancelled, or ran into a timeout, here or on its node."),
    (
        "SYSTEM_ERROR",
        "pg_dump cannot be started or its output cannot be stored. Install the client programs of the server's version.",
    ),
    ("IO_ERROR", "A file, or a program's input or output, cannot be read or written."),
    (
        "CONFIG_FILE_ERROR",
        "A certificate, key or list of authorities for sessions to nodes cannot be used. The detail says why.",
    ),
    (
        "EXTERNAL_ROUTINE_EXCEPTION",
        "A program that Helios or COPY runs, such as pg_dump, ended with an error. The detail shows what it said.",
    ),
    (
        "E_R_I_E_TRIGGER_PROTOCOL_VIOLATED",
        "A trigger function of Helios is used by a trigger that is not its own.",
    ),
    ("INTERNAL_ERROR", "A bug. Report it, with the message."),
    (
        "DATA_CORRUPTED",
        "The directory, or a copy of a reference table, is not as it must be. Run helios_check_cluster().",
    ),
];

/// Conditions that Helios only recognizes when a server reports them.
pub const RECOGNIZED: &[&str] = &[
    "ADMIN_SHUTDOWN",
    "CANNOT_CONNECT_NOW",
    "CRASH_SHUTDOWN",
    "DATA_EXCEPTION",
    "FOREIGN_KEY_VIOLATION",
    "INVALID_SQL_STATEMENT_NAME",
    "TOO_MANY_CONNECTIONS",
    "UNDEFINED_FUNCTION",
];
