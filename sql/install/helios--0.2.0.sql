\echo Use "CREATE EXTENSION helios" to load this file. \quit

-- Loads the library first, so that a server which did not preload it says so before anything is made.
CREATE FUNCTION pg_catalog.helios_version() RETURNS text
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'helios_version_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_version() IS 'version of Helios that this server runs';

DO $$
BEGIN
    IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
        RAISE EXCEPTION 'helios needs a database with encoding UTF8'
            USING ERRCODE = 'feature_not_supported',
                  DETAIL = pg_catalog.format('This one has encoding %s.', pg_catalog.getdatabaseencoding()),
                  HINT = 'Create a database with ENCODING ''UTF8''. Its clients can use any encoding.';
    END IF;
END $$;

CREATE SCHEMA helios;
GRANT USAGE ON SCHEMA helios TO PUBLIC;

-------------------------------------------------------------------------------------------------
-- Catalogs
-------------------------------------------------------------------------------------------------

CREATE TYPE helios.key_range AS RANGE (subtype = text, collation = "C");

-- One row: who this cluster is. Never dumped: a restored cluster is another cluster.
CREATE TABLE helios.cluster (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    id        bigint  NOT NULL,
    pristine  boolean NOT NULL DEFAULT true,
    database  oid     NOT NULL,
    node_of   bigint,
    coordinator text
);
COMMENT ON COLUMN helios.cluster.id IS 'random number: marks the nodes and the prepared transactions of this cluster as its own';
COMMENT ON COLUMN helios.cluster.database IS 'the database that this row was made in: a copy of it is another cluster';
COMMENT ON COLUMN helios.cluster.node_of IS 'the cluster that has this database as a node';
COMMENT ON COLUMN helios.cluster.coordinator IS 'address of the coordinator that has this database as a node, as it was when it took it';
COMMENT ON COLUMN helios.cluster.pristine IS 'the shards are still those of CREATE EXTENSION: the first insert from a dump replaces them';

-- Of a node, like helios.cluster.node_of: nobody's to dump
CREATE TABLE helios.coordinator (
    cluster           bigint  PRIMARY KEY,
    system_identifier numeric NOT NULL,
    timeline          bigint  NOT NULL
);
COMMENT ON TABLE helios.coordinator IS 'the coordinator that this node was used by last: a server that was the primary before it is refused';

-- One row, which nobody but superusers reads, and which is never dumped.
CREATE TABLE helios.identity (
    singleton   boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    seed        text    NOT NULL DEFAULT gen_random_uuid()::text || gen_random_uuid()::text,
    coordinator text
);
COMMENT ON TABLE helios.identity IS 'what sessions of a coordinator prove themselves by to its nodes';
COMMENT ON COLUMN helios.identity.seed IS 'what the keys of this coordinator are made from; it never leaves this server';
COMMENT ON COLUMN helios.identity.coordinator IS 'the public key that the coordinator of this node has left here';
INSERT INTO helios.identity DEFAULT VALUES;
-- For pg_read_all_data and pg_write_all_data, which pass over grants and not over this.
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
COMMENT ON COLUMN helios.node.hosts IS 'addresses in the order in which they are tried: one, or the members of an HA group';
COMMENT ON COLUMN helios.node.cluster IS 'the cluster that the node belongs to: in a restored dump another one than this';
COMMENT ON COLUMN helios.node.options IS 'connection options as key=value (sslmode, sslrootcert, sslcert, sslkey, connect_timeout)';

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
COMMENT ON COLUMN helios.shard.slot_to IS 'hash slot behind the last';
COMMENT ON COLUMN helios.shard.key_from IS 'least key, NULL for no bound';
COMMENT ON COLUMN helios.shard.replicas IS 'how many copies there should be, the one in use included: see helios_set_replicas()';
COMMENT ON COLUMN helios.shard.key_to IS 'first key behind the greatest, NULL for no bound';

