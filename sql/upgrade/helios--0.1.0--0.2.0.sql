\echo Use "ALTER EXTENSION helios UPDATE" to load this file. \quit

-- The result of this script must equal that of sql/install/helios--0.2.0.sql: a test compares both catalogs.

-- The library of version 0.1.0 would mistake the objects created here for its own.
DO $$
BEGIN
    IF pg_catalog.string_to_array(pg_catalog.helios_version(), '.')::pg_catalog.int4[] OPERATOR(pg_catalog.<) '{0,2,0}' THEN
        RAISE EXCEPTION 'loaded library version % of helios is older than the extension scripts', pg_catalog.helios_version()
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'The scripts create version 0.2.0.',
                  HINT = 'Restart the server to load the library that was installed with the scripts.';
    END IF;
END $$;

-- What is asked of a migration has one name.
ALTER TABLE helios.migration RENAME COLUMN wish TO request;
ALTER TABLE helios.migration RENAME CONSTRAINT migration_wish_check TO migration_request_check;

-- Comments, from which docs/reference is generated
COMMENT ON FUNCTION pg_catalog.helios_version() IS 'version of the Helios library that this server has loaded';
COMMENT ON COLUMN helios.cluster.id IS 'random number that marks nodes and prepared transactions as this cluster''s';
COMMENT ON COLUMN helios.cluster.database
    IS 'OID of the database that the row was created in: a copy of the database is another cluster';
COMMENT ON COLUMN helios.cluster.coordinator IS 'address of the coordinator when it added this database as a node';
COMMENT ON COLUMN helios.cluster.pristine
    IS 'whether the shards are still those that CREATE EXTENSION made; the first insert from a dump replaces them';
COMMENT ON TABLE helios.coordinator IS 'on a node: the coordinator that last used it, so that a former primary is refused';
COMMENT ON TABLE helios.identity
    IS 'keys by which sessions of a coordinator prove themselves to its nodes, in one row that is never dumped';
COMMENT ON COLUMN helios.identity.seed
    IS 'secret from which the keys of this coordinator are derived; it never leaves this server';
COMMENT ON COLUMN helios.identity.coordinator IS 'on a node: public key of its coordinator';
COMMENT ON COLUMN helios.node.hosts
    IS 'addresses in the order in which they are tried: one, or the members of a high-availability group';
COMMENT ON COLUMN helios.node.cluster IS 'the cluster that the node belongs to; in a restored dump it is not this one';
COMMENT ON COLUMN helios.shard.slot_to IS 'first hash slot after the last one';
COMMENT ON COLUMN helios.shard.key_from IS 'least key; NULL for no bound';
COMMENT ON COLUMN helios.shard.replicas
    IS 'number of copies that the cluster keeps, the primary included; see helios_set_replicas()';
COMMENT ON COLUMN helios.shard.key_to IS 'first key after the greatest; NULL for no bound';
COMMENT ON COLUMN helios.schema.key IS 'key that placed the schema, kept when it is renamed; NULL: the key of its name';
COMMENT ON TABLE helios.schema IS 'distributed schemas and the shard that holds each';
COMMENT ON COLUMN helios.migration.keeps
    IS 'whether the migration creates a replica and keeps it in sync instead of moving the shard; see helios_replicas';
COMMENT ON TABLE helios.migration IS 'migrations of shards between nodes';
COMMENT ON COLUMN helios.migration.becomes IS 'distributed or plain, for a schema that moves from or to the coordinator';
COMMENT ON COLUMN helios.migration.request
    IS 'request that the migration has not carried out yet: cancel, rollback, finish, verify or promote';
COMMENT ON COLUMN helios.migration.outcome IS 'the state that follows cleanup';
COMMENT ON COLUMN helios.migration.round
    IS 'number of snapshots taken: a crash loses the snapshot, and tables not yet copied need another';
COMMENT ON COLUMN helios.migration.source IS 'node that the schemas come from; a row of helios.foreign_server if negative';
COMMENT ON COLUMN helios.migration.way_back
    IS 'whether writes flow back to the old copy after the switch; without it the migration finishes with the switch';
COMMENT ON COLUMN helios.migration.histories
    IS 'system identifiers and timelines of source and target when the migration began';
COMMENT ON COLUMN helios.migration.stall IS 'longest time in milliseconds for which a fence made writers wait';
COMMENT ON TABLE helios.migration_table IS 'tables of migrations that have not ended';
COMMENT ON COLUMN helios.migration_table.identity
    IS 'clause that restores the table''s replica identity; NULL if it was not changed';
COMMENT ON COLUMN helios.migration_table.part
    IS 'number of the table''s owner: each owner''s tables have a subscription of their own, which applies changes with the owner''s rights';
COMMENT ON TABLE helios.merge IS 'shards to be merged when a migration has brought them to one node';
COMMENT ON TABLE helios.cleanup IS 'what a migration may have left on a node, recorded before it is created';
COMMENT ON TABLE helios.foreign_server
    IS 'servers outside of the cluster from which schemas are imported, one for each import';
COMMENT ON COLUMN helios.foreign_server.password IS 'password from the connection string; deleted when the import ends';
COMMENT ON COLUMN helios.foreign_server.definition IS 'digest of the schema''s definition when it was copied';
COMMENT ON TABLE helios.transaction
    IS 'commit records: a prepared transaction with a row here is committed, one without is rolled back';
COMMENT ON TABLE helios.credential IS 'passwords of roles on nodes; a row without a node applies to every node';
COMMENT ON FUNCTION helios.evaluate(internal, text, text, "any")
    IS 'evaluates an expression of a procedural language on a node';
COMMENT ON FUNCTION pg_catalog.helios_create_schema(text, text, text, boolean)
    IS 'creates a distributed schema, as CREATE SCHEMA … DISTRIBUTED does; returns the name of its node';
COMMENT ON FUNCTION pg_catalog.helios_distribute_schema(text, text)
    IS 'turns an existing schema into a distributed one, moving its data while it is in use; returns the name of its node';
