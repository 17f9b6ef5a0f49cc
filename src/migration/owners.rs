//! Privileges that the owners of a schema's objects need for a move, because their code runs with their privileges
//! only.
//!
//! An owner's missing privileges do not matter as long as none of his code must run: see [`super::code`] for the
//! definitions that run code.

use super::code;
use crate::catalog::migration::Migration;
use crate::error::{Error, Result};
use crate::migration::kind::Kind;
use crate::migration::kind::target_has_definition;
use crate::remote::Session;
use crate::replication::endpoints::{self, names};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// 55000 if an owner lacks a privilege, with the remedy. `own` is the role that creates the definitions.
pub fn check(migration: &Migration, node: &str, own: &str, source: &mut Session) -> Result<()> {
    let own = endpoints::literal(own);
    let schemas = names(&migration.schemas);
    let tables = format!(
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ANY ({schemas}) AND c.relkind = 'r'"
    );
    let forced = format!(
        "SELECT c.oid::regclass AS what, NULL AS remedy {tables} AND c.relforcerowsecurity AND {}",
        Kind::of(migration) == Kind::Replica
    );
    let mut obstacles = vec![
        (
            "owners of tables lack permission to execute functions used in the tables' expressions",
            functions(&schemas),
        ),
        ("tables with FORCE ROW LEVEL SECURITY cannot have replicas", forced),
    ];
    if !target_has_definition(migration) {
        obstacles.extend(definitions(&schemas, &own));
    }
    for (what, sql) in obstacles {
        let rows = source.query(&sql)?;
        let Some(first) = rows.first() else { continue };
        let all = rows.iter().map(|row| row.text("what")).collect::<Result<Vec<_>>>()?;
        let hint = match first.option("remedy")? {
            None => format!("Run ALTER TABLE {} NO FORCE ROW LEVEL SECURITY.", all[0]),
            Some(remedy) => {
                format!("Run {remedy}: the code runs with the privileges of the table's owner.")
            }
        };
        let message = format!("{what} (node \"{node}\")");
        return Err(Error::new(Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .detail(format!("{}.", all.join(", ")))
            .hint(hint));
    }
    Ok(())
}

/// Functions that are called for a table's rows and that its owner, who copies the rows, may not execute.
fn functions(schemas: &str) -> String {
    format!(
        "WITH expression(relation, class, object) AS (
             SELECT f.adrelid, 'pg_attrdef'::regclass::oid, f.oid FROM pg_attrdef f
               JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum WHERE a.attgenerated <> ''
             UNION ALL SELECT conrelid, 'pg_constraint'::regclass, oid FROM pg_constraint WHERE contype = 'c' AND conrelid <> 0
             UNION ALL SELECT indrelid, 'pg_class'::regclass, indexrelid FROM pg_index WHERE indexprs IS NOT NULL OR indpred IS NOT NULL
             UNION ALL SELECT a.attrelid, 'pg_constraint'::regclass, k.oid FROM pg_attribute a JOIN pg_constraint k ON k.contypid = a.atttypid
                        WHERE k.contypid <> 0 AND a.attnum > 0)
         SELECT DISTINCT format('%s for %I, owner of %s', p.oid::regprocedure, o.rolname, c.oid::regclass) AS what,
                format('GRANT EXECUTE ON FUNCTION %s TO %I', p.oid::regprocedure, o.rolname) AS remedy
           FROM expression x JOIN pg_class c ON c.oid = x.relation JOIN pg_namespace n ON n.oid = c.relnamespace
                JOIN pg_roles o ON o.oid = c.relowner
                JOIN pg_depend d ON d.classid = x.class AND d.objid = x.object
                LEFT JOIN pg_operator q ON d.refclassid = 'pg_operator'::regclass AND q.oid = d.refobjid
                JOIN pg_proc p ON p.oid = CASE d.refclassid WHEN 'pg_proc'::regclass THEN d.refobjid ELSE q.oprcode END
          WHERE n.nspname = ANY ({schemas}) AND c.relkind = 'r' AND NOT has_function_privilege(c.relowner, p.oid, 'EXECUTE')
          ORDER BY 1"
    )
}

