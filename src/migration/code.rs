//! Definitions that run code when they are created.
//!
//! Most do not: CREATE INDEX switches to the table's owner by itself, and defaults and function bodies are only parsed.
//! But a literal of a type that contains domains (for example an array of one) is checked when it is parsed, and
//! constant expressions in generated columns, partition keys and checks of existing tables are evaluated. Such
//! definitions are created with the privileges of the objects' owners; all others need no privileges of theirs.
//!
//! Code is anything that a non-superuser can write: every function not owned by a superuser, and, where it is called
//! with rows or values, everything that is not immutable, because some of PostgreSQL's own functions execute text
//! passed to them.

use crate::error::Result;
use crate::remote::{Record, Session, own_rows};
use crate::replication::endpoints::names;
use helios_core::archive::Entry;
use std::collections::{HashMap, HashSet};

/// Objects of a server, by catalog and OID.
#[derive(Clone, Debug, Default)]
pub struct Code {
    running: HashSet<(u32, u32)>,
    /// Tables whose checks or keys run code when they are attached as partitions or have partitions attached.
    attached: HashSet<u32>,
    /// Foreign keys whose validation would plan a query that contains code: their tables and names.
    keys: HashMap<u32, (String, String)>,
}

/// Common table expressions for queries about code: `running(class, object, relation)`, with the table that an object
/// belongs to; `attached(relation)`; `planned(relation)`, the tables for which planning a query runs code.
pub const CTES: &str = "
    written(class, object) AS MATERIALIZED (
        SELECT 'pg_proc'::regclass::oid, p.oid FROM pg_proc p
         WHERE NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = p.proowner AND r.rolsuper)
        UNION ALL
        SELECT 'pg_operator'::regclass::oid, o.oid FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode
         WHERE NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = p.proowner AND r.rolsuper)),
    checks(oid, relation, type) AS MATERIALIZED (
        SELECT k.oid, k.conrelid, k.contypid FROM pg_constraint k
         WHERE k.contype = 'c' AND k.oid >= 16384
           AND (EXISTS (SELECT FROM pg_depend d JOIN written w ON w.class = d.refclassid AND w.object = d.refobjid
                         WHERE d.classid = 'pg_constraint'::regclass AND d.objid = k.oid)
                OR EXISTS (SELECT FROM regexp_matches(k.conbin::text, ':funcid ([0-9]+)', 'g') AS m(f)
                             JOIN pg_proc p ON p.oid = m.f[1]::oid WHERE p.provolatile <> 'i'))),
    holds(outer_type, inner_type) AS (
        SELECT oid, typbasetype FROM pg_type WHERE typtype = 'd'
        UNION ALL SELECT oid, typelem FROM pg_type WHERE typelem <> 0
        UNION ALL SELECT rngtypid, rngsubtype FROM pg_range
        UNION ALL SELECT rngmultitypid, rngtypid FROM pg_range
        UNION ALL SELECT t.oid, a.atttypid FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid
                   WHERE t.typrelid <> 0 AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL SELECT k.contypid, d.refobjid FROM pg_constraint k
                    JOIN pg_depend d ON d.classid = 'pg_constraint'::regclass AND d.objid = k.oid
                   WHERE k.contypid <> 0 AND d.refclassid = 'pg_type'::regclass),
    coded(type) AS (
        SELECT type FROM checks WHERE type <> 0
        UNION SELECT h.outer_type FROM coded c JOIN holds h ON h.inner_type = c.type),
    uses(class, object, part, holder) AS MATERIALIZED (
        SELECT d.classid, d.objid, d.objsubid, false FROM pg_depend d
          JOIN written w ON w.class = d.refclassid AND w.object = d.refobjid
        UNION ALL
        SELECT d.classid, d.objid, d.objsubid, t.typtype <> 'd' FROM pg_depend d
          JOIN coded c ON c.type = d.refobjid JOIN pg_type t ON t.oid = c.type
         WHERE d.refclassid = 'pg_type'::regclass),
    keyed(relation) AS (
        SELECT u.object FROM uses u JOIN pg_partitioned_table p ON p.partrelid = u.object
         WHERE u.class = 'pg_class'::regclass AND u.part = 0
        UNION
        SELECT p.partrelid FROM pg_partitioned_table p
          JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = ANY (p.partattrs::int2[])
          JOIN coded c ON c.type = a.atttypid),
    checked(relation) AS (
        SELECT relation FROM checks WHERE relation <> 0
        UNION SELECT k.conrelid FROM uses u JOIN pg_constraint k ON k.oid = u.object
               WHERE u.class = 'pg_constraint'::regclass AND k.contype = 'c' AND k.conrelid <> 0),
    attached(relation) AS (
        SELECT relation FROM keyed UNION SELECT relation FROM checked
        UNION SELECT i.inhparent FROM checked c JOIN pg_inherits i ON i.inhrelid = c.relation),
    planned(relation) AS (
        SELECT relation FROM checked
        UNION SELECT i.indrelid FROM uses u JOIN pg_index i ON i.indexrelid = u.object WHERE u.class = 'pg_class'::regclass
        UNION SELECT s.stxrelid FROM uses u JOIN pg_statistic_ext s ON s.oid = u.object
               WHERE u.class = 'pg_statistic_ext'::regclass
        UNION SELECT relation FROM keyed
        UNION SELECT i.inhparent FROM planned p JOIN pg_inherits i ON i.inhrelid = p.relation),
    running(class, object, relation) AS (
        SELECT u.class, u.object, coalesce(f.adrelid, r.ev_class, t.tgrelid, y.polrelid, s.stxrelid)
          FROM uses u LEFT JOIN pg_attrdef f ON u.class = 'pg_attrdef'::regclass AND f.oid = u.object
               LEFT JOIN pg_rewrite r ON u.class = 'pg_rewrite'::regclass AND r.oid = u.object
               LEFT JOIN pg_trigger t ON u.class = 'pg_trigger'::regclass AND t.oid = u.object
               LEFT JOIN pg_policy y ON u.class = 'pg_policy'::regclass AND y.oid = u.object
               LEFT JOIN pg_statistic_ext s ON u.class = 'pg_statistic_ext'::regclass AND s.oid = u.object
         WHERE u.holder AND u.class IN ('pg_attrdef'::regclass, 'pg_rewrite'::regclass, 'pg_trigger'::regclass,
                                        'pg_policy'::regclass, 'pg_statistic_ext'::regclass)
        -- Checks that are added to what is there already are computed; those of CREATE TABLE are only read.
        UNION SELECT 'pg_constraint'::regclass, k.oid, nullif(k.conrelid, 0) FROM pg_constraint k
               WHERE k.contype = 'c' AND (EXISTS (SELECT FROM checks c WHERE c.oid = k.oid)
                     OR EXISTS (SELECT FROM uses u WHERE u.class = 'pg_constraint'::regclass AND u.object = k.oid))
        UNION SELECT 'pg_class'::regclass, k.conrelid, k.conrelid FROM uses u JOIN pg_constraint k ON k.oid = u.object
               WHERE u.class = 'pg_constraint'::regclass AND u.holder AND k.contype = 'c' AND k.conrelid <> 0
        UNION SELECT 'pg_type'::regclass, k.contypid, NULL FROM uses u JOIN pg_constraint k ON k.oid = u.object
               WHERE u.class = 'pg_constraint'::regclass AND u.holder AND k.contypid <> 0
        UNION SELECT 'pg_class'::regclass, a.attrelid, a.attrelid
                FROM uses u JOIN pg_attrdef f ON f.oid = u.object
                     JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
               WHERE u.class = 'pg_attrdef'::regclass AND (u.holder OR a.attgenerated <> '')
        UNION SELECT 'pg_class'::regclass, r.ev_class, r.ev_class FROM uses u JOIN pg_rewrite r ON r.oid = u.object
               WHERE u.class = 'pg_rewrite'::regclass AND u.holder AND r.rulename = '_RETURN'
        UNION SELECT 'pg_class'::regclass, i.indexrelid, i.indrelid FROM uses u JOIN pg_index i ON i.indexrelid = u.object
               WHERE u.class = 'pg_class'::regclass AND u.holder
        UNION SELECT 'pg_constraint'::regclass, k.oid, k.conrelid FROM uses u JOIN pg_constraint k ON k.conindid = u.object
               WHERE u.class = 'pg_class'::regclass AND u.holder AND k.contype IN ('p', 'u', 'x')
        UNION SELECT 'pg_class'::regclass, relation, relation FROM keyed
        UNION SELECT u.class, u.object, NULL FROM uses u JOIN pg_proc p ON p.oid = u.object
               WHERE u.class = 'pg_proc'::regclass AND u.holder
                 AND (p.proargdefaults IS NOT NULL OR p.prosqlbody IS NOT NULL)
        UNION SELECT 'pg_proc'::regclass, a.aggfnoid::oid, NULL FROM pg_aggregate a JOIN coded c ON c.type IN (a.aggtranstype, a.aggmtranstype)
               WHERE a.agginitval IS NOT NULL OR a.aggminitval IS NOT NULL
        UNION SELECT u.class, u.object, NULL FROM uses u JOIN pg_type t ON t.oid = u.object
               WHERE u.class = 'pg_type'::regclass AND u.holder AND t.typdefaultbin IS NOT NULL)";

