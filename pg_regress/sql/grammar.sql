-- Every spelling of the clause, and plain statements whose meaning must not change.
CREATE SCHEMA g1 DISTRIBUTED;
create/**/schema "G 2" /* a comment /* inside */ */distributed;
CREATE SCHEMA g3
    -- a comment
    DISTRIBUTED ON NODE "node-2";
CREATE SCHEMA IF NOT EXISTS g4 AUTHORIZATION CURRENT_USER DISTRIBUTED;
CREATE SCHEMA IF NOT EXISTS g4 DISTRIBUTED;
CREATE SCHEMA U&"g\0035" DISTRIBUTED WITH (strategy = least_loaded);
CREATE SCHEMA g6 DISTRIBUTED WITH (key = 'g1') CREATE TABLE t (id int PRIMARY KEY) CREATE VIEW v AS SELECT id FROM t;
SELECT 1 AS one\; CREATE SCHEMA g7 DISTRIBUTED\; SELECT 2 AS two;
DO $$ BEGIN CREATE SCHEMA g8 DISTRIBUTED; EXECUTE 'create schema g9 distributed'; END $$;
CREATE FUNCTION g_make() RETURNS void LANGUAGE sql AS 'CREATE SCHEMA g10 DISTRIBUTED ON NODE "node-1"';
SELECT g_make();
DROP FUNCTION g_make();
SET helios.distribute_new_schemas = on;
CREATE SCHEMA g11;
RESET helios.distribute_new_schemas;
CREATE SCHEMA g12;
SECURITY LABEL FOR helios ON SCHEMA g12 IS 'distributed';
SELECT helios_create_schema('g13', 'node-1');
SELECT helios_create_schema('g13', 'node-1', if_not_exists => true);
CREATE SCHEMA g14;
SELECT helios_distribute_schema('g14', 'node-2');
SELECT schema, kind FROM helios_schemas WHERE schema ~ '^(g|G )[0-9]' ORDER BY schema COLLATE "C";
SELECT helios_node_for_schema('g3'), helios_node_for_schema('g10'), helios_node_for_schema('g13'), helios_node_for_schema('g14');
-- g6 was placed by the key of g1
SELECT helios_node_for_schema('g1') = helios_node_for_schema('g6') AS same;

-- words that keep their usual meaning
CREATE SCHEMA distributed;
SELECT helios_node_for_schema('distributed') IS NULL AS plain;
CREATE TABLE distributed.distributed (distributed int);
SELECT 'CREATE SCHEMA x DISTRIBUTED' AS text, $$create schema x distributed$$ AS dollars, 1 AS distributed;
SELECT distributed.distributed.distributed FROM distributed.distributed;
DROP SCHEMA distributed CASCADE;

-- error positions
CREATE SCHEMA e1 DISTRIBUTED ON NODE nowhere;
CREATE SCHEMA e1 DISTRIBUTED ON NOD n;
CREATE SCHEMA e1 DISTRIBUTED ON NODE;
CREATE SCHEMA e1 DISTRIBUTED WITH (strategy = sideways);
CREATE SCHEMA e1 DISTRIBUTED WITH (colour = 'blue');
CREATE SCHEMA e1 DISTRIBUTED WITH (key = 'a', key = 'b');
CREATE SCHEMA e1 DISTRIBUTED WITH ();
CREATE SCHEMA e1 DISTRIBUTED DISTRIBUTED;
CREATE SCHEMA DISTRIBUTED ON NODE "node-1";
CREATE SCHEMA g1 DISTRIBUTED;
CREATE SCHEMA e1 DISTRIBUTED CREATE TABLE t (id int, id text);
CREATE SCHEMA e1 DISTRIBUTED; SELECT nonsense;
SELECT helios_create_schema('g12x', 'nowhere');
SELECT helios_create_schema('g1');
SELECT helios_create_schema(NULL);
SELECT helios_distribute_schema('g3');
SELECT helios_distribute_schema('nowhere');
SELECT helios_distribute_schema('public');
SECURITY LABEL FOR helios ON SCHEMA g1 IS 'round';
SECURITY LABEL FOR helios ON TABLE g6.t IS 'distributed';
SELECT schema FROM helios_schemas WHERE schema LIKE 'e%';

-- all other statements are parsed as usual
SELECT text, helios.grammar_effect(text) FROM unnest(ARRAY[
    'SELECT 1', 'CREATE SCHEMA distributed', 'CREATE SCHEMA x', 'UPDATE s.create schema SET distributed = 1',
    'SELECT ''CREATE SCHEMA x DISTRIBUTED''', 'CREATE SCHEMA x DISTRIBUTED', 'CREATE TABLE distributed (a int)',
    'CREATE SCHEMA AUTHORIZATION distributed', 'CREATE SCHEMA x AUTHORIZATION distributed']) AS text;

\set VERBOSITY terse
DROP SCHEMA g1, "G 2", g3, g4, g5, g6, g7, g8, g9, g10, g11, g12, g13, g14, e1 CASCADE;
\set VERBOSITY default
SELECT schema FROM helios_schemas WHERE schema ~ '^(g|G )[0-9]';
