\echo Use "CREATE EXTENSION helios" to load this file. \quit

-- Load the library first, so that a server that has not preloaded it raises an error before anything is created.
CREATE FUNCTION pg_catalog.helios_version() RETURNS text
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'helios_version_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_version() IS 'version of the Helios library that this server has loaded';

DO $$
BEGIN
    IF pg_catalog.string_to_array(pg_catalog.helios_version(), '.')::pg_catalog.int4[] OPERATOR(pg_catalog.<) '{0,2,0}' THEN
        RAISE EXCEPTION 'loaded library version % of helios is older than the extension scripts', pg_catalog.helios_version()
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'The scripts create version 0.2.0.',
                  HINT = 'Restart the server to load the library that was installed with the scripts.';
    END IF;
END $$;

DO $$
BEGIN
    IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
        RAISE EXCEPTION 'helios requires database encoding UTF8'
            USING ERRCODE = 'feature_not_supported',
                  DETAIL = pg_catalog.format('The encoding of this database is %s.', pg_catalog.getdatabaseencoding()),
                  HINT = 'Create a database with ENCODING ''UTF8''. Its clients can use any encoding.';
    END IF;
END $$;

CREATE SCHEMA helios;
GRANT USAGE ON SCHEMA helios TO PUBLIC;

-------------------------------------------------------------------------------------------------
-- Catalogs
-------------------------------------------------------------------------------------------------

CREATE TYPE helios.key_range AS RANGE (subtype = text, collation = "C");

-- A single row that identifies this cluster. Never dumped: a restored cluster is another cluster.
CREATE TABLE helios.cluster (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    id        bigint  NOT NULL,
    pristine  boolean NOT NULL DEFAULT true,
    database  oid     NOT NULL,
    node_of   bigint,
    coordinator text
);
COMMENT ON COLUMN helios.cluster.id IS 'random number that marks nodes and prepared transactions as this cluster''s';
COMMENT ON COLUMN helios.cluster.database
    IS 'OID of the database that the row was created in: a copy of the database is another cluster';
COMMENT ON COLUMN helios.cluster.node_of IS 'the cluster that has this database as a node';
COMMENT ON COLUMN helios.cluster.coordinator IS 'address of the coordinator when it added this database as a node';
COMMENT ON COLUMN helios.cluster.pristine
    IS 'whether the shards are still those that CREATE EXTENSION made; the first insert from a dump replaces them';

-- Columns of a node that must not be dumped, like helios.cluster.node_of
CREATE TABLE helios.coordinator (
    cluster           bigint  PRIMARY KEY,
    system_identifier numeric NOT NULL,
    timeline          bigint  NOT NULL
);
COMMENT ON TABLE helios.coordinator IS 'on a node: the coordinator that last used it, so that a former primary is refused';

-- A single row, readable by superusers only and never dumped.
CREATE TABLE helios.identity (
    singleton   boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    seed        text    NOT NULL DEFAULT gen_random_uuid()::text || gen_random_uuid()::text,
    coordinator text
);
COMMENT ON TABLE helios.identity
    IS 'keys by which sessions of a coordinator prove themselves to its nodes, in one row that is never dumped';
COMMENT ON COLUMN helios.identity.seed
    IS 'secret from which the keys of this coordinator are derived; it never leaves this server';
COMMENT ON COLUMN helios.identity.coordinator IS 'on a node: public key of its coordinator';
INSERT INTO helios.identity DEFAULT VALUES;
-- Row-level security applies to pg_read_all_data and pg_write_all_data, which bypass missing privileges.
ALTER TABLE helios.identity ENABLE ROW LEVEL SECURITY;

CREATE SEQUENCE helios.node_id AS integer MAXVALUE 2147483647;
CREATE TABLE helios.node (
    id            integer PRIMARY KEY DEFAULT nextval('helios.node_id'),
    name          name    NOT NULL UNIQUE CHECK (name <> ''),
    hosts         text[]  NOT NULL CHECK (cardinality(hosts) > 0 AND array_position(hosts, NULL) IS NULL),
    ports         integer[] NOT NULL CHECK (cardinality(ports) = cardinality(hosts)
                                            AND 0 < ALL (ports) AND 65536 > ALL (ports)),
    database      name    NOT NULL,
    options       text[]  NOT NULL DEFAULT '{}',
    is_local      boolean NOT NULL DEFAULT false,
    role          text    NOT NULL DEFAULT 'data' CHECK (role IN ('coordinator', 'data')),
    state         text    NOT NULL DEFAULT 'online' CHECK (state IN ('online', 'degraded', 'offline', 'draining')),
    weight        double precision NOT NULL DEFAULT 1 CHECK (weight > 0 AND weight < 'Infinity'),
    takes_schemas boolean NOT NULL DEFAULT true,
    cluster       bigint NOT NULL,
    CHECK (is_local = (id = 0))
);
COMMENT ON TABLE helios.node IS 'PostgreSQL servers of the cluster; id 0 is this server itself';
COMMENT ON COLUMN helios.node.hosts
    IS 'addresses in the order in which they are tried: one, or the members of a high-availability group';
COMMENT ON COLUMN helios.node.cluster IS 'the cluster that the node belongs to; in a restored dump it is not this one';
COMMENT ON COLUMN helios.node.options
    IS 'connection options as key=value (sslmode, sslrootcert, sslcert, sslkey, connect_timeout)';

CREATE SEQUENCE helios.shard_id;
CREATE TABLE helios.shard (
    id        bigint  PRIMARY KEY DEFAULT nextval('helios.shard_id'),
    name      text    UNIQUE,
    kind      text    NOT NULL CHECK (kind IN ('pooled', 'dedicated')),
    node      integer NOT NULL REFERENCES helios.node,
    slot_from integer,
    slot_to   integer,
    key_from  text COLLATE "C",
    key_to    text COLLATE "C",
    state     text    NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'moving')),
    replicas  integer NOT NULL DEFAULT 1 CHECK (replicas >= 1),
    CHECK (kind <> 'pooled' OR (0 <= slot_from AND slot_from < slot_to AND slot_to <= 16384
                                AND slot_from IS NOT NULL AND slot_to IS NOT NULL
                                AND (key_from IS NULL OR key_to IS NULL OR key_from < key_to))),
    CHECK (kind <> 'dedicated' OR (slot_from IS NULL AND slot_to IS NULL AND key_from IS NULL AND key_to IS NULL)),
    CONSTRAINT shard_bounds_overlap EXCLUDE USING gist (
        int4range(slot_from, slot_to) WITH &&,
        (helios.key_range(key_from, key_to)) WITH &&) WHERE (kind = 'pooled') DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX shard_node ON helios.shard (node);
COMMENT ON TABLE helios.shard IS 'groups of schemas that live and move together';
COMMENT ON COLUMN helios.shard.slot_from IS 'first hash slot';
COMMENT ON COLUMN helios.shard.slot_to IS 'first hash slot after the last one';
COMMENT ON COLUMN helios.shard.key_from IS 'least key; NULL for no bound';
COMMENT ON COLUMN helios.shard.replicas
    IS 'number of copies that the cluster keeps, the primary included; see helios_set_replicas()';
COMMENT ON COLUMN helios.shard.key_to IS 'first key after the greatest; NULL for no bound';

CREATE TABLE helios.schema (
    name    name   PRIMARY KEY,
    shard   bigint NOT NULL REFERENCES helios.shard,
    created timestamptz NOT NULL DEFAULT now(),
    key     text COLLATE "C"
);
COMMENT ON COLUMN helios.schema.key IS 'key that placed the schema, kept when it is renamed; NULL: the key of its name';
CREATE INDEX schema_shard ON helios.schema (shard);
COMMENT ON TABLE helios.schema IS 'distributed schemas and the shard that holds each';