COMMENT ON FUNCTION pg_catalog.helios_undistribute_schema(text)
    IS 'turns a distributed schema into a plain schema of the coordinator, moving its data while it is in use';
COMMENT ON FUNCTION pg_catalog.helios_node_for_schema(text)
    IS 'name of the node that holds a distributed schema; NULL for any other schema';
COMMENT ON FUNCTION pg_catalog.helios_node_for_key(text)
    IS 'name of the node on which a new schema with this name or key would be placed';
COMMENT ON FUNCTION pg_catalog.helios_key_slot(text) IS 'hash slot of a key, from 0 to 16383';
COMMENT ON FUNCTION helios.schema_counters()
    IS 'statements, rows, bytes, time and errors that this server has counted for each distributed schema';
COMMENT ON VIEW pg_catalog.helios_shards IS 'shards with their bounds, node and contents';
COMMENT ON VIEW pg_catalog.helios_slots IS 'ranges of hash slots, with the shard and the node that hold them';
COMMENT ON VIEW pg_catalog.helios_schemas IS 'distributed schemas and the node that holds each';
COMMENT ON FUNCTION pg_catalog.helios_create_reference_table(text)
    IS 'copies a table with its rows to every node; from then on a write changes all copies';
COMMENT ON FUNCTION pg_catalog.helios_undistribute_table(text)
    IS 'turns a reference table into an ordinary table of the coordinator and drops the copies on the nodes';
COMMENT ON FUNCTION helios.reference_write()
    IS 'trigger of a reference table: applies changes of its rows to the copies on all nodes';
COMMENT ON FUNCTION helios.reference_copy()
    IS 'trigger of a reference table''s copy on a node: refuses changes that do not come from the coordinator';
COMMENT ON FUNCTION helios.change_number()
    IS 'on a node: returns a number, valid once, that the coordinator includes in a signed request';
COMMENT ON FUNCTION helios.change_copy(text, text, text, bytea, text)
    IS 'on a node: changes the copy of a reference table as the given role if the coordinator has signed the request; returns the number of rows changed';
COMMENT ON FUNCTION helios.reference_digest(regclass)
    IS 'number of rows of a table and the sum of their hashes, for comparing copies; requires SELECT on the table';
COMMENT ON FUNCTION helios.run_as(text)
    IS 'switches to another role, in a security-restricted operation, until the subtransaction or transaction ends';
COMMENT ON FUNCTION helios.run_as_owner(text)
    IS 'switches to the owner of a relation, in a security-restricted operation, until the subtransaction or transaction ends';
COMMENT ON COLUMN helios.fence.keeps IS 'whether the fence protects a replica rather than a move';
COMMENT ON TABLE helios.fence
    IS 'schemas whose definition, or whose rows too, a migration protects from changes on this server';
COMMENT ON TABLE helios.migration_marker
    IS 'tokens written on one copy: seen on the other, a token proves that everything before it has arrived';
COMMENT ON TABLE helios.verification IS 'result of the last comparison of a migration''s copies, for each table';
COMMENT ON TABLE helios.mismatch IS 'rows in which the copies of a migration differ: at most 100 for each table';
COMMENT ON VIEW pg_catalog.helios_mismatches
    IS 'rows in which the two copies of a migration differed at the last comparison; at most 100 for each table';
COMMENT ON FUNCTION helios.compare_copies(jsonb, jsonb, text)
    IS 'compares the tables and sequences of a schema on two servers while nobody writes to them';
COMMENT ON FUNCTION helios.pull_rows(jsonb, text, text, text[], bigint, bigint, text, bigint, boolean)
    IS 'copies a range of blocks of a table from another server into the same table here, at most "rate" rows a second; "bulk" freezes the rows, as COPY FREEZE does, if the table has no index';
COMMENT ON FUNCTION helios.free_bytes() IS 'free bytes on the disk that holds this database, its tablespaces not included';
COMMENT ON FUNCTION helios.table_rows(anyelement)
    IS 'all rows of the table whose row type the argument has, scanned without a plan; superusers only';
COMMENT ON FUNCTION helios.has_rows(text) IS 'whether a table has rows, determined without a plan; superusers only';
COMMENT ON FUNCTION helios.delete_rows(text)
    IS 'deletes all rows of a table without a plan, rules or triggers; superusers only';
COMMENT ON FUNCTION helios.sequence_position(regclass) IS 'position of a sequence, read without a plan; superusers only';
COMMENT ON FUNCTION pg_catalog.helios_add_node(text, text, integer, text, double precision, boolean, text[])
    IS 'checks a PostgreSQL server, copies roles, shared definitions and reference tables to it, and adds it as a node; host and port may list the members of a high-availability group';
COMMENT ON FUNCTION pg_catalog.helios_remove_node(text) IS 'removes a node that holds no schemas from the cluster';
COMMENT ON FUNCTION pg_catalog.helios_adopt_nodes()
    IS 'makes this database the coordinator of the nodes in a directory that was restored from a dump; returns their number';
COMMENT ON FUNCTION helios.node_health(integer)
    IS 'state of a node as the health checks of this server last saw it, and for how many seconds it has been in that state';
COMMENT ON VIEW pg_catalog.helios_nodes IS 'nodes with their current state; reading the view connects to every node';
COMMENT ON FUNCTION pg_catalog.helios_check_cluster()
    IS 'examines every node and reports what is wrong, with a remedy for each fault';
COMMENT ON FUNCTION pg_catalog.helios_repair_schema(text, boolean)
    IS 'makes the definitions of a distributed schema on the coordinator match those on its node; with dry_run only shows what it would do';
COMMENT ON VIEW pg_catalog.helios_migrations IS 'migrations of shards between nodes, past ones included';
COMMENT ON FUNCTION pg_catalog.helios_migrate_schema(text, text)
    IS 'starts moving a distributed schema to another node while it is in use; returns the number of the migration without waiting for it';
COMMENT ON FUNCTION pg_catalog.helios_migrate_shard(bigint, text)
    IS 'starts moving a shard with all its schemas to another node while they are in use; returns the number of the migration without waiting for it';
