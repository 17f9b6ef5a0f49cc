-- Placement of schemas. Slots are computed as in the Redis Cluster specification.
SELECT helios_key_slot('123456789'), helios_key_slot(''), helios_key_slot('foo'),
       helios_key_slot('{user1000}.following') = helios_key_slot('{user1000}.followers') AS tagged,
       helios_key_slot('foo{}{bar}') = helios_key_slot('foo{}{bar}x') AS empty_tag,
       helios_key_slot('foo{{bar}}zap') = helios_key_slot('{bar') AS first_brace;
SELECT count(*) AS shards, min(slot_from), max(slot_to), sum(slot_to - slot_from + 1) FROM helios_slots;
SELECT count(DISTINCT node) AS nodes FROM helios_slots;
-- the key determines a schema's placement
SELECT count(*) AS wrong FROM generate_series(1, 100) AS i
 WHERE helios_node_for_key('tenant_' || i)
       <> (SELECT node FROM helios_slots WHERE helios_key_slot('tenant_' || i) BETWEEN slot_from AND slot_to);
CREATE SCHEMA "{p}1" DISTRIBUTED;
CREATE SCHEMA "{p}2" DISTRIBUTED;
SELECT count(DISTINCT shard) AS shards FROM helios_schemas WHERE schema LIKE '{p}%';
SELECT helios_node_for_schema('{p}1') = helios_node_for_key('p') AS as_told;
SET helios.placement_strategy = least_loaded;
CREATE SCHEMA p3 DISTRIBUTED;
CREATE SCHEMA p4 DISTRIBUTED;
CREATE SCHEMA p5 DISTRIBUTED;
CREATE SCHEMA p6 DISTRIBUTED;
RESET helios.placement_strategy;
SELECT kind, count(*) FROM helios_schemas WHERE schema IN ('p3', 'p4', 'p5', 'p6') GROUP BY kind;
SELECT max(schemas) - min(schemas) <= 1 AS even FROM helios_nodes WHERE takes_schemas;
SELECT helios_node_for_schema('no such'), helios_node_for_schema('public');
-- the shards always cover all slots
BEGIN;
UPDATE helios.shard SET slot_to = slot_to - 1 WHERE slot_to = 16384;
COMMIT;
BEGIN;
UPDATE helios.shard SET slot_to = slot_to + 1 WHERE slot_from = 0;
COMMIT;
-- a transaction that changes the directory cannot be prepared
BEGIN;
CREATE SCHEMA p7 DISTRIBUTED ON NODE "node-1";
PREPARE TRANSACTION 'p7';
SELECT helios_node_for_schema('p7');
DROP SCHEMA "{p}1", "{p}2", p3, p4, p5, p6;
SELECT count(*) FROM helios_shards WHERE kind = 'dedicated' AND schemas = 0;