CREATE TABLE helios.schema (
    name    name   PRIMARY KEY,
    shard   bigint NOT NULL REFERENCES helios.shard,
    created timestamptz NOT NULL DEFAULT now(),
    key     text COLLATE "C"
);
COMMENT ON COLUMN helios.schema.key IS 'what placed the schema, whatever its name became since; NULL: its name''s';
CREATE INDEX schema_shard ON helios.schema (shard);
COMMENT ON TABLE helios.schema IS 'distributed schemas and the shard each one is in';

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
    wish        text    CHECK (wish IN ('cancel', 'rollback', 'finish', 'verify', 'promote')),
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
COMMENT ON COLUMN helios.migration.keeps IS 'makes a further copy, and keeps it in step, instead of moving: see helios_replicas';
COMMENT ON TABLE helios.migration IS 'moves of shards between nodes';
COMMENT ON COLUMN helios.migration.split_from IS 'the shard that the schema was taken out of for this move';
COMMENT ON COLUMN helios.migration.becomes IS 'what a schema becomes that comes from the coordinator, or goes there';
COMMENT ON COLUMN helios.migration.wish IS 'what someone asked for and the migration has not done yet';
COMMENT ON COLUMN helios.migration.outcome IS 'the state that follows the clean-up';
COMMENT ON COLUMN helios.migration.round IS 'how often a snapshot was taken: a crash loses it, and tables not yet copied need another';
COMMENT ON COLUMN helios.migration.source IS 'the node that the schemas come from; a row of helios.foreign_server where it is less than 0';
COMMENT ON COLUMN helios.migration.way_back IS 'whether writes flow back to the old copy after the switch; without, it is finished with the switch';
COMMENT ON COLUMN helios.migration.histories IS 'system identifiers and timelines of source and target when the move began';
COMMENT ON COLUMN helios.migration.stall IS 'longest time, in milliseconds, that a fence kept writers waiting';

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
COMMENT ON TABLE helios.migration_table IS 'tables of a migration under way';
COMMENT ON COLUMN helios.migration_table.identity IS 'the clause that gives a table back its replica identity; NULL where it was left as it is';
COMMENT ON COLUMN helios.migration_table.part IS 'number of the table''s owner: changes of each owner''s tables are applied with that owner''s rights, by a subscription of their own';
COMMENT ON COLUMN helios.migration_table.round IS 'the round whose snapshot its rows were copied under; NULL: not copied yet';

CREATE TABLE helios.merge (
    stays     bigint NOT NULL REFERENCES helios.shard ON DELETE CASCADE,
    goes      bigint NOT NULL REFERENCES helios.shard ON DELETE CASCADE,
    migration bigint PRIMARY KEY
);
COMMENT ON TABLE helios.merge IS 'shards to be joined when a migration has brought them to one node';

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
COMMENT ON TABLE helios.cleanup IS 'what a migration may have left on a node, noted before it is made';

-- Passwords are in here in plain text, as in pg_subscription: nobody but superusers reads it.
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
COMMENT ON TABLE helios.foreign_server IS 'servers outside of the cluster that schemas are imported from, one for each import';
COMMENT ON COLUMN helios.foreign_server.password IS 'as the connection string gave it; forgotten when the import is over';
COMMENT ON COLUMN helios.foreign_server.definition IS 'a digest of the schema''s definition as it was copied';

CREATE TABLE helios.transaction (
    gid     text    PRIMARY KEY,
    node    integer NOT NULL,
    created timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_insert_threshold = -1, autovacuum_vacuum_cost_delay = 0); -- rows come and go by the thousand
COMMENT ON TABLE helios.transaction IS 'commit records: a prepared transaction with a row here is committed, one without is aborted';

CREATE TABLE helios.credential (
    node     integer REFERENCES helios.node ON DELETE CASCADE,
    role     name    NOT NULL,
    password text    NOT NULL,
    UNIQUE NULLS NOT DISTINCT (node, role)
);
COMMENT ON TABLE helios.credential IS 'passwords of roles on nodes; a row without node counts for every node';

GRANT SELECT ON helios.cluster, helios.node, helios.shard, helios.schema, helios.migration TO PUBLIC;

-------------------------------------------------------------------------------------------------
-- Functions that plans call in the place of PostgreSQL's own
-------------------------------------------------------------------------------------------------

-- The first argument keeps it out of reach of SQL: only the planner makes calls of it.
CREATE FUNCTION helios.evaluate(internal, text, text, VARIADIC "any") RETURNS internal
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'helios_evaluate_wrapper';
COMMENT ON FUNCTION helios.evaluate(internal, text, text, "any") IS 'computes an expression of a procedural language on a node';
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
-- What keeps the catalogs right whoever changes them
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

-- The pooled shards cover slots and keys whole. Overlap is excluded by the constraint above, so it is enough to look
-- where a shard was: every place there where a bound begins has an owner.
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

-- A dump holds rows that CREATE EXTENSION has made already: they take the place of those.
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
-- A server by itself is a whole cluster: the first node, and every slot on it
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
-- Schemas and places
-------------------------------------------------------------------------------------------------

CREATE FUNCTION pg_catalog.helios_create_schema(schema text, node text DEFAULT NULL, owner text DEFAULT NULL,
                                                if_not_exists boolean DEFAULT false) RETURNS text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_create_schema_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_create_schema(text, text, text, boolean)
    IS 'makes a distributed schema, as CREATE SCHEMA … DISTRIBUTED does; gives the name of its node';