COMMENT ON FUNCTION pg_catalog.helios_import_schema(text, text, text, boolean)
    IS 'starts importing a schema from a PostgreSQL server outside of the cluster, named by a libpq connection string, while it is in use there; returns the number of the migration without waiting for it';
COMMENT ON FUNCTION pg_catalog.helios_rollback_migration(bigint)
    IS 'returns to the old copy, with every write made since the switch, while the rollback window is open';
COMMENT ON FUNCTION pg_catalog.helios_verify_schema(text)
    IS 'compares the two copies of a schema that has moved, while both exist; helios_mismatches shows the rows that differ';
COMMENT ON FUNCTION pg_catalog.helios_migration(bigint) IS 'the row of helios_migrations for one migration';
COMMENT ON FUNCTION pg_catalog.helios_active_migrations() IS 'migrations that have not ended';
COMMENT ON FUNCTION pg_catalog.helios_wait_for_migration(bigint, interval)
    IS 'waits until a migration has switched or ended, reporting progress as notices; returns its state';
COMMENT ON FUNCTION pg_catalog.helios_cleanup_migrations(interval)
    IS 'deletes the records of migrations that ended longer ago than the given interval; returns their number';
COMMENT ON TABLE helios.replica IS 'copies of shards that are complete and follow the primary';
COMMENT ON COLUMN helios.replica.slots IS 'replication slots on the primary that the replica follows';
COMMENT ON TABLE helios.promotion IS 'promotions of replicas';
COMMENT ON COLUMN helios.promotion.complete_until
    IS 'everything committed before this moment is in the new primary; of what was committed later, some may be missing';
COMMENT ON COLUMN helios.promotion.bytes_behind
    IS 'bytes of the lost primary''s log, as far as known, that were not applied, whoever wrote them';
COMMENT ON FUNCTION helios.replica_states() IS 'how far each replica was when the worker last looked';
COMMENT ON VIEW pg_catalog.helios_replicas IS 'replicas of shards and how far each is behind its primary';
COMMENT ON FUNCTION pg_catalog.helios_set_replicas(text, integer)
    IS 'sets how many copies of a schema the cluster keeps, the primary included; returns the migrations that create the missing ones';
COMMENT ON FUNCTION pg_catalog.helios_set_replicas(bigint, integer)
    IS 'sets how many copies of a shard the cluster keeps, the primary included; returns the migrations that create the missing ones';
COMMENT ON FUNCTION pg_catalog.helios_promote_replica(text, text)
    IS 'makes a replica of a schema the primary; nothing is lost while the old primary answers, otherwise transactions committed after complete_until may be';
COMMENT ON FUNCTION pg_catalog.helios_promote_replica(bigint, text)
    IS 'makes a replica of a shard the primary; nothing is lost while the old primary answers, otherwise transactions committed after complete_until may be';
COMMENT ON FUNCTION helios.wait_for_replicas(text[], integer)
    IS 'waits, for at most the given number of milliseconds, until replicas have applied this session''s last commit; returns the slots of those that have not';
COMMENT ON FUNCTION helios.advance_sequences(text[], bigint)
    IS 'advances the sequences of schemas beyond the values in their columns and the last positions known, by a margin that is at most a hundredth of a sequence''s range';
COMMENT ON FUNCTION pg_catalog.helios_split_shard(bigint, text)
    IS 'splits a pooled shard in two on its node: at its midpoint, by load or bytes, or at a slot or key; returns the new shard';
COMMENT ON FUNCTION pg_catalog.helios_merge_shards(bigint, bigint)
    IS 'merges two adjacent shards; if they are on different nodes, the smaller one moves first and the merge follows its migration';
COMMENT ON FUNCTION pg_catalog.helios_assign_slots(integer, integer, text)
    IS 'assigns a range of hash slots to a node, splitting shards at the ends of the range; returns the migrations that move the schemas in it';
COMMENT ON FUNCTION pg_catalog.helios_rebalance_plan()
    IS 'the moves that helios_rebalance() would start now, with their estimated duration and effect; "waves" estimates how many such plans the balance takes';
COMMENT ON FUNCTION pg_catalog.helios_balance()
    IS 'summary of the current rebalance plan, and the shards that exceed a node''s fair share and need to be split or given a larger node';
COMMENT ON FUNCTION pg_catalog.helios_rebalance() IS 'starts the moves of helios_rebalance_plan(); returns their migrations';
COMMENT ON FUNCTION pg_catalog.helios_drain_node(text)
    IS 'moves everything off a node, wave by wave; returns the migrations of the first wave, and the worker starts the next ones';
COMMENT ON FUNCTION pg_catalog.helios_undrain_node(text) IS 'ends the draining of a node; what has moved stays where it is';
COMMENT ON FUNCTION pg_catalog.helios_migrate(text, text, text)
    IS 'starts moving all schemas on a node whose names are LIKE a pattern to another node; returns the migrations';
COMMENT ON FUNCTION helios.counting()
    IS 'for how many seconds statements have been counted, and how many found no room in shared memory';
COMMENT ON FUNCTION pg_catalog.helios_measure_sizes()
    IS 'asks every node for the sizes of its schemas, as the worker does every helios.statistics_interval; returns how many it learned';
COMMENT ON FUNCTION pg_catalog.helios_reset_statistics(text) IS 'resets the statistics of one schema, or of all';
COMMENT ON VIEW pg_catalog.helios_schema_statistics
    IS 'statements that ran on nodes, counted for the first schema that each names';
COMMENT ON FUNCTION pg_catalog.helios_shard_statistics(bigint)
    IS 'helios_schema_statistics summed over the schemas of a shard; no row if there is no such shard';
COMMENT ON FUNCTION pg_catalog.helios_cluster_stats() IS 'statistics of the whole cluster, in one row';
COMMENT ON VIEW pg_catalog.helios_transactions
    IS 'transactions that are prepared on nodes now, and what will become of each; reading the view connects to every node, and of one that does not answer it shows those committed here whose end is not confirmed';