impl Code {
    /// Reads them from the server that has the definitions.
    pub fn of(session: &mut Session, schemas: &[String]) -> Result<Self> {
        Self::read(&session.query(&Self::query(schemas))?)
    }

    /// Reads them from this server.
    pub fn here(schemas: &[String]) -> Result<Self> {
        Self::read(&own_rows(&Self::query(schemas))?)
    }

    fn query(schemas: &[String]) -> String {
        let schemas = names(schemas);
        format!(
            "WITH RECURSIVE {CTES}
             SELECT 'running' AS what, class::oid::text AS class, object::text AS object, NULL AS of_table, NULL AS name FROM running
             UNION ALL SELECT 'attached', '0', relation::text, NULL, NULL FROM attached
             UNION ALL SELECT 'key', '0', k.oid::text, k.conrelid::regclass::text, k.conname::text
               FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = ANY ({schemas}) AND k.contype = 'f' AND k.convalidated AND c.relkind = 'r'
                AND (k.conrelid IN (SELECT relation FROM planned) OR k.confrelid IN (SELECT relation FROM planned))
             UNION ALL SELECT 'running', 'pg_constraint'::regclass::oid::text, k.oid::text, NULL, NULL
               FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = ANY ({schemas}) AND k.contype = 'f' AND k.convalidated AND c.relkind = 'p'
                AND (k.conrelid IN (SELECT relation FROM planned) OR k.confrelid IN (SELECT relation FROM planned))"
        )
    }

    fn read(rows: &[Record]) -> Result<Self> {
        let mut code = Self::default();
        for row in rows {
            let object = row.parsed("object")?.unwrap_or(0);
            match row.text("what")?.as_str() {
                "running" => {
                    code.running.insert((row.parsed("class")?.unwrap_or(0), object));
                }
                "attached" => {
                    code.attached.insert(object);
                }
                _ => {
                    code.keys.insert(object, (row.text("of_table")?, row.text("name")?));
                }
            }
        }
        Ok(code)
    }

    /// Whether creating this object runs code. `all` are the entries that it may depend on.
    pub fn runs_in(&self, entry: &Entry, all: &[Entry]) -> bool {
        if entry.kind == "TABLE ATTACH" {
            let is_attached =
                |other: &Entry| other.kind == "TABLE" && self.attached.contains(&other.object);
            return all.iter().any(|other| entry.depends.contains(&other.id) && is_attached(other));
        }
        self.running.contains(&(entry.class, entry.object))
    }

    /// Table and name of a foreign key that must not be validated when it is created.
    pub fn unchecked_key(&self, entry: &Entry) -> Option<&(String, String)> {
        if entry.kind == "FK CONSTRAINT" { self.keys.get(&entry.object) } else { None }
    }
}
