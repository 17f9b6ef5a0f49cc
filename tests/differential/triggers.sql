CREATE TABLE item (id int PRIMARY KEY, name text, qty int, touched int DEFAULT 0); CREATE TABLE log (n serial, op text, old_row item, new_row item, at_level text)

CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log (op, old_row, new_row, at_level) VALUES (TG_OP || ' ' || TG_WHEN || ' ' || TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME || coalesce(' ' || TG_ARGV[0], ''), CASE WHEN TG_LEVEL = 'ROW' AND TG_OP <> 'INSERT' THEN OLD END, CASE WHEN TG_LEVEL = 'ROW' AND TG_OP <> 'DELETE' THEN NEW END, TG_LEVEL); RETURN coalesce(NEW, OLD); END $$

CREATE TRIGGER item_rows AFTER INSERT OR UPDATE OR DELETE ON item FOR EACH ROW EXECUTE FUNCTION note('arg')

CREATE TRIGGER item_statement AFTER TRUNCATE ON item FOR EACH STATEMENT EXECUTE FUNCTION note()

CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.touched := NEW.touched + 1; IF NEW.qty < 0 THEN RAISE EXCEPTION 'quantity of % is negative', NEW.name USING ERRCODE = 'check_violation', COLUMN = 'qty'; END IF; IF NEW.name = 'skip' THEN RETURN NULL; END IF; RETURN NEW; END $$

CREATE TRIGGER item_touch BEFORE INSERT OR UPDATE ON item FOR EACH ROW EXECUTE FUNCTION touch()

INSERT INTO item VALUES (1, 'a', 1), (2, 'b', 2), (3, 'skip', 3) RETURNING *

UPDATE item SET qty = qty + 1 RETURNING id, touched

UPDATE item SET qty = -1

DELETE FROM item WHERE id = 2

TRUNCATE item

SELECT op, old_row, new_row, at_level FROM log ORDER BY n

INSERT INTO item VALUES (4, 'd', 1) ON CONFLICT (id) DO UPDATE SET qty = 100

INSERT INTO item VALUES (4, 'd', 1) ON CONFLICT (id) DO UPDATE SET qty = 100 RETURNING *

-- copy: 10	copied	7
-- copy: 11	skip	8
COPY item (id, name, qty) FROM STDIN

SELECT * FROM item ORDER BY id

CREATE FUNCTION totals() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '% rows, sum %', (SELECT count(*) FROM fresh), (SELECT sum(qty) FROM fresh); RETURN NULL; END $$

CREATE TRIGGER item_totals AFTER INSERT ON item REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION totals()

INSERT INTO item SELECT i, 'bulk', i FROM generate_series(20, 25) i

ALTER TABLE item DISABLE TRIGGER item_touch

UPDATE item SET qty = -5 WHERE id = 20 RETURNING qty, touched

ALTER TABLE item ENABLE TRIGGER item_touch

UPDATE item SET qty = -5 WHERE id = 20

CREATE TRIGGER item_when BEFORE UPDATE OF name ON item FOR EACH ROW WHEN (OLD.name IS DISTINCT FROM NEW.name) EXECUTE FUNCTION note('renamed')

UPDATE item SET name = 'renamed' WHERE id = 4

SELECT op FROM log ORDER BY n DESC LIMIT 3

CREATE CONSTRAINT TRIGGER item_deferred AFTER INSERT ON item DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.qty = 13) EXECUTE FUNCTION note('deferred')

BEGIN

INSERT INTO item VALUES (30, 'x', 13)

SELECT count(*) FROM log WHERE op LIKE '%deferred'

COMMIT

SELECT count(*) FROM log WHERE op LIKE '%deferred'

ALTER TRIGGER item_touch ON item RENAME TO item_bump

DROP TRIGGER item_touch ON item

DROP TRIGGER item_bump ON item

CREATE VIEW item_view AS SELECT id, name FROM item

CREATE FUNCTION into_view() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO item (id, name, qty) VALUES (NEW.id, upper(NEW.name), 0); RETURN NEW; END $$

CREATE TRIGGER view_insert INSTEAD OF INSERT ON item_view FOR EACH ROW EXECUTE FUNCTION into_view()

INSERT INTO item_view VALUES (40, 'via view') RETURNING *

SELECT * FROM item WHERE id = 40

CREATE TABLE cascade_parent (id int PRIMARY KEY); CREATE TABLE cascade_child (id int, p int REFERENCES cascade_parent ON DELETE CASCADE ON UPDATE CASCADE)

INSERT INTO cascade_parent VALUES (1), (2); INSERT INTO cascade_child VALUES (1, 1), (2, 2)

UPDATE cascade_parent SET id = 10 WHERE id = 1

DELETE FROM cascade_parent WHERE id = 2

SELECT * FROM cascade_child

SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'item'::regclass AND NOT tgisinternal ORDER BY 1
