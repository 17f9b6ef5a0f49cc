CREATE ROLE pr_user LOGIN; CREATE ROLE pr_group; CREATE TABLE t (id int PRIMARY KEY, open text, hidden text); INSERT INTO t VALUES (1, 'o', 'h')

-- session: user as pr_user
SELECT * FROM privileges.t

GRANT USAGE ON SCHEMA privileges TO pr_user

-- session: user as pr_user
SELECT * FROM t

GRANT SELECT (id, open) ON t TO pr_user

-- session: user as pr_user
SELECT id, open FROM t

-- session: user as pr_user
SELECT * FROM t

-- session: user as pr_user
SELECT hidden FROM t

-- session: user as pr_user
INSERT INTO t VALUES (2)

-- session: user as pr_user
UPDATE t SET open = 'x'

-- session: user as pr_user
DELETE FROM t

-- session: user as pr_user
TRUNCATE t

-- session: user as pr_user
DROP TABLE t

-- session: user as pr_user
ALTER TABLE t ADD COLUMN x int

-- session: user as pr_user
CREATE TABLE mine (x int)

-- session: user as pr_user
COPY t TO STDOUT

-- session: user as pr_user
COPY t (id) TO STDOUT

-- session: user as pr_user
LOCK TABLE t IN EXCLUSIVE MODE

GRANT pr_group TO pr_user; GRANT INSERT, UPDATE, DELETE ON t TO pr_group

-- session: user as pr_user
INSERT INTO t VALUES (2, 'o2', 'h2')

-- session: user as pr_user
INSERT INTO t VALUES (3, 'o2', 'h2') RETURNING *

-- session: user as pr_user
INSERT INTO t VALUES (3, 'o3') RETURNING id

-- session: user as pr_user
UPDATE t SET open = 'by user' WHERE id = 2

-- session: user as pr_user
UPDATE t SET hidden = 'x' WHERE hidden = 'h2'

-- session: user as pr_user
SET ROLE pr_group

-- session: user as pr_user
SELECT current_user, session_user

-- session: user as pr_user
SELECT id FROM t

-- session: user as pr_user
RESET ROLE

-- session: user as pr_user
SELECT id, current_user FROM t ORDER BY id

-- session: user as pr_user
SET ROLE postgres

-- session: user as pr_user
SET SESSION AUTHORIZATION postgres

GRANT CREATE ON SCHEMA privileges TO pr_user

-- session: user as pr_user
CREATE TABLE mine (x int, t_id int)

-- session: user as pr_user
INSERT INTO mine VALUES (1, 1) RETURNING *

-- session: user as pr_user
ALTER TABLE mine ADD FOREIGN KEY (t_id) REFERENCES t

GRANT REFERENCES ON t TO pr_user

-- session: user as pr_user
ALTER TABLE mine ADD FOREIGN KEY (t_id) REFERENCES t

-- session: user as pr_user
GRANT SELECT ON mine TO PUBLIC

-- session: user as pr_user
GRANT SELECT ON t TO PUBLIC

SELECT tablename, tableowner FROM pg_tables WHERE schemaname = 'privileges' ORDER BY 1

SELECT grantee, table_name, privilege_type FROM information_schema.role_table_grants WHERE table_schema = 'privileges' AND grantee <> 'postgres' ORDER BY 1, 2, 3

CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*)::int FROM t'

REVOKE EXECUTE ON FUNCTION f() FROM PUBLIC

-- session: user as pr_user
SELECT f()

GRANT EXECUTE ON FUNCTION f() TO pr_user

-- session: user as pr_user
SELECT f()

CREATE FUNCTION g() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN current_user || ' ' || session_user || ' ' || (SELECT count(hidden) FROM t); END $$

-- session: user as pr_user
SELECT g(), current_user

-- session: user as pr_user
SELECT g() FROM mine

CREATE VIEW v AS SELECT * FROM t; GRANT SELECT ON v TO pr_user

-- session: user as pr_user
SELECT * FROM v ORDER BY id

CREATE SEQUENCE sq

-- session: user as pr_user
SELECT nextval('sq')

GRANT USAGE ON SEQUENCE sq TO pr_user

-- session: user as pr_user
SELECT nextval('sq')

ALTER DEFAULT PRIVILEGES IN SCHEMA privileges GRANT SELECT ON TABLES TO pr_user

CREATE TABLE later (x int)

-- session: user as pr_user
SELECT * FROM later

REVOKE ALL ON t FROM pr_user, pr_group

-- session: user as pr_user
SELECT id FROM t

GRANT ALL ON ALL TABLES IN SCHEMA privileges TO pr_user

-- session: user as pr_user
SELECT * FROM t ORDER BY id

-- session: user as pr_user
SELECT has_table_privilege('t', 'DELETE'), has_schema_privilege('privileges', 'CREATE')

GRANT SELECT ON t TO nobody_there

GRANT FLY ON t TO pr_user

REVOKE USAGE ON SCHEMA privileges FROM pr_user

-- session: user as pr_user
SELECT * FROM privileges.t

-- session: user as pr_user
SELECT * FROM t

-- session: user as pr_user
CREATE SCHEMA privileges_of_user

ALTER TABLE t OWNER TO pr_user

DROP ROLE pr_user

ALTER DEFAULT PRIVILEGES IN SCHEMA privileges REVOKE SELECT ON TABLES FROM pr_user

REASSIGN OWNED BY pr_user TO postgres

DROP OWNED BY pr_user, pr_group

DROP ROLE pr_user, pr_group

SELECT * FROM t ORDER BY id
