-- Servers that cannot be added as nodes, and the errors.
SELECT name, role, state, takes_schemas, schemas, error IS NULL AS fine FROM helios_nodes ORDER BY id;
SELECT DISTINCT node, bool_and(ok) OVER (PARTITION BY node) AS ok FROM helios_check_cluster() ORDER BY node;
SELECT helios_add_node('node-1', 'localhost', 1);
SELECT helios_add_node('', 'localhost');
SELECT helios_add_node('bad', 'localhost', 0);
SELECT helios_add_node('bad', 'localhost', 70000);
SELECT helios_add_node('bad', '');
SELECT helios_add_node('bad', 'host:port:more:x y');
SELECT helios_add_node('bad', 'localhost', weight => 0);
SELECT helios_add_node('bad', 'localhost', weight => 'NaN');
SELECT helios_add_node('bad', 'localhost', options => '{sslmode}');
SELECT helios_add_node('bad', 'localhost', options => '{sslmode=perhaps}');
SELECT helios_add_node('bad', 'localhost', options => '{colour=blue}');
SELECT helios_add_node('bad', 'localhost', options => '{password=secret}');
-- the same address twice; the server itself
\set VERBOSITY sqlstate
SELECT helios_add_node('again', hosts[1], ports[1], database) FROM helios.node WHERE name = 'node-1';
SELECT helios_add_node('itself', '127.0.0.1', current_setting('port')::int);
SELECT helios_add_node('nobody', '127.0.0.1', 1);
SELECT helios_add_node('nodb', hosts[1], ports[1], 'no such database') FROM helios.node WHERE name = 'node-1';
SELECT helios_add_node('noname', 'host.invalid');
\set VERBOSITY default
SELECT helios_remove_node('nowhere');
SELECT helios_remove_node('coordinator');
CREATE SCHEMA held DISTRIBUTED ON NODE "node-1";
SELECT helios_remove_node('node-1');
DROP SCHEMA held;
SELECT count(*) FROM helios.node;
-- a node can be removed and added again, with its shards
SELECT count(*) > 0 AS has_shards FROM helios_shards WHERE node = 'node-2';
CREATE TEMP TABLE was AS SELECT hosts[1] AS host, ports[1] AS port, database FROM helios.node WHERE name = 'node-2';
SELECT helios_remove_node('node-2');
SELECT name FROM helios.node ORDER BY id;
SELECT count(DISTINCT node) FROM helios_slots;
CREATE SCHEMA now_one DISTRIBUTED;
SELECT helios_node_for_schema('now_one');
CREATE TYPE missed AS ENUM ('a');
CREATE ROLE regress_missed;
SELECT helios_add_node('node-2', host, port, database) > 0 AS added FROM was;
SELECT count(DISTINCT node) FROM helios_slots;
CREATE SCHEMA back DISTRIBUTED ON NODE "node-2" CREATE TABLE t (m public.missed);
GRANT USAGE ON SCHEMA back TO regress_missed;
INSERT INTO back.t VALUES ('a') RETURNING m;
\set VERBOSITY terse
DROP SCHEMA now_one, back CASCADE;
\set VERBOSITY default
DROP TYPE missed;
DROP ROLE regress_missed;