COMMENT ON FUNCTION pg_catalog.helios_recover_transactions()
    IS 'commits or rolls back prepared transactions that were left on nodes, as the recovery worker does by itself; returns what it did';
COMMENT ON FUNCTION pg_catalog.helios_transaction_status(text)
    IS 'outcome of a transaction (committed, aborted, in progress, unknown), by the name given in an error 08007';
COMMENT ON FUNCTION helios.grammar_state() IS 'on, off, or the reason why CREATE SCHEMA … DISTRIBUTED is not available';
COMMENT ON FUNCTION helios.grammar_effect(text)
    IS 'NULL if the server parses a text exactly as it would without Helios, clause if it creates a distributed schema; used by tests';
COMMENT ON FUNCTION helios.deparse_effect(text)
    IS 'what is wrong with the text that Helios would send to a node for the queries of a statement, NULL if nothing is; used by tests';
COMMENT ON FUNCTION pg_catalog.helios_cluster_info() IS 'identity, version and size of the cluster, in one row';
COMMENT ON FUNCTION helios.probe_node(integer)
    IS 'connects to a node and reports whether it answers, how fast, and its version';
COMMENT ON FUNCTION helios.routed_nextval(regclass)
    IS 'nextval() that asks the node of the sequence and holds the lock of its shard meanwhile';
COMMENT ON FUNCTION helios.routed_currval(regclass) IS 'currval() that asks the node of the sequence';
COMMENT ON FUNCTION helios.routed_setval(regclass, bigint) IS 'setval() on the node of the sequence';
COMMENT ON FUNCTION helios.routed_setval(regclass, bigint, boolean) IS 'setval() on the node of the sequence';
COMMENT ON FUNCTION helios.routed_relation_size(regclass, text) IS 'pg_relation_size() on the node of the relation';
COMMENT ON FUNCTION helios.routed_relation_size(regclass) IS 'pg_relation_size() on the node of the relation';
COMMENT ON FUNCTION helios.routed_total_relation_size(regclass) IS 'pg_total_relation_size() on the node of the relation';
COMMENT ON FUNCTION helios.routed_table_size(regclass) IS 'pg_table_size() on the node of the table';
COMMENT ON FUNCTION helios.routed_indexes_size(regclass) IS 'pg_indexes_size() on the node of the table';
COMMENT ON FUNCTION helios.routed_sequence_last_value(regclass) IS 'pg_sequence_last_value() on the node of the sequence';
COMMENT ON FUNCTION helios.followed_set_config(text, text, boolean) IS 'set_config() whose effect sessions to nodes follow';
COMMENT ON FUNCTION helios.shared_snapshot() IS 'pg_export_snapshot() that also exports a snapshot on every node';
COMMENT ON FUNCTION helios.directory_changed()
    IS 'trigger of the directory''s tables: invalidates the directory caches of all backends';
COMMENT ON FUNCTION helios.check_shards_cover() IS 'trigger of helios.shard: pooled shards cover all slots and keys';
COMMENT ON FUNCTION helios.refuse_truncate() IS 'trigger of helios.shard: refuses TRUNCATE';
COMMENT ON FUNCTION helios.restore_node()
    IS 'trigger of helios.node: a dump''s row for the coordinator replaces the one that CREATE EXTENSION made';
COMMENT ON FUNCTION helios.restore_shard()
    IS 'trigger of helios.shard: a dump''s rows replace those that CREATE EXTENSION made';
COMMENT ON FUNCTION helios.restore_schema()
    IS 'trigger of helios.schema: a dump''s row replaces the one that CREATE SCHEMA made';
COMMENT ON FUNCTION helios.reference_definition(regclass, name)
    IS 'statements that create the copy of a reference table on a node, in a schema in which its owner fills it';
COMMENT ON FUNCTION helios.fence_changed() IS 'trigger of helios.fence: invalidates the caches of fences in all backends';
COMMENT ON FUNCTION helios.guard_marker()
    IS 'trigger of helios.migration_marker: a role that applies changes may write only the marker of its own channel';
COMMENT ON FUNCTION helios.in_doubt() IS 'rows of helios_transactions';
COMMENT ON TABLE helios.cluster
    IS 'identity of the cluster, in one row that is never dumped: a restored cluster is another one';
COMMENT ON COLUMN helios.cluster.singleton IS 'always true: the table has one row';
COMMENT ON COLUMN helios.coordinator.cluster IS 'the cluster that this node belongs to';
COMMENT ON COLUMN helios.coordinator.system_identifier IS 'system identifier of the coordinator';
COMMENT ON COLUMN helios.coordinator.timeline IS 'latest timeline on which the coordinator was seen';
COMMENT ON COLUMN helios.identity.singleton IS 'always true: the table has one row';
COMMENT ON COLUMN helios.node.id IS 'number of the node; 0 is this server';
COMMENT ON COLUMN helios.node.name IS 'name of the node';
COMMENT ON COLUMN helios.node.ports IS 'ports, one for each address';
COMMENT ON COLUMN helios.node.database IS 'database on the node';
COMMENT ON COLUMN helios.node.is_local IS 'whether the node is this server';
COMMENT ON COLUMN helios.node.role IS 'coordinator or data';
COMMENT ON COLUMN helios.node.state IS 'online or draining, as commands set it; helios_nodes shows what health checks found';
COMMENT ON COLUMN helios.node.weight IS 'capacity of the node relative to the others';
COMMENT ON COLUMN helios.node.takes_schemas IS 'whether new schemas are placed on the node';
COMMENT ON COLUMN helios.shard.id IS 'number of the shard';
COMMENT ON COLUMN helios.shard.name IS 'name of the shard; NULL if it has none';
COMMENT ON COLUMN helios.shard.kind
    IS 'pooled (holds the schemas of a range of slots and keys) or dedicated (holds one schema)';
