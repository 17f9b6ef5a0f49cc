//! Pages on the objects created by CREATE EXTENSION: functions, views, catalogs.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use postgres::Client;

use super::page::{Page, cell, sentence};

/// Functions of the extension in a schema, with names and types of output columns as two arrays. Excludes the
/// constructors that PostgreSQL creates for a range type.
const FUNCTIONS: &str = "
    SELECT p.proname::text, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
           obj_description(p.oid, 'pg_proc'),
           EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) WHERE grantee = 0),
           coalesce((SELECT array_agg(n ORDER BY i) FROM unnest(p.proargnames, p.proargmodes) WITH ORDINALITY AS a(n, m, i)
                      WHERE m IN ('o', 't')), '{}')::text[],
           coalesce((SELECT array_agg(format_type(t, NULL) ORDER BY i)
                       FROM unnest(p.proallargtypes, p.proargmodes) WITH ORDINALITY AS a(t, m, i)
                      WHERE m IN ('o', 't')), '{}')::text[],
           p.prorettype = 'trigger'::regtype
      FROM pg_proc p
           JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
           JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
     WHERE e.extname = 'helios' AND p.pronamespace = $1::text::regnamespace
       AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = 'pg_proc'::regclass AND i.objid = p.oid AND i.deptype = 'i')
     ORDER BY p.proname, pg_get_function_identity_arguments(p.oid)";

/// Relations of the extension of one kind, and whether PUBLIC may read them.
const RELATIONS: &str = "
    SELECT c.oid, c.relname::text, obj_description(c.oid, 'pg_class'),
           EXISTS (SELECT FROM aclexplode(c.relacl) WHERE grantee = 0 AND privilege_type = 'SELECT')
      FROM pg_class c
           JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
           JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
     WHERE e.extname = 'helios' AND c.relkind::text = $1
     ORDER BY c.relname";

const COLUMNS: &str = "
    SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), col_description(a.attrelid, a.attnum)
      FROM pg_attribute a WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
     ORDER BY a.attnum";

/// Page of functions for users.
pub fn functions(client: &mut Client) -> Result<Page> {
    let text = "# Functions\n\nThis page lists every function that you can call: its arguments, its result, and who may call \
        it. All are in `pg_catalog`, so they are found with any `search_path`.\n\n\
        *Superusers* means that `EXECUTE` is granted to nobody when the extension is created; a superuser may grant it.\n";
    let text = list_functions(client, "pg_catalog", text.to_owned())?;
    Ok(Page { name: "functions.md", text })
}

/// Page of functions that Helios calls itself.
pub fn internal_functions(client: &mut Client) -> Result<Page> {
    let text = "# Internal functions\n\nThis page describes the functions in schema `helios`, in case you see one in a log, \
        a plan or a privilege check. Helios calls them itself: do not call them, and do not grant them, except where \
        [Security](../operations/security.md) says so. They may change in any release.\n";
    let text = list_functions(client, "helios", text.to_owned())?;
    Ok(Page { name: "internal-functions.md", text })
}

fn list_functions(client: &mut Client, schema: &str, mut text: String) -> Result<String> {
    let mut last = String::new();
    for row in client.query(FUNCTIONS, &[&schema])? {
        let name: String = row.get(0);
        let (arguments, result): (String, String) = (row.get(1), row.get(2));
        let Some(comment) = row.get::<_, Option<String>>(3) else {
            bail!("function {schema}.{name}({arguments}) has no comment");
        };
        if name != last {
            write!(text, "\n## {name}\n")?;
        }
        let by = match (row.get::<_, bool>(7), row.get::<_, bool>(4)) {
            (true, _) => "triggers",
            (false, true) => "everyone",
            (false, false) => "superusers",
        };
        write!(text, "\n```text\n{name}({arguments}) → {result}\n```\n\n")?;
        writeln!(text, "{} Callable by {by}.", sentence(&comment))?;
        let columns: (Vec<String>, Vec<String>) = (row.get(5), row.get(6));
        if !columns.0.is_empty() {
            text.push_str("\n| output column | type |\n|---|---|\n");
        }
        for (column, of_type) in columns.0.iter().zip(&columns.1) {
            writeln!(text, "| {} | {} |", cell(column), cell(of_type))?;
        }
        last = name;
    }
    Ok(text)
}

/// Page of views.
pub fn views(client: &mut Client) -> Result<Page> {
    let text = "# Views\n\nThis page lists every view and its columns. All views are in `pg_catalog`, so they are found \
        with any `search_path`.\n";
    let text = list_relations(client, "v", "", text.to_owned())?;
    Ok(Page { name: "views.md", text })
}

/// Page of the tables in schema `helios`.
pub fn catalogs(client: &mut Client) -> Result<Page> {
    let text = "# Catalogs\n\nThis page describes Helios' own tables, in schema `helios` of the coordinator and \
        of each node. Read them through the [views](views.md) where possible, and change them with the \
        [functions](functions.md). Change manually only what the documentation tells you to: addresses in `helios.node`, passwords in \
        `helios.credential`, and the cases in [Troubleshooting](../operations/troubleshooting.md).\n";
    let text = list_relations(client, "r", "helios.", text.to_owned())?;
    Ok(Page { name: "catalogs.md", text })
}

fn list_relations(
    client: &mut Client,
    kind: &str,
    prefix: &str,
    mut text: String,
) -> Result<String> {
    for row in client.query(RELATIONS, &[&kind])? {
        let (oid, name): (u32, String) = (row.get(0), row.get(1));
        let Some(comment) = row.get::<_, Option<String>>(2) else {
            bail!("relation {prefix}{name} has no comment");
        };
        let by = if row.get(3) { "everyone" } else { "superusers" };
        write!(text, "\n## {prefix}{name}\n\n{} Readable by {by}.\n", sentence(&comment))?;
        text.push_str("\n| column | type | meaning |\n|---|---|---|\n");
        for row in client.query(COLUMNS, &[&oid])? {
            let (column, of_type): (String, String) = (row.get(0), row.get(1));
            let Some(meaning) = row.get::<_, Option<String>>(2) else {
                bail!("column {column} of {prefix}{name} has no comment");
            };
            writeln!(text, "| {} | {} | {} |", cell(&column), cell(&of_type), cell(&meaning))?;
        }
    }
    Ok(text)
}
