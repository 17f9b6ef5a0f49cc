CREATE TABLE p (id int PRIMARY KEY, name text, n numeric, tags text[], at timestamptz); INSERT INTO p SELECT i, 'n' || i, i * 1.5, ARRAY['t' || i], '2024-01-01 00:00+00'::timestamptz + i * interval '1 day' FROM generate_series(1, 10) i

PREPARE by_id (int) AS SELECT * FROM p WHERE id = $1

EXECUTE by_id (3)

EXECUTE by_id (3)

EXECUTE by_id (4)

EXECUTE by_id (5)

EXECUTE by_id (6)

EXECUTE by_id (7)

EXECUTE by_id (8)

EXECUTE by_id ('x')

EXECUTE by_id

EXECUTE by_id (1 + 1)

EXECUTE by_id (NULL)

PREPARE by_id (int) AS SELECT 1

PREPARE ins AS INSERT INTO p (id, name, tags) VALUES ($1, $2, $3) RETURNING *

EXECUTE ins (20, 'twenty', '{a,b}')

EXECUTE ins (20, 'twenty', '{a,b}')

EXECUTE ins (21, NULL, NULL)

PREPARE upd AS UPDATE p SET n = n + $1 WHERE id = $2

EXECUTE upd (1, 1)

EXECUTE upd (1, 999)

PREPARE del AS DELETE FROM p WHERE id = ANY ($1)

EXECUTE del ('{20,21}')

PREPARE no_table AS SELECT $1::int + 1

EXECUTE no_table (1)

SELECT name, statement, parameter_types FROM pg_prepared_statements WHERE from_sql ORDER BY name

ALTER TABLE p ADD COLUMN extra int DEFAULT 5

EXECUTE by_id (3)

PREPARE some AS SELECT id, name FROM p WHERE id < $1 ORDER BY id

EXECUTE some (3)

ALTER TABLE p ALTER COLUMN name TYPE varchar(20)

EXECUTE some (3)

ALTER TABLE p DROP COLUMN extra

EXECUTE upd (1, 1)

DEALLOCATE by_id

EXECUTE by_id (1)

DEALLOCATE by_id

-- differs: CREATE TABLE AS EXECUTE is refused
CREATE TABLE made_by_execute AS EXECUTE upd (1, 1)

PREPARE mk AS SELECT id FROM p WHERE id <= $1

-- differs: CREATE TABLE AS EXECUTE is refused
CREATE TABLE made_by_execute AS EXECUTE mk (2)

-- differs: CREATE TABLE AS EXECUTE is refused
SELECT * FROM made_by_execute ORDER BY id

SET plan_cache_mode = force_generic_plan

EXECUTE some (4)

SET plan_cache_mode = force_custom_plan

EXECUTE some (4)

RESET plan_cache_mode

BEGIN

PREPARE in_block AS SELECT count(*) FROM p

EXECUTE in_block

ROLLBACK

EXECUTE in_block

DROP TABLE p CASCADE

EXECUTE some (1)

CREATE TABLE p (id int, name varchar(20))

EXECUTE some (1)

DISCARD ALL

EXECUTE some (1)

DEALLOCATE ALL
