//! Casts and transforms, which belong to no schema, so that pg_dump omits them when it dumps schemas. They move with
//! the types and functions that they depend on.

use crate::error::Result;
use crate::remote::Session;
use crate::replication::endpoints::{literal, names};
use helios_core::archive::Entry;

/// Entries for them, with the class and OID of the types, tables and functions that they depend on.
const QUERY: &str = "
    SELECT 'CAST' AS kind, c.tableoid::text AS class, c.oid::text AS object, format('(%s AS %s)', x.source, x.target) AS name,
           format('CREATE CAST (%s AS %s) %s%s;', x.source, x.target,
                  CASE c.castmethod WHEN 'b' THEN 'WITHOUT FUNCTION' WHEN 'i' THEN 'WITH INOUT' ELSE format('WITH FUNCTION %s', c.castfunc::regprocedure) END,
                  CASE c.castcontext WHEN 'a' THEN ' AS ASSIGNMENT' WHEN 'i' THEN ' AS IMPLICIT' ELSE '' END) AS definition,
           format('CAST (%s AS %s)', x.source, x.target) AS full_name, obj_description(c.oid, 'pg_cast') AS comment,
           concat_ws(' ', x.needs, c.castfunc) AS needs
      FROM pg_cast c JOIN pg_type s ON s.oid = c.castsource JOIN pg_type t ON t.oid = c.casttarget LEFT JOIN pg_proc p ON p.oid = c.castfunc
           CROSS JOIN LATERAL (SELECT format_type(s.oid, NULL) AS source, format_type(t.oid, NULL) AS target,
                                      concat_ws(' ', s.oid, s.typelem, s.typrelid, t.oid, t.typelem, t.typrelid) AS needs) AS x
     WHERE (s.typnamespace IN (SELECT oid FROM wanted) OR t.typnamespace IN (SELECT oid FROM wanted) OR p.pronamespace IN (SELECT oid FROM wanted))
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = c.tableoid AND d.objid = c.oid AND d.deptype IN ('e', 'i'))
    UNION ALL
    SELECT 'TRANSFORM', f.tableoid::text, f.oid::text, x.name,
           format('CREATE TRANSFORM %s (%s);', x.name,
                  concat_ws(', ', 'FROM SQL WITH FUNCTION ' || NULLIF(f.trffromsql, 0)::regprocedure, 'TO SQL WITH FUNCTION ' || NULLIF(f.trftosql, 0)::regprocedure)),
           'TRANSFORM ' || x.name, obj_description(f.oid, 'pg_transform'), concat_ws(' ', t.oid, t.typelem, t.typrelid, f.trffromsql, f.trftosql)
      FROM pg_transform f JOIN pg_type t ON t.oid = f.trftype JOIN pg_language l ON l.oid = f.trflang
           CROSS JOIN LATERAL (SELECT format('FOR %s LANGUAGE %I', format_type(t.oid, NULL), l.lanname) AS name) AS x
     WHERE (t.typnamespace IN (SELECT oid FROM wanted)
            OR EXISTS (SELECT FROM pg_proc p WHERE p.oid IN (f.trffromsql, f.trftosql) AND p.pronamespace IN (SELECT oid FROM wanted)))
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = f.tableoid AND d.objid = f.oid AND d.deptype = 'e')
     ORDER BY kind, name";

/// Inserts them into a dump of these schemas, each as early as its dependencies allow, because objects that use a cast
/// do not record a dependency on it.
pub fn add(entries: &mut Vec<Entry>, schemas: &[String], source: &mut Session) -> Result<()> {
    let wanted = names(schemas);
    let query = format!(
        "WITH wanted AS (SELECT oid FROM pg_namespace WHERE nspname = ANY ({wanted})) {QUERY}"
    );
    for (number, row) in source.query(&query)?.iter().enumerate() {
        let needs: Vec<u32> =
            row.text("needs")?.split(' ').filter_map(|id| id.parse().ok()).collect();
        let is_needed = |entry: &Entry| entry.class != 0 && needs.contains(&entry.object);
        let place = entries.iter().rposition(is_needed).map_or(0, |last| last + 1);
        // IDs that pg_dump does not assign.
        let id = -1 - 2 * i64::try_from(number).unwrap_or(i64::MAX / 4);
        let entry = Entry {
            id,
            class: row.parsed("class")?.unwrap_or(0),
            object: row.parsed("object")?.unwrap_or(0),
            kind: row.text("kind")?,
            name: row.text("name")?,
            definition: format!("{}\n", row.text("definition")?),
            ..Entry::default()
        };
        let full_name = row.text("full_name")?;
        let comment = row.option("comment")?.map(|comment| Entry {
            id: id - 1,
            kind: "COMMENT".into(),
            definition: format!("COMMENT ON {full_name} IS {};\n", literal(comment)),
            name: full_name,
            depends: vec![id],
            ..Entry::default()
        });
        entries.splice(place..place, [Some(entry), comment].into_iter().flatten());
    }
    Ok(())
}
