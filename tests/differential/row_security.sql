CREATE ROLE rs_reader LOGIN; CREATE ROLE rs_writer LOGIN; GRANT USAGE ON SCHEMA row_security TO rs_reader, rs_writer

CREATE TABLE notes (id int PRIMARY KEY, owner text DEFAULT current_user, tenant int, body text); GRANT ALL ON notes TO rs_reader, rs_writer

INSERT INTO notes VALUES (1, 'rs_reader', 1, 'a'), (2, 'rs_writer', 1, 'b'), (3, 'rs_reader', 2, 'c'), (4, 'postgres', 2, 'd')

ALTER TABLE notes ENABLE ROW LEVEL SECURITY

SET ROLE rs_reader

SELECT * FROM notes

RESET ROLE

CREATE POLICY own ON notes USING (owner = current_user)

SET ROLE rs_reader

SELECT * FROM notes ORDER BY id

UPDATE notes SET body = body || '!' RETURNING id

INSERT INTO notes VALUES (5, 'rs_writer', 1, 'forged')

INSERT INTO notes (id, tenant) VALUES (6, 1) RETURNING owner

SET ROLE rs_writer

SELECT count(*), current_user FROM notes

RESET ROLE

SELECT count(*) FROM notes

-- session: writer as rs_writer
SELECT id, owner, session_user, current_user FROM notes ORDER BY id

-- session: writer as rs_writer
DELETE FROM notes WHERE id = 1

-- session: writer as rs_writer
SET ROLE rs_reader

CREATE POLICY by_tenant ON notes AS RESTRICTIVE FOR SELECT USING (tenant = current_setting('app.tenant', true)::int)

-- session: writer as rs_writer
SELECT * FROM notes

-- session: writer as rs_writer
SET app.tenant = '1'

-- session: writer as rs_writer
SELECT * FROM notes ORDER BY id

-- session: writer as rs_writer
BEGIN

-- session: writer as rs_writer
SET LOCAL app.tenant = '2'

-- session: writer as rs_writer
SELECT * FROM notes ORDER BY id

-- session: writer as rs_writer
COMMIT

-- session: writer as rs_writer
SELECT * FROM notes ORDER BY id

-- session: writer as rs_writer
SELECT set_config('app.tenant', '2', false)

-- session: writer as rs_writer
SELECT * FROM notes ORDER BY id

-- session: writer as rs_writer
SELECT set_config('app.tenant', '9', false), count(*) FROM notes

-- session: writer as rs_writer
SELECT set_config('app.tenant', '1', false)

-- session: writer as rs_writer
PREPARE tenant (text) AS SELECT set_config('app.tenant', $1, false)

-- session: writer as rs_writer
EXECUTE tenant (2); EXECUTE tenant (2); EXECUTE tenant (2); EXECUTE tenant (2); EXECUTE tenant (2); EXECUTE tenant (2)

-- session: writer as rs_writer
SELECT * FROM notes ORDER BY id

-- session: writer as rs_writer
EXECUTE tenant (1)

-- session: writer as rs_writer
SELECT * FROM notes ORDER BY id

-- session: writer as rs_writer
SELECT count(*) FROM notes

-- session: writer as rs_writer
RESET app.tenant

-- session: writer as rs_writer
SELECT count(*) FROM notes

-- session: writer as rs_writer
SET app.tenant = 'x'

-- session: writer as rs_writer
SELECT count(*) FROM notes

ALTER TABLE notes FORCE ROW LEVEL SECURITY

SET row_security = off

SELECT count(*) FROM notes

-- session: writer as rs_writer
SET row_security = off

-- session: writer as rs_writer
SELECT count(*) FROM notes

-- session: writer as rs_writer
ALTER TABLE notes DISABLE ROW LEVEL SECURITY

RESET row_security

ALTER POLICY by_tenant ON notes RENAME TO restricted

DROP POLICY restricted ON notes

DROP POLICY restricted ON notes

CREATE FUNCTION all_notes() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM notes'

-- session: reader as rs_reader
SELECT all_notes(), (SELECT count(*) FROM notes), current_user

CREATE FUNCTION my_notes() RETURNS TABLE (c bigint, u name) LANGUAGE plpgsql AS 'BEGIN RETURN QUERY SELECT count(*), current_user FROM notes; END'

-- session: reader as rs_reader
SELECT * FROM my_notes()

-- session: reader as rs_reader
SELECT session_user, current_user, count(*) FROM notes

SET SESSION AUTHORIZATION rs_writer

SELECT session_user, current_user, count(*) FROM notes

RESET SESSION AUTHORIZATION

SELECT session_user, current_user, count(*) FROM notes

BEGIN

SET LOCAL ROLE rs_reader

SELECT current_user, count(*) FROM notes

ROLLBACK

SELECT current_user, count(*) FROM notes

SELECT polname, polcmd, polpermissive FROM pg_policy WHERE polrelid = 'notes'::regclass

DROP OWNED BY rs_reader, rs_writer

DROP ROLE rs_reader, rs_writer
