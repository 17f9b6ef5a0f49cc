//! Whether shells and nodes are defined alike: a digest for each schema, computed by the same query on both sides; where
//! two differ, their lines tell which objects do.
//!
//! Nothing in the query calls what users wrote: definitions are printed, never run. Numbers of objects (OIDs) and what
//! differs by design (rows, whether constraints are validated, what migrations switch for a while) are left out.

use super::check::Finding;
use crate::directory::{self, Node};
use crate::error::Result;
use crate::pg::sql;
use crate::remote::Session;
use std::collections::{BTreeMap, BTreeSet};

/// Objects named in a finding.
const SHOWN: usize = 20;

/// Lines about schemas: the schema, the object, and what is said of it.
const LINES: &str = r#"
SELECT nspname AS schema, 'schema'::text AS object,
       format('owner %s acl %s', pg_get_userbyid(nspowner), @nspacl|'n'|nspowner@) AS line
  FROM wanted
UNION ALL
SELECT n.nspname, format('%s %I', CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
                                  WHEN 'f' THEN 'foreign table' WHEN 'c' THEN 'type' ELSE 'table' END, c.relname),
       format('%s %s owner %s options %s rls %s %s bound %s key %s parents %s acl %s', c.relkind, c.relpersistence,
              pg_get_userbyid(c.relowner), c.reloptions, c.relrowsecurity, c.relforcerowsecurity,
              pg_get_expr(c.relpartbound, c.oid), CASE c.relkind WHEN 'p' THEN pg_get_partkeydef(c.oid) END,
              ARRAY(SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = c.oid ORDER BY inhseqno),
              @c.relacl|CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END|c.relowner@)
  FROM wanted n JOIN pg_class c ON c.relnamespace = n.oid
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
UNION ALL
SELECT n.nspname, format('column %I of %I', a.attname, c.relname),
       format('%s %s %s %s null %s identity %s generated %s statistics %s storage %s options %s default %s acl %s',
              row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum), format_type(a.atttypid, a.atttypmod),
              a.attcollation::regcollation, a.attcompression, NOT a.attnotnull, a.attidentity, a.attgenerated, a.attstattarget,
              a.attstorage, a.attoptions, pg_get_expr(d.adbin, d.adrelid), @a.attacl|'c'|c.relowner@)
  FROM wanted n JOIN pg_class c ON c.relnamespace = n.oid JOIN pg_attribute a ON a.attrelid = c.oid
       LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT n.nspname, format('view %I', c.relname), pg_get_viewdef(c.oid)
  FROM wanted n JOIN pg_class c ON c.relnamespace = n.oid WHERE c.relkind IN ('v', 'm')
UNION ALL
SELECT n.nspname, format('sequence %I', c.relname),
       format('%s %s %s %s %s %s %s', format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmax, s.seqmin, s.seqcache, s.seqcycle)
  FROM wanted n JOIN pg_class c ON c.relnamespace = n.oid JOIN pg_sequence s ON s.seqrelid = c.oid
UNION ALL
SELECT n.nspname, format('index %I', c.relname), format('%s %s', pg_get_indexdef(c.oid), i.indisclustered)
  FROM wanted n JOIN pg_class c ON c.relnamespace = n.oid JOIN pg_index i ON i.indexrelid = c.oid
UNION ALL
SELECT n.nspname, format('constraint %I of %s', k.conname,
                         CASE WHEN k.conrelid <> 0 THEN k.conrelid::regclass::text ELSE format_type(k.contypid, NULL) END),
       replace(pg_get_constraintdef(k.oid), ' NOT VALID', '')
  FROM wanted n JOIN pg_constraint k ON k.connamespace = n.oid WHERE k.contype <> 'n'
UNION ALL
SELECT n.nspname, format('trigger %I of %I', t.tgname, c.relname), format('%s %s', pg_get_triggerdef(t.oid), t.tgenabled)
  FROM wanted n JOIN pg_class c ON c.relnamespace = n.oid JOIN pg_trigger t ON t.tgrelid = c.oid
 WHERE NOT t.tgisinternal AND NOT starts_with(t.tgname, 'helios_')
