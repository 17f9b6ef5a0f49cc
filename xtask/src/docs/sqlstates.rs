//! Meaning of each SQLSTATE raised by Helios.

/// Condition names, with the situations in which Helios raises them and the remedy.
pub const RAISED: &[(&str, &str)] = &[
    ("SUCCESSFUL_COMPLETION", "Log messages and progress notices; never an error."),
    (
        "WARNING",
        "A warning about a completed action that may require attention: a late replica, code for a node that names a \
            table which the node does not have, or a removed node that could \
            not be released. The detail says what is left to do.",
    ),
    (
        "SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION",
        "Could not connect to a node: it does not respond, refuses the connection, or is known to be offline. Check \
            the node with helios_check_cluster().",
    ),
    (
        "CONNECTION_FAILURE",
        "A connection to a node, or the client's own, was lost. As an ERROR: nothing was committed, run the transaction again. As a WARNING after COMMIT: the transaction is committed, and recovery finishes it on the node; do not run it again.",
    ),
    (
        "TRANSACTION_RESOLUTION_UNKNOWN",
        "The connection to a node was lost between COMMIT and its response. The hint names the transaction for \
            helios_transaction_status().",
    ),
    (
        "PROTOCOL_VIOLATION",
        "A node or client violated the protocol. Look for a proxy between the servers, or an unsupported version.",
    ),
    (
        "FEATURE_NOT_SUPPORTED",
        "The statement would not have the same result on a cluster as on one server. The hint says how to write it \
            instead.",
    ),
    ("NULL_VALUE_NOT_ALLOWED", "A required argument of a function is NULL. Specify a value."),
    (
        "INVALID_PARAMETER_VALUE",
        "An argument, option or setting has an invalid value. The detail or hint describes the valid ones.",
    ),
    (
        "CHECK_VIOLATION",
        "A change of helios.shard leaves hash slots without a shard. Change adjacent shards in one transaction.",
    ),
    (
        "INVALID_CURSOR_STATE",
        "WHERE CURRENT OF names a portal that is no SELECT, or a cursor kept from an earlier transaction. Open a cursor in this transaction.",
    ),
    (
        "INVALID_CURSOR_NAME",
        "There is no cursor of this name, or it was closed with the transaction on the node. Open the cursor again.",
    ),
    (
        "ACTIVE_SQL_TRANSACTION",
        "A function that requires a separate transaction, or to be called first, was used in a transaction block. Call \
            it first, or outside of a block.",
    ),
    (
        "READ_ONLY_SQL_TRANSACTION",
        "This server is a standby of the coordinator, or a node became read-only during the transaction. Connect to the primary, or run the transaction again.",
    ),
    (
        "IN_FAILED_SQL_TRANSACTION",
        "The transaction on the node was rolled back. Roll back, and start again.",
    ),
    (
        "INVALID_AUTHORIZATION_SPECIFICATION",
        "A node requested an authentication method that Helios does not allow, such as a clear-text password without \
            TLS. Change the node's pg_hba.conf.",
    ),
    (
        "INVALID_PASSWORD",
        "A node requires a password, and it is missing or wrong. Store it in helios.credential or in the password file \
            named by helios.passfile.",
    ),
    (
        "DEPENDENT_OBJECTS_STILL_EXIST",
        "Objects on nodes depend on the object to be dropped, converted or repaired. The detail names them.",
    ),
    ("INVALID_SCHEMA_NAME", "The schema does not exist or is not distributed."),
    (
        "TRANSACTION_ROLLBACK",
        "A node rolled back the transaction instead of committing or preparing it. Run the transaction again.",
    ),
    (
        "T_R_SERIALIZATION_FAILURE",
        "A schema was moved while the transaction used an older snapshot. Run the transaction again.",
    ),
    (
        "T_R_DEADLOCK_DETECTED",
        "Transactions waited for each other on more than one server, and this one was chosen as the victim. Run it \
            again.",
    ),
    (
        "SYNTAX_ERROR",
        "The DISTRIBUTED clause has conflicting or unrecognized options, or a text sent to a node contains a NUL byte.",
    ),
    ("INVALID_NAME", "A name is empty or longer than 63 bytes, or a path is not absolute."),
    (
        "INSUFFICIENT_PRIVILEGE",
        "The role lacks a privilege on the object, or only a coordinator is permitted. Ask the owner or a superuser \
            for the privilege.",
    ),
    (
        "DATATYPE_MISMATCH",
        "A node returns columns that differ from the definitions on the coordinator. Run helios_check_cluster() and helios_repair_schema().",
    ),
    (
        "WRONG_OBJECT_TYPE",
        "The object is of the wrong kind for the command, such as a view instead of a table.",
    ),
    (
        "UNDEFINED_OBJECT",
        "There is no node, shard, migration, role or other object with this name or ID.",
    ),
    ("UNDEFINED_TABLE", "The table does not exist."),
    ("DUPLICATE_SCHEMA", "A schema with this name already exists, here or on the node."),
    (
        "DUPLICATE_OBJECT",
        "A node, server or distributed schema with this name or address already exists.",
    ),
    ("RESERVED_NAME", "The schema belongs to PostgreSQL or to Helios and cannot be distributed."),
    ("UNDEFINED_FILE", "COPY could not open the file."),
    (
        "INSUFFICIENT_RESOURCES",
        "The server process has no file descriptor left for a session with a node. Increase max_files_per_process.",
    ),
    (
        "OUT_OF_MEMORY",
        "Memory for a copy of the statement could not be allocated. Free memory on the server.",
    ),
    (
        "DISK_FULL",
        "The target of a migration has less free disk space than 1.2 times the size of the schemas, or a disk is full. \
            Free disk space.",
    ),
    (
        "CONFIGURATION_LIMIT_EXCEEDED",
        "A limit on a node, such as max_replication_slots, does not allow another migration. Increase it.",
    ),
    (
        "PROGRAM_LIMIT_EXCEEDED",
        "A message to a node exceeds 2 GB, or a statement has more than 65535 parameters.",
    ),
    (
        "OBJECT_NOT_IN_PREREQUISITE_STATE",
        "The object is not in the required state: a migration has already switched, a schema has replicas, a server \
            does not preload the library. The hint says what to do first.",
    ),
    (
        "OBJECT_IN_USE",
        "Another operation on the same schema, shard or node is in progress. Wait for it, or cancel it.",
    ),
    (
        "LOCK_NOT_AVAILABLE",
        "A lock was not granted before the timeout. Migrations retry automatically; otherwise run the command again.",
    ),
    ("QUERY_CANCELED", "The statement was canceled or timed out, here or on its node."),
    (
        "SYSTEM_ERROR",
        "pg_dump could not be started or its output could not be stored. Install the client programs of the server's \
            version.",
    ),
    ("IO_ERROR", "A file, or a program's input or output, could not be read or written."),
    (
        "CONFIG_FILE_ERROR",
        "A certificate, key or CA file for sessions with nodes cannot be used. The detail says why.",
    ),
    (
        "EXTERNAL_ROUTINE_EXCEPTION",
        "A program run by Helios or COPY, such as pg_dump, failed. The detail shows its error output.",
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

/// Conditions that Helios does not raise, but recognizes when a server reports them.
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