COMMENT ON COLUMN helios.shard.node IS 'node that holds the shard';
COMMENT ON COLUMN helios.shard.state IS 'active or moving';
COMMENT ON COLUMN helios.schema.name IS 'name of the schema';
COMMENT ON COLUMN helios.schema.shard IS 'shard that holds the schema';
COMMENT ON COLUMN helios.schema.created IS 'when the schema became a distributed one';
COMMENT ON COLUMN helios.reference_table.relation IS 'the table on the coordinator';
COMMENT ON COLUMN helios.reference_table.created IS 'when it became a reference table';
COMMENT ON COLUMN helios.migration.id IS 'number of the migration';
COMMENT ON COLUMN helios.migration.shard IS 'the shard that moves';
COMMENT ON COLUMN helios.migration.schemas IS 'the schemas that move';
COMMENT ON COLUMN helios.migration.target IS 'node that the schemas move to';
COMMENT ON COLUMN helios.migration.state IS 'state of the migration: see docs/internals/migration-states.md';
COMMENT ON COLUMN helios.migration.rows_done IS 'rows copied';
COMMENT ON COLUMN helios.migration.rows_total IS 'estimated rows to copy';
COMMENT ON COLUMN helios.migration.bytes_done IS 'bytes copied';
COMMENT ON COLUMN helios.migration.bytes_total IS 'estimated bytes to copy';
COMMENT ON COLUMN helios.migration.lag IS 'bytes of log that the copy has not applied';
COMMENT ON COLUMN helios.migration.error IS 'last error, or what the migration waits for';
COMMENT ON COLUMN helios.migration.tries IS 'failed attempts of the current step';
COMMENT ON COLUMN helios.migration.retry_at IS 'when the worker takes the migration up again';
COMMENT ON COLUMN helios.migration.created IS 'when the migration was requested';
COMMENT ON COLUMN helios.migration.copying IS 'when copying rows began';
COMMENT ON COLUMN helios.migration.copied IS 'when copying rows ended';
COMMENT ON COLUMN helios.migration.verified IS 'when both copies were last found equal';
COMMENT ON COLUMN helios.migration.switched IS 'when the new copy took over';
COMMENT ON COLUMN helios.migration.ended IS 'when the migration ended';
COMMENT ON COLUMN helios.migration_table.migration IS 'number of the migration';
COMMENT ON COLUMN helios.migration_table.schema IS 'schema of the table';
COMMENT ON COLUMN helios.migration_table.name IS 'name of the table';
COMMENT ON COLUMN helios.migration_table.logged IS 'whether logical replication can carry the table''s changes';
COMMENT ON COLUMN helios.migration_table.blocks IS 'size of the table in blocks when the migration began';
COMMENT ON COLUMN helios.migration_table.rows IS 'estimated rows of the table when the migration began';
COMMENT ON COLUMN helios.merge.stays IS 'the shard that remains';
COMMENT ON COLUMN helios.merge.goes IS 'the shard that is merged into it';
COMMENT ON COLUMN helios.merge.migration IS 'the migration that comes first';
COMMENT ON COLUMN helios.cleanup.id IS 'number of the row';
COMMENT ON COLUMN helios.cleanup.migration IS 'number of the migration';
COMMENT ON COLUMN helios.cleanup.node IS 'node that has the object';
COMMENT ON COLUMN helios.cleanup.kind IS 'kind of object or of work';
COMMENT ON COLUMN helios.cleanup.name IS 'name of the object, or the statement to run';
COMMENT ON COLUMN helios.cleanup.created IS 'when the row was written';
COMMENT ON COLUMN helios.foreign_server.id IS 'number of the server, below 0, as in helios.migration.source';
COMMENT ON COLUMN helios.foreign_server.migration IS 'number of the import';
COMMENT ON COLUMN helios.foreign_server.hosts IS 'addresses';
COMMENT ON COLUMN helios.foreign_server.ports IS 'ports, one for each address';
COMMENT ON COLUMN helios.foreign_server.database IS 'database';
COMMENT ON COLUMN helios.foreign_server.role IS 'role that Helios logs in as';
COMMENT ON COLUMN helios.foreign_server.options IS 'other options of the connection string';
COMMENT ON COLUMN helios.transaction.gid IS 'global identifier of the prepared transaction';
COMMENT ON COLUMN helios.transaction.node IS 'node on which it is prepared';
COMMENT ON COLUMN helios.transaction.created IS 'when the record was written';
COMMENT ON COLUMN helios.credential.node IS 'node, or NULL for all';
COMMENT ON COLUMN helios.credential.role IS 'role';
COMMENT ON COLUMN helios.credential.password IS 'password';
COMMENT ON COLUMN helios.fence.schema IS 'name of the schema';
COMMENT ON COLUMN helios.fence.migration IS 'number of the migration on the coordinator';
COMMENT ON COLUMN helios.fence.kind IS 'definition (no DDL) or writes (no changes of rows either)';
COMMENT ON COLUMN helios.migration_marker.migration IS 'number of the migration';
COMMENT ON COLUMN helios.migration_marker.direction IS 'direction and channel in which the token travels';
COMMENT ON COLUMN helios.migration_marker.token IS 'the token; of a replica: time at which it was written';
COMMENT ON COLUMN helios.verification.migration IS 'number of the migration';
COMMENT ON COLUMN helios.verification.schema IS 'schema of the table or sequence';
COMMENT ON COLUMN helios.verification.relation IS 'name of the table or sequence';
COMMENT ON COLUMN helios.verification.source_rows IS 'rows on the source';
COMMENT ON COLUMN helios.verification.target_rows IS 'rows on the target';
COMMENT ON COLUMN helios.verification.mismatches IS 'number of rows that differ';
COMMENT ON COLUMN helios.verification.compared IS 'when they were compared';
COMMENT ON COLUMN helios.mismatch.migration IS 'number of the migration';
COMMENT ON COLUMN helios.mismatch.schema IS 'schema of the table or sequence';
COMMENT ON COLUMN helios.mismatch.relation IS 'name of the table or sequence';
COMMENT ON COLUMN helios.mismatch.kind IS 'how they differ: changed, missing, extra, duplicate, definition or position';
COMMENT ON COLUMN helios.mismatch.key IS 'key of the row, or what differs';
COMMENT ON COLUMN helios.replica.migration IS 'number of the migration that keeps the replica';
COMMENT ON COLUMN helios.replica.shard IS 'the shard';
COMMENT ON COLUMN helios.replica.node IS 'node that holds the replica';
COMMENT ON COLUMN helios.replica.since IS 'when the replica became complete';
COMMENT ON COLUMN helios.promotion.id IS 'number of the promotion';
COMMENT ON COLUMN helios.promotion.migration IS 'number of the migration that kept the replica';
COMMENT ON COLUMN helios.promotion.shard IS 'the shard';
COMMENT ON COLUMN helios.promotion.source IS 'node of the old primary';
COMMENT ON COLUMN helios.promotion.target IS 'node of the new primary';
COMMENT ON COLUMN helios.promotion.primary_lost IS 'whether the old primary did not answer';
COMMENT ON COLUMN helios.promotion.promoted IS 'when it happened';
COMMENT ON COLUMN pg_catalog.helios_shards.id IS 'number of the shard';
COMMENT ON COLUMN pg_catalog.helios_shards.name IS 'name of the shard; NULL if it has none';
COMMENT ON COLUMN pg_catalog.helios_shards.kind IS 'pooled or dedicated';
COMMENT ON COLUMN pg_catalog.helios_shards.node IS 'node that holds the shard';
COMMENT ON COLUMN pg_catalog.helios_shards.slot_from IS 'first hash slot';
COMMENT ON COLUMN pg_catalog.helios_shards.slot_to IS 'last hash slot';
COMMENT ON COLUMN pg_catalog.helios_shards.key_from IS 'least key; NULL for no bound';
COMMENT ON COLUMN pg_catalog.helios_shards.key_to IS 'first key after the greatest; NULL for no bound';
COMMENT ON COLUMN pg_catalog.helios_shards.state IS 'active, or moving while a migration moves it';
COMMENT ON COLUMN pg_catalog.helios_shards.schemas IS 'number of schemas';
COMMENT ON COLUMN pg_catalog.helios_shards.bytes IS 'size when last measured';
COMMENT ON COLUMN pg_catalog.helios_shards.load IS 'seconds of statements a second';
COMMENT ON COLUMN pg_catalog.helios_slots.slot_from IS 'first hash slot';
COMMENT ON COLUMN pg_catalog.helios_slots.slot_to IS 'last hash slot';
COMMENT ON COLUMN pg_catalog.helios_slots.key_from IS 'least key; NULL for no bound';
COMMENT ON COLUMN pg_catalog.helios_slots.key_to IS 'first key after the greatest; NULL for no bound';
COMMENT ON COLUMN pg_catalog.helios_slots.shard IS 'shard that holds the slots';
COMMENT ON COLUMN pg_catalog.helios_slots.node IS 'node that holds the shard';
COMMENT ON COLUMN pg_catalog.helios_schemas.schema IS 'name of the schema';
COMMENT ON COLUMN pg_catalog.helios_schemas.shard IS 'shard that holds the schema';
COMMENT ON COLUMN pg_catalog.helios_schemas.kind IS 'kind of the shard: pooled or dedicated';
COMMENT ON COLUMN pg_catalog.helios_schemas.node IS 'node that holds the schema';
COMMENT ON COLUMN pg_catalog.helios_schemas.created IS 'when the schema became a distributed one';
COMMENT ON COLUMN pg_catalog.helios_mismatches.migration IS 'number of the migration';
COMMENT ON COLUMN pg_catalog.helios_mismatches.schema IS 'schema of the table or sequence';
COMMENT ON COLUMN pg_catalog.helios_mismatches."table" IS 'name of the table or sequence';
COMMENT ON COLUMN pg_catalog.helios_mismatches.kind IS 'changed, missing, extra, duplicate, definition or position';
COMMENT ON COLUMN pg_catalog.helios_mismatches.key IS 'key of the row, or what differs';
COMMENT ON COLUMN pg_catalog.helios_mismatches."of" IS 'number of rows of the table that differ';
COMMENT ON COLUMN pg_catalog.helios_mismatches.compared IS 'when the copies were compared';
COMMENT ON COLUMN pg_catalog.helios_nodes.id IS 'number of the node; 0 is the coordinator';
COMMENT ON COLUMN pg_catalog.helios_nodes.name IS 'name of the node';
COMMENT ON COLUMN pg_catalog.helios_nodes.host IS 'addresses, separated by commas';
COMMENT ON COLUMN pg_catalog.helios_nodes.port IS 'ports, one for each address';
COMMENT ON COLUMN pg_catalog.helios_nodes.database IS 'database on the node';
COMMENT ON COLUMN pg_catalog.helios_nodes.role IS 'coordinator or data';
COMMENT ON COLUMN pg_catalog.helios_nodes.state
    IS 'online, degraded (not all of its addresses answer), offline or draining';
