CREATE TABLE items (id int PRIMARY KEY, name text UNIQUE, price numeric DEFAULT 9.99, stock int CHECK (stock >= 0) DEFAULT 0); CREATE TABLE audit (id serial, item int, what text)

INSERT INTO items VALUES (1, 'one', 1.00, 10), (2, 'two', 2.50, 20), (3, 'three', DEFAULT, DEFAULT)

INSERT INTO items (id, name) VALUES (4, 'four') RETURNING *, price * 2 AS double, 'const' AS c

INSERT INTO items DEFAULT VALUES

INSERT INTO items (id) SELECT i FROM generate_series(5, 7) i RETURNING id

INSERT INTO items TABLE items

UPDATE items SET price = price + 1 WHERE id <= 2

UPDATE items SET (price, stock) = (SELECT 5, 50) WHERE id = 3 RETURNING items.*

UPDATE items i SET name = 'n' || i.id FROM generate_series(5, 6) g WHERE i.id = g RETURNING i.id, i.name, g

UPDATE items SET stock = -1 WHERE id = 1

UPDATE items SET nothing = 1

UPDATE items SET stock = DEFAULT WHERE id = 3 RETURNING stock

UPDATE items SET price = 1 WHERE false

DELETE FROM items WHERE id = 7

DELETE FROM items USING (VALUES (6)) v(x) WHERE id = x RETURNING *

DELETE FROM items WHERE id > 1000

SELECT * FROM items ORDER BY id

INSERT INTO items VALUES (1, 'uno') ON CONFLICT DO NOTHING

INSERT INTO items VALUES (1, 'uno') ON CONFLICT (id) DO UPDATE SET name = excluded.name RETURNING *, xmax <> 0 AS updated

INSERT INTO items VALUES (1, 'x'), (8, 'eight') ON CONFLICT (id) DO UPDATE SET name = items.name || '+' WHERE items.id < 5 RETURNING id, name

INSERT INTO items VALUES (9, 'two') ON CONFLICT ON CONSTRAINT items_name_key DO UPDATE SET stock = items.stock + 1 RETURNING id, stock

INSERT INTO items VALUES (10, 'two') ON CONFLICT (id) DO NOTHING

INSERT INTO items VALUES (11, 'a'), (11, 'b') ON CONFLICT (id) DO UPDATE SET name = 'c'

INSERT INTO items VALUES (1, 'q') ON CONFLICT (price) DO NOTHING

MERGE INTO items t USING (VALUES (1, 100), (2, 0), (20, 200)) s(id, stock) ON t.id = s.id WHEN MATCHED AND s.stock = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET stock = s.stock WHEN NOT MATCHED THEN INSERT (id, name, stock) VALUES (s.id, 'merged', s.stock)

SELECT * FROM items ORDER BY id

MERGE INTO items t USING items s ON t.id = s.id + 1 WHEN MATCHED THEN DO NOTHING

MERGE INTO items t USING (VALUES (1), (1)) s(id) ON t.id = s.id WHEN MATCHED THEN UPDATE SET stock = 1

WITH gone AS (DELETE FROM items WHERE id = 20 RETURNING *) INSERT INTO audit (item, what) SELECT id, 'deleted ' || name FROM gone RETURNING item, what

WITH a AS (UPDATE items SET stock = stock + 1 WHERE id = 1 RETURNING id, stock), b AS (INSERT INTO audit (item, what) SELECT id, 'stock ' || stock FROM a RETURNING what) SELECT * FROM a, b

WITH ins AS (INSERT INTO audit (item, what) VALUES (1, 'x'), (2, 'y') RETURNING item) SELECT (SELECT count(*) FROM ins), (SELECT count(*) FROM audit)

SELECT item, what FROM audit ORDER BY id

WITH x AS (SELECT 1) DELETE FROM audit WHERE item = (SELECT * FROM x) RETURNING what

SELECT id FROM items ORDER BY id FOR UPDATE

SELECT id FROM items ORDER BY id FOR NO KEY UPDATE SKIP LOCKED LIMIT 2

SELECT i.id FROM items i JOIN audit a ON a.item = i.id FOR SHARE OF i NOWAIT

SELECT * FROM items TABLESAMPLE bernoulli (100) ORDER BY id

SELECT count(*) FROM items FOR UPDATE

INSERT INTO items (id, name) VALUES (30, 'thirty') RETURNING (SELECT count(*) FROM items) AS before_it

INSERT INTO items (id, name) VALUES (31) 

INSERT INTO items (id) VALUES (32, 'too many')

INSERT INTO items VALUES ('x')

SELECT ctid IS NOT NULL, tableoid::regclass, id FROM items ORDER BY id

SELECT items FROM items ORDER BY id

SELECT items.* IS NULL, row(items.*) FROM items ORDER BY id LIMIT 1

DELETE FROM audit

DELETE FROM items RETURNING count(*)

VALUES (1, 'a'), (2, NULL) ORDER BY 1 DESC

TABLE items ORDER BY id LIMIT 1

SELECT FROM items

SELECT 1 AS one, 1 AS one FROM items LIMIT 1

INSERT INTO items (id, name) VALUES (40, 'forty'); UPDATE items SET stock = 4 WHERE id = 40; SELECT stock FROM items WHERE id = 40; DELETE FROM items WHERE id = 40

INSERT INTO items (id) VALUES (50); INSERT INTO items (id) VALUES (50); INSERT INTO items (id) VALUES (51)

SELECT count(*) FROM items WHERE id >= 50

;

-- Nothing but a comment.
/* nothing */