UNION ALL
SELECT n.nspname, format('rule %I of %I', r.rulename, c.relname), format('%s %s', pg_get_ruledef(r.oid), r.ev_enabled)
  FROM wanted n JOIN pg_class c ON c.relnamespace = n.oid JOIN pg_rewrite r ON r.ev_class = c.oid WHERE r.rulename <> '_RETURN'
UNION ALL
SELECT n.nspname, format('policy %I of %I', p.polname, c.relname),
       format('%s %s %s using %s check %s', p.polcmd, p.polpermissive,
              ARRAY(SELECT coalesce(r.rolname, 'public') FROM unnest(p.polroles) AS o LEFT JOIN pg_roles r ON r.oid = o ORDER BY 1),
              pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
  FROM wanted n JOIN pg_class c ON c.relnamespace = n.oid JOIN pg_policy p ON p.polrelid = c.oid
UNION ALL
SELECT n.nspname, format('statistics %I', s.stxname), format('%s owner %s', pg_get_statisticsobjdef(s.oid), pg_get_userbyid(s.stxowner))
  FROM wanted n JOIN pg_statistic_ext s ON s.stxnamespace = n.oid
UNION ALL
SELECT n.nspname, format('function %I(%s)', p.proname, pg_get_function_identity_arguments(p.oid)),
       format('%s owner %s acl %s',
              CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid)
                   ELSE (SELECT format('%s %s %s %s %s %s', a.aggkind, a.aggtransfn, a.aggfinalfn, a.aggcombinefn,
                                       format_type(a.aggtranstype, NULL), a.agginitval) FROM pg_aggregate a WHERE a.aggfnoid = p.oid) END,
              pg_get_userbyid(p.proowner), @p.proacl|'f'|p.proowner@)
  FROM wanted n JOIN pg_proc p ON p.pronamespace = n.oid
UNION ALL
SELECT n.nspname, format('type %I', t.typname),
       format('%s owner %s acl %s base %s null %s default %s labels %s range %s %s', t.typtype, pg_get_userbyid(t.typowner),
              @t.typacl|'T'|t.typowner@,
              CASE WHEN t.typbasetype <> 0 THEN format_type(t.typbasetype, t.typtypmod) END, NOT t.typnotnull, t.typdefault,
              ARRAY(SELECT enumlabel FROM pg_enum WHERE enumtypid = t.oid ORDER BY enumsortorder),
              format_type(r.rngsubtype, NULL), r.rngcollation::regcollation)
  FROM wanted n JOIN pg_type t ON t.typnamespace = n.oid LEFT JOIN pg_range r ON r.rngtypid = t.oid
 WHERE t.typelem = 0 AND (t.typrelid = 0 OR EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
UNION ALL
SELECT n.nspname, format('operator %s', o.oid::regoperator), format('%s %s', o.oprcode, pg_get_userbyid(o.oprowner))
  FROM wanted n JOIN pg_operator o ON o.oprnamespace = n.oid
UNION ALL
SELECT n.nspname, format('default privileges of %s', pg_get_userbyid(d.defaclrole)),
       format('%s %s', d.defaclobjtype, @d.defaclacl|'r'|d.defaclrole@)
  FROM wanted n JOIN pg_default_acl d ON d.defaclnamespace = n.oid
UNION ALL
SELECT n.nspname, format('comment on %s %I', CASE WHEN d.objsubid = 0 THEN 'relation' ELSE 'a column of' END, c.relname),
       format('%s %s', (SELECT attname FROM pg_attribute WHERE attrelid = c.oid AND attnum = d.objsubid AND d.objsubid > 0), d.description)
  FROM wanted n JOIN pg_class c ON c.relnamespace = n.oid
       JOIN pg_description d ON d.classoid = 'pg_class'::regclass AND d.objoid = c.oid"#;

/// The lines of these schemas, read by one side or the other.
fn lines(schemas: &[String], select: &str) -> String {
    let list: Vec<String> = schemas.iter().map(|s| helios_core::quote::literal(s)).collect();
    format!(
        "WITH wanted AS MATERIALIZED (
             SELECT * FROM pg_namespace WHERE nspname = ANY (ARRAY[{}]::name[])),
         lines AS ({})
         {select}",
        list.join(", "),
        with_privileges(LINES)
    )
}