COMMENT ON COLUMN pg_catalog.helios_nodes.weight IS 'capacity relative to the other nodes';
COMMENT ON COLUMN pg_catalog.helios_nodes.takes_schemas IS 'whether new schemas are placed on the node';
COMMENT ON COLUMN pg_catalog.helios_nodes.shards IS 'number of shards on the node';
COMMENT ON COLUMN pg_catalog.helios_nodes.schemas IS 'number of distributed schemas on the node';
COMMENT ON COLUMN pg_catalog.helios_nodes.latency_ms IS 'time that the node took to answer, in milliseconds';
COMMENT ON COLUMN pg_catalog.helios_nodes.version IS 'version of PostgreSQL on the node';
COMMENT ON COLUMN pg_catalog.helios_nodes.error IS 'why the node did not answer';
COMMENT ON COLUMN pg_catalog.helios_migrations.id IS 'number of the migration';
COMMENT ON COLUMN pg_catalog.helios_migrations.state
    IS 'planned, dual_write, backfill, catch_up, verify, in_step, switch, dual_write_back, cleanup, finished, rolled_back, cancelled or failed';
COMMENT ON COLUMN pg_catalog.helios_migrations.source
    IS 'node, or server outside of the cluster, that the schemas come from';
COMMENT ON COLUMN pg_catalog.helios_migrations.target IS 'node that the schemas move to';
COMMENT ON COLUMN pg_catalog.helios_migrations.shard IS 'the shard that moves';
COMMENT ON COLUMN pg_catalog.helios_migrations.schemas IS 'the schemas that move';
COMMENT ON COLUMN pg_catalog.helios_migrations.rows_done IS 'rows copied';
COMMENT ON COLUMN pg_catalog.helios_migrations.rows_total IS 'estimated rows to copy';
COMMENT ON COLUMN pg_catalog.helios_migrations.bytes_done IS 'bytes copied';
COMMENT ON COLUMN pg_catalog.helios_migrations.bytes_total IS 'estimated bytes to copy';
COMMENT ON COLUMN pg_catalog.helios_migrations.rows_per_second IS 'mean rate of copying';
COMMENT ON COLUMN pg_catalog.helios_migrations.time_left
    IS 'estimated time until the rows are copied; after the switch, time until the rollback window ends';