CREATE TABLE helios.reference_table (
    relation regclass PRIMARY KEY,
    created  timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE helios.reference_table IS 'tables with a copy of all rows on every node';

CREATE SEQUENCE helios.migration_id;
CREATE TABLE helios.migration (
    id          bigint  PRIMARY KEY DEFAULT nextval('helios.migration_id'),
    shard       bigint  NOT NULL,
    split_from  bigint,
    becomes     text    CHECK (becomes IN ('distributed', 'plain')),
    schemas     name[]  NOT NULL,
    source      integer NOT NULL,
    target      integer NOT NULL,
    state       text    NOT NULL DEFAULT 'planned' CHECK (state IN (
        'planned', 'dual_write', 'backfill', 'catch_up', 'verify', 'in_step', 'switch', 'dual_write_back',
        'cleanup', 'finished', 'rolled_back', 'cancelled', 'failed')),
    request     text    CHECK (request IN ('cancel', 'rollback', 'finish', 'verify', 'promote')),
    outcome     text    CHECK (outcome IN ('finished', 'rolled_back', 'cancelled', 'failed')),
    round       integer NOT NULL DEFAULT 0,
    rows_done   bigint  NOT NULL DEFAULT 0,
    rows_total  bigint  NOT NULL DEFAULT 0,
    bytes_done  bigint  NOT NULL DEFAULT 0,
    bytes_total bigint  NOT NULL DEFAULT 0,
    lag         bigint,
    stall       double precision,
    error       text,
    tries       integer NOT NULL DEFAULT 0,
    retry_at    timestamptz,
    created     timestamptz NOT NULL DEFAULT clock_timestamp(),
    copying     timestamptz,
    copied      timestamptz,
    verified    timestamptz,
    switched    timestamptz,
    ended       timestamptz,
    way_back    boolean NOT NULL DEFAULT true,
    keeps       boolean NOT NULL DEFAULT false,
    histories   text[]
);
CREATE UNIQUE INDEX migration_of_shard ON helios.migration (shard)
    WHERE NOT keeps AND state NOT IN ('finished', 'rolled_back', 'cancelled', 'failed');
COMMENT ON COLUMN helios.migration.keeps
    IS 'whether the migration creates a replica and keeps it in sync instead of moving the shard; see helios_replicas';
COMMENT ON TABLE helios.migration IS 'migrations of shards between nodes';
COMMENT ON COLUMN helios.migration.split_from IS 'the shard that the schema was taken out of for this move';
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

CREATE TABLE helios.migration_table (
    migration bigint  NOT NULL REFERENCES helios.migration ON DELETE CASCADE,
    schema    name    NOT NULL,
    name      name    NOT NULL,
    identity  text,
    logged    boolean NOT NULL,
    blocks    bigint  NOT NULL,
    rows      bigint  NOT NULL,
    round     integer,
    part      integer NOT NULL DEFAULT 0,
    PRIMARY KEY (migration, schema, name)
);
COMMENT ON TABLE helios.migration_table IS 'tables of migrations that have not ended';
COMMENT ON COLUMN helios.migration_table.identity
    IS 'clause that restores the table''s replica identity; NULL if it was not changed';
COMMENT ON COLUMN helios.migration_table.part
    IS 'number of the table''s owner: each owner''s tables have a subscription of their own, which applies changes with the owner''s rights';
COMMENT ON COLUMN helios.migration_table.round
    IS 'the round whose snapshot its rows were copied under; NULL: not copied yet';

CREATE TABLE helios.merge (
    stays     bigint NOT NULL REFERENCES helios.shard ON DELETE CASCADE,
    goes      bigint NOT NULL REFERENCES helios.shard ON DELETE CASCADE,
    migration bigint PRIMARY KEY
);
COMMENT ON TABLE helios.merge IS 'shards to be merged when a migration has brought them to one node';

CREATE TABLE helios.cleanup (
    id        bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    migration bigint  NOT NULL REFERENCES helios.migration,
    node      integer NOT NULL,
    kind      text    NOT NULL CHECK (kind IN ('subscription', 'slot', 'publication', 'identity', 'fence', 'marker', 'schema', 'former', 'rows',
                                                      'trigger', 'aside', 'import')),
    name      text    NOT NULL,
    created   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (migration, node, kind, name)
);
COMMENT ON TABLE helios.cleanup IS 'what a migration may have left on a node, recorded before it is created';

-- Passwords are stored in plain text, as in pg_subscription, so the table is readable by superusers only.
CREATE SEQUENCE helios.foreign_server_id AS integer;
CREATE TABLE helios.foreign_server (
    id         integer PRIMARY KEY CHECK (id < 0),
    migration  bigint  NOT NULL UNIQUE REFERENCES helios.migration ON DELETE CASCADE,
    hosts      text[]  NOT NULL,
    ports      integer[] NOT NULL,
    database   text    NOT NULL,
    role       text    NOT NULL,
    password   text,
    options    text[]  NOT NULL,
    definition text
);
ALTER TABLE helios.foreign_server ENABLE ROW LEVEL SECURITY;
COMMENT ON TABLE helios.foreign_server
    IS 'servers outside of the cluster from which schemas are imported, one for each import';
COMMENT ON COLUMN helios.foreign_server.password IS 'password from the connection string; deleted when the import ends';
COMMENT ON COLUMN helios.foreign_server.definition IS 'digest of the schema''s definition when it was copied';

CREATE TABLE helios.transaction (
    gid     text    PRIMARY KEY,
    node    integer NOT NULL,
    created timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_insert_threshold = -1, autovacuum_vacuum_cost_delay = 0); -- rows come and go by the thousand
COMMENT ON TABLE helios.transaction
    IS 'commit records: a prepared transaction with a row here is committed, one without is rolled back';

CREATE TABLE helios.credential (
    node     integer REFERENCES helios.node ON DELETE CASCADE,
    role     name    NOT NULL,
    password text    NOT NULL,
    UNIQUE NULLS NOT DISTINCT (node, role)
);
COMMENT ON TABLE helios.credential IS 'passwords of roles on nodes; a row without a node applies to every node';

GRANT SELECT ON helios.cluster, helios.node, helios.shard, helios.schema, helios.migration TO PUBLIC;

-------------------------------------------------------------------------------------------------
-- Functions that plans call in place of PostgreSQL's own
-------------------------------------------------------------------------------------------------

-- The first argument makes it unavailable in SQL: only the planner creates calls of it.
CREATE FUNCTION helios.evaluate(internal, text, text, VARIADIC "any") RETURNS internal
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'helios_evaluate_wrapper';
COMMENT ON FUNCTION helios.evaluate(internal, text, text, "any")
    IS 'evaluates an expression of a procedural language on a node';
CREATE FUNCTION helios.routed_nextval(regclass) RETURNS bigint
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'helios_nextval_wrapper';
CREATE FUNCTION helios.routed_currval(regclass) RETURNS bigint
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'helios_currval_wrapper';
CREATE FUNCTION helios.routed_setval(regclass, bigint) RETURNS bigint
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'helios_setval_wrapper';
CREATE FUNCTION helios.routed_setval(regclass, bigint, boolean) RETURNS bigint
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'helios_setval3_wrapper';
CREATE FUNCTION helios.routed_relation_size(regclass, text) RETURNS bigint
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_relation_size_wrapper';
CREATE FUNCTION helios.routed_relation_size(regclass) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT AS $$SELECT helios.routed_relation_size($1, 'main')$$;
CREATE FUNCTION helios.routed_total_relation_size(regclass) RETURNS bigint
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_total_size_wrapper';
CREATE FUNCTION helios.routed_table_size(regclass) RETURNS bigint
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_table_size_wrapper';
CREATE FUNCTION helios.routed_indexes_size(regclass) RETURNS bigint
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_indexes_size_wrapper';
CREATE FUNCTION helios.routed_sequence_last_value(regclass) RETURNS bigint
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_last_value_wrapper';
CREATE FUNCTION helios.followed_set_config(text, text, boolean) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'helios_set_config_wrapper';
CREATE FUNCTION helios.shared_snapshot() RETURNS text
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'helios_export_snapshot_wrapper';

-------------------------------------------------------------------------------------------------
-- Triggers and constraints that protect the catalogs from invalid changes
-------------------------------------------------------------------------------------------------

CREATE FUNCTION helios.directory_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'helios_directory_changed_wrapper';
CREATE TRIGGER directory_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON helios.node
    FOR EACH STATEMENT EXECUTE FUNCTION helios.directory_changed();
CREATE TRIGGER directory_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON helios.shard
    FOR EACH STATEMENT EXECUTE FUNCTION helios.directory_changed();
CREATE TRIGGER directory_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON helios.schema
    FOR EACH STATEMENT EXECUTE FUNCTION helios.directory_changed();
CREATE TRIGGER directory_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON helios.reference_table
    FOR EACH STATEMENT EXECUTE FUNCTION helios.directory_changed();

-- The pooled shards must cover all slots and keys. The constraint above excludes overlap, so it is sufficient to check
-- the former area of a shard: every point in it where a bound begins must be covered.
CREATE FUNCTION helios.check_shards_cover() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    was_slots int4range := int4range(OLD.slot_from, OLD.slot_to);
    was_keys helios.key_range := helios.key_range(OLD.key_from, OLD.key_to);
    missing record;
BEGIN
    IF OLD.kind <> 'pooled' THEN
        RETURN NULL;
    END IF;
    WITH here AS MATERIALIZED (
        SELECT int4range(slot_from, slot_to) AS slots, helios.key_range(key_from, key_to) AS keys
          FROM helios.shard
         WHERE kind = 'pooled' AND int4range(slot_from, slot_to) && was_slots
           AND helios.key_range(key_from, key_to) && was_keys)
    SELECT slot, key INTO missing
      FROM (SELECT OLD.slot_from UNION SELECT lower(slots) FROM here UNION SELECT upper(slots) FROM here) AS s(slot),
           (SELECT coalesce(OLD.key_from, '') UNION SELECT lower(keys) FROM here WHERE NOT lower_inf(keys)
            UNION SELECT upper(keys) FROM here WHERE NOT upper_inf(keys)) AS k(key)
     WHERE was_slots @> slot AND was_keys @> key
       AND NOT EXISTS (SELECT FROM here WHERE slots @> slot AND keys @> key)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the pooled shards leave a gap'
            USING ERRCODE = 'check_violation', SCHEMA = 'helios', TABLE = 'shard',
                  DETAIL = format('No shard holds slot %s with key "%s".', missing.slot, missing.key),
                  HINT = 'Change the bounds of neighbouring shards in one transaction.';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER shards_cover AFTER DELETE OR UPDATE OF kind, slot_from, slot_to, key_from, key_to ON helios.shard
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION helios.check_shards_cover();

CREATE FUNCTION helios.refuse_truncate() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the directory cannot be truncated'
        USING ERRCODE = 'object_not_in_prerequisite_state',
              DETAIL = 'The pooled shards must hold every key at any time.',
              HINT = 'Delete the rows that are no longer needed.';
END $$;
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON helios.shard
    FOR EACH STATEMENT EXECUTE FUNCTION helios.refuse_truncate();

-- A dump contains rows that CREATE EXTENSION has already created; the dumped rows replace them.
CREATE FUNCTION helios.restore_node() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.id <> 0 OR NEW.cluster IS NULL THEN
        NEW.cluster := coalesce(NEW.cluster, (SELECT id FROM helios.cluster));
        RETURN NEW;
    END IF;
    UPDATE helios.node
       SET (name, hosts, ports, database, options, role, state, weight, takes_schemas)
         = (NEW.name, NEW.hosts, NEW.ports, NEW.database, NEW.options, NEW.role, NEW.state, NEW.weight, NEW.takes_schemas)
     WHERE id = 0;
    RETURN CASE WHEN FOUND THEN NULL ELSE NEW END;
END $$;
CREATE TRIGGER restore BEFORE INSERT ON helios.node FOR EACH ROW EXECUTE FUNCTION helios.restore_node();

CREATE FUNCTION helios.restore_shard() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE helios.cluster SET pristine = false WHERE pristine;
    IF FOUND THEN
        DELETE FROM helios.shard;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION helios.restore_schema() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM helios.schema WHERE name = NEW.name;
    RETURN NEW;
END $$;
CREATE TRIGGER restore BEFORE INSERT ON helios.schema FOR EACH ROW EXECUTE FUNCTION helios.restore_schema();

-------------------------------------------------------------------------------------------------
-- A server without nodes is a complete cluster: the first node, with all slots
-------------------------------------------------------------------------------------------------

INSERT INTO helios.cluster (id, database)
    SELECT ('x' || translate(left(gen_random_uuid()::text, 18), '-', ''))::bit(64)::bigint & 9223372036854775807, oid
      FROM pg_database WHERE datname = current_database();
INSERT INTO helios.node (id, name, hosts, ports, database, is_local, role)
    VALUES (0, 'coordinator', '{localhost}', ARRAY[current_setting('port')::int], current_database(), true, 'coordinator');
INSERT INTO helios.shard (kind, node, slot_from, slot_to)
    SELECT 'pooled', 0, 16384 * i / n, 16384 * (i + 1) / n
      FROM (SELECT current_setting('helios.initial_shards')::int) AS s(n), generate_series(0, n - 1) AS i;
CREATE TRIGGER restore BEFORE INSERT ON helios.shard FOR EACH STATEMENT EXECUTE FUNCTION helios.restore_shard();

SELECT pg_extension_config_dump('helios.node', '');
SELECT pg_extension_config_dump('helios.node_id', '');
SELECT pg_extension_config_dump('helios.shard', '');
SELECT pg_extension_config_dump('helios.shard_id', '');
SELECT pg_extension_config_dump('helios.schema', '');
SELECT pg_extension_config_dump('helios.credential', '');
SELECT pg_extension_config_dump('helios.reference_table', '');

-------------------------------------------------------------------------------------------------
-- Schemas and their placement
-------------------------------------------------------------------------------------------------

CREATE FUNCTION pg_catalog.helios_create_schema(schema text, node text DEFAULT NULL, owner text DEFAULT NULL,
                                                if_not_exists boolean DEFAULT false) RETURNS text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_create_schema_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_create_schema(text, text, text, boolean)
    IS 'creates a distributed schema, as CREATE SCHEMA … DISTRIBUTED does; returns the name of its node';

CREATE FUNCTION pg_catalog.helios_distribute_schema(schema text, node text DEFAULT NULL) RETURNS text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_distribute_schema_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_distribute_schema(text, text)
    IS 'turns an existing schema into a distributed one, moving its data while it is in use; returns the name of its node';

CREATE FUNCTION pg_catalog.helios_undistribute_schema(schema text) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_undistribute_schema_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_undistribute_schema(text)
    IS 'turns a distributed schema into a plain schema of the coordinator, moving its data while it is in use';

CREATE FUNCTION pg_catalog.helios_node_for_schema(schema text) RETURNS text
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'helios_node_for_schema_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_node_for_schema(text)
    IS 'name of the node that holds a distributed schema; NULL for any other schema';

CREATE FUNCTION pg_catalog.helios_node_for_key(key text) RETURNS text
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'helios_node_for_key_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_node_for_key(text)
    IS 'name of the node on which a new schema with this name or key would be placed';

CREATE FUNCTION pg_catalog.helios_key_slot(key text) RETURNS integer
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'helios_key_slot_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_key_slot(text) IS 'hash slot of a key, from 0 to 16383';

CREATE FUNCTION helios.schema_counters() RETURNS TABLE (
        schema text, calls bigint, rows bigint, bytes bigint, time_ms double precision, errors bigint,
        load double precision, size bigint)
    LANGUAGE c VOLATILE ROWS 1000 AS 'MODULE_PATHNAME', 'helios_schema_counters_wrapper';
COMMENT ON FUNCTION helios.schema_counters()
    IS 'statements, rows, bytes, time and errors that this server has counted for each distributed schema';

CREATE VIEW helios.helios_shards AS
    SELECT s.id, s.name, s.kind, n.name AS node, s.slot_from, s.slot_to - 1 AS slot_to, s.key_from, s.key_to,
           CASE WHEN EXISTS (SELECT FROM helios.migration m
                              WHERE m.shard = s.id AND NOT m.keeps AND m.state NOT IN ('finished', 'rolled_back', 'cancelled', 'failed'))
                THEN 'moving' ELSE s.state END AS state,
           (SELECT count(*) FROM helios.schema c WHERE c.shard = s.id) AS schemas,
           w.bytes, w.load
      FROM helios.shard s JOIN helios.node n ON n.id = s.node
           LEFT JOIN (SELECT c.shard, sum(k.size)::bigint AS bytes, sum(k.load) AS load
                        FROM helios.schema c JOIN helios.schema_counters() AS k ON k.schema::name = c.name
                       GROUP BY c.shard) AS w ON w.shard = s.id;
ALTER VIEW helios.helios_shards SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.helios_shards IS 'shards with their bounds, node and contents';

CREATE VIEW helios.helios_slots AS
    SELECT s.slot_from, s.slot_to - 1 AS slot_to, s.key_from, s.key_to, s.id AS shard, n.name AS node
      FROM helios.shard s JOIN helios.node n ON n.id = s.node
     WHERE s.kind = 'pooled';
ALTER VIEW helios.helios_slots SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.helios_slots IS 'ranges of hash slots, with the shard and the node that hold them';

CREATE VIEW helios.helios_schemas AS
    SELECT c.name AS schema, c.shard, s.kind, n.name AS node, c.created
      FROM helios.schema c JOIN helios.shard s ON s.id = c.shard JOIN helios.node n ON n.id = s.node;
ALTER VIEW helios.helios_schemas SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.helios_schemas IS 'distributed schemas and the node that holds each';

-------------------------------------------------------------------------------------------------
-- Reference tables
-------------------------------------------------------------------------------------------------

CREATE FUNCTION pg_catalog.helios_create_reference_table("table" text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_create_reference_table_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_create_reference_table(text)
    IS 'copies a table with its rows to every node; from then on a write changes all copies';

CREATE FUNCTION pg_catalog.helios_undistribute_table("table" text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_undistribute_table_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_undistribute_table(text)
    IS 'turns a reference table into an ordinary table of the coordinator and drops the copies on the nodes';

CREATE FUNCTION helios.reference_write() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'helios_reference_write_wrapper';
COMMENT ON FUNCTION helios.reference_write()
    IS 'trigger of a reference table: applies changes of its rows to the copies on all nodes';

CREATE FUNCTION helios.reference_copy() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'helios_reference_copy_wrapper';
COMMENT ON FUNCTION helios.reference_copy()
    IS 'trigger of a reference table''s copy on a node: refuses changes that do not come from the coordinator';

-- A coordinator requests that its node changes the copy of a reference table as the role that has changed the table, in
-- the client's session. The request contains a nonce issued by the node and a signature of the whole request.
CREATE FUNCTION helios.change_number() RETURNS text
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_change_number_wrapper';
COMMENT ON FUNCTION helios.change_number()
    IS 'on a node: returns a number, valid once, that the coordinator includes in a signed request';
CREATE FUNCTION helios.change_copy(role text, schema text, "table" text, statements bytea, signature text) RETURNS bigint
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_change_copy_wrapper';
COMMENT ON FUNCTION helios.change_copy(text, text, text, bytea, text)
    IS 'on a node: changes the copy of a reference table as the given role if the coordinator has signed the request; returns the number of rows changed';
CREATE FUNCTION helios.run_on_request(role text, signature text) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_run_on_request_wrapper';
COMMENT ON FUNCTION helios.run_on_request(text, text)
    IS 'on a node: switches to another role, or to the owner of the extension if the name is empty, in a security-restricted operation, until the subtransaction or transaction ends, if the coordinator has signed the request';

-- Statements that create the copy of a reference table on a node, in order. All that contains expressions is created by its
-- owner in schema "place": parsing a literal may already run code of his, for instance the check of a domain. The first
-- statement creates the table, which is filled before the others; those not by the owner put it in its place. The copy has no
-- sequences, which are used on the coordinator only, no foreign keys to other reference tables, which are checked on the
-- coordinator, and none of the table's triggers.
CREATE FUNCTION helios.reference_definition(reference regclass, place name)
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

CREATE FUNCTION helios.reference_digest(reference regclass) RETURNS text
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_reference_digest_wrapper';
COMMENT ON FUNCTION helios.reference_digest(regclass)
    IS 'number of rows of a table and the sum of their hashes, for comparing copies; requires SELECT on the table';

-------------------------------------------------------------------------------------------------
-- Sessions that run as the owner of the objects that they access
-------------------------------------------------------------------------------------------------

-- Callable by everyone: it grants no more than SET ROLE.
CREATE FUNCTION helios.run_as(role text) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_run_as_wrapper';
COMMENT ON FUNCTION helios.run_as(text)
    IS 'switches to another role, in a security-restricted operation, until the subtransaction or transaction ends';

CREATE FUNCTION helios.run_as_owner(relation text) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_run_as_owner_wrapper';
COMMENT ON FUNCTION helios.run_as_owner(text)
    IS 'switches to the owner of a relation, in a security-restricted operation, until the subtransaction or transaction ends';

-------------------------------------------------------------------------------------------------
-- Copies of schemas on two nodes during a move
-------------------------------------------------------------------------------------------------

CREATE TABLE helios.fence (
    schema    name    NOT NULL,
    migration bigint  NOT NULL,
    kind      text    NOT NULL CHECK (kind IN ('definition', 'writes')),
    keeps     boolean NOT NULL DEFAULT false,
    PRIMARY KEY (schema, migration)
);
COMMENT ON COLUMN helios.fence.keeps IS 'whether the fence protects a replica rather than a move';
COMMENT ON TABLE helios.fence
    IS 'schemas whose definition, or whose rows too, a migration protects from changes on this server';
CREATE FUNCTION helios.fence_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'helios_fence_changed_wrapper';
CREATE TRIGGER fence_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON helios.fence
    FOR EACH STATEMENT EXECUTE FUNCTION helios.fence_changed();

CREATE TABLE helios.migration_marker (
    migration bigint,
    direction text,
    token     bigint NOT NULL,
    PRIMARY KEY (migration, direction)
);
COMMENT ON TABLE helios.migration_marker
    IS 'tokens written on one copy: seen on the other, a token proves that everything before it has arrived';
GRANT SELECT ON helios.fence, helios.migration_marker TO PUBLIC;

-- The role that applies changes may write its own marker; tenants' code run as that role must not write those of
-- others.
CREATE FUNCTION helios.guard_marker() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
       OR current_user::text LIKE '%' || format('\_%s\_%s', NEW.migration, NEW.direction)
          AND (NEW.migration, NEW.direction) = (OLD.migration, OLD.direction) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'permission denied for a marker of migration %', OLD.migration USING ERRCODE = 'insufficient_privilege';
END $$;
REVOKE EXECUTE ON FUNCTION helios.guard_marker() FROM PUBLIC;
CREATE TRIGGER guard_marker BEFORE UPDATE ON helios.migration_marker FOR EACH ROW EXECUTE FUNCTION helios.guard_marker();
ALTER TABLE helios.migration_marker ENABLE ALWAYS TRIGGER guard_marker;

CREATE TABLE helios.verification (
    migration   bigint,
    schema      name,
    relation    name,
    source_rows bigint NOT NULL,
    target_rows bigint NOT NULL,
    mismatches  bigint NOT NULL,
    compared    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (migration, schema, relation)
);
COMMENT ON TABLE helios.verification IS 'result of the last comparison of a migration''s copies, for each table';
CREATE TABLE helios.mismatch (
    migration bigint,
    schema    name NOT NULL,
    relation  name NOT NULL,
    kind      text NOT NULL CHECK (kind IN ('changed', 'missing', 'extra', 'duplicate', 'definition', 'position')),
    key       text NOT NULL,
    FOREIGN KEY (migration, schema, relation) REFERENCES helios.verification ON DELETE CASCADE
);
CREATE INDEX mismatch_of ON helios.mismatch (migration, schema, relation);
COMMENT ON TABLE helios.mismatch IS 'rows in which the copies of a migration differ: at most 100 for each table';

CREATE VIEW helios.helios_mismatches AS
    SELECT migration, schema, relation AS "table", kind, key, mismatches AS "of", compared
      FROM helios.mismatch JOIN helios.verification USING (migration, schema, relation);
ALTER VIEW helios.helios_mismatches SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.helios_mismatches
    IS 'rows in which the two copies of a migration differed at the last comparison; at most 100 for each table';

CREATE FUNCTION helios.compare_copies(source jsonb, target jsonb, schema text)
    RETURNS TABLE (relation text, source_rows bigint, target_rows bigint, mismatches bigint, kind text, key text)
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_compare_copies_wrapper';
COMMENT ON FUNCTION helios.compare_copies(jsonb, jsonb, text)
    IS 'compares the tables and sequences of a schema on two servers while nobody writes to them';
REVOKE EXECUTE ON FUNCTION helios.compare_copies(jsonb, jsonb, text) FROM PUBLIC;

CREATE FUNCTION helios.pull_rows(source jsonb, snapshot text, relation text, columns text[], from_block bigint,
                                 to_block bigint, format text DEFAULT NULL, rate bigint DEFAULT NULL,
                                 bulk boolean DEFAULT false)
    RETURNS TABLE (rows bigint, bytes bigint)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_pull_rows_wrapper';
COMMENT ON FUNCTION helios.pull_rows(jsonb, text, text, text[], bigint, bigint, text, bigint, boolean)
    IS 'copies a range of blocks of a table from another server into the same table here, at most "rate" rows a second; "bulk" freezes the rows, as COPY FREEZE does, if the table has no index';
REVOKE EXECUTE ON FUNCTION helios.pull_rows(jsonb, text, text, text[], bigint, bigint, text, bigint, boolean) FROM PUBLIC;

CREATE FUNCTION helios.free_bytes() RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_free_bytes_wrapper';
COMMENT ON FUNCTION helios.free_bytes() IS 'free bytes on the disk that holds this database, its tablespaces not included';
REVOKE EXECUTE ON FUNCTION helios.free_bytes() FROM PUBLIC;

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

-- Comparisons read tables through this function, because a query that names a table runs code that its owner has
-- written into indexes.
CREATE FUNCTION helios.table_rows(anyelement) RETURNS SETOF anyelement
    LANGUAGE c VOLATILE ROWS 100000 AS 'MODULE_PATHNAME', 'helios_table_rows_wrapper';
COMMENT ON FUNCTION helios.table_rows(anyelement)
    IS 'all rows of the table whose row type the argument has, scanned without a plan; superusers only';
REVOKE EXECUTE ON FUNCTION helios.table_rows(anyelement) FROM PUBLIC;

CREATE FUNCTION helios.has_rows(relation text) RETURNS boolean
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_has_rows_wrapper';
COMMENT ON FUNCTION helios.has_rows(text) IS 'whether a table has rows, determined without a plan; superusers only';
REVOKE EXECUTE ON FUNCTION helios.has_rows(text) FROM PUBLIC;

CREATE FUNCTION helios.delete_rows(relation text) RETURNS bigint
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_delete_rows_wrapper';
COMMENT ON FUNCTION helios.delete_rows(text)
    IS 'deletes all rows of a table without a plan, rules or triggers; superusers only';
REVOKE EXECUTE ON FUNCTION helios.delete_rows(text) FROM PUBLIC;

CREATE FUNCTION helios.sequence_position(sequence regclass, OUT last_value text, OUT is_called text) RETURNS SETOF record
    LANGUAGE c VOLATILE STRICT ROWS 1 AS 'MODULE_PATHNAME', 'helios_sequence_position_wrapper';
COMMENT ON FUNCTION helios.sequence_position(regclass) IS 'position of a sequence, read without a plan; superusers only';
REVOKE EXECUTE ON FUNCTION helios.sequence_position(regclass) FROM PUBLIC;

-------------------------------------------------------------------------------------------------
-- Nodes
-------------------------------------------------------------------------------------------------

CREATE FUNCTION pg_catalog.helios_add_node(name text, host text, port integer DEFAULT 5432, database text DEFAULT NULL,
                                           weight double precision DEFAULT 1, takes_schemas boolean DEFAULT true,
                                           options text[] DEFAULT '{}') RETURNS integer
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_add_node_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_add_node(text, text, integer, text, double precision, boolean, text[])
    IS 'checks a PostgreSQL server, copies roles, shared definitions and reference tables to it, and adds it as a node; host and port may list the members of a high-availability group';

CREATE FUNCTION pg_catalog.helios_remove_node(name text) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_remove_node_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_remove_node(text) IS 'removes a node that holds no schemas from the cluster';

CREATE FUNCTION pg_catalog.helios_adopt_nodes() RETURNS integer
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_adopt_nodes_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_adopt_nodes()
    IS 'makes this database the coordinator of the nodes in a directory that was restored from a dump; returns their number';

CREATE FUNCTION helios.probe_node(node integer) RETURNS TABLE (
        reachable boolean, latency_ms double precision, version text, error text)
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_probe_node_wrapper';

CREATE FUNCTION helios.node_health(node integer) RETURNS TABLE (state text, seconds double precision)
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_node_health_wrapper';
COMMENT ON FUNCTION helios.node_health(integer)
    IS 'state of a node as the health checks of this server last saw it, and for how many seconds it has been in that state';

CREATE VIEW helios.helios_nodes AS
    SELECT n.id, n.name, array_to_string(n.hosts, ',') AS host, array_to_string(n.ports, ',') AS port, n.database,
           n.role, CASE WHEN n.state = 'draining' THEN n.state WHEN NOT p.reachable THEN 'offline'
                        WHEN h.state = 'degraded' THEN h.state ELSE n.state END AS state,
           n.weight, n.takes_schemas,
           (SELECT count(*) FROM helios.shard s WHERE s.node = n.id) AS shards,
           (SELECT count(*) FROM helios.schema c JOIN helios.shard s ON s.id = c.shard WHERE s.node = n.id) AS schemas,
           p.latency_ms, p.version, p.error
      FROM helios.node n CROSS JOIN LATERAL helios.probe_node(n.id) AS p
           LEFT JOIN LATERAL helios.node_health(n.id) AS h ON true;
ALTER VIEW helios.helios_nodes SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.helios_nodes IS 'nodes with their current state; reading the view connects to every node';

CREATE FUNCTION pg_catalog.helios_check_cluster() RETURNS TABLE (
        node text, "check" text, ok boolean, detail text, remedy text)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_check_cluster_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_check_cluster()
    IS 'examines every node and reports what is wrong, with a remedy for each fault';

CREATE FUNCTION pg_catalog.helios_repair_schema(schema text, dry_run boolean DEFAULT false) RETURNS TABLE (
        object text, difference text, action text)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_repair_schema_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_repair_schema(text, boolean)
    IS 'makes the definitions of a distributed schema on the coordinator match those on its node; with dry_run only shows what it would do';

-------------------------------------------------------------------------------------------------
-- Migrations
-------------------------------------------------------------------------------------------------

CREATE VIEW helios.helios_migrations AS
    SELECT m.id, m.state,
           coalesce(s.name, format('%s:%s/%s', f.hosts[1], f.ports[1], f.database)::name, m.source::text::name) AS source, coalesce(t.name, m.target::text::name) AS target,
           m.shard, m.schemas, m.rows_done, m.rows_total, m.bytes_done, m.bytes_total,
           CASE WHEN m.copying IS NOT NULL
                THEN m.rows_done / greatest(extract(epoch FROM coalesce(m.copied, clock_timestamp()) - m.copying), 0.001)::double precision
           END AS rows_per_second,
           CASE WHEN m.state = 'backfill' AND m.bytes_done > 0
                THEN (clock_timestamp() - m.copying) * (greatest(m.bytes_total - m.bytes_done, 0)::double precision / m.bytes_done)
                WHEN m.state = 'dual_write_back'
                THEN m.switched + current_setting('helios.rollback_window')::interval - clock_timestamp()
           END AS time_left,
           m.lag, m.stall, m.error, m.created, m.switched, m.ended,
           CASE WHEN m.keeps THEN 'replica' ELSE 'move' END AS kind
      FROM helios.migration m LEFT JOIN helios.node s ON s.id = m.source LEFT JOIN helios.node t ON t.id = m.target
           LEFT JOIN helios.foreign_server f ON f.id = m.source;
ALTER VIEW helios.helios_migrations SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.helios_migrations IS 'migrations of shards between nodes, past ones included';

CREATE FUNCTION pg_catalog.helios_migrate_schema(schema text, node text) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_migrate_schema_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_migrate_schema(text, text)
    IS 'starts moving a distributed schema to another node while it is in use; returns the number of the migration without waiting for it';

CREATE FUNCTION pg_catalog.helios_migrate_shard(shard bigint, node text) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_migrate_shard_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_migrate_shard(bigint, text)
    IS 'starts moving a shard with all its schemas to another node while they are in use; returns the number of the migration without waiting for it';

CREATE FUNCTION pg_catalog.helios_import_schema(connection text, schema text, node text DEFAULT NULL,
                                                way_back boolean DEFAULT true) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_import_schema_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_import_schema(text, text, text, boolean)
    IS 'starts importing a schema from a PostgreSQL server outside of the cluster, named by a libpq connection string, while it is in use there; returns the number of the migration without waiting for it';

CREATE FUNCTION pg_catalog.helios_cancel_migration(id bigint) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_cancel_migration_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_cancel_migration(bigint)
    IS 'stops a migration that has not switched yet; the old copy stays in use';

CREATE FUNCTION pg_catalog.helios_rollback_migration(id bigint) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_rollback_migration_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_rollback_migration(bigint)
    IS 'returns to the old copy, with every write made since the switch, while the rollback window is open';

CREATE FUNCTION pg_catalog.helios_finish_migration(id bigint) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_finish_migration_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_finish_migration(bigint)
    IS 'removes the old copy now instead of at the end of the rollback window';

CREATE FUNCTION pg_catalog.helios_verify_schema(schema text) RETURNS TABLE (
        "table" text, source_rows bigint, target_rows bigint, mismatches bigint)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_verify_schema_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_verify_schema(text)
    IS 'compares the two copies of a schema that has moved, while both exist; helios_mismatches shows the rows that differ';

CREATE FUNCTION pg_catalog.helios_migration(id bigint) RETURNS SETOF helios_migrations
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT * FROM helios_migrations m WHERE m.id = $1;
    END;
COMMENT ON FUNCTION pg_catalog.helios_migration(bigint) IS 'the row of helios_migrations for one migration';

CREATE FUNCTION pg_catalog.helios_active_migrations() RETURNS SETOF helios_migrations
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT * FROM helios_migrations m
         WHERE m.state NOT IN ('in_step', 'finished', 'rolled_back', 'cancelled', 'failed')
           AND NOT (m.kind = 'replica' AND m.state = 'dual_write_back') ORDER BY m.id;
    END;
COMMENT ON FUNCTION pg_catalog.helios_active_migrations() IS 'migrations that have not ended';

CREATE FUNCTION pg_catalog.helios_wait_for_migration(id bigint, timeout interval DEFAULT NULL) RETURNS text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_wait_for_migration_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_wait_for_migration(bigint, interval)
    IS 'waits until a migration has switched or ended, reporting progress as notices; returns its state';

CREATE FUNCTION pg_catalog.helios_cleanup_migrations(older_than interval DEFAULT '30 days') RETURNS bigint
    LANGUAGE sql VOLATILE
    BEGIN ATOMIC
        WITH gone AS (
            DELETE FROM helios.migration m
             WHERE m.state IN ('finished', 'rolled_back', 'cancelled', 'failed')
               AND m.ended < clock_timestamp() - coalesce($1, '30 days')
               AND NOT EXISTS (SELECT FROM helios.cleanup c WHERE c.migration = m.id)
            RETURNING 1)
        SELECT count(*) FROM gone;
    END;
COMMENT ON FUNCTION pg_catalog.helios_cleanup_migrations(interval)
    IS 'deletes the records of migrations that ended longer ago than the given interval; returns their number';

-------------------------------------------------------------------------------------------------
-- Replicas: additional copies of shards that follow the primary
-------------------------------------------------------------------------------------------------

CREATE TABLE helios.replica (
    migration bigint  PRIMARY KEY REFERENCES helios.migration ON DELETE CASCADE,
    shard     bigint  NOT NULL,
    node      integer NOT NULL,
    slots     text[]  NOT NULL,
    since     timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX replica_shard ON helios.replica (shard);
CREATE TRIGGER directory_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON helios.replica
    FOR EACH STATEMENT EXECUTE FUNCTION helios.directory_changed();
COMMENT ON TABLE helios.replica IS 'copies of shards that are complete and follow the primary';
COMMENT ON COLUMN helios.replica.slots IS 'replication slots on the primary that the replica follows';

CREATE TABLE helios.promotion (
    id             bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    migration      bigint  NOT NULL,
    shard          bigint  NOT NULL,
    source         integer NOT NULL,
    target         integer NOT NULL,
    primary_lost   boolean NOT NULL,
    complete_until timestamptz,
    bytes_behind   bigint,
    promoted       timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE helios.promotion IS 'promotions of replicas';
COMMENT ON COLUMN helios.promotion.complete_until
    IS 'everything committed before this moment is in the new primary; of what was committed later, some may be missing';
COMMENT ON COLUMN helios.promotion.bytes_behind
    IS 'bytes of the lost primary''s log, as far as known, that were not applied, whoever wrote them';
GRANT SELECT ON helios.replica, helios.promotion TO PUBLIC;

CREATE FUNCTION helios.replica_states() RETURNS TABLE (
        migration bigint, degraded boolean, complete_until timestamptz, seen timestamptz, bytes bigint)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_replica_states_wrapper';
COMMENT ON FUNCTION helios.replica_states() IS 'how far each replica was when the worker last looked';

CREATE VIEW helios.helios_replicas AS
    SELECT m.shard, m.schemas, c.name AS node, p.name AS "primary",
           CASE WHEN r.migration IS NULL THEN m.state
                WHEN s.degraded THEN 'degraded'
                WHEN s.complete_until IS NULL OR clock_timestamp() - s.complete_until > current_setting('helios.max_replica_lag')::interval
                THEN 'behind'
                ELSE 'in_step' END AS state,
           s.bytes AS lag_bytes,
           extract(epoch FROM clock_timestamp() - s.complete_until)::double precision * 1000 AS lag_ms,
           s.seen, r.since, m.error, m.id AS migration
      FROM helios.migration m LEFT JOIN helios.shard h ON h.id = m.shard
           LEFT JOIN helios.replica r ON r.migration = m.id
           LEFT JOIN helios.replica_states() AS s ON s.migration = r.migration
           LEFT JOIN helios.node c ON c.id = CASE WHEN m.target = h.node THEN m.source ELSE m.target END
           LEFT JOIN helios.node p ON p.id = h.node
     WHERE m.keeps AND m.state NOT IN ('finished', 'rolled_back', 'cancelled', 'failed');
ALTER VIEW helios.helios_replicas SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.helios_replicas IS 'replicas of shards and how far each is behind its primary';
GRANT SELECT ON pg_catalog.helios_replicas TO PUBLIC;

CREATE FUNCTION pg_catalog.helios_set_replicas(schema text, copies integer) RETURNS SETOF bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_set_schema_replicas_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_set_replicas(text, integer)
    IS 'sets how many copies of a schema the cluster keeps, the primary included; returns the migrations that create the missing ones';
CREATE FUNCTION pg_catalog.helios_set_replicas(shard bigint, copies integer) RETURNS SETOF bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_set_shard_replicas_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_set_replicas(bigint, integer)
    IS 'sets how many copies of a shard the cluster keeps, the primary included; returns the migrations that create the missing ones';

CREATE FUNCTION pg_catalog.helios_promote_replica(
        schema text, node text DEFAULT NULL, OUT "primary" text, OUT primary_lost boolean, OUT complete_until timestamptz,
        OUT bytes_behind bigint)
    RETURNS SETOF record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_promote_schema_replica_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_promote_replica(text, text)
    IS 'makes a replica of a schema the primary; nothing is lost while the old primary answers, otherwise transactions committed after complete_until may be';
CREATE FUNCTION pg_catalog.helios_promote_replica(
        shard bigint, node text DEFAULT NULL, OUT "primary" text, OUT primary_lost boolean, OUT complete_until timestamptz,
        OUT bytes_behind bigint)
    RETURNS SETOF record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_promote_shard_replica_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_promote_replica(bigint, text)
    IS 'makes a replica of a shard the primary; nothing is lost while the old primary answers, otherwise transactions committed after complete_until may be';

REVOKE EXECUTE ON FUNCTION
    pg_catalog.helios_set_replicas(text, integer),
    pg_catalog.helios_set_replicas(bigint, integer),
    pg_catalog.helios_promote_replica(text, text),
    pg_catalog.helios_promote_replica(bigint, text)
    FROM PUBLIC;

-- On a node: called by the coordinator in the session that has just committed. Callable by everyone: it reveals only
-- whether slots have passed the caller's own commit.
CREATE FUNCTION helios.wait_for_replicas(slots text[], patience integer) RETURNS text[]
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_wait_for_replicas_wrapper';
COMMENT ON FUNCTION helios.wait_for_replicas(text[], integer)
    IS 'waits, for at most the given number of milliseconds, until replicas have applied this session''s last commit; returns the slots of those that have not';

-- On the node of a replica whose primary is lost: values that the primary generated after the last transfer of sequence
-- positions must not be generated again.
CREATE FUNCTION helios.advance_sequences(schemas text[], margin bigint) RETURNS bigint
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_advance_sequences_wrapper';
COMMENT ON FUNCTION helios.advance_sequences(text[], bigint)
    IS 'advances the sequences of schemas beyond the values in their columns and the last positions known, by a margin that is at most a hundredth of a sequence''s range';
REVOKE EXECUTE ON FUNCTION helios.advance_sequences(text[], bigint) FROM PUBLIC;

-------------------------------------------------------------------------------------------------
-- Shards and balance
-------------------------------------------------------------------------------------------------

CREATE FUNCTION pg_catalog.helios_split_shard(shard bigint, at text DEFAULT 'midpoint') RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_split_shard_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_split_shard(bigint, text)
    IS 'splits a pooled shard in two on its node: at its midpoint, by load or bytes, or at a slot or key; returns the new shard';

CREATE FUNCTION pg_catalog.helios_merge_shards(shard bigint, other bigint, OUT shard_left bigint, OUT migration bigint)
    RETURNS SETOF record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_merge_shards_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_merge_shards(bigint, bigint)
    IS 'merges two adjacent shards; if they are on different nodes, the smaller one moves first and the merge follows its migration';

CREATE FUNCTION pg_catalog.helios_colocate(schema text, "with" text) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_colocate_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_colocate(text, text)
    IS 'lets two distributed schemas share a shard, so that they live and move together; returns the number of the migration that brings them to one node first, NULL if they already are on one';

CREATE FUNCTION pg_catalog.helios_assign_slots("from" integer, "to" integer, node text) RETURNS SETOF bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_assign_slots_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_assign_slots(integer, integer, text)
    IS 'assigns a range of hash slots to a node, splitting shards at the ends of the range; returns the migrations that move the schemas in it';

CREATE FUNCTION pg_catalog.helios_rebalance_plan(
        OUT step integer, OUT shard bigint, OUT source text, OUT target text, OUT schemas bigint, OUT bytes bigint,
        OUT load double precision, OUT seconds double precision, OUT fullest_before double precision,
        OUT fullest_after double precision, OUT waves integer)
    RETURNS SETOF record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_rebalance_plan_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_rebalance_plan()
    IS 'the moves that helios_rebalance() would start now, with their estimated duration and effect; "waves" estimates how many such plans the balance takes';

CREATE FUNCTION pg_catalog.helios_balance(
        OUT verdict text, OUT moves bigint, OUT bytes bigint, OUT waves integer, OUT fullest_before double precision,
        OUT fullest_after double precision, OUT deviation_before double precision, OUT deviation_after double precision,
        OUT too_big bigint[])
    RETURNS SETOF record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_balance_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_balance()
    IS 'summary of the current rebalance plan, and the shards that exceed a node''s fair share and need to be split or given a larger node';

CREATE FUNCTION pg_catalog.helios_rebalance() RETURNS SETOF bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_rebalance_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_rebalance() IS 'starts the moves of helios_rebalance_plan(); returns their migrations';

CREATE FUNCTION pg_catalog.helios_drain_node(name text) RETURNS SETOF bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_drain_node_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_drain_node(text)
    IS 'moves everything off a node, wave by wave; returns the migrations of the first wave, and the worker starts the next ones';

CREATE FUNCTION pg_catalog.helios_undrain_node(name text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_undrain_node_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_undrain_node(text) IS 'ends the draining of a node; what has moved stays where it is';

CREATE FUNCTION pg_catalog.helios_migrate(source text, target text, pattern text DEFAULT '%') RETURNS SETOF bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_migrate_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_migrate(text, text, text)
    IS 'starts moving all schemas on a node whose names are LIKE a pattern to another node; returns the migrations';

-------------------------------------------------------------------------------------------------
-- Statistics
-------------------------------------------------------------------------------------------------

CREATE FUNCTION helios.counting(OUT seconds double precision, OUT uncounted bigint)
    RETURNS SETOF record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_counting_wrapper';
COMMENT ON FUNCTION helios.counting()
    IS 'for how many seconds statements have been counted, and how many found no room in shared memory';

CREATE FUNCTION pg_catalog.helios_measure_sizes() RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_measure_sizes_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_measure_sizes()
    IS 'asks every node for the sizes of its schemas, as the worker does every helios.statistics_interval; returns how many it learned';

CREATE FUNCTION pg_catalog.helios_reset_statistics(schema text DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_reset_statistics_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_reset_statistics(text) IS 'resets the statistics of one schema, or of all';

CREATE VIEW helios.helios_schema_statistics AS
    SELECT c.name AS schema, c.shard, n.name AS node, k.calls, k.rows, k.bytes, k.time_ms,
           k.time_ms / nullif(k.calls, 0) AS mean_ms, k.errors, k.load, k.size
      FROM helios.schema c JOIN helios.shard s ON s.id = c.shard JOIN helios.node n ON n.id = s.node
           LEFT JOIN helios.schema_counters() AS k ON k.schema::name = c.name;
ALTER VIEW helios.helios_schema_statistics SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.helios_schema_statistics
    IS 'statements that ran on nodes, counted for the first schema that each names';

CREATE FUNCTION pg_catalog.helios_shard_statistics(
        shard bigint, OUT node name, OUT schemas bigint, OUT calls bigint, OUT rows bigint, OUT bytes bigint,
        OUT time_ms double precision, OUT errors bigint, OUT load double precision, OUT size bigint)
    RETURNS SETOF record LANGUAGE sql VOLATILE STRICT
    BEGIN ATOMIC
        SELECT n.name, count(k.schema), coalesce(sum(k.calls), 0)::bigint, coalesce(sum(k.rows), 0)::bigint,
               coalesce(sum(k.bytes), 0)::bigint, coalesce(sum(k.time_ms), 0), coalesce(sum(k.errors), 0)::bigint,
               coalesce(sum(k.load), 0), sum(k.size)::bigint
          FROM helios.shard s JOIN helios.node n ON n.id = s.node
               LEFT JOIN helios_schema_statistics AS k ON k.shard = s.id
         WHERE s.id = helios_shard_statistics.shard
         GROUP BY n.name;
    END;
COMMENT ON FUNCTION pg_catalog.helios_shard_statistics(bigint)
    IS 'helios_schema_statistics summed over the schemas of a shard; no row if there is no such shard';

CREATE FUNCTION pg_catalog.helios_cluster_stats(
        OUT nodes bigint, OUT shards bigint, OUT schemas bigint, OUT calls bigint, OUT rows bigint, OUT bytes bigint,
        OUT time_ms double precision, OUT errors bigint, OUT load double precision, OUT size bigint,
        OUT migrations bigint, OUT since timestamptz, OUT uncounted bigint)
    LANGUAGE sql VOLATILE
    BEGIN ATOMIC
        SELECT (SELECT count(*) FROM helios.node), (SELECT count(*) FROM helios.shard), k.*,
               (SELECT count(*) FROM helios.migration
                 WHERE NOT keeps AND state NOT IN ('finished', 'rolled_back', 'cancelled', 'failed')),
               clock_timestamp() - make_interval(secs => c.seconds), c.uncounted
          FROM helios.counting() AS c,
               (SELECT count(*), coalesce(sum(calls), 0)::bigint, coalesce(sum(rows), 0)::bigint,
                       coalesce(sum(bytes), 0)::bigint, coalesce(sum(time_ms), 0), coalesce(sum(errors), 0)::bigint,
                       coalesce(sum(load), 0), sum(size)::bigint
                  FROM helios_schema_statistics) AS k;
    END;
COMMENT ON FUNCTION pg_catalog.helios_cluster_stats() IS 'statistics of the whole cluster, in one row';

-------------------------------------------------------------------------------------------------
-- Transactions
-------------------------------------------------------------------------------------------------

CREATE FUNCTION helios.in_doubt() RETURNS TABLE (
        gid text, node text, state text, since double precision, error text)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_in_doubt_wrapper';

CREATE VIEW helios.helios_transactions AS
    SELECT d.gid, d.node, d.state, to_timestamp(d.since) AS prepared, clock_timestamp() - to_timestamp(d.since) AS age,
           d.error
      FROM helios.in_doubt() AS d;
ALTER VIEW helios.helios_transactions SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.helios_transactions
    IS 'transactions that are prepared on nodes now, and what will become of each; reading the view connects to every node, and of one that does not answer it shows those committed here whose end is not confirmed';

CREATE FUNCTION pg_catalog.helios_recover_transactions() RETURNS TABLE (node text, gid text, action text, error text)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_recover_transactions_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_recover_transactions()
    IS 'commits or rolls back prepared transactions that were left on nodes, as the recovery worker does by itself; returns what it did';

CREATE FUNCTION pg_catalog.helios_transaction_status(gid text) RETURNS text
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_transaction_status_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_transaction_status(text)
    IS 'outcome of a transaction (committed, aborted, in progress, unknown), by the name given in an error 08007';

CREATE FUNCTION helios.grammar_state() RETURNS text
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'helios_grammar_state_wrapper';
COMMENT ON FUNCTION helios.grammar_state() IS 'on, off, or the reason why CREATE SCHEMA … DISTRIBUTED is not available';

CREATE FUNCTION helios.grammar_effect(statement text) RETURNS text
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'helios_grammar_effect_wrapper';
COMMENT ON FUNCTION helios.grammar_effect(text)
    IS 'NULL if the server parses a text exactly as it would without Helios, clause if it creates a distributed schema; used by tests';
CREATE FUNCTION helios.deparse_effect(statement text) RETURNS text
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_deparse_effect_wrapper';
COMMENT ON FUNCTION helios.deparse_effect(text)
    IS 'what is wrong with the text that Helios would send to a node for the queries of a statement, NULL if nothing is; used by tests';

CREATE FUNCTION pg_catalog.helios_cluster_info(OUT cluster_id bigint, OUT version text, OUT nodes bigint, OUT shards bigint,
                                               OUT schemas bigint, OUT placement_strategy text, OUT grammar text)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT (SELECT id FROM helios.cluster), helios_version(), (SELECT count(*) FROM helios.node),
               (SELECT count(*) FROM helios.shard), (SELECT count(*) FROM helios.schema),
               current_setting('helios.placement_strategy'), helios.grammar_state();
    END;
COMMENT ON FUNCTION pg_catalog.helios_cluster_info() IS 'identity, version and size of the cluster, in one row';

-------------------------------------------------------------------------------------------------
-- Functions that change the cluster or connect to nodes are restricted to superusers until granted
-------------------------------------------------------------------------------------------------

REVOKE EXECUTE ON FUNCTION
    pg_catalog.helios_add_node(text, text, integer, text, double precision, boolean, text[]),
    pg_catalog.helios_remove_node(text),
    pg_catalog.helios_adopt_nodes(),
    pg_catalog.helios_distribute_schema(text, text),
    pg_catalog.helios_undistribute_schema(text),
    pg_catalog.helios_check_cluster(),
    pg_catalog.helios_repair_schema(text, boolean),
    pg_catalog.helios_migrate_schema(text, text),
    pg_catalog.helios_migrate_shard(bigint, text),
    pg_catalog.helios_import_schema(text, text, text, boolean),
    pg_catalog.helios_cancel_migration(bigint),
    pg_catalog.helios_rollback_migration(bigint),
    pg_catalog.helios_finish_migration(bigint),
    pg_catalog.helios_cleanup_migrations(interval),
    pg_catalog.helios_verify_schema(text),
    pg_catalog.helios_create_reference_table(text),
    pg_catalog.helios_undistribute_table(text),
    helios.directory_changed(),
    helios.fence_changed(),
    helios.check_shards_cover(),
    helios.refuse_truncate(),
    helios.restore_node(),
    helios.restore_shard(),
    helios.restore_schema(),
    helios.reference_write(),
    helios.reference_copy(),
    helios.reference_definition(regclass, name),
    helios.probe_node(integer),
    helios.in_doubt(),
    pg_catalog.helios_recover_transactions(),
    pg_catalog.helios_split_shard(bigint, text),
    pg_catalog.helios_merge_shards(bigint, bigint),
    pg_catalog.helios_colocate(text, text),
    pg_catalog.helios_assign_slots(integer, integer, text),
    pg_catalog.helios_rebalance_plan(),
    pg_catalog.helios_balance(),
    pg_catalog.helios_rebalance(),
    pg_catalog.helios_drain_node(text),
    pg_catalog.helios_undrain_node(text),
    pg_catalog.helios_migrate(text, text, text),
    pg_catalog.helios_measure_sizes(),
    pg_catalog.helios_reset_statistics(text),
    helios.grammar_effect(text),
    helios.deparse_effect(text)
    FROM PUBLIC;
GRANT SELECT ON pg_catalog.helios_shards, pg_catalog.helios_slots, pg_catalog.helios_schemas, pg_catalog.helios_migrations
    TO PUBLIC;
GRANT SELECT ON pg_catalog.helios_schema_statistics TO PUBLIC;

-------------------------------------------------------------------------------------------------
-- Comments on the remaining functions and on columns of tables and views; docs/reference is generated from comments
-------------------------------------------------------------------------------------------------

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
