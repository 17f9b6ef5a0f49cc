-- Statements over several places, one in a line; each runs in a transaction that is rolled back, and those with "refused: " are refused.
-- Schemas fa, fb and fc are on three nodes, fl and the table "temporary" are on the coordinator.
SELECT a.id, b.s FROM fa.t a JOIN fb.t b ON a.id = b.id ORDER BY 1
SELECT a.id, b.s FROM fa.t a LEFT JOIN fb.t b ON a.k = b.id
SELECT a.id, b.s FROM fa.t a RIGHT JOIN fb.t b ON a.k = b.id AND b.b
SELECT a.id, b.s FROM fa.t a FULL JOIN fb.t b USING (id)
SELECT * FROM fa.t NATURAL JOIN fb.t
SELECT count(*) FROM fa.t, fb.t, fc.t, fl.t
SELECT a, b FROM fa.t a JOIN fl.t b USING (id) WHERE id < 3
SELECT a.*, row(b.id, b.s) FROM fa.t a JOIN fb.t b USING (id)
SELECT a.tableoid::regclass, count(*) FROM fa.t a, fb.u GROUP BY 1
SELECT tableoid::regclass FROM fa.t UNION SELECT tableoid::regclass FROM fb.t UNION SELECT tableoid::regclass FROM fl.t
SELECT a.id FROM fa.t a WHERE EXISTS (SELECT FROM fb.t b WHERE b.k = a.k)
SELECT a.id FROM fa.t a WHERE NOT EXISTS (SELECT FROM fb.t b WHERE b.k = a.k)
SELECT a.id FROM fa.t a WHERE a.k IN (SELECT k FROM fb.t WHERE k IS NOT NULL)
SELECT a.id FROM fa.t a WHERE a.k NOT IN (SELECT k FROM fb.t)
SELECT a.id FROM fa.t a WHERE (a.k, a.b) IN (SELECT k, b FROM fb.t)
SELECT a.id, (SELECT string_agg(b.s, ',' ORDER BY b.id) FROM fb.t b WHERE b.k = a.k) FROM fa.t a
SELECT a.id, (SELECT (SELECT max(c.n) FROM fc.t c WHERE c.k = b.k) FROM fb.t b WHERE b.id = a.id) FROM fa.t a
SELECT ARRAY(SELECT id FROM fb.t WHERE fb.t.k = a.k ORDER BY id) FROM fa.t a
SELECT a.id, l.* FROM fa.t a, LATERAL (SELECT b.id AS bid FROM fb.t b WHERE b.k >= a.k ORDER BY b.id LIMIT 2) l
SELECT a.id, l.* FROM fa.t a LEFT JOIN LATERAL (SELECT count(*) FROM fb.t b WHERE b.k > a.k) l ON true
SELECT l.s, c.id FROM (fb.t a JOIN LATERAL (SELECT a.s FROM fa.t b WHERE b.s IS DISTINCT FROM a.s) l ON a.k = 3) FULL JOIN fl.t c ON a.k = c.id
SELECT l.s, l.n, c.id FROM (fb.t a JOIN LATERAL (SELECT a.s, b.n + a.n AS n FROM fa.t b WHERE b.k > a.k) l ON true) FULL JOIN fl.t c ON a.k = c.id AND l.n > 1
SELECT l.s FROM fl.t c LEFT JOIN (fb.t a JOIN LATERAL (SELECT coalesce(a.s, 'none') AS s FROM fa.u b) l ON true) ON a.id = c.id
SELECT l.s, m.s FROM fl.t c LEFT JOIN (fb.t a CROSS JOIN LATERAL (SELECT a.s || b.s AS s, b.id FROM fa.t b OFFSET 0) l CROSS JOIN LATERAL (SELECT l.s FROM fc.t d WHERE d.id = l.id) m) ON a.id = c.id
SELECT a.id, g FROM fa.t a, generate_series(1, a.k) g, fb.u
WITH x AS (SELECT * FROM fa.t), y AS MATERIALIZED (SELECT * FROM fb.t) SELECT x.id, y.s FROM x JOIN y USING (id)
WITH RECURSIVE r (n, d) AS (SELECT id, 0 FROM fl.t WHERE id = 1 UNION ALL SELECT a.id, r.d + 1 FROM r JOIN fa.t a ON a.id = r.n + 1 JOIN fb.t b ON b.id = a.id) SELECT * FROM r
WITH RECURSIVE r AS (SELECT id, k FROM fa.t WHERE id = 1 UNION SELECT b.id, b.k FROM r JOIN fb.t b ON b.id = r.k) SELECT * FROM r
SELECT id FROM fa.t INTERSECT SELECT id FROM fb.t EXCEPT SELECT k FROM fl.t
SELECT id, k FROM fa.t UNION ALL SELECT id, k FROM fb.t ORDER BY 1, 2 LIMIT 5 OFFSET 2
(SELECT id FROM fa.t ORDER BY id DESC LIMIT 2) UNION ALL (SELECT id FROM fb.t ORDER BY id LIMIT 2)
SELECT count(*), sum(n), avg(n), min(s), max(d), bool_and(b), count(DISTINCT k) FROM (SELECT * FROM fa.t UNION ALL SELECT * FROM fb.t UNION ALL SELECT * FROM fc.t) u
SELECT tenant, count(*) FROM (SELECT 'a' AS tenant, * FROM fa.t UNION ALL SELECT 'b', * FROM fb.t) u WHERE tenant = 'b' GROUP BY 1
SELECT a.k, b.b, count(*), grouping(a.k, b.b) FROM fa.t a JOIN fb.t b USING (id) GROUP BY GROUPING SETS ((a.k), (b.b), ())
SELECT a.k, count(*) FILTER (WHERE b.b) FROM fa.t a JOIN fb.t b USING (id) GROUP BY CUBE (a.k) HAVING count(*) > 1
SELECT a.id, rank() OVER w, lag(b.n) OVER w FROM fa.t a JOIN fb.t b USING (id) WINDOW w AS (PARTITION BY a.b ORDER BY a.id)
SELECT DISTINCT ON (a.k) a.k, b.id FROM fa.t a JOIN fb.t b ON b.id = a.id ORDER BY a.k, b.id DESC
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY a.n) FROM fa.t a JOIN fb.t USING (id)
SELECT a.id FROM fa.t a JOIN fb.t b USING (id) ORDER BY a.n NULLS FIRST, a.id LIMIT 3
SELECT a.id FROM fa.t a JOIN fb.t b USING (id) ORDER BY id FETCH FIRST 2 ROWS WITH TIES
SELECT * FROM temporary JOIN fa.t USING (id)
SELECT c.relname, a.id FROM pg_class c, fa.t a WHERE c.oid = 'fa.t'::regclass ORDER BY 2
SELECT a.id FROM fa.t a, fl.t WHERE a.tableoid = 'fa.t'::regclass AND a.id = fl.t.id
SELECT now() = max(x) FROM (SELECT now() AS x FROM fa.t UNION ALL SELECT now() FROM fb.t) s
SELECT count(DISTINCT transaction_timestamp()) FROM fa.t, fl.t
SELECT count(*) FROM fa.t JOIN fl.t USING (id) WHERE fl.t.d > date '2024-01-02' AND fa.t.n > 0.5
SELECT a.id FROM fa.t a TABLESAMPLE BERNOULLI (100) JOIN fl.t USING (id)
SELECT a.f FROM (SELECT id::float8 / 3 AS f FROM fa.t) a JOIN fl.t ON a.f = fl.t.id::float8 / 3
VALUES ((SELECT max(id) FROM fa.t), (SELECT max(id) FROM fb.t))
SELECT (SELECT count(*) FROM fa.t) + (SELECT count(*) FROM fb.t) + (SELECT count(*) FROM fl.t)
SELECT EXISTS (SELECT FROM fa.t WHERE id = 3) AND EXISTS (SELECT FROM fb.t WHERE id = 4)
SELECT 1/(a.id - 1) FROM fa.t a JOIN fb.t b USING (id)
SELECT * FROM fa.t a JOIN fb.t b ON a.missing = b.id
TABLE fa.t UNION TABLE fb.t
CREATE TABLE fl.made AS SELECT a.id, b.s FROM fa.t a JOIN fb.t b USING (id)
CREATE TEMP TABLE made_temporary AS SELECT a.id, b.s FROM fa.t a JOIN fb.t b USING (id)
CREATE MATERIALIZED VIEW fl.made AS SELECT a.id, b.s FROM fa.t a JOIN fb.t b USING (id)
SELECT a.id, b.s INTO fl.made FROM fa.t a JOIN fb.t b USING (id)
INSERT INTO fl.t (id, s) SELECT a.id + 100, b.s FROM fa.t a JOIN fb.t b USING (id) RETURNING id, s
INSERT INTO temporary SELECT id + 100, k, n, s, b, d FROM fa.t
INSERT INTO fa.t SELECT id + 100, k, n, s, b, d FROM fb.t RETURNING *
INSERT INTO fa.t SELECT id + 100, k, n, s, b, d FROM fl.t
INSERT INTO fa.t SELECT id + 100, k, n, s, b, d FROM temporary
INSERT INTO fa.t (id, s) SELECT g, 'x' FROM generate_series(100, 103) g, fl.u WHERE fl.u.id = 1
INSERT INTO fa.t (id, k) VALUES (100, (SELECT max(id) FROM fl.t)), (101, (SELECT min(k) FROM fb.t))
INSERT INTO fa.t (id, k) SELECT id, 7 FROM fl.t ON CONFLICT (id) DO UPDATE SET k = EXCLUDED.k + 1 RETURNING *
INSERT INTO fa.t (id, k) SELECT id, 7 FROM fb.t ON CONFLICT DO NOTHING
UPDATE fa.t SET s = fl.t.s FROM fl.t WHERE fl.t.id = fa.t.id RETURNING fa.t.id, fa.t.s, fl.t.k
UPDATE fa.t SET n = x.n FROM (SELECT id, max(n) AS n FROM fb.t GROUP BY id) x WHERE x.id = fa.t.id
UPDATE fa.t SET n = (SELECT max(n) FROM fl.t)
UPDATE fa.t SET (n, s) = (SELECT n, s FROM fl.t WHERE fl.t.id = 2)
UPDATE fa.t SET s = temporary.s FROM temporary WHERE temporary.id = fa.t.id
UPDATE fl.t SET s = fa.t.s FROM fa.t WHERE fl.t.id = fa.t.id RETURNING fl.t.*
UPDATE fl.t SET n = (SELECT sum(n) FROM fb.t WHERE fb.t.k = fl.t.k)
DELETE FROM fa.t USING fl.t WHERE fl.t.id = fa.t.id AND fl.t.b
DELETE FROM fa.t WHERE id IN (SELECT id FROM fb.t WHERE b)
DELETE FROM fa.t WHERE NOT EXISTS (SELECT FROM fl.u)
DELETE FROM fl.t WHERE id IN (SELECT k FROM fa.t) RETURNING *
MERGE INTO fa.t USING fl.t ON fl.t.id = fa.t.id WHEN MATCHED AND fl.t.b THEN DELETE WHEN MATCHED THEN UPDATE SET s = fl.t.s WHEN NOT MATCHED THEN INSERT (id, s) VALUES (fl.t.id, fl.t.s)
MERGE INTO fl.t USING fa.t ON fl.t.id = fa.t.id WHEN MATCHED THEN UPDATE SET s = fa.t.s WHEN NOT MATCHED THEN INSERT (id, s) VALUES (fa.t.id, fa.t.s)
WITH gone AS (DELETE FROM fa.t WHERE id IN (SELECT id FROM fl.u) RETURNING *) SELECT count(*) FROM gone
WITH src AS (SELECT * FROM fl.t) INSERT INTO fa.t SELECT id + 100, k, n, s, b, d FROM src
WITH moved AS (DELETE FROM fl.t RETURNING *) SELECT count(*) FROM moved JOIN fa.t USING (id)
SELECT fa.t.id FROM fa.t, fl.t WHERE fa.t.id = fl.t.id FOR UPDATE OF t
EXPLAIN (COSTS OFF, ANALYZE, TIMING OFF, SUMMARY OFF) SELECT 1 WHERE false
-- Aggregates over the tables of several nodes, computed in part on each
SELECT count(*), count(k), sum(k), sum(n), avg(k), avg(n), min(s), max(d), bool_or(b), every(b), bit_and(k), bit_xor(id) FROM (SELECT * FROM fa.t UNION ALL SELECT * FROM fb.t UNION ALL SELECT * FROM fc.t) x
SELECT count(*), sum(k), avg(n), max(s), bool_and(b) FROM (SELECT * FROM fa.t UNION ALL SELECT * FROM fb.t UNION ALL SELECT * FROM fl.t) x WHERE id > 1000
SELECT tenant, count(*) AS all_of_it, sum(n) FILTER (WHERE b), avg(k) * 2 FROM (SELECT 'a' AS tenant, * FROM fa.t UNION ALL SELECT 'b', * FROM fb.t UNION ALL SELECT 'a', * FROM fc.t) x WHERE k <> 3 GROUP BY tenant HAVING count(*) > 1 ORDER BY tenant DESC
SELECT k + 1, k + 1 + sum(id), coalesce(max(s), 'none') FROM (SELECT * FROM fa.t UNION ALL SELECT * FROM fa.u UNION ALL SELECT * FROM fb.t UNION ALL SELECT * FROM temporary) x GROUP BY k + 1 ORDER BY sum(id) DESC, 1 LIMIT 3
SELECT k FROM (SELECT * FROM fa.t UNION ALL SELECT * FROM fb.t) x GROUP BY k ORDER BY k
SELECT DISTINCT sum(k) FROM (SELECT * FROM fa.t UNION ALL SELECT * FROM fb.t) x GROUP BY s
SELECT string_agg(s, ',' ORDER BY s, id), count(DISTINCT k), stddev(n) FROM (SELECT * FROM fa.t UNION ALL SELECT * FROM fb.t) x
SELECT sum(k) OVER (), count(*) FROM (SELECT * FROM fa.t UNION ALL SELECT * FROM fb.t) x GROUP BY k
SELECT sum(id::real), avg(n::double precision), sum(id::bigint), sum(id::smallint) FROM (SELECT * FROM fa.t UNION ALL SELECT * FROM fb.t) x
SELECT sum(v), avg(v) FROM (SELECT n AS v FROM fa.t UNION ALL SELECT id FROM fb.t UNION ALL SELECT 'NaN' FROM fc.t WHERE id = 1) x
SELECT sum(d - date '2000-01-01'), max(d), min(d + 1) FROM (SELECT * FROM fa.t UNION ALL SELECT * FROM fb.t) x GROUP BY ROLLUP (k)
SELECT (SELECT count(*) FROM (SELECT * FROM fa.t UNION ALL SELECT * FROM fb.t) x WHERE x.k = t.k) FROM fl.t ORDER BY id
SELECT count(*) FROM (SELECT * FROM fa.t UNION ALL SELECT * FROM fb.t UNION ALL SELECT * FROM fa.u LIMIT 5) x
SELECT * FROM (SELECT 'a' AS tenant, id FROM fa.t UNION ALL SELECT 'b', id FROM fb.t UNION ALL SELECT 'c', id FROM fa.u UNION ALL SELECT NULL, id FROM fc.t) x WHERE tenant IN ('a', 'c') ORDER BY 1, 2
SELECT count(*), sum(id) FROM (SELECT 'a' AS tenant, id FROM fa.t UNION ALL SELECT 'b', id FROM fb.t UNION ALL SELECT 'c', id FROM fl.t) x WHERE tenant = 'b' AND id < 5
SELECT count(*), sum(id) FROM (SELECT 'a' AS tenant, id FROM fa.t UNION ALL SELECT 'b', id FROM fb.t) x WHERE tenant = 'nobody'
SELECT x.id, y.s FROM (SELECT 'a' AS tenant, id FROM fa.t UNION ALL SELECT 'b', id FROM fb.t) x LEFT JOIN (SELECT 'a' AS tenant, * FROM fa.u UNION ALL SELECT 'b', * FROM fb.u UNION ALL SELECT 'c', * FROM fa.t) y ON y.id = x.id AND y.tenant = 'a' WHERE x.tenant = 'b'
SELECT x.id, y.tenant FROM fl.t x LEFT JOIN (SELECT 'a' AS tenant, id FROM fa.t UNION ALL SELECT 'b', id FROM fb.t) y ON y.id = x.id WHERE y.tenant = 'a' OR y.tenant IS NULL
SELECT id FROM fa.t UNION ALL SELECT k FROM fb.t UNION ALL SELECT n FROM fa.u ORDER BY 1
SELECT max(v) FROM (SELECT id AS v FROM fa.t UNION ALL SELECT n FROM fb.t) x
-- Rows sent to the node that has most of them
SET helios.min_fetched_rows = 0; SELECT t.id, x.s FROM temporary t JOIN fa.t x ON x.id = t.k LEFT JOIN fl.u y ON y.id = x.k AND y.b ORDER BY 1, 2
SET helios.min_fetched_rows = 0; SELECT x.id, (SELECT max(y.n) FROM fl.t y WHERE y.k = x.k) FROM fa.t x WHERE EXISTS (SELECT FROM fb.t z WHERE z.id = x.id AND z.b) ORDER BY 1
SET helios.min_fetched_rows = 0; SELECT x.id, y.s, z.s FROM fa.t x FULL JOIN fl.t y ON y.id = x.k FULL JOIN fb.t z ON z.id = y.k WHERE y.id IS NULL OR y.id > 2
SET helios.min_fetched_rows = 0; SELECT x.id, y.s FROM fa.t x RIGHT JOIN fl.t y ON y.id = x.k AND y.b WHERE y.s > 'a'
SET helios.min_fetched_rows = 0; SELECT x, y.id FROM fa.t x, temporary y WHERE y.id = x.k ORDER BY y.id, x.id
SET helios.min_fetched_rows = 0; SELECT x.id, currval('fl.unknown') FROM fa.t x, temporary y
SET helios.min_fetched_rows = 0; WITH RECURSIVE r AS (SELECT id, k FROM fl.t WHERE id = 1 UNION SELECT x.id, x.k FROM fa.t x JOIN r ON r.k = x.id) SELECT * FROM r ORDER BY 1
SELECT a.id FROM fa.t a JOIN fb.t b USING (id) ORDER BY 1 FOR UPDATE
SELECT a.id FROM fa.t a JOIN fl.t b USING (id) FOR SHARE
SELECT a.id FROM fa.t a JOIN fl.t b USING (id) FOR UPDATE OF b
SELECT a.id FROM fa.t a JOIN fb.t b USING (id) FOR UPDATE OF a SKIP LOCKED
SELECT a.id FROM fa.t a JOIN fb.t b USING (id) FOR UPDATE OF a NOWAIT
SELECT a.id FROM fa.t a LEFT JOIN fb.t b USING (id) FOR UPDATE OF b
SELECT a.id FROM fa.t a LEFT JOIN fb.t b USING (id) WHERE b.k > 0 FOR UPDATE OF b
SELECT a.id FROM fa.t a LEFT JOIN fb.t b USING (id) FOR UPDATE OF a
SELECT a.id FROM fl.t a FULL JOIN fb.t b USING (id) FOR UPDATE
SELECT a.id FROM fl.t a LEFT JOIN (SELECT * FROM fb.t FOR UPDATE) b USING (id)
SELECT a.id FROM fl.t a WHERE id IN (SELECT b.id FROM fb.t b LEFT JOIN fa.t c USING (id) FOR SHARE)
SELECT a.id FROM fa.t a LEFT JOIN temporary b USING (id) WHERE a.k = 3 LIMIT 2 FOR NO KEY UPDATE OF a
SELECT * FROM (SELECT id FROM fa.t FOR UPDATE) a JOIN fb.t USING (id)
SELECT id FROM fl.t WHERE id IN (SELECT id FROM fa.t FOR UPDATE)
WITH moved AS (DELETE FROM fa.t WHERE id > 3 RETURNING *) INSERT INTO fl.u SELECT * FROM moved
WITH moved AS (DELETE FROM fl.t WHERE id > 3 RETURNING *) INSERT INTO fa.u SELECT * FROM moved
WITH moved AS (DELETE FROM fa.t WHERE id > 3 RETURNING *) INSERT INTO fb.u SELECT * FROM moved RETURNING id
WITH moved AS (DELETE FROM fa.t WHERE id > 3 RETURNING *) INSERT INTO temporary SELECT id + 100, k, n, s, b, d FROM moved RETURNING id
WITH a AS (UPDATE fa.t SET k = k + 1 RETURNING id, k), b AS (UPDATE fb.t SET k = k + 2 RETURNING id, k) SELECT * FROM a JOIN b USING (id)
WITH a AS (UPDATE fa.t SET k = k + 1), b AS (UPDATE fb.t SET k = k + 2) UPDATE fl.t SET k = 5
WITH a AS (INSERT INTO fl.t (id) VALUES (500) RETURNING id) INSERT INTO fa.t (id) SELECT id FROM a RETURNING id
WITH a AS (INSERT INTO fa.t (id) VALUES (500) RETURNING id) INSERT INTO fa.u (id) SELECT a.id + fl.u.id FROM a, fl.u WHERE fl.u.id = 1 RETURNING id
WITH a AS (INSERT INTO fa.t (id) VALUES (500) RETURNING id) SELECT a.id, fl.u.s FROM a, fl.u
WITH a AS (UPDATE fa.t SET s = 'new' WHERE id < 3 RETURNING *) SELECT a.id, t.s FROM a JOIN fa.t t USING (id) JOIN fl.t l USING (id)
WITH a AS (DELETE FROM fa.t RETURNING *), b AS (INSERT INTO fl.u SELECT * FROM a RETURNING id) SELECT count(*) FROM b
INSERT INTO fa.t (id, k) VALUES (nextval('fl.numbers'), 1) RETURNING id
INSERT INTO fa.t (id, k) VALUES (nextval('fl.numbers'), 1), (nextval('fl.numbers'), 2) RETURNING id
INSERT INTO fa.t (id, k) SELECT nextval('fl.numbers'), id FROM fb.t RETURNING id
INSERT INTO fl.t (id, k) VALUES (nextval('fa.numbers'), 1) RETURNING id
INSERT INTO fl.t (id, k) SELECT nextval('fa.numbers'), id FROM fb.t RETURNING id
INSERT INTO fb.t (id, k) VALUES (nextval('fa.numbers'), 1) RETURNING id
SELECT nextval('fa.numbers'), nextval('fl.numbers')
SELECT nextval('fa.numbers'), currval('fa.numbers'), lastval()
SELECT nextval('fa.numbers'), id FROM fa.t WHERE id < 4
SELECT nextval('fa.numbers'), id FROM fl.t WHERE id < 4
SELECT nextval('fl.numbers'), id FROM fa.t WHERE id < 4
SELECT a.id, nextval('fl.numbers') FROM fa.t a JOIN fb.t b USING (id) WHERE id < 3
SELECT setval('fa.numbers', 40); INSERT INTO fl.t (id) SELECT last_value + 1 FROM fa.numbers RETURNING id
SELECT nextval('fl.numbers'); INSERT INTO fa.t (id) VALUES (currval('fl.numbers') + 1000) RETURNING id
SELECT nextval('fl.numbers'); INSERT INTO fa.t (id) VALUES (lastval() + 1000) RETURNING id
SELECT nextval('fa.numbers'); INSERT INTO fb.t (id) VALUES (lastval() + 1000) RETURNING id
INSERT INTO fa.t (id, k) VALUES (1000, CASE WHEN pg_backend_pid() > 0 THEN 1 END) RETURNING id, k
INSERT INTO fa.t (id, s) VALUES (1000, set_config('app.x', 'y', true)) RETURNING s; SELECT current_setting('app.x')
SELECT count(pg_notify('news', s)) FROM fa.t
SELECT count(pg_advisory_xact_lock(id)) FROM fa.t
UPDATE fa.t SET k = 2 WHERE pg_try_advisory_xact_lock(id) RETURNING id
SELECT id, pg_try_advisory_xact_lock(id) FROM fa.t WHERE id < 3
TRUNCATE fa.t, fb.t, fl.t
TRUNCATE fa.t, temporary
LOCK TABLE fa.t, fb.t, fl.t IN SHARE MODE
DECLARE c CURSOR FOR SELECT a.id FROM fa.t a JOIN fb.t b USING (id) ORDER BY 1; FETCH 2 FROM c; MOVE 1 FROM c; FETCH ALL FROM c
DECLARE c SCROLL CURSOR FOR SELECT a.id FROM fa.t a JOIN fb.t b USING (id) ORDER BY 1; FETCH ALL FROM c; FETCH BACKWARD 2 FROM c; FETCH FIRST FROM c
DECLARE c CURSOR WITH HOLD FOR SELECT a.id FROM fa.t a JOIN fl.t b USING (id) ORDER BY 1; FETCH 2 FROM c; CLOSE c
DECLARE c CURSOR FOR SELECT a.id FROM fa.t a JOIN fb.t b USING (id) ORDER BY 1; DELETE FROM fa.t; FETCH ALL FROM c
DECLARE c CURSOR FOR SELECT l.id FROM fl.t l JOIN fa.t USING (id) ORDER BY 1 FOR UPDATE OF l; FETCH 2 FROM c; UPDATE fl.t SET k = 99 WHERE CURRENT OF c RETURNING id
PREPARE p(int) AS SELECT a.id FROM fa.t a JOIN fb.t b USING (id) WHERE a.id > $1 ORDER BY 1; EXECUTE p(2); EXECUTE p(4); EXECUTE p(5); EXECUTE p(1); EXECUTE p(2); EXECUTE p(3); EXECUTE p(7); DEALLOCATE p
PREPARE p(int) AS INSERT INTO fa.t (id) SELECT id + $1 FROM fl.t RETURNING id; EXECUTE p(100); EXECUTE p(200); EXECUTE p(300); EXECUTE p(400); EXECUTE p(500); EXECUTE p(600); DEALLOCATE p
DO $$ DECLARE r record; total int := 0; BEGIN FOR r IN SELECT a.id FROM fa.t a JOIN fb.t b USING (id) LOOP total := total + r.id; END LOOP; INSERT INTO fl.t (id) VALUES (1000 + total); END $$
DO $$ DECLARE total int; BEGIN SELECT sum(a.id) INTO total FROM fa.t a JOIN fl.t USING (id); UPDATE fa.t SET k = total WHERE id = (SELECT min(id) FROM fl.t); END $$
CREATE VIEW fl.v AS SELECT a.id, a.s AS x, b.s AS y FROM fa.t a JOIN fb.t b USING (id); SELECT * FROM fl.v WHERE id < 4
CREATE VIEW fl.v AS SELECT 'a' AS tenant, * FROM fa.t UNION ALL SELECT 'b', * FROM fb.t; SELECT count(*) FROM fl.v WHERE tenant = 'b'
CREATE VIEW fl.v AS SELECT id, s FROM fa.t; INSERT INTO fl.v SELECT id + 100, s FROM fb.t
CREATE FUNCTION fl.f(int) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM fa.t a JOIN fb.t b USING (id) WHERE a.id > $1'; SELECT fl.f(2), fl.f(id) FROM fl.t
CREATE FUNCTION fl.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO fa.t (id) VALUES (NEW.id); RETURN NEW; END'; CREATE TRIGGER tr AFTER INSERT ON fl.t FOR EACH ROW EXECUTE FUNCTION fl.f(); INSERT INTO fl.t (id) SELECT id + 100 FROM fb.t
CREATE TYPE fl.mood AS ENUM ('sad', 'ok'); CREATE TABLE fl.m (id int, m fl.mood); INSERT INTO fl.m VALUES (1, 'ok'); SELECT a.id, m FROM fa.t a JOIN fl.m USING (id) WHERE m = 'ok'
CREATE TEMP TABLE t (LIKE fa.t); INSERT INTO t SELECT * FROM fa.t; SET LOCAL search_path = fa, public; SELECT count(*) FROM t JOIN u USING (id)
SELECT * INTO TEMP made FROM fa.t; SELECT count(*) FROM made JOIN fa.t USING (id)
CREATE TEMP SEQUENCE ts; INSERT INTO fa.t (id) SELECT nextval('ts') + 100 FROM fa.u; SELECT nextval('ts')
CREATE MATERIALIZED VIEW fl.made AS SELECT * FROM fa.t JOIN fb.u USING (id); REFRESH MATERIALIZED VIEW fl.made; SELECT count(*) FROM fl.made
SAVEPOINT s; INSERT INTO fa.t SELECT id + 100, k, n, s, b, d FROM fl.t; ROLLBACK TO s; INSERT INTO fa.t SELECT id + 200, k, n, s, b, d FROM fl.t; RELEASE s
SAVEPOINT s; DECLARE c CURSOR FOR SELECT a.id FROM fa.t a JOIN fb.t b USING (id) ORDER BY 1; FETCH 1 FROM c; ROLLBACK TO s; SELECT count(*) FROM fa.t JOIN fb.t USING (id)
DECLARE c CURSOR FOR SELECT a.id FROM fa.t a JOIN fb.t b USING (id) ORDER BY 1; FETCH 1 FROM c; SAVEPOINT s; INSERT INTO fa.t (id) VALUES (1); ROLLBACK TO s; FETCH 2 FROM c
SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SELECT a.id, b.s FROM fa.t a JOIN fb.t b USING (id)
SET LOCAL extra_float_digits = 0; CREATE TABLE fl.made AS SELECT (0.1::float8 + 0.2::float8) * id AS f FROM fa.t; SET LOCAL extra_float_digits = 1; SELECT * FROM fl.made
SET LOCAL DateStyle = 'German'; SELECT d FROM fa.t JOIN fl.t USING (d)
SET LOCAL TimeZone = 'Asia/Tokyo'; SELECT count(*) FROM fa.t JOIN fl.t ON fa.t.d::timestamptz = fl.t.d::timestamptz
UPDATE fa.t SET k = 1 FROM fb.t b JOIN fc.t c USING (id) WHERE b.id = fa.t.id RETURNING fa.t.*, c.s
UPDATE fl.t SET k = (SELECT count(*) FROM fa.t WHERE fa.t.id < fl.t.id) + (SELECT count(*) FROM fb.t)
INSERT INTO fl.t AS x (id, k) SELECT id, k FROM fa.t ON CONFLICT (id) DO UPDATE SET k = (SELECT max(k) FROM fb.t) RETURNING *
INSERT INTO fa.t AS x (id, k) SELECT id, k FROM fl.t ON CONFLICT (id) DO UPDATE SET k = (SELECT max(k) FROM fb.t) RETURNING *
INSERT INTO fa.t AS x (id, k) VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET s = (SELECT max(s) FROM fl.t) WHERE x.id IN (SELECT id FROM fb.t) RETURNING *
UPDATE fa.t SET s = (SELECT s FROM fl.t WHERE fl.t.id = fa.t.id) RETURNING (SELECT max(fb.t.s) FROM fb.t WHERE fb.t.k = fa.t.k)
DELETE FROM fa.t RETURNING id, (SELECT count(*) FROM fl.t WHERE fl.t.k = fa.t.k)
UPDATE fa.t SET s = x.c::text FROM (SELECT row(1, 'a') AS c) x, fl.t WHERE fl.t.id = fa.t.id
CREATE TABLE fa.items (id serial, name text, at timestamptz DEFAULT now(), u text DEFAULT upper('x')); INSERT INTO fa.items(name) SELECT s FROM fl.t WHERE id < 4 RETURNING id, name, u; INSERT INTO fa.items(name) VALUES ((SELECT max(s) FROM fl.t)), (DEFAULT), ('x') RETURNING id, name, u
CREATE TABLE fa.idt (id int GENERATED ALWAYS AS IDENTITY, name text, n2 int GENERATED ALWAYS AS (length(name)) STORED); INSERT INTO fa.idt(name) SELECT s FROM fl.t; INSERT INTO fa.idt VALUES (DEFAULT, (SELECT max(s) FROM fb.t)); INSERT INTO fa.idt OVERRIDING SYSTEM VALUE SELECT id + 100, s FROM fb.t; SELECT * FROM fa.idt
CREATE TABLE fl.items (id serial, name text); INSERT INTO fa.u (id) VALUES (nextval('fa.numbers')); INSERT INTO fl.items (name) VALUES ('x'); SELECT lastval(); INSERT INTO fa.u (id) VALUES (nextval('fa.numbers')); SELECT lastval()
INSERT INTO fa.u (id, k) VALUES (DEFAULT, (SELECT count(*) FROM fl.t)) RETURNING *
WITH x AS (SELECT id FROM fl.t) INSERT INTO fa.u (id, k) VALUES ((SELECT max(id) FROM x), pg_backend_pid() * 0) RETURNING id, k
INSERT INTO fa.u (id, k) SELECT id, k FROM fl.u ORDER BY id DESC LIMIT 3 RETURNING *
WITH moved AS (DELETE FROM fa.t WHERE id IN (SELECT id FROM fl.u WHERE id > 5) RETURNING *) INSERT INTO fl.u SELECT * FROM moved
WITH moved AS (DELETE FROM fa.t USING fb.t b WHERE b.id = fa.t.id RETURNING fa.t.*, b.s AS bs) SELECT m.id, m.bs, l.s FROM moved m LEFT JOIN fl.t l USING (id)
WITH up AS (UPDATE fa.t SET k = 1 RETURNING id) SELECT count(*) FROM up JOIN fa.t USING (id) JOIN fl.t USING (id)
SELECT count(*) FROM (SELECT a.id FROM fa.t a, fb.t b WHERE a.id = b.id FOR UPDATE) x
SELECT a.id, b.id, l.id FROM fa.t a JOIN fb.t b USING (id) JOIN fl.t l USING (id) WHERE a.id < 4 FOR NO KEY UPDATE
CREATE VIEW fl.v AS SELECT id, s FROM fa.t; SELECT fl.v.id FROM fl.v JOIN fl.t USING (id) FOR UPDATE OF v
CREATE VIEW fl.v AS SELECT id, k FROM fa.t WHERE id < 4; UPDATE fa.t SET k = 77 FROM fl.v WHERE v.id = t.id RETURNING t.id, t.k
CREATE VIEW fl.v AS SELECT id, k FROM fa.t WHERE id < 4; UPDATE fa.t SET k = (SELECT max(k) + 1 FROM fl.v) WHERE id IN (SELECT id FROM fl.v) RETURNING id, k
CREATE VIEW fl.v AS SELECT id, k FROM fa.t WHERE id < 4; DELETE FROM fa.t USING fl.v WHERE v.id = t.id RETURNING t.id, v.k
CREATE VIEW fl.v AS SELECT id, k FROM fa.t WHERE id < 4; MERGE INTO fa.t USING fl.v ON v.id = t.id WHEN MATCHED AND v.id < 3 THEN UPDATE SET k = 5 WHEN MATCHED THEN DELETE
CREATE VIEW fl.v AS SELECT id, k FROM fa.t WHERE id < 4; WITH l AS (SELECT * FROM fl.v) UPDATE fa.t SET k = 6 FROM l WHERE l.id = t.id RETURNING t.id, l.k
CREATE VIEW fl.v AS SELECT id, k FROM fa.t WHERE id < 4; INSERT INTO fa.t (id) SELECT id FROM fl.v ON CONFLICT (id) DO UPDATE SET k = (SELECT count(*) FROM fl.v) RETURNING id, k
CREATE TEMPORARY VIEW tv AS SELECT id, k FROM fa.t WHERE id < 4; UPDATE fa.t SET k = 78 FROM tv WHERE tv.id = t.id RETURNING t.id, t.k
CREATE TEMPORARY VIEW tv AS SELECT id, k FROM fa.t WHERE id < 4; DELETE FROM fa.t WHERE EXISTS (SELECT FROM tv WHERE tv.id = t.id) RETURNING id
CREATE VIEW fl.v AS SELECT id, s FROM fa.t WHERE id < 4; SELECT v FROM fl.v v
CREATE VIEW fl.v AS SELECT id, s FROM fa.t WHERE id < 4; SELECT array_agg(v ORDER BY id) FROM fl.v v
CREATE VIEW fl.v AS SELECT id, s FROM fa.t WHERE id < 4; SELECT v, t.id FROM fl.v v JOIN fa.t USING (id)
CREATE VIEW fl.v AS SELECT id, s FROM fa.t WHERE id < 4; SELECT DISTINCT v, (v).s FROM fl.v v
refused: CREATE VIEW fl.v AS SELECT id, s FROM fa.t WHERE id < 4; UPDATE fa.t SET s = v::text FROM fl.v v WHERE v.id = t.id RETURNING t.id, t.s
CREATE TEMPORARY VIEW tv AS SELECT id, s FROM fa.t; SELECT tv FROM tv WHERE id < 3
SELECT t FROM fa.t t WHERE id < 3
SELECT x FROM (SELECT id, s FROM fa.t WHERE id < 3) x
SELECT id FROM fl.t WHERE EXISTS (SELECT FROM fa.t WHERE fa.t.id = fl.t.id FOR UPDATE)
INSERT INTO fl.u (id) SELECT id FROM fa.t FOR UPDATE
INSERT INTO fb.u (id) SELECT id FROM fa.t FOR UPDATE
INSERT INTO fa.u (id) SELECT id FROM fl.t FOR UPDATE
CREATE TABLE fa.five (c varchar(5), n numeric(4,1), i smallint); INSERT INTO fa.five SELECT s || 'longer', n, id FROM fl.t
CREATE TABLE fa.five (c varchar(5), n numeric(4,1), i smallint); INSERT INTO fa.five SELECT s, n * 1.37, id * 1.5 FROM fl.t RETURNING *
CREATE TABLE fa.five (c varchar(5), n numeric(4,1), i smallint); INSERT INTO fa.five (c) VALUES (set_config('a.b', 'toolong', true))
CREATE TABLE fa.five (c varchar(5), n numeric(4,1), i smallint); INSERT INTO fa.five VALUES (set_config('a.b', 'x', true), nextval('fl.numbers'), pg_backend_pid() * 0 + 40000)
CREATE TABLE fa.five (c varchar(5) DEFAULT 'dflt', a int[], j jsonb, d date); INSERT INTO fa.five (a, j, d) SELECT '{1,2}', '{"a": 1}', '2024-01-01' FROM fl.t LIMIT 1 RETURNING *
CREATE DOMAIN fl.pos AS int CHECK (VALUE > 0); CREATE TABLE fa.five (p fl.pos); INSERT INTO fa.five SELECT k - 1 FROM fl.t
CREATE DOMAIN fl.pos AS int CHECK (VALUE > 0); CREATE TABLE fa.five (p fl.pos); INSERT INTO fa.five SELECT id FROM fl.t RETURNING p
UPDATE fa.t SET s = x.s FROM (VALUES (1, 'a'), (nextval('fl.numbers') - 1999, 'b')) x(id, s) WHERE x.id = fa.t.id RETURNING fa.t.id, fa.t.s
DELETE FROM fa.t USING (VALUES (1), (2)) x(id), fl.t l WHERE x.id = fa.t.id AND l.id = x.id RETURNING fa.t.id
refused: SELECT nextval('fa.numbers'); INSERT INTO fl.t (id) VALUES (lastval() + 1000) RETURNING id
refused: SELECT nextval('fa.numbers'); SELECT lastval(), id FROM fb.t WHERE id < 3
UPDATE fa.t SET k = CASE WHEN pg_backend_pid() > 0 THEN 1 END RETURNING id, k
UPDATE fa.t SET k = 1 WHERE pg_backend_pid() > 0 AND id < 3 RETURNING id, k
DELETE FROM fa.t WHERE id = CASE WHEN pg_backend_pid() > 0 THEN 2 END RETURNING id
refused: UPDATE fa.t SET s = set_config('app.x', 'y', true) WHERE id = 1 RETURNING s
refused: UPDATE fa.t SET s = set_config('app.x', s, true) WHERE id < 4 RETURNING id, s
refused: CREATE TEMP VIEW tv AS SELECT id, s FROM fa.t; SELECT * FROM tv JOIN fl.t USING (id); UPDATE tv SET s = 'view' WHERE id = 2
refused: CREATE TYPE pg_temp.mood AS ENUM ('sad', 'ok'); CREATE TEMP TABLE m (id int, m pg_temp.mood); INSERT INTO m VALUES (1, 'ok'); SELECT a.id, m FROM fa.t a JOIN m USING (id) WHERE m = 'ok'; UPDATE fa.t SET s = m.m::text FROM m WHERE m.id = fa.t.id
refused: UPDATE fa.t SET s = l.s FROM fl.t l WHERE l = (SELECT x FROM fl.t x WHERE x.id = 2) AND fa.t.id = 2
refused: UPDATE fa.t SET s = l.s FROM fl.t l WHERE l.ctid IS NOT NULL AND fa.t.id = l.id
refused: UPDATE fa.t SET s = l::text FROM fl.t l WHERE fa.t.id = l.id
refused: WITH x AS (SELECT id FROM fl.t) INSERT INTO fa.u (id, k) VALUES ((SELECT max(id) FROM x), 1), ((SELECT min(id) FROM x), pg_backend_pid() * 0) RETURNING id, k
WITH up AS (UPDATE fa.t SET k = 1 RETURNING id), ins AS (INSERT INTO fl.u (id) SELECT id FROM up RETURNING id) UPDATE fb.t SET k = 9 WHERE id IN (SELECT id FROM ins) RETURNING id, k
CREATE TABLE fa.five (c varchar(5) DEFAULT 'dflt', n numeric(4,1), i smallint); INSERT INTO fa.five (n, i) VALUES (nextval('fl.numbers') - 2000, 1), (1.25, nextval('fl.numbers') - 2000), (2, 3) RETURNING *
CREATE TABLE fa.five (c varchar(5), n numeric(4,1), i smallint); INSERT INTO fa.five (n, i) VALUES (nextval('fl.numbers'), 1), (1.25, 70000)
WITH d AS (DELETE FROM fa.t WHERE id > 3 RETURNING *), i AS (INSERT INTO fb.u SELECT id + 700, k, n, s, b, d FROM d RETURNING id) SELECT count(*), max(id) FROM i
WITH d AS (DELETE FROM fa.t WHERE id > 3 RETURNING *), f AS (SELECT * FROM d WHERE id > 4), i AS (INSERT INTO fb.u SELECT id + 700, k, n, s, b, d FROM f RETURNING id) SELECT * FROM i JOIN fl.t ON i.id > fl.t.id
WITH s AS (SELECT id, k FROM fc.t WHERE id > 2), i AS (INSERT INTO fb.u (id, k) SELECT id + 700, (SELECT max(k) FROM s x WHERE x.id = y.id) FROM fa.t y RETURNING id, k) SELECT * FROM i
WITH a (x) AS (SELECT id FROM fl.t WHERE id < 4), b AS (SELECT x + 1 AS y FROM a), i AS (INSERT INTO fb.u (id) SELECT y + 700 FROM b RETURNING id) SELECT * FROM i ORDER BY id
refused: WITH d AS (DELETE FROM fa.t WHERE id > 3 RETURNING *), i AS (INSERT INTO fb.u SELECT * FROM d RETURNING id), j AS (INSERT INTO fl.u SELECT * FROM d RETURNING id) SELECT (SELECT count(*) FROM i), (SELECT count(*) FROM j)
SELECT setval('fl.numbers', 41), nextval('fl.numbers'); UPDATE fa.t SET k = currval('fl.numbers') + id WHERE currval('fl.numbers') > 40 AND id < 4 RETURNING id, k, currval('fl.numbers')
SELECT setval('fl.numbers', 2), nextval('fl.numbers'); DELETE FROM fa.t WHERE id IN (currval('fl.numbers'), 5) RETURNING id, pg_backend_pid() > 0
SELECT nextval('fl.numbers'); UPDATE fa.t SET s = l.s, k = pg_backend_pid() * 0 + l.k FROM fl.t l WHERE l.id = fa.t.id AND pg_current_xact_id() IS NOT NULL RETURNING fa.t.id, fa.t.s, fa.t.k
UPDATE fa.t SET (k, s) = (SELECT max(k), 'x' || (pg_backend_pid() > 0)::text FROM fa.u) WHERE id = 1 RETURNING k, s
INSERT INTO fa.t (id, k) SELECT id + 2, k FROM fa.u ON CONFLICT (id) DO UPDATE SET k = fa.t.k + pg_backend_pid() * 0 RETURNING id, k
MERGE INTO fa.t USING fa.u ON fa.u.id = fa.t.id AND pg_backend_pid() > 0 WHEN MATCHED AND pg_backend_pid() > 0 THEN UPDATE SET k = pg_backend_pid() * 0 WHEN NOT MATCHED THEN INSERT (id, k) VALUES (fa.u.id + 800, pg_backend_pid() * 0)
refused: UPDATE fa.t SET k = nextval('fl.numbers') WHERE id < 3
SET LOCAL helios.min_fetched_rows = 0; DECLARE c CURSOR FOR SELECT a.id, l.s FROM fa.t a JOIN fl.t l USING (id); DELETE FROM fa.t; FETCH ALL FROM c
SET LOCAL helios.min_fetched_rows = 0; DO $$ DECLARE c CURSOR FOR SELECT a.id FROM fa.t a JOIN fl.t l USING (id); n int := 0; BEGIN OPEN c; DELETE FROM fa.t; LOOP FETCH c INTO n; EXIT WHEN NOT FOUND; INSERT INTO fl.u (id) VALUES (n); END LOOP; END $$; SELECT count(*) FROM fl.u
-- Rows of other places copied to a node: a COPY does what the INSERT would do
SET LOCAL helios.min_copied_rows = 0; CREATE TABLE fa.cp (id int, n numeric(6,1), v varchar(3), c char(4), t text DEFAULT 'dflt', b boolean, d date, i int GENERATED BY DEFAULT AS IDENTITY, g int GENERATED ALWAYS AS (id * 2) STORED); INSERT INTO fa.cp (v, n, id, b, d) SELECT left(s, 3), n, id, b, d FROM fb.t; SELECT * FROM fa.cp ORDER BY id
SET LOCAL helios.min_copied_rows = 0; CREATE TABLE fa.cp (id int, v varchar(3)); INSERT INTO fa.cp SELECT id, s || 'long' FROM fb.t WHERE s IS NOT NULL
SET LOCAL helios.min_copied_rows = 0; CREATE TABLE fa.cp (id int, v varchar(3)); INSERT INTO fa.cp SELECT id, ('x' || '      ')::varchar FROM fb.t; SELECT id, v || '.' FROM fa.cp
SET LOCAL helios.min_copied_rows = 0; CREATE TABLE fa.cp (id bigint, n text, k int NOT NULL DEFAULT 7); INSERT INTO fa.cp (n, id) SELECT n::text, id FROM fb.t; SELECT * FROM fa.cp
SET LOCAL helios.min_copied_rows = 0; CREATE TABLE fa.cp (id int, k int NOT NULL); INSERT INTO fa.cp SELECT id, k FROM fl.t
SET LOCAL helios.min_copied_rows = 0; CREATE TABLE fa.cp (id int, s text) PARTITION BY RANGE (id); CREATE TABLE fa.cp1 PARTITION OF fa.cp FOR VALUES FROM (0) TO (5); INSERT INTO fa.cp SELECT id, s FROM fl.t WHERE id < 5; SELECT tableoid::regclass, * FROM fa.cp; INSERT INTO fa.cp SELECT id, s FROM fl.t
SET LOCAL helios.min_copied_rows = 0; CREATE TABLE fa.cp (id int, s text, by text); CREATE FUNCTION fa.cpf() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id = 3 THEN RETURN NULL; END IF; NEW.by := TG_OP || TG_NAME; RETURN NEW; END $$; CREATE TRIGGER cpt BEFORE INSERT ON fa.cp FOR EACH ROW EXECUTE FUNCTION fa.cpf(); INSERT INTO fa.cp (id, s) SELECT id, s FROM fb.t; SELECT * FROM fa.cp
SET LOCAL helios.min_copied_rows = 0; CREATE TABLE fa.cp (id int, s text); CREATE RULE cpr AS ON INSERT TO fa.cp WHERE NEW.id = 2 DO INSTEAD NOTHING; INSERT INTO fa.cp SELECT id, s FROM fb.t; SELECT count(*) FROM fa.cp
SET LOCAL helios.min_copied_rows = 0; CREATE TABLE fa.cp (id int, j json, jb jsonb, ts timestamptz, f float8, a int[], x bytea, iv interval, p point); INSERT INTO fa.cp SELECT id, json_build_object('a', s), to_jsonb(s), '2024-01-01 UTC'::timestamptz + id * interval '1 h', 1.0 / id, ARRAY[id, k], s::bytea, id * interval '1 day', point(id, id) FROM fl.t; INSERT INTO fa.cp (id, j, ts, f, a, x, iv, p) SELECT id, json_build_object('a', s), '2024-01-01 UTC'::timestamptz, 1.0 / id, ARRAY[id, k], s::bytea, id * interval '1 day', point(id, id) FROM fb.t; SELECT id, j::text, jb, ts, f, a, x, iv, p::text FROM fa.cp
SET LOCAL helios.min_copied_rows = 0; CREATE TABLE fa.cp (id int); INSERT INTO fa.cp SELECT x.id FROM fb.t x WHERE x.id IN (SELECT id FROM fa.t); INSERT INTO fa.cp SELECT x.id FROM fb.t x LIMIT 0; INSERT INTO fa.cp SELECT id FROM fb.t ORDER BY id DESC LIMIT 2; SELECT * FROM fa.cp
SET LOCAL helios.min_copied_rows = 0; CREATE TABLE fa.cp (id int, u uuid DEFAULT '00000000-0000-0000-0000-000000000001', s text); INSERT INTO fa.cp (id, s) SELECT id, 'lit' FROM fb.t; INSERT INTO fa.cp SELECT id, DEFAULT_U, s FROM (SELECT id, NULL::uuid AS default_u, s FROM fb.t) x; SELECT * FROM fa.cp
SET LOCAL helios.min_copied_rows = 0; WITH x AS (SELECT * FROM fb.t) INSERT INTO fa.u SELECT * FROM x; INSERT INTO fa.u SELECT * FROM fb.t RETURNING id; INSERT INTO fa.u SELECT f.* FROM fc.t f, fl.t l WHERE l.id = f.id
SET LOCAL helios.min_copied_rows = 0; BEGIN; SAVEPOINT a; INSERT INTO fa.t SELECT * FROM fb.t; ROLLBACK TO a; INSERT INTO fa.u SELECT * FROM fb.t; ROLLBACK TO a; INSERT INTO fa.u SELECT id FROM fb.t WHERE 1 / (id - 3) > 5
SET LOCAL helios.min_copied_rows = 0; PREPARE cp (int) AS INSERT INTO fa.u (id, k) SELECT id, $1 FROM fb.t WHERE id > $1; EXECUTE cp (3); EXECUTE cp (4); SELECT id, k FROM fa.u; DEALLOCATE cp
SET LOCAL helios.min_copied_rows = 0; DO $$ BEGIN BEGIN INSERT INTO fa.u (id, k) SELECT id, 1 / (id - 3) FROM fb.t; EXCEPTION WHEN division_by_zero THEN INSERT INTO fa.u (id) VALUES (900); END; INSERT INTO fa.u (id) SELECT id FROM fb.t; END $$; SELECT id FROM fa.u
SET LOCAL helios.min_copied_rows = 0; DO $$ BEGIN BEGIN INSERT INTO fa.t (id) SELECT id FROM fb.t; EXCEPTION WHEN unique_violation THEN INSERT INTO fa.t (id) SELECT id + 800 FROM fb.t; END; INSERT INTO fa.t (id) SELECT id + 900 FROM fl.t; END $$; SELECT id FROM fa.t
SET LOCAL helios.min_copied_rows = 0; CREATE FUNCTION fl.calls(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT count(*) FROM fa.t) + i; END $$; INSERT INTO fa.u (id) SELECT fl.calls(id) FROM fb.t; SELECT id FROM fa.u
-- Rows of other places stored by a node
INSERT INTO fa.t SELECT id + 100, k, n, s, b, d FROM fb.t WHERE id < 5
INSERT INTO fa.t (s, id, d) SELECT s || 'x', id + 100, d FROM fl.t
INSERT INTO fa.t SELECT x.id + 100, x.k, y.n, y.s, NULL, x.d FROM fb.t x JOIN fc.t y ON y.id = x.k
INSERT INTO fa.t SELECT x.id + 100, x.k, y.n, y.s, NULL, x.d FROM fb.t x JOIN fa.t y ON y.id = x.k
INSERT INTO fa.t SELECT * FROM fb.t
INSERT INTO fa.t (id) SELECT k FROM fb.t
INSERT INTO fa.u (id, s) SELECT id, NULL FROM temporary WHERE id > 1000
INSERT INTO fa.t (id, n) SELECT 100 + id, 12345678.9 FROM fb.t
CREATE TABLE fa.bare (id int NOT NULL, s text, n numeric, b boolean); INSERT INTO fa.bare (s, id, n) SELECT s, id, n FROM fb.t; INSERT INTO fa.bare SELECT x.id, y.s FROM fl.t x LEFT JOIN temporary y ON y.id = x.k; SELECT * FROM fa.bare ORDER BY 1, 2
CREATE TABLE fa.bare (id int NOT NULL, s text); INSERT INTO fa.bare SELECT k, s FROM fb.t
CREATE TABLE fa.bare (id int, c int CHECK (c < 5)); INSERT INTO fa.bare SELECT id, id FROM fb.t
SELECT (SELECT count(*) FROM (SELECT id FROM fa.t WHERE fa.t.k = l.k UNION ALL SELECT id FROM fb.t UNION ALL SELECT id FROM fc.t) x) FROM fl.t l ORDER BY l.id
WITH c AS (SELECT id FROM fl.t) SELECT (SELECT sum(x.id) FROM (SELECT id FROM c UNION ALL SELECT id FROM fa.t UNION ALL SELECT id FROM fb.t) x), (SELECT count(*) FROM c)
SELECT l.id, x.n FROM fl.t l, LATERAL (SELECT count(*) AS n FROM (SELECT id FROM fa.t UNION ALL SELECT l.k UNION ALL SELECT id FROM fb.t WHERE fb.t.id > l.id) u WHERE u.id > 2) x ORDER BY 1
-- Partitioned tables and inheritance trees: fa.tree and fb.old.
SELECT p.id, l.s FROM fa.tree p JOIN fl.t l USING (id)
SELECT * FROM fa.tree NATURAL JOIN fb.old
SELECT * FROM fa.tree p LEFT JOIN fb.old o ON o.k = p.k AND o.id > 2
SELECT p.id, p FROM fa.tree p JOIN fl.t USING (id)
SELECT p.tableoid::regclass, o.tableoid::regclass, count(*) FROM fa.tree p JOIN fb.old o USING (id) GROUP BY 1, 2
SELECT j FROM (fa.tree p JOIN fb.old o USING (id)) AS j
SELECT o.id FROM ONLY fb.old o JOIN fa.tree USING (id)
SELECT p.k, count(*), max(p.s) FROM fa.tree p JOIN fl.t l USING (id) GROUP BY p.k HAVING count(*) > 1
SELECT l.id FROM fl.t l WHERE EXISTS (SELECT FROM fa.tree p WHERE p.k = l.k AND p.id <> l.id) AND l.k IN (SELECT k FROM fb.old)
SELECT l.id, x.* FROM fl.t l, LATERAL (SELECT p.s FROM fa.tree p WHERE p.id > l.id ORDER BY p.id LIMIT 2) x
SELECT id, k FROM fa.tree UNION ALL SELECT id, k FROM fb.old UNION ALL SELECT id, k FROM fl.t
SELECT count(*), sum(k) FROM (SELECT id, k FROM fa.tree UNION ALL SELECT id, k FROM fb.old) u WHERE id > 3
SELECT p.id FROM fa.tree p JOIN fb.old o ON o.id = p.id AND p.s IS NOT NULL WHERE p.k IS NULL OR p.id BETWEEN 2 AND 6
UPDATE fl.t SET s = p.s FROM fa.tree p WHERE p.id = fl.t.id AND p.k > 1 RETURNING fl.t.id, fl.t.s, p.k
UPDATE temporary SET s = o.k::text FROM fb.old o JOIN fa.tree p USING (id) WHERE o.id = temporary.id
DELETE FROM fl.t USING fa.tree p, fb.old o WHERE p.id = o.id AND o.id = fl.t.id RETURNING fl.t.*
MERGE INTO fl.t l USING (SELECT p.id, p.s FROM fa.tree p JOIN fb.old USING (id)) x ON x.id = l.id WHEN MATCHED THEN UPDATE SET s = x.s WHEN NOT MATCHED THEN INSERT (id, s) VALUES (x.id + 500, x.s)
SELECT l.id FROM fl.t l JOIN fa.tree p USING (id) WHERE p.k = 1 FOR UPDATE OF l
SELECT p.id, p.s FROM fa.tree p JOIN fb.t USING (id) FOR UPDATE OF p
INSERT INTO fb.t (id, s) SELECT p.id + 200, p.s FROM fa.tree p WHERE p.k > 1 RETURNING id, s
UPDATE fb.t SET s = p.s FROM fa.tree p WHERE p.id = fb.t.id RETURNING fb.t.id, p.s
WITH p AS MATERIALIZED (SELECT * FROM fa.tree) SELECT p.*, o.k FROM p JOIN fb.old o USING (id)
SELECT id FROM fa.tree TABLESAMPLE BERNOULLI (100) JOIN fl.t USING (id)
SELECT DISTINCT p.s FROM fa.tree p, fb.old o WHERE p.k < o.k AND p.id = 3
CREATE TABLE fl.shared (id int PRIMARY KEY, s text); INSERT INTO fl.shared VALUES (1, 'a'), (2, 'b'); CREATE TABLE fa.refers (id int REFERENCES fl.shared); WITH x AS (UPDATE fl.shared SET s = s || 'c' WHERE id = 1 RETURNING id, s) UPDATE fa.t SET s = x.s FROM x WHERE fa.t.id = x.id RETURNING fa.t.id, fa.t.s; SELECT * FROM fl.shared
CREATE TABLE fl.shared (id int PRIMARY KEY, s text); CREATE TABLE fa.refers (id int REFERENCES fl.shared); WITH x AS (INSERT INTO fl.shared SELECT id, s FROM fb.t RETURNING id) INSERT INTO fa.refers SELECT id FROM x RETURNING id
refused: CREATE TABLE fl.shared (id int PRIMARY KEY, s text); CREATE TABLE fa.refers (id int REFERENCES fl.shared); WITH x AS (INSERT INTO fl.shared SELECT id, s FROM fb.t RETURNING id) UPDATE fa.t SET s = r.s FROM x, fl.shared r WHERE r.id = fa.t.id
-- System columns and whole rows of tables elsewhere, where rows are changed or locked here.
UPDATE fl.t l SET k = 1 FROM fa.t a WHERE a.id = l.id RETURNING l.id, a.ctid IS NOT NULL, a.tableoid::regclass, a.xmin IS NOT NULL
UPDATE fl.t l SET k = 1 FROM fa.t a WHERE a.id = l.id RETURNING a
UPDATE fl.t l SET k = 1 FROM fa.t a WHERE a.id = l.id RETURNING a, a.tableoid::regclass, (a).s, a.*, l
UPDATE fl.t l SET k = 1 FROM fa.t a, fb.t b WHERE a.id = l.id AND b.id = a.k RETURNING a, b, b.tableoid::regclass, a.cmin IS NULL
UPDATE fl.t l SET s = a::text FROM fa.t a WHERE a.id = l.id AND a.tableoid = 'fa.t'::regclass RETURNING l.*
UPDATE fl.t l SET s = (SELECT a::text FROM fa.t a WHERE a.id = l.id AND a.ctid IS NOT NULL) RETURNING l.*
UPDATE fl.t l SET s = x.a::text FROM (SELECT a, a.tableoid::regclass AS o FROM fa.t a) x WHERE (x.a).id = l.id RETURNING x, x.o, l.s
UPDATE fl.t l SET k = 2 FROM fa.t a LEFT JOIN fb.t b ON b.id = a.k WHERE a.id = l.id RETURNING l.id, b, b.tableoid::regclass, b.ctid IS NULL
UPDATE fl.t l SET k = 2 FROM (fa.t a JOIN fb.t b USING (id)) AS j WHERE j.id = l.id RETURNING j
UPDATE fl.t l SET k = 2 FROM fa.t a JOIN fb.t b ON a.tableoid <> b.tableoid AND a.id = b.id WHERE a.id = l.id RETURNING l.id
UPDATE fl.t SET k = 1 WHERE EXISTS (SELECT FROM fa.t a WHERE a.id = fl.t.id GROUP BY a, a.tableoid ORDER BY a.tableoid, a) RETURNING id
DELETE FROM fl.t l USING fa.t a, temporary p WHERE a.id = l.id AND p.id = a.id RETURNING a, p, a.tableoid::regclass
DELETE FROM fl.t WHERE id IN (SELECT id FROM fa.t a WHERE a.ctid IS NOT NULL AND a IS NOT NULL) RETURNING id
MERGE INTO fl.t l USING fa.t a ON a.id = l.id WHEN MATCHED THEN UPDATE SET s = a::text WHEN NOT MATCHED THEN INSERT (id, s) VALUES (a.id, a.tableoid::regclass::text)
INSERT INTO fl.t AS l (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET s = (SELECT a::text FROM fa.t a WHERE a.id = l.id AND a.tableoid IS NOT NULL) RETURNING *
SELECT a.ctid IS NOT NULL, a.tableoid::regclass FROM fl.t l JOIN fa.t a USING (id) FOR UPDATE OF l
SELECT a, a.tableoid::regclass, l FROM fl.t l JOIN fa.t a USING (id) FOR UPDATE OF l
SELECT a, a.tableoid::regclass, b.ctid IS NOT NULL FROM fb.t b JOIN fa.t a USING (id) FOR UPDATE
refused: SELECT a, b.tableoid::regclass FROM fa.t a LEFT JOIN fb.t b ON b.id = a.k WHERE a.xmax IS NOT NULL FOR SHARE OF a
SELECT l.id FROM fl.t l JOIN fa.t a USING (id) ORDER BY a.tableoid, a FOR UPDATE OF l
SELECT l.id, (SELECT a FROM fa.t a WHERE a.id = l.id), ARRAY(SELECT b.tableoid::regclass FROM fb.t b WHERE b.id = l.id) FROM fl.t l FOR UPDATE
CREATE TABLE fa.none (); INSERT INTO fa.none DEFAULT VALUES; UPDATE fl.t SET k = 1 FROM fa.none n WHERE id = 1 RETURNING n, n.tableoid::regclass, n.ctid IS NOT NULL
CREATE TABLE fa.none (); INSERT INTO fa.none DEFAULT VALUES; UPDATE fl.t SET k = 1 FROM fa.none WHERE id = 1 RETURNING id
CREATE TABLE fa.few (gone int, id int, s text, lost int); ALTER TABLE fa.few DROP gone, DROP lost; INSERT INTO fa.few VALUES (1, 'x'); UPDATE fl.t l SET s = f::text FROM fa.few f WHERE f.id = l.id RETURNING f, f.tableoid::regclass, f.*, l.s
CREATE TABLE fa.few (gone int, id int, s text, lost int); ALTER TABLE fa.few DROP gone, DROP lost; INSERT INTO fa.few VALUES (1, 'x'); SELECT f, f.xmin IS NULL FROM fl.t l JOIN fa.few f USING (id) FOR UPDATE OF l
UPDATE fl.t l SET k = 1 FROM fa.tree p WHERE p.id = l.id RETURNING p
UPDATE fl.t l SET k = 1 FROM fa.tree p JOIN fb.old o USING (id) WHERE p.id = l.id AND o.id <> 4 RETURNING p, o, p.tableoid::regclass, o.tableoid::regclass, o.ctid IS NOT NULL
SELECT p, p.tableoid::regclass FROM fa.tree p JOIN fl.t l USING (id) FOR UPDATE OF l
SELECT o, o.tableoid::regclass FROM ONLY fb.old o JOIN fl.t l USING (id) FOR UPDATE OF l
CREATE VIEW fa.v AS SELECT id, k, tableoid::regclass AS o FROM fa.t; UPDATE fl.t l SET s = v.k::text FROM fa.v WHERE v.id = l.id RETURNING v, l.s
CREATE VIEW fl.v AS SELECT a.id, b.k FROM fa.t a JOIN fb.u b USING (id); UPDATE fl.t l SET k = 1 FROM fl.v WHERE v.id = l.id RETURNING l.id, v
SELECT x FROM fl.t l JOIN (SELECT a.id, b.k FROM fa.t a JOIN fa.u b USING (id)) x USING (id) FOR UPDATE OF l
-- Transition tables of triggers.
CREATE FUNCTION fl.fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE fl.u SET k = (SELECT sum(a.id) FROM new_rows n JOIN fa.t a ON a.id + 1000 = n.id); RETURN NULL; END $$; CREATE TRIGGER fire AFTER INSERT ON fl.t REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION fl.fire(); INSERT INTO fl.t (id) VALUES (1001), (1003); INSERT INTO fl.t (id) VALUES (1002); SELECT DISTINCT k FROM fl.u
CREATE FUNCTION fl.fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE fl.u SET s = n.s || o.s || a.s FROM fa.t a, new_rows n, old_rows o WHERE a.id = n.id AND o.id = n.id AND n.id = fl.u.id; RETURN NULL; END $$; CREATE TRIGGER fire AFTER UPDATE ON fl.t REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION fl.fire(); UPDATE fl.t SET s = 'new'; SELECT id, s FROM fl.u
CREATE FUNCTION fl.fire() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE r record; BEGIN FOR r IN SELECT n, a FROM new_rows n LEFT JOIN fa.t a ON a.id = n.k UNION ALL SELECT NULL, b FROM fa.t b WHERE id IN (SELECT id FROM new_rows) LOOP INSERT INTO temporary (id, s) VALUES ((r.n).id, r::text) ON CONFLICT DO NOTHING; END LOOP; RETURN NULL; END $$; CREATE TRIGGER fire AFTER INSERT ON fl.t REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION fl.fire(); INSERT INTO fl.t (id, k) VALUES (1001, 1), (1003, 1004)
refused: CREATE FUNCTION fl.fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO fa.t (id, s) SELECT id, s FROM new_rows; INSERT INTO fa.t (id, k) SELECT n.id + 10, a.id FROM new_rows n JOIN fa.t a ON a.id = n.k JOIN fl.u ON fl.u.id = a.id; RETURN NULL; END $$; CREATE TRIGGER fire AFTER INSERT ON fl.t REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION fl.fire(); INSERT INTO fl.t (id, k, s) VALUES (1001, 1, 'x'), (1003, 3, NULL); INSERT INTO fl.t (id, k, s) VALUES (1002, 2, 'y')
refused: CREATE TABLE fl.gone (a int, id int, b int, "K k" int); ALTER TABLE fl.gone DROP a, DROP b; CREATE FUNCTION fl.fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE fa.t x SET k = r."K k", s = r.id::text FROM "New rows" r JOIN fl.t l USING (id) WHERE r.id = x.id; DELETE FROM fa.t WHERE id IN (SELECT id + 1 FROM "New rows"); RETURN NULL; END $$; CREATE TRIGGER fire AFTER INSERT ON fl.gone REFERENCING NEW TABLE AS "New rows" FOR EACH STATEMENT EXECUTE FUNCTION fl.fire(); INSERT INTO fl.gone VALUES (1, 70), (3, 71); INSERT INTO fl.gone VALUES (6, 72)
-- Lists of VALUES of which some are computed here.
INSERT INTO fa.t (id, s) VALUES ((SELECT max(id) + 500 FROM fb.t), 'z'), (700, 'u') RETURNING id, s
INSERT INTO fa.t (id, s) VALUES (700, 'u'), ((SELECT max(id) + 500 FROM fb.t), (SELECT min(s) FROM fl.t)) RETURNING id, s
INSERT INTO fa.t (id, n) VALUES ((SELECT max(id) + 500 FROM fb.t), 1), (700, 2.5), (701, DEFAULT) RETURNING id, n
INSERT INTO fa.t (id, n, d) VALUES ((SELECT max(id) + 500 FROM fb.t), 1::bigint, DEFAULT), (700, 2::real, '2024-01-01'), (701, NULL, now()::timestamp) RETURNING id, n
CREATE TABLE fa.bare (id bigint DEFAULT 7, s varchar(3) DEFAULT 'd', n numeric(4,1) DEFAULT 0); INSERT INTO fa.bare VALUES ((SELECT max(id) FROM fb.t), 'abc', 1), (DEFAULT, DEFAULT, DEFAULT), (3::smallint, 'x'::char(2), 4.25); SELECT * FROM fa.bare
CREATE TABLE fa.bare (id int, s varchar(3)); INSERT INTO fa.bare VALUES ((SELECT max(id) FROM fb.t), 'abc'::text), (2, 'abcd'::varchar)
CREATE TABLE fa.bare (id int, n numeric(4,1)); INSERT INTO fa.bare VALUES ((SELECT max(id) FROM fb.t), 1), (2, 12345.6)
INSERT INTO fa.t (id, k) SELECT * FROM (VALUES ((SELECT max(id) + 500 FROM fb.t), 1), (700, 2)) v RETURNING id, k
UPDATE fa.t SET k = v.b FROM (VALUES ((SELECT min(id) FROM fb.t), 1), (2, 20)) v (a, b) WHERE v.a = fa.t.id RETURNING fa.t.id, fa.t.k