/// Missing privileges to create objects whose definition runs code.
fn definitions(schemas: &str, own: &str) -> Vec<(&'static str, String)> {
    let running = format!(
        "WITH RECURSIVE {}, object AS (
             SELECT DISTINCT r.class, r.object, r.relation, pg_describe_object(r.class, r.object, 0) AS name,
                    coalesce(c.relowner, p.proowner, t.typowner) AS owner,
                    coalesce(c.relnamespace, p.pronamespace, t.typnamespace) AS namespace,
                    r.class IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass, 'pg_statistic_ext'::regclass) AS creates
               FROM running r LEFT JOIN pg_constraint k ON r.class = 'pg_constraint'::regclass AND k.oid = r.object
                    LEFT JOIN pg_class c ON c.oid = coalesce(r.relation, nullif(k.conrelid, 0))
                    LEFT JOIN pg_proc p ON r.class = 'pg_proc'::regclass AND p.oid = r.object
                    LEFT JOIN pg_type t ON t.oid = CASE r.class WHEN 'pg_type'::regclass THEN r.object
                                                       WHEN 'pg_constraint'::regclass THEN nullif(k.contypid, 0) END),
         own AS (
             SELECT o.*, n.nspname, w.rolname FROM object o JOIN pg_namespace n ON n.oid = o.namespace JOIN pg_roles w ON w.oid = o.owner
              WHERE n.nspname = ANY ({schemas}) AND w.rolname <> {own} AND NOT w.rolsuper)",
        code::CTES
    );
    let strangers = format!(
        "{running} SELECT format('%s of %I', name, rolname) AS what,
                format('GRANT %s ON SCHEMA %I TO %I', CASE WHEN creates THEN 'CREATE, USAGE' ELSE 'USAGE' END, nspname, rolname) AS remedy
           FROM own WHERE NOT has_schema_privilege(owner, namespace, 'USAGE') OR creates AND NOT has_schema_privilege(owner, namespace, 'CREATE')
          ORDER BY creates DESC, 1"
    );
    let parents = format!(
        "{running} SELECT format('%s below %s', c.oid::regclass, p.oid::regclass) AS what, format('ALTER TABLE %s OWNER TO %I', c.oid::regclass, pg_get_userbyid(p.relowner)) AS remedy
           FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace n ON n.oid = c.relnamespace
                JOIN pg_roles w ON w.oid = c.relowner
          WHERE n.nspname = ANY ({schemas}) AND c.relkind IN ('r', 'p') AND NOT w.rolsuper AND w.rolname <> {own}
            AND NOT pg_has_role(c.relowner, p.relowner, 'USAGE')
            AND (c.oid IN (SELECT relation FROM own WHERE class = 'pg_class'::regclass)
                 OR c.relispartition AND (c.oid IN (SELECT relation FROM attached) OR p.oid IN (SELECT relation FROM attached)))
          ORDER BY 1"
    );
    let keys = format!(
        "{running} SELECT format('%I on %s', k.conname, c.oid::regclass) AS what, format('GRANT REFERENCES ON %s TO %I', k.confrelid::regclass, w.rolname) AS remedy
           FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class r ON r.oid = k.confrelid
                JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles w ON w.oid = c.relowner
          WHERE n.nspname = ANY ({schemas}) AND k.contype = 'f' AND c.relkind = 'p' AND k.conparentid = 0 AND NOT w.rolsuper AND w.rolname <> {own}
            AND (c.oid IN (SELECT relation FROM planned) OR r.oid IN (SELECT relation FROM planned))
            AND NOT has_any_column_privilege(c.relowner, r.oid, 'REFERENCES')
          ORDER BY 1"
    );
    let untrusted = format!(
        "{running} SELECT name AS what, format('ALTER FUNCTION %s OWNER TO a superuser', p.oid::regprocedure) AS remedy
           FROM own JOIN pg_proc p ON own.class = 'pg_proc'::regclass AND p.oid = own.object JOIN pg_language l ON l.oid = p.prolang
          WHERE p.prokind <> 'a' AND (NOT l.lanpltrusted OR p.proleakproof) ORDER BY 1"
    );
    vec![
        (
            "owners of objects with definitions that run code lack permission to create them",
            strangers,
        ),
        (
            "owners of tables with definitions that run code differ from those of their parents",
            parents,
        ),
        (
            "owners of tables lack permission to reference tables whose indexes, statistics or checks run code",
            keys,
        ),
        (
            "owners of functions with definitions that run code lack permission to create them",
            untrusted,
        ),
    ]
}
