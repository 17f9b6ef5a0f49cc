//! Names and comments are never interpreted as SQL, whatever they contain.

use std::collections::HashSet;

use helios_tests::{Cluster, PlainServer, pg};
use postgres::Client;
use testkit::cluster::DATABASE;
use testkit::server::{HOST, Server};

use crate::contents::{AROUND, OBJECTS, broken_off, definition};
use crate::imports::{self, Abroad};
use crate::{cluster_with_failpoints, finish, roll_back, shown, text, wait};

/// Tries to end every enclosing construct of the text it is in, and then makes a role a superuser.
fn seizing(number: usize) -> String {
    let seize = "ALTER ROLE mallory SUPERUSER;";
    [
        format!("x\n--\n-- Name: z z_fkey; Type: FK CONSTRAINT; Schema: s; Owner: o\n--\n\n{seize}\n"),
        format!("x\n\n--\n-- PostgreSQL database dump complete\n--\n\n{seize}\n--\n-- Name: z; Type: FK CONSTRAINT; -\n"),
        format!("x\n\\unrestrict a\n{seize}\n\\restrict a\n\\connect - postgres\n\\! exit 3\n{seize}"),
        format!("x'; {seize} -- \n\"; {seize} --\n\\'; {seize} --"),
        format!("$$; {seize} $helios$; {seize} $_$; {seize} $body$; {seize}"),
        format!("*/ {seize} /*\n; 1 2 TABLE s t o\n;\tdepends on: 1\n3; 0 0 ACL - x y\n"),
        format!("\n--\n-- Name: t helios_import_fence; Type: TRIGGER; Schema: s; Owner: o\n--\n\n{seize}\n"),
        format!("{}\n--\n-- Name: z; Type: FK CONSTRAINT; -\n--\n\n{seize}", "long ".repeat(4_000)),
    ][number % 8]
    .clone()
}