/// Puts the privileges of an object, one after the other, in the place of each `@acl|kind|owner@`: where none were ever
/// granted or revoked, those that it has by itself.
fn with_privileges(lines: &str) -> String {
    let parts = lines.split('@').enumerate().map(|(n, part)| {
        let mut three = part.splitn(3, '|');
        match (n % 2, three.next(), three.next(), three.next()) {
            (1, Some(acl), Some(kind), Some(owner)) => format!(
                "(SELECT string_agg(a::text, ' ' ORDER BY a::text COLLATE \"C\")
                    FROM unnest(coalesce({acl}, acldefault(({kind})::\"char\", {owner}))) AS a)"
            ),
            _ => part.to_owned(),
        }
    });
    parts.collect()
}

const DIGESTS: &str = r#"SELECT schema::text, md5(string_agg(md5(object || ' ' || line), '' ORDER BY object COLLATE "C", md5(line)))
                           FROM lines GROUP BY schema"#;
const ALL: &str = "SELECT schema::text || '.' || object, line FROM lines";

/// Rows of two columns, on the node.
fn there(session: &mut Session, query: &str) -> Result<Vec<(String, String)>> {
    let rows = session.query(&format!("SET search_path = pg_catalog; {query}"))?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let mut columns = row.into_iter().map(Option::unwrap_or_default);
            (columns.next().unwrap_or_default(), columns.next().unwrap_or_default())
        })
        .collect())
}

/// Rows of two columns, of this server.
fn here(query: &str) -> Result<Vec<(String, String)>> {
    sql::read_rows(query, &[], |row| {
        let column = |n| Ok(row.get::<String>(n)?.unwrap_or_default());
        Ok((column(1)?, column(2)?))
    })
}

/// Compares the schemas of a node with their shells. Those that move are compared when they have.
pub fn compare(node: &Node, session: &mut Session) -> Result<Finding> {
    let mut schemas = directory::schemas_on(node.id)?;
    let moving = directory::moving_schemas()?;
    schemas.retain(|schema| !moving.contains(schema));
    let query = lines(&schemas, DIGESTS);
    let (shells, nodes) = (here(&query)?, there(session, &query)?);
    let nodes: BTreeMap<String, String> = nodes.into_iter().collect();
    let differ: Vec<String> = shells
        .into_iter()
        .filter(|(schema, digest)| nodes.get(schema).is_some_and(|there| there != digest))
        .map(|(schema, _)| schema)
        .collect();
    let detail = match differ.is_empty() {
        true => format!("All {} schemas are defined as their shells are.", nodes.len()),
        false => objects(&lines(&differ, ALL), session)?,
    };
    let remedy = "Find out who changed them there. Make the same definitions on both: in a session with helios.migration_session = on, which only superusers can set, a definition runs on one server alone.";
    Ok(Finding::new("definitions", differ.is_empty(), detail, remedy))
}

/// Which objects differ.
fn objects(query: &str, session: &mut Session) -> Result<String> {
    let sorted =
        |rows: Vec<(String, String)>| -> BTreeSet<(String, String)> { rows.into_iter().collect() };
    let (shells, nodes) = (sorted(here(query)?), sorted(there(session, query)?));
    let named =
        |side: &BTreeSet<(String, String)>, object: &String| side.iter().any(|(o, _)| o == object);
    let objects: BTreeSet<&String> = shells.symmetric_difference(&nodes).map(|(o, _)| o).collect();
    let mut told: Vec<String> = objects
        .iter()
        .take(SHOWN)
        .map(|object| match (named(&shells, object), named(&nodes, object)) {
            (true, true) => format!("{object} differs"),
            (true, false) => format!("{object} is missing on the node"),
            _ => format!("{object} is on the node only"),
        })
        .collect();
    if objects.len() > SHOWN {
        told.push(format!("and {} more", objects.len() - SHOWN));
    }
    Ok(format!("Different: {}.", told.join("; ")))
}
