CREATE TABLE emp (id int PRIMARY KEY, name text, dept text, boss int REFERENCES emp, pay int, joined date); CREATE TABLE dept (code text PRIMARY KEY, title text)

INSERT INTO dept VALUES ('a', 'Alpha'), ('b', 'Beta'), ('c', 'Gamma')

INSERT INTO emp SELECT i, 'n' || i, CASE WHEN i % 5 = 0 THEN NULL ELSE chr(97 + i % 2) END, NULLIF(i / 3, 0), i * 100 % 700, '2020-01-01'::date + i * 30 FROM generate_series(1, 20) i

SELECT e.name, d.title FROM emp e LEFT JOIN dept d ON d.code = e.dept ORDER BY e.id

SELECT d.title, e.name FROM emp e RIGHT JOIN dept d ON d.code = e.dept AND e.pay > 500 ORDER BY 1, 2

SELECT count(*) FROM emp FULL JOIN dept ON code = dept

SELECT count(*) FROM emp CROSS JOIN dept

SELECT * FROM emp NATURAL JOIN (SELECT 3 AS id) x

SELECT dept, count(*), sum(pay), avg(pay), min(name), max(joined), bool_and(pay > 0), string_agg(name, ',' ORDER BY id) FROM emp GROUP BY dept HAVING count(*) > 2 ORDER BY dept NULLS FIRST

SELECT dept, boss, count(*), grouping(dept, boss) FROM emp WHERE id < 8 GROUP BY GROUPING SETS ((dept, boss), (dept), ()) ORDER BY 4, 1, 2

SELECT dept, extract(year FROM joined), count(*) FROM emp GROUP BY ROLLUP (1, 2) ORDER BY 1, 2

SELECT dept, boss, sum(pay) FROM emp WHERE id < 6 GROUP BY CUBE (dept, boss) ORDER BY 1, 2, 3

SELECT id, pay, row_number() OVER w, rank() OVER (ORDER BY pay), lag(pay, 1, -1) OVER w, sum(pay) OVER (PARTITION BY dept ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW), ntile(3) OVER w FROM emp WINDOW w AS (ORDER BY id) ORDER BY id

SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY pay), mode() WITHIN GROUP (ORDER BY dept), count(*) FILTER (WHERE pay > 300) FROM emp

WITH RECURSIVE chain AS (SELECT id, boss, 1 AS depth, ARRAY[id] AS path FROM emp WHERE boss IS NULL UNION ALL SELECT e.id, e.boss, depth + 1, path || e.id FROM emp e JOIN chain c ON e.boss = c.id) SELECT * FROM chain ORDER BY path

WITH RECURSIVE t(n) AS (VALUES (1) UNION SELECT n + 1 FROM t WHERE n < 5) SELECT sum(n), (SELECT count(*) FROM emp) FROM t

-- differs: an array of anonymous records from a node cannot be decoded
WITH RECURSIVE s(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM s WHERE id < 3) SEARCH DEPTH FIRST BY id SET o CYCLE id SET c USING p SELECT * FROM s, dept WHERE code = 'a' ORDER BY o

SELECT d.code, top.name, top.pay FROM dept d LEFT JOIN LATERAL (SELECT name, pay FROM emp WHERE dept = d.code ORDER BY pay DESC, id LIMIT 2) top ON true ORDER BY 1, 3 DESC, 2

SELECT name, (SELECT title FROM dept WHERE code = emp.dept) FROM emp ORDER BY id LIMIT 3 OFFSET 2

SELECT name FROM emp WHERE EXISTS (SELECT FROM dept WHERE code = dept AND title LIKE 'B%') ORDER BY id

SELECT name FROM emp WHERE dept IN (SELECT code FROM dept) AND pay > ALL (SELECT pay FROM emp WHERE dept = 'b' AND pay < 300) ORDER BY id

SELECT name FROM emp WHERE id = ANY (ARRAY[1, 2, 3]) ORDER BY id DESC FETCH FIRST 2 ROWS ONLY

SELECT pay FROM emp ORDER BY pay DESC FETCH FIRST 3 ROWS WITH TIES

SELECT dept FROM emp UNION SELECT code FROM dept ORDER BY 1

SELECT id FROM emp WHERE id < 5 INTERSECT SELECT id FROM emp WHERE id > 2 ORDER BY 1

SELECT id FROM emp EXCEPT ALL SELECT id FROM emp WHERE id > 3 ORDER BY id

(SELECT id FROM emp ORDER BY id LIMIT 2) UNION ALL (SELECT -id FROM emp ORDER BY id LIMIT 1) ORDER BY 1

SELECT DISTINCT dept FROM emp ORDER BY 1

SELECT DISTINCT ON (dept) dept, name FROM emp ORDER BY dept, pay DESC, id

SELECT (SELECT (SELECT max(pay) FROM emp x WHERE x.boss = e.boss) FROM dept LIMIT 1) AS m, count(*) FROM emp e GROUP BY 1 ORDER BY 1

SELECT (SELECT 1 FROM emp)

SELECT * FROM (SELECT id, pay FROM emp) AS e(a, b) WHERE a = 1

SELECT x, y FROM unnest(ARRAY[1, 2], ARRAY['a', 'b']) WITH ORDINALITY AS u(x, y, n) JOIN emp ON id = x ORDER BY n

SELECT * FROM generate_series(1, 3) g JOIN emp ON id = g ORDER BY g

SELECT * FROM ROWS FROM (generate_series(1, 2), unnest(ARRAY['p', 'q', 'r'])) AS r(a, b), dept WHERE code = 'a' ORDER BY b

SELECT json_agg(e ORDER BY id) FROM (SELECT id, name, pay FROM emp WHERE id < 3) e

SELECT jsonb_object_agg(code, title ORDER BY code), array_agg(DISTINCT title) FROM dept

SELECT CASE dept WHEN 'a' THEN 1 WHEN 'b' THEN 2 ELSE 0 END AS k, count(*) FROM emp GROUP BY k ORDER BY k

SELECT coalesce(dept, 'none'), nullif(pay, 100), greatest(pay, 300), least(id, 5) FROM emp ORDER BY id LIMIT 6

SELECT name ILIKE 'N1%', name ~ '^n\d$', name SIMILAR TO 'n(1|2)', position('1' IN name), substring(name FROM 2 FOR 1), overlay(name PLACING 'X' FROM 1 FOR 1) FROM emp ORDER BY id LIMIT 3

SELECT count(*) FROM emp e1, emp e2, emp e3 WHERE e1.boss = e2.id AND e2.boss = e3.id

SELECT current_schema, count(*) FROM emp

SELECT current_user, session_user, count(*) FROM emp

SELECT current_database(), current_schemas(false), count(*) FROM dept

SELECT 1 WHERE EXISTS (SELECT FROM emp)

SELECT 1 + 1, 'no table'

SELECT * FROM emp WHERE false

SELECT e.* FROM emp e WHERE (e.id, e.dept) = (1, 'b')

SELECT "emp"."id" AS "Id" FROM queries.emp WHERE queries.emp.id = 1

SELECT helios.id FROM emp AS helios WHERE helios.id = 1

WITH emp AS (SELECT 42 AS id) SELECT * FROM emp

WITH x AS MATERIALIZED (SELECT * FROM emp), y AS NOT MATERIALIZED (SELECT * FROM x) SELECT count(*) FROM y JOIN dept ON code = dept

SELECT /* a comment; with a semicolon */ count(*) -- and a line
FROM emp

SELECT $$dollar $1 quoted$$, U&'\0041', E'a\tb', B'101', X'1F', 'it''s' FROM dept WHERE code = 'a'
