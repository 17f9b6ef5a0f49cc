-- Statements over several places, one in a line; each runs in a transaction that is rolled back, unless it begins with "keep ".
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