CREATE FUNCTION pg_catalog.helios_distribute_schema(schema text, node text DEFAULT NULL) RETURNS text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_distribute_schema_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_distribute_schema(text, text)
    IS 'makes an existing schema a distributed one; gives the name of its node';

CREATE FUNCTION pg_catalog.helios_undistribute_schema(schema text) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_undistribute_schema_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_undistribute_schema(text) IS 'brings a distributed schema home';

CREATE FUNCTION pg_catalog.helios_node_for_schema(schema text) RETURNS text
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'helios_node_for_schema_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_node_for_schema(text)
    IS 'name of the node that a distributed schema lives on; NULL for any other schema';

CREATE FUNCTION pg_catalog.helios_node_for_key(key text) RETURNS text
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'helios_node_for_key_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_node_for_key(text)
    IS 'name of the node that a schema of this name would be placed on by its key';

CREATE FUNCTION pg_catalog.helios_key_slot(key text) RETURNS integer
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'helios_key_slot_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_key_slot(text) IS 'hash slot of a key, 0 to 16383';

CREATE FUNCTION helios.schema_counters() RETURNS TABLE (
        schema text, calls bigint, rows bigint, bytes bigint, time_ms double precision, errors bigint,
        load double precision, size bigint)
    LANGUAGE c VOLATILE ROWS 1000 AS 'MODULE_PATHNAME', 'helios_schema_counters_wrapper';
COMMENT ON FUNCTION helios.schema_counters() IS 'what this server has counted of each distributed schema';

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
COMMENT ON VIEW pg_catalog.helios_shards
    IS 'shards, their bounds, their nodes, and what they hold: bytes as last measured, load in seconds of statements a second';

CREATE VIEW helios.helios_slots AS
    SELECT s.slot_from, s.slot_to - 1 AS slot_to, s.key_from, s.key_to, s.id AS shard, n.name AS node
      FROM helios.shard s JOIN helios.node n ON n.id = s.node
     WHERE s.kind = 'pooled';
ALTER VIEW helios.helios_slots SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.helios_slots IS 'hash slots (first and last), the shard and the node that hold them';

CREATE VIEW helios.helios_schemas AS
    SELECT c.name AS schema, c.shard, s.kind, n.name AS node, c.created
      FROM helios.schema c JOIN helios.shard s ON s.id = c.shard JOIN helios.node n ON n.id = s.node;
ALTER VIEW helios.helios_schemas SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.helios_schemas IS 'distributed schemas and where each one lives';

-------------------------------------------------------------------------------------------------
-- Reference tables
-------------------------------------------------------------------------------------------------