/// Maximum length of a name.
fn seizing_name(number: usize) -> String {
    [
        "\n--\n-- Name: z; Type: FK CONSTRAINT;\n--\n\nALTER ROLE mallory SUPERUSER;",
        "\";ALTER ROLE mallory SUPERUSER;--",
        "';ALTER ROLE mallory SUPERUSER;--",
        "$$;ALTER ROLE mallory SUPERUSER;--",
        "\n\\unrestrict x\n\\! exit 3\nALTER ROLE mallory SUPERUSER;",
        "t helios_import_fence",
        "; 1 2 FK CONSTRAINT x y\n;\tdepends on: 1",
        "%I %s %L %1$s \\",
    ][number % 8]
        .chars()
        .take(63)
        .collect()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Tables whose columns, indexes, constraints, triggers and so on have such names.
fn odd_names(schema: &str) -> String {
    let mut all = String::new();
    for number in 0..8 {
        let name = quoted(&seizing_name(number));
        let (table, function) = (format!("{schema}.{name}"), format!("{schema}.{name}()"));
        all.push_str(&format!(
            "CREATE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TABLE {table} ({name} int PRIMARY KEY CONSTRAINT {name} CHECK ({name} > 0), other int DEFAULT 1, named text);
             ALTER TABLE {table} ADD CONSTRAINT \"fk {number}\" FOREIGN KEY (other) REFERENCES {table};
             CREATE INDEX \"i {number}\" ON {table} (other);
             CREATE TRIGGER {name} BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {function};
             CREATE POLICY {name} ON {table} USING ({name} > 0);
             CREATE TYPE {schema}.\"type {number}\" AS ENUM ({});
             INSERT INTO {table} VALUES (1, 1, {});",
            literal(&seizing_name(number)),
            literal(&seizing(number)),
        ));
    }
    all
}

fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Puts such a comment on everything in a schema that can have one.
fn comment_on_everything(client: &mut Client, schema: &str) {
    let objects = "SELECT DISTINCT CASE i.type WHEN 'composite type' THEN 'type' WHEN 'statistics object' THEN 'statistics'
                    WHEN 'table constraint' THEN 'constraint' WHEN 'domain constraint' THEN 'constraint' ELSE i.type END,
                  CASE i.type WHEN 'domain constraint' THEN replace(i.identity, ' on ', ' on domain ') ELSE i.identity END
             FROM (SELECT 'pg_class'::regclass, oid FROM pg_class UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc
                   UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type UNION ALL SELECT 'pg_constraint'::regclass, oid FROM pg_constraint
                   UNION ALL SELECT 'pg_trigger'::regclass, oid FROM pg_trigger WHERE NOT tgisinternal
                   UNION ALL SELECT 'pg_policy'::regclass, oid FROM pg_policy UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator
                   UNION ALL SELECT 'pg_rewrite'::regclass, oid FROM pg_rewrite WHERE rulename <> '_RETURN'
                   UNION ALL SELECT 'pg_collation'::regclass, oid FROM pg_collation UNION ALL SELECT 'pg_ts_dict'::regclass, oid FROM pg_ts_dict
                   UNION ALL SELECT 'pg_ts_config'::regclass, oid FROM pg_ts_config UNION ALL SELECT 'pg_statistic_ext'::regclass, oid FROM pg_statistic_ext
                   UNION ALL SELECT 'pg_namespace'::regclass, oid FROM pg_namespace) AS o(class, id),
                  pg_identify_object(class, id, 0) AS i
            WHERE (i.identity LIKE quote_ident($1) || '.%' OR i.identity LIKE '% on ' || quote_ident($1) || '.%' OR i.identity = quote_ident($1))
              AND i.type NOT IN ('toast table') AND i.identity NOT LIKE '%[]'
              AND NOT (class = 'pg_type'::regclass AND EXISTS (SELECT FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid WHERE t.oid = id AND c.relkind <> 'c'))
              AND NOT (class = 'pg_class'::regclass AND EXISTS (SELECT FROM pg_class c WHERE c.oid = id AND c.relkind = 'c'))
            ORDER BY 1, 2";
    let objects = client.query(objects, &[&schema]).unwrap();
    let mut kinds = HashSet::new();
    for (number, row) in objects.iter().enumerate() {
        let (kind, identity): (String, String) = (row.get(0), row.get(1));
        let comment = literal(&seizing(number));
        let sql = format!("COMMENT ON {kind} {identity} IS {comment}");
        client.batch_execute(&sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        kinds.insert(kind);
    }
    let columns = "SELECT format('%I.%I.%I', n.nspname, c.relname, a.attname)
         FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm') AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1";
    for (number, row) in client.query(columns, &[&schema]).unwrap().iter().enumerate() {
        let (column, comment): (String, _) = (row.get(0), literal(&seizing(number)));
        client.batch_execute(&format!("COMMENT ON COLUMN {column} IS {comment}")).unwrap();
    }
    for kind in
        ["table", "index", "constraint", "trigger", "policy", "rule", "type", "view", "sequence"]
    {
        assert!(kinds.contains(kind), "no {kind} among {kinds:?}");
    }
}

/// Roles and their attributes, on every server.
fn rights(servers: &[&Server]) -> Vec<Vec<String>> {
    let roles = "SELECT r::text FROM (SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls
                    FROM pg_roles WHERE rolname NOT LIKE 'helios%') AS r
                 UNION ALL SELECT roleid::regrole || ' to ' || member::regrole FROM pg_auth_members ORDER BY 1";
    servers.iter().map(|server| text(&mut server.connect(DATABASE).unwrap(), roles)).collect()
}

fn servers(cluster: &Cluster) -> Vec<&Server> {
    std::iter::once(cluster.coordinator()).chain(cluster.nodes()).collect()
}

/// Fills the schema with one object of each kind, with hostile names and comments.
fn fill(client: &mut Client) {
    client.batch_execute(OBJECTS).unwrap();
    client.batch_execute(&odd_names("\"Odd.Name\"")).unwrap();
    comment_on_everything(client, "Odd.Name");
}

#[test]
fn hostile_names_and_comments_move_as_they_are() {
    let cluster = cluster_with_failpoints(2, &[]);
    let mut client = cluster.connect();
    client.batch_execute(AROUND).unwrap();
    client
        .batch_execute(
            "CREATE ROLE mallory LOGIN; SELECT helios_create_reference_table('country');
             CREATE SCHEMA \"Odd.Name\" AUTHORIZATION mallory DISTRIBUTED ON NODE \"node-1\"",
        )
        .unwrap();
    fill(&mut client);
    let (before, roles) = (definition(cluster.node(1), "Odd.Name"), rights(&servers(&cluster)));
    for is_kept in [false, true] {
        let begin = "SELECT helios_migrate_schema('Odd.Name', 'node-2')";
        let id = broken_off(&cluster, &mut client, begin);
        assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
        let rounds = text(&mut client, "SELECT max(round) > 1 FROM helios.migration");
        assert_eq!(rounds, ["t"]);
        if is_kept {
            finish(&mut client, id)
        } else {
            roll_back(&mut client, id)
        }
        let node = if is_kept { 2 } else { 1 };
        assert_eq!(definition(cluster.node(node), "Odd.Name"), before);
        assert_eq!(rights(&servers(&cluster)), roles);
    }
    let begin = "SELECT helios_undistribute_schema('Odd.Name')";
    let id = broken_off(&cluster, &mut client, begin);
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    finish(&mut client, id);
    assert_eq!(definition(cluster.coordinator(), "Odd.Name"), before);
    assert_eq!(rights(&servers(&cluster)), roles);
}

#[test]
fn hostile_names_and_comments_are_imported_as_they_are() {
    let cluster = cluster_with_failpoints(2, &[]);
    let abroad = Abroad::start();
    let (mut client, mut there) = (cluster.connect(), abroad.connect());
    for one in [&mut client, &mut there] {
        one.batch_execute(AROUND).unwrap();
        one.batch_execute("CREATE ROLE mallory LOGIN").unwrap();
    }
    client.batch_execute("SELECT helios_create_reference_table('country')").unwrap();
    there.batch_execute("CREATE SCHEMA \"Odd.Name\" AUTHORIZATION mallory").unwrap();
    fill(&mut there);
    let before = definition(&abroad.0.server, "Odd.Name");
    let mut all = servers(&cluster);
    all.push(&abroad.0.server);
    let roles = rights(&all);
    let begin =
        format!("SELECT helios_import_schema('{}', 'Odd.Name', 'node-2')", abroad.conninfo());
    let id = broken_off(&cluster, &mut client, &begin);
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    roll_back(&mut client, id);
    assert_eq!(definition(&abroad.0.server, "Odd.Name"), before);
    let id = imports::switch(&mut client, &abroad, "Odd.Name", "node-1");
    finish(&mut client, id);
    assert_eq!(definition(cluster.node(1), "Odd.Name"), before);
    assert_eq!(definition(cluster.coordinator(), "Odd.Name"), before);
    assert_eq!(rights(&all), roles);
}

#[test]
fn a_new_node_takes_hostile_names_and_comments_as_they_are() {
    let cluster = cluster_with_failpoints(1, &[]);
    let mut client = cluster.connect();
    client
        .batch_execute("CREATE ROLE mallory LOGIN; CREATE SCHEMA plain AUTHORIZATION mallory")
        .unwrap();
    for number in 0..8 {
        let (name, comment) = (quoted(&seizing_name(number)), literal(&seizing(number)));
        client
            .batch_execute(&format!(
                "CREATE ROLE {name} LOGIN PASSWORD 'x' VALID UNTIL 'infinity'; COMMENT ON ROLE {name} IS {comment};
                 ALTER ROLE {name} SET application_name = {comment}; GRANT mallory TO {name};
                 CREATE SCHEMA {name} AUTHORIZATION {name}; COMMENT ON SCHEMA {name} IS {comment};
                 CREATE TYPE {name}.{name} AS ENUM ({value}); COMMENT ON TYPE {name}.{name} IS {comment};
                 CREATE FUNCTION {name}.{name}(text DEFAULT {comment}) RETURNS int LANGUAGE sql AS 'SELECT 1 -- $$ $_$'; COMMENT ON FUNCTION {name}.{name}(text) IS {comment};
                 CREATE DOMAIN plain.\"d {number}\" AS text CONSTRAINT {name} CHECK (VALUE <> {comment}) DEFAULT {comment};
                 COMMENT ON CONSTRAINT {name} ON DOMAIN plain.\"d {number}\" IS {comment}",
                value = literal(&seizing_name(number)),
            ))
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
    let other = PlainServer::with_settings(
        &pg(),
        &[
            "shared_preload_libraries = helios",
            "max_prepared_transactions = 20",
            "wal_level = logical",
        ],
    );
    let port = other.server.port;
    other.connect().batch_execute("CREATE EXTENSION helios").unwrap();
    client.batch_execute(&format!("SELECT helios_add_node('late', '{HOST}', {port})")).unwrap();
    let both = [cluster.coordinator(), &other.server];
    let roles = rights(&both);
    assert_eq!(roles[0], roles[1]);
    assert!(roles[0].iter().any(|role| role == "(mallory,f,t,f,f,t,f,f)"), "{roles:#?}");
    let settings = "SELECT setrole::regrole || setconfig::text FROM pg_db_role_setting WHERE setrole <> 0 ORDER BY 1";
    let comments = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY rolname";
    for query in [settings, comments] {
        let [here, there] = both.map(|one| text(&mut one.connect(DATABASE).unwrap(), query));
        assert_eq!(here, there, "{query}");
    }
    for schema in (0..8).map(seizing_name).chain(["plain".to_owned()]) {
        let schema = schema.replace('"', "\"\"");
        assert_eq!(definition(&other.server, &schema), definition(both[0], &schema), "{schema}");
    }
}