COMMENT ON COLUMN pg_catalog.helios_migrations.lag IS 'bytes of log that the copy has not applied';
COMMENT ON COLUMN pg_catalog.helios_migrations.stall
    IS 'longest time in milliseconds for which the migration made writers wait';
COMMENT ON COLUMN pg_catalog.helios_migrations.error IS 'last error, or what the migration waits for';
COMMENT ON COLUMN pg_catalog.helios_migrations.created IS 'when the migration was requested';
COMMENT ON COLUMN pg_catalog.helios_migrations.switched IS 'when the new copy took over';
COMMENT ON COLUMN pg_catalog.helios_migrations.ended IS 'when the migration ended';
COMMENT ON COLUMN pg_catalog.helios_migrations.kind IS 'move or replica';
COMMENT ON COLUMN pg_catalog.helios_replicas.shard IS 'the shard';
COMMENT ON COLUMN pg_catalog.helios_replicas.schemas IS 'the schemas of the shard';
COMMENT ON COLUMN pg_catalog.helios_replicas.node IS 'node that holds the replica';
COMMENT ON COLUMN pg_catalog.helios_replicas."primary" IS 'node that holds the primary';
COMMENT ON COLUMN pg_catalog.helios_replicas.state
    IS 'in_step, behind (by more than helios.max_replica_lag), degraded (did not confirm a commit in time), or the state of the migration that creates or removes the replica';
COMMENT ON COLUMN pg_catalog.helios_replicas.lag_bytes IS 'bytes of log that the replica has not applied';
COMMENT ON COLUMN pg_catalog.helios_replicas.lag_ms
    IS 'everything committed longer ago than this many milliseconds is in the replica';
COMMENT ON COLUMN pg_catalog.helios_replicas.seen IS 'when the replica was last looked at';
COMMENT ON COLUMN pg_catalog.helios_replicas.since IS 'when the replica became complete';
COMMENT ON COLUMN pg_catalog.helios_replicas.error IS 'last error, or what the replica waits for';
COMMENT ON COLUMN pg_catalog.helios_replicas.migration IS 'number of the migration that keeps the replica';
COMMENT ON COLUMN pg_catalog.helios_schema_statistics.schema IS 'name of the schema';
COMMENT ON COLUMN pg_catalog.helios_schema_statistics.shard IS 'shard that holds the schema';
COMMENT ON COLUMN pg_catalog.helios_schema_statistics.node IS 'node that holds the schema';
COMMENT ON COLUMN pg_catalog.helios_schema_statistics.calls IS 'statements';
COMMENT ON COLUMN pg_catalog.helios_schema_statistics.rows IS 'rows returned or changed';
COMMENT ON COLUMN pg_catalog.helios_schema_statistics.bytes IS 'bytes of rows returned';
COMMENT ON COLUMN pg_catalog.helios_schema_statistics.time_ms IS 'time that the node took, in milliseconds';
COMMENT ON COLUMN pg_catalog.helios_schema_statistics.mean_ms IS 'mean time of a statement, in milliseconds';
COMMENT ON COLUMN pg_catalog.helios_schema_statistics.errors IS 'statements that failed';
COMMENT ON COLUMN pg_catalog.helios_schema_statistics.load
    IS 'seconds of statements a second, with a half-life of five minutes';
COMMENT ON COLUMN pg_catalog.helios_schema_statistics.size IS 'bytes when last measured';
COMMENT ON COLUMN pg_catalog.helios_transactions.gid IS 'global identifier of the prepared transaction';
COMMENT ON COLUMN pg_catalog.helios_transactions.node IS 'node on which it is prepared';
COMMENT ON COLUMN pg_catalog.helios_transactions.state
    IS 'committed (will be committed), in progress (its transaction still runs here), or aborted (will be rolled back)';
COMMENT ON COLUMN pg_catalog.helios_transactions.prepared IS 'when it was prepared';
COMMENT ON COLUMN pg_catalog.helios_transactions.age IS 'time since it was prepared';
COMMENT ON COLUMN pg_catalog.helios_transactions.error IS 'why the node did not answer';

-- What a statement over several places asks one node for is opened by one call, and so seen with one snapshot. It runs as
-- the role of the session, and only the coordinator's own statements can call it.
CREATE FUNCTION helios.open_portals(portals text[], queries text[], formats text[], types oid[], "values" bytea[],
                                    "binary" boolean[])
    RETURNS void
    LANGUAGE c STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'helios_open_portals_wrapper';
COMMENT ON FUNCTION helios.open_portals(text[], text[], text[], oid[], bytea[], boolean[])
    IS 'opens portals that see what the calling statement sees';

