CREATE TABLE t (id int PRIMARY KEY, v text, secret boolean DEFAULT false); INSERT INTO t VALUES (1, 'a'), (2, 'b', true), (3, 'c')

CREATE VIEW open_t AS SELECT id, v FROM t WHERE NOT secret

SELECT * FROM open_t ORDER BY id

INSERT INTO open_t VALUES (4, 'd') RETURNING *

UPDATE open_t SET v = v || '+' RETURNING *

DELETE FROM open_t WHERE id = 4

INSERT INTO open_t VALUES (1, 'dup')

CREATE VIEW checked AS SELECT * FROM t WHERE id < 10 WITH LOCAL CHECK OPTION

INSERT INTO checked VALUES (11, 'x')

UPDATE checked SET id = 20 WHERE id = 1

CREATE VIEW nested AS SELECT o.id, t.secret, count(*) OVER () AS n FROM open_t o JOIN t USING (id)

SELECT * FROM nested ORDER BY id

INSERT INTO nested VALUES (1)

UPDATE nested SET id = 2

CREATE OR REPLACE VIEW open_t AS SELECT id, v, length(v) AS len FROM t WHERE NOT secret

SELECT * FROM open_t ORDER BY id

CREATE OR REPLACE VIEW open_t AS SELECT id FROM t

ALTER VIEW open_t ALTER COLUMN v SET DEFAULT 'dflt'

INSERT INTO open_t (id) VALUES (5) RETURNING id, v

ALTER VIEW open_t RENAME TO opened

SELECT count(*) FROM nested

CREATE RECURSIVE VIEW nums (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM nums WHERE n < 4

SELECT * FROM nums JOIN t ON id = n ORDER BY n

CREATE MATERIALIZED VIEW m AS SELECT id, upper(v) AS u FROM t ORDER BY id

SELECT * FROM m ORDER BY id

INSERT INTO t VALUES (6, 'f')

SELECT count(*) FROM m

REFRESH MATERIALIZED VIEW m

SELECT count(*) FROM m

REFRESH MATERIALIZED VIEW CONCURRENTLY m

CREATE UNIQUE INDEX m_id ON m (id)

REFRESH MATERIALIZED VIEW CONCURRENTLY m

INSERT INTO m VALUES (1, 'x')

CREATE MATERIALIZED VIEW empty AS SELECT * FROM t WITH NO DATA

SELECT * FROM empty

REFRESH MATERIALIZED VIEW empty WITH NO DATA

SELECT pg_get_viewdef('opened'::regclass), definition FROM pg_views WHERE viewname = 'checked' AND schemaname = 'views'

CREATE RULE upd AS ON UPDATE TO nested DO INSTEAD UPDATE t SET v = 'by rule' WHERE id = NEW.id RETURNING id, secret, 0::bigint

UPDATE nested SET secret = true WHERE id = 1 RETURNING *

SELECT v FROM t WHERE id = 1

CREATE RULE also AS ON INSERT TO t DO ALSO INSERT INTO log VALUES (NEW.id)

CREATE TABLE log (id int)

CREATE RULE also AS ON INSERT TO t DO ALSO INSERT INTO log VALUES (NEW.id)

INSERT INTO t VALUES (7, 'g'), (8, 'h')

SELECT * FROM log ORDER BY id

CREATE RULE never AS ON DELETE TO t DO INSTEAD NOTHING

DELETE FROM t

DROP RULE never ON t

DROP VIEW opened

DROP VIEW opened CASCADE

SELECT * FROM nested

DROP MATERIALIZED VIEW m, empty

CREATE VIEW catalog_view AS SELECT c.relname, count(t.id) FROM pg_class c LEFT JOIN t ON true WHERE c.oid = 't'::regclass GROUP BY 1

SELECT * FROM catalog_view

CREATE VIEW barrier WITH (security_barrier) AS SELECT * FROM t WHERE id > 2

SELECT id FROM barrier WHERE v <> 'zz' ORDER BY id

CREATE VIEW invoker WITH (security_invoker = true) AS SELECT id FROM t

SELECT * FROM invoker ORDER BY id

TABLE invoker ORDER BY id DESC LIMIT 1

LOCK TABLE checked IN SHARE MODE

BEGIN; LOCK TABLE checked IN SHARE MODE; COMMIT