CREATE FUNCTION pg_catalog.helios_create_reference_table("table" text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_create_reference_table_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_create_reference_table(text)
    IS 'puts a copy of a table, with its rows, on every node; writes go to all copies from then on';

CREATE FUNCTION pg_catalog.helios_undistribute_table("table" text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_undistribute_table_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_undistribute_table(text)
    IS 'makes a reference table an ordinary table of the coordinator; the copies on the nodes are dropped';

CREATE FUNCTION helios.reference_write() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'helios_reference_write_wrapper';
COMMENT ON FUNCTION helios.reference_write() IS 'trigger of a reference table: copies what is done to its rows to all nodes';

CREATE FUNCTION helios.reference_copy() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'helios_reference_copy_wrapper';
COMMENT ON FUNCTION helios.reference_copy() IS 'trigger of a reference table''s copy on a node: only the coordinator changes it';

-- A coordinator asks its node to change the copy of a reference table as the role that has changed the table, in the client's
-- session: with a number that the node gives for one request, and a signature of it all.
CREATE FUNCTION helios.change_number() RETURNS text
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_change_number_wrapper';
COMMENT ON FUNCTION helios.change_number() IS 'on a node: a number that its coordinator signs a request with, good for one';
CREATE FUNCTION helios.change_copy(role text, schema text, "table" text, statements bytea, signature text) RETURNS bigint
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_change_copy_wrapper';
COMMENT ON FUNCTION helios.change_copy(text, text, text, bytea, text)
    IS 'on a node: changes the copy of a reference table as a role, if the coordinator has signed that; gives the number of rows';

-- Statements that make the copy of a reference table on a node: its owner makes it in the schema "place", where it is filled,
-- and the others follow. It has no sequences, which are asked on the coordinator alone, no foreign keys to other reference
-- tables, which are checked there, and none of the table's triggers.
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
    RETURN QUERY VALUES (false, format('ALTER TABLE %s SET SCHEMA %s', made,
                                       (SELECT quote_ident(n.nspname) FROM pg_class c
                                          JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = reference))),
                        (false, format('DROP SCHEMA %I RESTRICT', place));
    RETURN QUERY
        SELECT false, format('ALTER TABLE %s ADD CONSTRAINT %I %s', name, k.conname, pg_get_constraintdef(k.oid))
          FROM pg_constraint k WHERE k.conrelid = reference AND k.contype IN ('p', 'u', 'x') ORDER BY k.oid;
    RETURN QUERY
        SELECT false, pg_get_indexdef(i.indexrelid) FROM pg_index i
         WHERE i.indrelid = reference AND i.indisvalid
           AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.conrelid = reference)
         ORDER BY i.indexrelid;
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
    IS 'number of rows of a table and a sum of their hashes, to compare copies; for those who may read it';

-------------------------------------------------------------------------------------------------
-- Sessions that run as the owner of what they work on
-------------------------------------------------------------------------------------------------

-- Anybody may become, for less, what SET ROLE would make of him.
CREATE FUNCTION helios.run_as(role text) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_run_as_wrapper';
COMMENT ON FUNCTION helios.run_as(text)
    IS 'to the end of the subtransaction or transaction the session runs as another role, which nothing in it can leave';

CREATE FUNCTION helios.run_as_owner(relation text) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_run_as_owner_wrapper';
COMMENT ON FUNCTION helios.run_as_owner(text) IS 'the same, as the owner of a relation';

-------------------------------------------------------------------------------------------------
-- Copies of schemas on two nodes, while they move
-------------------------------------------------------------------------------------------------

CREATE TABLE helios.fence (
    schema    name    NOT NULL,
    migration bigint  NOT NULL,
    kind      text    NOT NULL CHECK (kind IN ('definition', 'writes')),
    keeps     boolean NOT NULL DEFAULT false,
    PRIMARY KEY (schema, migration)
);
COMMENT ON COLUMN helios.fence.keeps IS 'for as long as the schema has a further copy, not only for a move';
COMMENT ON TABLE helios.fence IS 'schemas of which a migration keeps the definition, or the rows too, from being changed on this server';
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
COMMENT ON TABLE helios.migration_marker IS 'a token written on one copy and seen on the other proves that all before it has arrived';
GRANT SELECT ON helios.fence, helios.migration_marker TO PUBLIC;

-- The role that applies changes may write its marker; what code of tenants it runs may not write those of others.
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
COMMENT ON TABLE helios.verification IS 'what the last comparison of a migration''s copies found, table by table';
CREATE TABLE helios.mismatch (
    migration bigint,
    schema    name NOT NULL,
    relation  name NOT NULL,
    kind      text NOT NULL CHECK (kind IN ('changed', 'missing', 'extra', 'duplicate', 'definition', 'position')),
    key       text NOT NULL,
    FOREIGN KEY (migration, schema, relation) REFERENCES helios.verification ON DELETE CASCADE
);
CREATE INDEX mismatch_of ON helios.mismatch (migration, schema, relation);
COMMENT ON TABLE helios.mismatch IS 'rows in which the copies of a migration differ: at most 100 of a table';

CREATE VIEW helios.helios_mismatches AS
    SELECT migration, schema, relation AS "table", kind, key, mismatches AS "of", compared
      FROM helios.mismatch JOIN helios.verification USING (migration, schema, relation);
ALTER VIEW helios.helios_mismatches SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.helios_mismatches
    IS 'rows in which the two copies of a migration differed when they were compared last, by their keys; at most 100 of a table, "of" is how many there are';

CREATE FUNCTION helios.compare_copies(source jsonb, target jsonb, schema text)
    RETURNS TABLE (relation text, source_rows bigint, target_rows bigint, mismatches bigint, kind text, key text)
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_compare_copies_wrapper';
COMMENT ON FUNCTION helios.compare_copies(jsonb, jsonb, text)
    IS 'compares the tables and sequences of a schema on two servers, while nobody writes to them';
REVOKE EXECUTE ON FUNCTION helios.compare_copies(jsonb, jsonb, text) FROM PUBLIC;

CREATE FUNCTION helios.pull_rows(source jsonb, snapshot text, relation text, columns text[], from_block bigint,
                                 to_block bigint, format text DEFAULT NULL, rate bigint DEFAULT NULL,
                                 bulk boolean DEFAULT false)
    RETURNS TABLE (rows bigint, bytes bigint)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_pull_rows_wrapper';
COMMENT ON FUNCTION helios.pull_rows(jsonb, text, text, text[], bigint, bigint, text, bigint, boolean)
    IS 'copies rows of a table from another server into the same table here; at most rate rows a second. Bulk: frozen, as COPY FREEZE has it, where the table has no index';
REVOKE EXECUTE ON FUNCTION helios.pull_rows(jsonb, text, text, text[], bigint, bigint, text, bigint, boolean) FROM PUBLIC;

CREATE FUNCTION helios.free_bytes() RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_free_bytes_wrapper';
COMMENT ON FUNCTION helios.free_bytes() IS 'bytes that are free on the disk of this database, except its tablespaces';
REVOKE EXECUTE ON FUNCTION helios.free_bytes() FROM PUBLIC;

-- Comparisons read tables through this: a query that names them would run what their owners have written into indexes.
CREATE FUNCTION helios.table_rows(anyelement) RETURNS SETOF anyelement
    LANGUAGE c VOLATILE ROWS 100000 AS 'MODULE_PATHNAME', 'helios_table_rows_wrapper';
COMMENT ON FUNCTION helios.table_rows(anyelement)
    IS 'all rows of the table whose row type the argument has, read without a plan; for superusers';
REVOKE EXECUTE ON FUNCTION helios.table_rows(anyelement) FROM PUBLIC;

CREATE FUNCTION helios.has_rows(relation text) RETURNS boolean
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_has_rows_wrapper';
COMMENT ON FUNCTION helios.has_rows(text) IS 'whether a table has rows, found out without a plan; for superusers';
REVOKE EXECUTE ON FUNCTION helios.has_rows(text) FROM PUBLIC;

CREATE FUNCTION helios.delete_rows(relation text) RETURNS bigint
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_delete_rows_wrapper';
COMMENT ON FUNCTION helios.delete_rows(text)
    IS 'takes all rows out of a table without a plan, rules and triggers; for superusers';
REVOKE EXECUTE ON FUNCTION helios.delete_rows(text) FROM PUBLIC;

CREATE FUNCTION helios.sequence_position(sequence regclass, OUT last_value text, OUT is_called text) RETURNS SETOF record
    LANGUAGE c VOLATILE STRICT ROWS 1 AS 'MODULE_PATHNAME', 'helios_sequence_position_wrapper';
COMMENT ON FUNCTION helios.sequence_position(regclass) IS 'position of a sequence, read without a plan; for superusers';
REVOKE EXECUTE ON FUNCTION helios.sequence_position(regclass) FROM PUBLIC;

-------------------------------------------------------------------------------------------------
-- Nodes
-------------------------------------------------------------------------------------------------

CREATE FUNCTION pg_catalog.helios_add_node(name text, host text, port integer DEFAULT 5432, database text DEFAULT NULL,
                                           weight double precision DEFAULT 1, takes_schemas boolean DEFAULT true,
                                           options text[] DEFAULT '{}') RETURNS integer
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_add_node_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_add_node(text, text, integer, text, double precision, boolean, text[])
    IS 'checks a PostgreSQL server, brings it up to date and makes it a node; host may list the addresses of an HA group';

CREATE FUNCTION pg_catalog.helios_remove_node(name text) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_remove_node_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_remove_node(text) IS 'takes an empty node out of the cluster';

CREATE FUNCTION pg_catalog.helios_adopt_nodes() RETURNS integer
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_adopt_nodes_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_adopt_nodes()
    IS 'makes this database the coordinator of the nodes in a directory that was restored from a dump; gives their number';

CREATE FUNCTION helios.probe_node(node integer) RETURNS TABLE (
        reachable boolean, latency_ms double precision, version text, error text)
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_probe_node_wrapper';

CREATE FUNCTION helios.node_health(node integer) RETURNS TABLE (state text, seconds double precision)
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_node_health_wrapper';
COMMENT ON FUNCTION helios.node_health(integer) IS 'how a node answers the regular looks of this server, and for how long it has been so';

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
COMMENT ON VIEW pg_catalog.helios_nodes IS 'nodes with their state at this moment: every one is asked';

CREATE FUNCTION pg_catalog.helios_check_cluster() RETURNS TABLE (
        node text, "check" text, ok boolean, detail text, remedy text)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_check_cluster_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_check_cluster() IS 'examines every node: what is missing and how to mend it';

CREATE FUNCTION pg_catalog.helios_repair_schema(schema text, dry_run boolean DEFAULT false) RETURNS TABLE (
        object text, difference text, action text)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_repair_schema_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_repair_schema(text, boolean)
    IS 'brings the definitions of a distributed schema here into step with those on its node, or shows what that would do';

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
COMMENT ON VIEW pg_catalog.helios_migrations IS 'moves of shards between nodes, past ones included';

CREATE FUNCTION pg_catalog.helios_migrate_schema(schema text, node text) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_migrate_schema_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_migrate_schema(text, text)
    IS 'begins to move a distributed schema to another node while it is used; gives the migration''s number at once';

CREATE FUNCTION pg_catalog.helios_migrate_shard(shard bigint, node text) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_migrate_shard_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_migrate_shard(bigint, text)
    IS 'begins to move a shard with all its schemas to another node; gives the migration''s number at once';

CREATE FUNCTION pg_catalog.helios_import_schema(connection text, schema text, node text DEFAULT NULL,
                                                way_back boolean DEFAULT true) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_import_schema_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_import_schema(text, text, text, boolean)
    IS 'begins to take over a schema of a PostgreSQL server outside of the cluster (named by a connection string of libpq) while it is used there; gives the migration''s number at once';

CREATE FUNCTION pg_catalog.helios_cancel_migration(id bigint) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_cancel_migration_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_cancel_migration(bigint) IS 'stops a migration that has not switched yet; the old copy stays in use';

CREATE FUNCTION pg_catalog.helios_rollback_migration(id bigint) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_rollback_migration_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_rollback_migration(bigint)
    IS 'brings back what a migration has moved, with every write made since; as long as its rollback window is open';

CREATE FUNCTION pg_catalog.helios_finish_migration(id bigint) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_finish_migration_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_finish_migration(bigint) IS 'removes the old copy now instead of at the end of the rollback window';

CREATE FUNCTION pg_catalog.helios_verify_schema(schema text) RETURNS TABLE (
        "table" text, source_rows bigint, target_rows bigint, mismatches bigint)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_verify_schema_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_verify_schema(text)
    IS 'compares the two copies of a schema that was moved, as long as both are there; helios_mismatches names the rows that differ';

CREATE FUNCTION pg_catalog.helios_migration(id bigint) RETURNS SETOF helios_migrations
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT * FROM helios_migrations m WHERE m.id = $1;
    END;
COMMENT ON FUNCTION pg_catalog.helios_migration(bigint) IS 'one migration';

CREATE FUNCTION pg_catalog.helios_active_migrations() RETURNS SETOF helios_migrations
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT * FROM helios_migrations m
         WHERE m.state NOT IN ('in_step', 'finished', 'rolled_back', 'cancelled', 'failed')
           AND NOT (m.kind = 'replica' AND m.state = 'dual_write_back') ORDER BY m.id;
    END;
COMMENT ON FUNCTION pg_catalog.helios_active_migrations() IS 'migrations that have not come to their end';

CREATE FUNCTION pg_catalog.helios_wait_for_migration(id bigint, timeout interval DEFAULT NULL) RETURNS text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_wait_for_migration_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_wait_for_migration(bigint, interval)
    IS 'waits until a migration has switched and needs nothing more, or has ended; notices tell of its progress; gives its state';

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
COMMENT ON FUNCTION pg_catalog.helios_cleanup_migrations(interval) IS 'forgets migrations that ended that long ago; gives their number';

-------------------------------------------------------------------------------------------------
-- Replicas: further copies of shards, kept in step
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
COMMENT ON TABLE helios.replica IS 'copies of shards that are complete and follow the one in use';
COMMENT ON COLUMN helios.replica.slots IS 'replication slots on the node in use that the copy follows by';

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
COMMENT ON TABLE helios.promotion IS 'promotions of copies';
COMMENT ON COLUMN helios.promotion.complete_until IS 'whatever was committed before this moment is in the copy; of what was committed later, some may be missing';
COMMENT ON COLUMN helios.promotion.bytes_behind IS 'log of the lost node, as far as it was known here, that the copy has not applied: of all that was written there, by whomever';
GRANT SELECT ON helios.replica, helios.promotion TO PUBLIC;

CREATE FUNCTION helios.replica_states() RETURNS TABLE (
        migration bigint, degraded boolean, complete_until timestamptz, seen timestamptz, bytes bigint)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_replica_states_wrapper';
COMMENT ON FUNCTION helios.replica_states() IS 'how far each copy in step was when it was looked at last';

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
COMMENT ON VIEW pg_catalog.helios_replicas
    IS 'further copies of shards. state: what of a migration is being done; then in_step, behind (more than helios.max_replica_lag), degraded (did not confirm a commit in time), cleanup; lag_ms: everything committed longer ago is there';
GRANT SELECT ON pg_catalog.helios_replicas TO PUBLIC;

CREATE FUNCTION pg_catalog.helios_set_replicas(schema text, copies integer) RETURNS SETOF bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_set_schema_replicas_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_set_replicas(text, integer)
    IS 'how many copies of a schema there are to be, the one in use included; gives the migrations that make those that are missing: helios_wait_for_migration() waits until one is in step';
CREATE FUNCTION pg_catalog.helios_set_replicas(shard bigint, copies integer) RETURNS SETOF bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_set_shard_replicas_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_set_replicas(bigint, integer) IS 'the same for a shard with all its schemas';

CREATE FUNCTION pg_catalog.helios_promote_replica(
        schema text, node text DEFAULT NULL, OUT "primary" text, OUT primary_lost boolean, OUT complete_until timestamptz,
        OUT bytes_behind bigint)
    RETURNS SETOF record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_promote_schema_replica_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_promote_replica(text, text)
    IS 'makes a copy the one in use. Nothing is lost while the node in use answers; else what was committed after complete_until may be missing';
CREATE FUNCTION pg_catalog.helios_promote_replica(
        shard bigint, node text DEFAULT NULL, OUT "primary" text, OUT primary_lost boolean, OUT complete_until timestamptz,
        OUT bytes_behind bigint)
    RETURNS SETOF record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_promote_shard_replica_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_promote_replica(bigint, text) IS 'the same for a shard with all its schemas';

REVOKE EXECUTE ON FUNCTION
    pg_catalog.helios_set_replicas(text, integer),
    pg_catalog.helios_set_replicas(bigint, integer),
    pg_catalog.helios_promote_replica(text, text),
    pg_catalog.helios_promote_replica(bigint, text)
    FROM PUBLIC;

-- On a node: the coordinator asks it in the session that has just committed. Anybody may: it tells nothing but whether
-- slots have come past one's own commit.
CREATE FUNCTION helios.wait_for_replicas(slots text[], patience integer) RETURNS text[]
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_wait_for_replicas_wrapper';
COMMENT ON FUNCTION helios.wait_for_replicas(text[], integer)
    IS 'waits, so many milliseconds at most, until copies have applied this session''s last commit; gives the slots of those that have not';

-- On the node of a copy whose primary is lost: values that the primary has given out since its sequences' positions were
-- brought here last must not be given out again.
CREATE FUNCTION helios.advance_sequences(schemas text[], margin bigint) RETURNS bigint
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_advance_sequences_wrapper';
COMMENT ON FUNCTION helios.advance_sequences(text[], bigint)
    IS 'moves the sequences of schemas past the values in their columns and those last known, and so many values further, at most a hundredth of all that a sequence has';
REVOKE EXECUTE ON FUNCTION helios.advance_sequences(text[], bigint) FROM PUBLIC;

-------------------------------------------------------------------------------------------------
-- Shards and balance
-------------------------------------------------------------------------------------------------

CREATE FUNCTION pg_catalog.helios_split_shard(shard bigint, at text DEFAULT 'midpoint') RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_split_shard_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_split_shard(bigint, text)
    IS 'cuts a pooled shard in two on its node: at its midpoint, so that load or bytes are halved, or at a slot or key; gives the new shard';

CREATE FUNCTION pg_catalog.helios_merge_shards(shard bigint, other bigint, OUT shard_left bigint, OUT migration bigint)
    RETURNS SETOF record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_merge_shards_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_merge_shards(bigint, bigint)
    IS 'joins two shards beside each other; on different nodes the smaller one moves first, and they are joined when that migration has finished';

CREATE FUNCTION pg_catalog.helios_assign_slots("from" integer, "to" integer, node text) RETURNS SETOF bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_assign_slots_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_assign_slots(integer, integer, text)
    IS 'gives hash slots (first and last) to a node, splitting shards at the borders; gives the migrations that bring what is in them';

CREATE FUNCTION pg_catalog.helios_rebalance_plan(
        OUT step integer, OUT shard bigint, OUT source text, OUT target text, OUT schemas bigint, OUT bytes bigint,
        OUT load double precision, OUT seconds double precision, OUT fullest_before double precision,
        OUT fullest_after double precision, OUT waves integer)
    RETURNS SETOF record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_rebalance_plan_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_rebalance_plan()
    IS 'the moves that helios_rebalance() would start now, in order: what each takes, about how long, the fullest node''s part of its fair share before and after; waves: about how many such plans it takes in all';

CREATE FUNCTION pg_catalog.helios_balance(
        OUT verdict text, OUT moves bigint, OUT bytes bigint, OUT waves integer, OUT fullest_before double precision,
        OUT fullest_after double precision, OUT deviation_before double precision, OUT deviation_after double precision,
        OUT too_big bigint[])
    RETURNS SETOF record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_balance_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_balance()
    IS 'what the plan of this moment comes to, and the shards that are more than a node''s fair share: split them, or give them a larger node';

CREATE FUNCTION pg_catalog.helios_rebalance() RETURNS SETOF bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_rebalance_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_rebalance() IS 'starts the moves of helios_rebalance_plan(); gives their migrations';

CREATE FUNCTION pg_catalog.helios_drain_node(name text) RETURNS SETOF bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_drain_node_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_drain_node(text)
    IS 'empties a node, wave by wave: gives the migrations of the first one, the worker starts the next';

CREATE FUNCTION pg_catalog.helios_undrain_node(name text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_undrain_node_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_undrain_node(text) IS 'takes helios_drain_node back';

CREATE FUNCTION pg_catalog.helios_migrate(source text, target text, pattern text DEFAULT '%') RETURNS SETOF bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_migrate_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_migrate(text, text, text)
    IS 'moves the schemas on a node whose names are LIKE a pattern to another node; gives the migrations';

-------------------------------------------------------------------------------------------------
-- Statistics
-------------------------------------------------------------------------------------------------

CREATE FUNCTION helios.counting(OUT seconds double precision, OUT uncounted bigint)
    RETURNS SETOF record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_counting_wrapper';
COMMENT ON FUNCTION helios.counting() IS 'for how long statements are counted, and how many found no room in shared memory';

CREATE FUNCTION pg_catalog.helios_measure_sizes() RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_measure_sizes_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_measure_sizes()
    IS 'asks every node for the sizes of its schemas, as the worker does every helios.statistics_interval; gives how many it learned';

CREATE FUNCTION pg_catalog.helios_reset_statistics(schema text DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_reset_statistics_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_reset_statistics(text) IS 'begins counting anew, for one schema or all';

CREATE VIEW helios.helios_schema_statistics AS
    SELECT c.name AS schema, c.shard, n.name AS node, k.calls, k.rows, k.bytes, k.time_ms,
           k.time_ms / nullif(k.calls, 0) AS mean_ms, k.errors, k.load, k.size
      FROM helios.schema c JOIN helios.shard s ON s.id = c.shard JOIN helios.node n ON n.id = s.node
           LEFT JOIN helios.schema_counters() AS k ON k.schema::name = c.name;
ALTER VIEW helios.helios_schema_statistics SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.helios_schema_statistics
    IS 'statements on nodes counted for the first schema that each names (those that failed in errors), load in seconds of statements a second, size in bytes as last measured';

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
    IS 'helios_schema_statistics summed up over the schemas of a shard; no row if there is no such shard';

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
COMMENT ON FUNCTION pg_catalog.helios_cluster_stats() IS 'the whole cluster''s statistics in one row';

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
    IS 'transactions that are prepared on nodes at this moment, and what is to become of each: every node is asked; of one that does not answer, those that are committed here and not known to be there';

CREATE FUNCTION pg_catalog.helios_recover_transactions() RETURNS TABLE (node text, gid text, action text, error text)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'helios_recover_transactions_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_recover_transactions()
    IS 'finishes prepared transactions that were left behind on nodes, as the recovery worker does by itself; tells what it did';

CREATE FUNCTION pg_catalog.helios_transaction_status(gid text) RETURNS text
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_transaction_status_wrapper';
COMMENT ON FUNCTION pg_catalog.helios_transaction_status(text)
    IS 'what became of a transaction (committed, aborted, in progress, unknown), by the name in an error 08007';

CREATE FUNCTION helios.grammar_state() RETURNS text
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'helios_grammar_state_wrapper';
COMMENT ON FUNCTION helios.grammar_state() IS 'on, off, or the reason why CREATE SCHEMA … DISTRIBUTED is not understood';

CREATE FUNCTION helios.grammar_effect(statement text) RETURNS text
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'helios_grammar_effect_wrapper';
COMMENT ON FUNCTION helios.grammar_effect(text)
    IS 'NULL where the server parses a text as it would without Helios, clause where it makes a distributed schema';
CREATE FUNCTION helios.deparse_effect(statement text) RETURNS text
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'helios_deparse_effect_wrapper';
COMMENT ON FUNCTION helios.deparse_effect(text)
    IS 'what is wrong with the text that queries have for a node, made from their trees; NULL if nothing is';

CREATE FUNCTION pg_catalog.helios_cluster_info(OUT cluster_id bigint, OUT version text, OUT nodes bigint, OUT shards bigint,
                                               OUT schemas bigint, OUT placement_strategy text, OUT grammar text)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT (SELECT id FROM helios.cluster), helios_version(), (SELECT count(*) FROM helios.node),
               (SELECT count(*) FROM helios.shard), (SELECT count(*) FROM helios.schema),
               current_setting('helios.placement_strategy'), helios.grammar_state();
    END;
COMMENT ON FUNCTION pg_catalog.helios_cluster_info() IS 'the cluster in one row';

-------------------------------------------------------------------------------------------------
-- What changes the cluster, or reaches out to nodes, is the superuser's until granted
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