-- Rows that a coordinator sends ahead of a statement that reads them on this node. The session alone has them, under a number
-- that the coordinator has drawn at random.
CREATE FUNCTION helios.receive_rows(number bigint, rows bytea) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'helios_receive_rows_wrapper';
COMMENT ON FUNCTION helios.receive_rows(bigint, bytea) IS 'adds rows to those that were sent under a number';

CREATE FUNCTION helios.shipped_rows_support(internal) RETURNS internal
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'helios_shipped_rows_support_wrapper';
COMMENT ON FUNCTION helios.shipped_rows_support(internal) IS 'tells the planner how many rows were sent';

CREATE FUNCTION helios.shipped_rows(number bigint) RETURNS SETOF record
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED SUPPORT helios.shipped_rows_support
    AS 'MODULE_PATHNAME', 'helios_shipped_rows_wrapper';
COMMENT ON FUNCTION helios.shipped_rows(bigint) IS 'rows that were sent under a number';

CREATE FUNCTION helios.forget_rows(number bigint) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'helios_forget_rows_wrapper';
COMMENT ON FUNCTION helios.forget_rows(bigint) IS 'forgets rows that were sent under a number';

-- The copy of a reference table is created in the session of a client who may not be allowed to create it.
CREATE FUNCTION helios.run_on_request(role text, signature text) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_run_on_request_wrapper';
COMMENT ON FUNCTION helios.run_on_request(text, text)
    IS 'on a node: switches to another role, or to the owner of the extension if the name is empty, in a security-restricted operation, until the subtransaction or transaction ends, if the coordinator has signed the request';

-- Schemas that refer to each other
CREATE FUNCTION pg_catalog.helios_colocate(schema text, "with" text) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_colocate_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_colocate(text, text)
    IS 'lets two distributed schemas share a shard, so that they live and move together; returns the number of the migration that brings them to one node first, NULL if they already are on one';
REVOKE ALL ON FUNCTION pg_catalog.helios_colocate(text, text) FROM PUBLIC;

-- Indexes and constraints of the copies are created by the owner as well.
CREATE OR REPLACE FUNCTION helios.reference_definition(reference regclass, place name)
    RETURNS TABLE (by_owner boolean, statement text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made text := (SELECT format('%I.%I', place, c.relname) FROM pg_class c WHERE c.oid = reference);
    name text := (SELECT format('%I.%I', n.nspname, c.relname)
                    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = reference);
    owner name := (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = reference);
BEGIN
    RETURN QUERY
        SELECT true, format('CREATE TABLE %s (%s)%s', made, string_agg(p.part, ', ' ORDER BY p.kind, p.number),
                            (SELECT ' WITH (' || array_to_string(reloptions, ', ') || ')' FROM pg_class WHERE oid = reference))
          FROM (SELECT 1 AS kind, a.attnum::bigint AS number,
                       concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
                          CASE WHEN a.attcollation <> t.typcollation
                               THEN (SELECT format('COLLATE %I.%I', n.nspname, l.collname)
                                       FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace
                                      WHERE l.oid = a.attcollation) END,
                          CASE WHEN a.attgenerated <> ''
                               THEN format('GENERATED ALWAYS AS (%s)%s', pg_get_expr(d.adbin, d.adrelid),
                                           CASE WHEN a.attgenerated = 's' THEN ' STORED' END)
                               WHEN d.oid IS NOT NULL AND NOT EXISTS (
                                    SELECT FROM pg_depend p JOIN pg_class s ON s.oid = p.refobjid AND s.relkind = 'S'
                                     WHERE p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid
                                       AND p.refclassid = 'pg_class'::regclass)
                               THEN format('DEFAULT %s', pg_get_expr(d.adbin, d.adrelid)) END,
                          CASE WHEN a.attnotnull THEN 'NOT NULL' END) AS part
                  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
                       LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                 WHERE a.attrelid = reference AND a.attnum > 0 AND NOT a.attisdropped
                UNION ALL
                SELECT 2, k.oid::bigint, format('CONSTRAINT %I %s', k.conname, pg_get_constraintdef(k.oid))
                  FROM pg_constraint k WHERE k.conrelid = reference AND k.contype = 'c') AS p;
    RETURN QUERY
        SELECT true, format('ALTER TABLE %s ADD CONSTRAINT %I %s', made, k.conname, pg_get_constraintdef(k.oid))
          FROM pg_constraint k WHERE k.conrelid = reference AND k.contype IN ('p', 'u', 'x') ORDER BY k.oid;
    -- The deparsed definition begins with these words.
    RETURN QUERY
        SELECT true, format('CREATE %sINDEX %I ON %s', d.uniqueness, d.relname, made)
                     || substr(pg_get_indexdef(d.indexrelid), length(format('CREATE %sINDEX %I ON %s', d.uniqueness, d.relname, name)) + 1)
          FROM (SELECT i.indexrelid, c.relname, CASE WHEN i.indisunique THEN 'UNIQUE ' END AS uniqueness
                  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                 WHERE i.indrelid = reference AND i.indisvalid
                   AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.conrelid = reference)) AS d
         ORDER BY d.indexrelid;
    RETURN QUERY VALUES (false, format('ALTER TABLE %s SET SCHEMA %s', made,
                                       (SELECT quote_ident(n.nspname) FROM pg_class c
                                          JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = reference))),
                        (false, format('DROP SCHEMA %I RESTRICT', place));
    RETURN QUERY
        SELECT false, format('REVOKE ALL ON %s FROM PUBLIC, %I', name, owner) FROM pg_class
         WHERE oid = reference AND relacl IS NOT NULL;
    RETURN QUERY
        SELECT false, format('GRANT %s%s ON %s TO %s%s', a.privilege_type, g.part, name,
                      CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
                      CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' END)
          FROM (SELECT relacl, '' FROM pg_class WHERE oid = reference
                UNION ALL
                SELECT attacl, format(' (%I)', attname) FROM pg_attribute
                 WHERE attrelid = reference AND NOT attisdropped) AS g(acl, part), aclexplode(g.acl) AS a;
END $$;
