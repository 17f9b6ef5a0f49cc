CREATE TABLE events (id bigint, at date NOT NULL, kind text, payload jsonb, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)

CREATE TABLE events_2023 PARTITION OF events FOR VALUES FROM ('2023-01-01') TO ('2024-01-01')

CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')

INSERT INTO events SELECT i, '2023-06-01'::date + i * 50, 'k' || i % 3, jsonb_build_object('i', i) FROM generate_series(0, 9) i

SELECT tableoid::regclass, count(*), min(at), max(at) FROM events GROUP BY 1 ORDER BY 1

INSERT INTO events VALUES (99, '2030-01-01')

CREATE TABLE events_rest PARTITION OF events DEFAULT

INSERT INTO events VALUES (99, '2030-01-01') RETURNING tableoid::regclass, *

SELECT * FROM events_2024 ORDER BY id

UPDATE events SET at = '2024-02-02' WHERE id = 0 RETURNING tableoid::regclass, id

SELECT count(*) FROM ONLY events

CREATE INDEX events_kind ON events (kind)

SELECT tablename, indexname FROM pg_indexes WHERE schemaname = 'partitions' ORDER BY 2

CREATE TABLE events_2025 (LIKE events INCLUDING ALL)

INSERT INTO events_2025 VALUES (50, '2025-03-03', 'k', NULL)

ALTER TABLE events ATTACH PARTITION events_2025 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')

SELECT count(*) FROM events WHERE at >= '2025-01-01'

ALTER TABLE events DETACH PARTITION events_2025

SELECT count(*) FROM events WHERE at >= '2025-01-01'

CREATE TABLE events_2025b PARTITION OF events FOR VALUES FROM ('2024-06-01') TO ('2024-07-01')

DELETE FROM events WHERE kind = 'k1' RETURNING id

TRUNCATE events_2023

SELECT id FROM events ORDER BY id

DROP TABLE events_2024

SELECT id FROM events ORDER BY id

CREATE TABLE regions (name text, code text) PARTITION BY LIST (code)

CREATE TABLE regions_eu PARTITION OF regions FOR VALUES IN ('de', 'fr') PARTITION BY HASH (name)

CREATE TABLE regions_eu_0 PARTITION OF regions_eu FOR VALUES WITH (MODULUS 2, REMAINDER 0)

CREATE TABLE regions_eu_1 PARTITION OF regions_eu FOR VALUES WITH (MODULUS 2, REMAINDER 1)

INSERT INTO regions VALUES ('a', 'de'), ('b', 'fr'), ('c', 'de'), ('d', 'fr')

SELECT count(*) FROM regions_eu

INSERT INTO regions VALUES ('x', 'us')

INSERT INTO regions_eu_0 VALUES ('x', 'us')

SELECT * FROM regions r JOIN regions_eu e USING (name) ORDER BY name

ALTER TABLE regions ADD COLUMN size int DEFAULT 5

SELECT sum(size) FROM regions_eu

DROP TABLE regions

SELECT relname, relkind, relispartition FROM pg_class WHERE relnamespace = 'partitions'::regnamespace ORDER BY 1
