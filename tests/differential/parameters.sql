CREATE TYPE size AS ENUM ('s', 'm', 'l'); CREATE DOMAIN pos AS int CHECK (VALUE > 0); CREATE TYPE pt AS (x int, y int); CREATE TABLE p (id int PRIMARY KEY, name text, n numeric(10, 2), j jsonb, ts timestamptz, d date, b bytea, u uuid, tags text[], s size, pos pos, pt pt, f float8, ok boolean)

-- bind: 1 | one | 1.5 | {"a": [1]} | 2024-01-01 12:00+02 | 2024-02-29 | \xdeadbeef | a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 | {x,"y z"} | m | 5 | (1,2) | 0.1 | t
INSERT INTO p VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING *

-- bind: 2 | \N | \N | \N | \N | \N | \N | \N | \N | \N | \N | \N | \N | \N
INSERT INTO p VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING *

-- bind: 1
SELECT * FROM p WHERE id = $1

-- bind: 1 | m
SELECT id, s FROM p WHERE id = $1 AND s = $2

-- bind: {s,m}
SELECT id, s FROM p WHERE s = ANY ($1)

-- bind: (1,2)
SELECT id FROM p WHERE pt = $1

-- bind: x
SELECT id FROM p WHERE id = $1

-- bind: xl
SELECT id FROM p WHERE s = $1

-- bind: 0
UPDATE p SET pos = $1

-- bind: 1
-- types: 23
SELECT $1 + 1, $1::text FROM p LIMIT 1

-- bind: a | 2
-- types: 25 | 20
SELECT $1 || id, $2 * id FROM p ORDER BY id

-- bind: 1
SELECT $1 FROM p LIMIT 1

-- bind: 5
SELECT $1

-- bind: 1 | 2
SELECT id FROM p WHERE id IN ($1, $2) ORDER BY id

-- bind: 1
SELECT id FROM p ORDER BY id LIMIT $1

-- bind: 1 | 2
SELECT id FROM p WHERE id = $1

-- bind: 1
SELECT id FROM p WHERE id = $1 AND name = $2

-- bind: 1
SELECT id FROM p WHERE id = $2

SELECT id FROM p WHERE id = $1

-- bind: 3
DELETE FROM p WHERE id = $1

-- bind: 1 | new
WITH u AS (UPDATE p SET name = $2 WHERE id = $1 RETURNING *) SELECT name FROM u

-- bind: 1 | 1
SELECT p.id, x.id FROM p, (SELECT id FROM p WHERE id = $2) x WHERE p.id = $1

-- bind: 2
-- rows: 1
SELECT id, name FROM p WHERE id <= $1 ORDER BY id

-- rows: 3
SELECT * FROM generate_series(1, 10) g, p WHERE p.id = 1

-- rows: 10
SELECT id FROM p ORDER BY id

-- rows: 1
UPDATE p SET name = 'x' RETURNING id

-- rows: 1
INSERT INTO p (id) VALUES (7), (8), (9) RETURNING id

-- rows: 2
SELECT 1 / (id - 8) FROM p ORDER BY id

-- rows: 1
VALUES (1), (2), (3)

-- bind: 1
-- differs: CREATE TABLE AS with parameters is refused
CREATE TABLE q AS SELECT $1::int

-- bind: 1
SET work_mem = $1

-- bind: 2024-01-01
SELECT id FROM p WHERE ts > $1::date AND d = $1 + interval '59 days'

-- bind: %n%
SELECT id FROM p WHERE name LIKE $1 ORDER BY id

-- bind: é漢😀
UPDATE p SET name = $1 WHERE id = 1 RETURNING name, length(name)

-- bind: 
UPDATE p SET name = $1 WHERE id = 1 RETURNING name = ''

-- bind: [1, {"b": null}]
SELECT jsonb_array_length($1::jsonb), id FROM p WHERE id = 1

-- bind: 1
SELECT (SELECT count(*) FROM p WHERE id > $1), (SELECT count(*) FROM p WHERE id <= $1)

-- bind: 1
SELECT CASE WHEN $1 = 1 THEN name ELSE 'no' END FROM p ORDER BY id

-- bind: {1,2,3}
SELECT u, p.id FROM unnest($1::int[]) u LEFT JOIN p ON p.id = u ORDER BY u
