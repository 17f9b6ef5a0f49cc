//! References from other schemas to those that are to be moved.

use super::requirements::{self, is_distributed};
use crate::error::{Error, Result};
use crate::remote::Session;
use crate::replication::endpoints::{literal, names, text};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// 55000 if schemas that stay on the node of `source` refer to these, which leave the shard that they share.
pub fn check_left_behind(schemas: &[String], source: &mut Session) -> Result<()> {
    let query = outside(&names(schemas), false, "pg_describe_object(d.classid, d.objid, 0)");
    let found: Vec<String> = source.query(&query)?.into_iter().flatten().flatten().collect();
    match (found.is_empty(), schemas.first()) {
        (false, Some(schema)) => Err(Error::new(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!(
                "cannot take schema \"{schema}\" away from the schemas that it is colocated with"
            ),
        )
        .detail(format!("Objects of these schemas depend on it: {}.", found.join(", ")))
        .hint("Drop them first.")),
        _ => Ok(()),
    }
}

/// The commands that let distributed schemas which refer to these move together with them.
pub fn colocation(schemas: &[String], source: &mut Session) -> Result<Option<String>> {
    let pairs = "(SELECT nspname FROM pg_namespace WHERE oid = outer_.schema), \
         (SELECT nspname FROM pg_namespace WHERE oid = inner_.schema)";
    let rows = source.query(&outside(&names(schemas), false, pairs))?;
    let mut commands = Vec::new();
    for row in &rows {
        let (outer, inner) = (text(row, 0), text(row, 1));
        if is_distributed(&outer)? {
            commands.push(format!(
                "SELECT helios_colocate({}, {});",
                literal(&outer),
                literal(&inner)
            ));
        }
    }
    Ok((!commands.is_empty()).then(|| commands.join(" ")))
}

/// Query for objects outside a schema that depend on it.
pub fn outside_of(schema: &str) -> String {
    let schemas = [schema.to_owned()];
    let outside = outside(&names(&schemas), false, "pg_describe_object(d.classid, d.objid, 0)");
    format!("SELECT * FROM ({outside}) AS a UNION SELECT * FROM ({}) AS b", members(&schemas))
}

/// Query for objects that depend on the schema without being part of a dump of it, of the kinds that [`outside`] does
/// not cover: members of publications and of other operator families, event triggers, languages, access methods, and
/// objects of other schemas. Defaults, triggers and policies of tables outside belong to those tables.
pub fn members(schemas: &[String]) -> String {
    format!(
        "{} SELECT DISTINCT pg_describe_object(d.classid, d.objid, 0)
              FROM pg_depend d JOIN object i ON i.class = d.refclassid AND i.oid = d.refobjid
                   LEFT JOIN object o ON o.class = d.classid AND o.oid = d.objid
             WHERE o.oid IS NULL AND d.deptype <> 'e'
               AND d.classid NOT IN ('pg_class'::regclass, 'pg_type'::regclass, 'pg_proc'::regclass, 'pg_constraint'::regclass, 'pg_rewrite'::regclass,
                                     'pg_attrdef'::regclass, 'pg_trigger'::regclass, 'pg_policy'::regclass, 'pg_extension'::regclass)
               AND NOT EXISTS (SELECT FROM pg_depend m JOIN object f ON f.class = m.refclassid AND f.oid = m.refobjid
                                WHERE m.classid = d.classid AND m.objid = d.objid
                                  AND m.refclassid IN ('pg_opclass'::regclass, 'pg_opfamily'::regclass))
               AND NOT EXISTS (SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
                                WHERE d.classid = 'pg_publication_rel'::regclass AND r.oid = d.objid AND starts_with(p.pubname, 'helios_'))",
        requirements::objects(schemas)
    )
}

/// Query for foreign keys, functions and columns outside that depend on something inside; also views, except for those
/// on this server, which work wherever the schema is. `shown` is what it returns of each.
pub fn outside(schemas: &str, is_here: bool, shown: &str) -> String {
    let views = if is_here { "('v', 'm')" } else { "('-')" };
    format!(
        "WITH inside AS (SELECT oid FROM pg_namespace WHERE nspname = ANY ({schemas})),
              object AS (SELECT 'pg_class'::regclass AS class, oid, relnamespace AS schema, relkind IN {views} AS looks_in FROM pg_class
                         UNION ALL SELECT 'pg_type'::regclass, oid, typnamespace, false FROM pg_type
                         UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace, false FROM pg_proc
                         UNION ALL SELECT 'pg_constraint'::regclass, oid, connamespace, false FROM pg_constraint
                         UNION ALL SELECT 'pg_rewrite'::regclass, r.oid, c.relnamespace, c.relkind IN {views} FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class)
         SELECT DISTINCT {shown}
           FROM pg_depend d JOIN object inner_ ON inner_.class = d.refclassid AND inner_.oid = d.refobjid
                JOIN object outer_ ON outer_.class = d.classid AND outer_.oid = d.objid
          WHERE inner_.schema IN (SELECT oid FROM inside) AND outer_.schema NOT IN (SELECT oid FROM inside)
            AND NOT outer_.looks_in
            AND outer_.schema NOT IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg\\_toast%' OR nspname LIKE 'pg\\_temp%')"
    )
}
