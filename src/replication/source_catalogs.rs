//! Contents of the schemas being moved, read from the source's catalogs.

use crate::catalog::migration_table::MovingTable;
use crate::error::Result;
use crate::remote::{Record, Session};
use crate::replication::endpoints::{literal, names};

/// Tables with storage: ordinary ones and leaf partitions.
///
/// A table without a replica identity (no key) must log whole rows while it moves; `identity` is the clause that
/// restores its setting.
pub fn moving(source: &mut Session, schemas: &[String]) -> Result<Vec<MovingTable>> {
    let sql = format!(
        "SELECT n.nspname, c.relname, c.relpersistence <> 'u' AS logged,
                pg_relation_size(c.oid) / current_setting('block_size')::bigint AS blocks,
                CASE WHEN c.reltuples > 0 THEN c.reltuples ELSE pg_relation_size(c.oid) / w.width END::bigint AS rows,
                c.relpersistence = 'u' OR c.relreplident IN ('f', 'i') AND (c.relreplident = 'f' OR i.exact)
                OR c.relreplident = 'd' AND k.there AS stays,
                CASE c.relreplident WHEN 'n' THEN 'NOTHING' ELSE 'DEFAULT' END AS identity,
                dense_rank() OVER (ORDER BY pg_get_userbyid(c.relowner)) - 1 AS part
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                LEFT JOIN LATERAL (SELECT true AS there FROM pg_index WHERE indrelid = c.oid AND indisprimary AND indimmediate AND indisvalid) k ON true
                LEFT JOIN LATERAL (SELECT indisvalid AS exact FROM pg_index WHERE indrelid = c.oid AND indisreplident) i ON true
                -- The planner's estimate for tables that were never analyzed.
                CROSS JOIN LATERAL (SELECT 28 + coalesce(sum(CASE WHEN attlen > 0 THEN attlen ELSE 32 END), 0) AS width
                                      FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) w
          WHERE n.nspname = ANY ({}) AND c.relkind = 'r' ORDER BY c.oid",
        names(schemas)
    );
    let rows = source.query(&sql)?;
    let table = |row: &Record| {
        let identity = row.text("identity")?;
        Ok(MovingTable {
            schema: row.text("nspname")?,
            name: row.text("relname")?,
            logged: row.flag("logged")?,
            blocks: row.parsed("blocks")?.unwrap_or(0),
            rows: row.parsed("rows")?.unwrap_or(0),
            identity: (!row.flag("stays")?).then_some(identity),
            round: None,
            part: row.parsed("part")?.unwrap_or(0),
        })
    };
    rows.iter().map(table).collect()
}

/// Tables for which none of our queries may be planned: the planner evaluates constant expressions of their indexes and
/// statistics, with any functions that a tenant wrote into them.
pub fn unplannable(source: &mut Session, schemas: &[String]) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT DISTINCT format('%I.%I', n.nspname, c.relname)
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                JOIN (SELECT indrelid, 'pg_class'::regclass::oid, indexrelid FROM pg_index WHERE indexprs IS NOT NULL OR indpred IS NOT NULL
                      UNION ALL SELECT stxrelid, 'pg_statistic_ext'::regclass::oid, oid FROM pg_statistic_ext WHERE stxexprs IS NOT NULL
                     ) AS x(relation, class, object) ON x.relation = c.oid
                JOIN pg_depend d ON d.classid = x.class AND d.objid = x.object
          WHERE n.nspname = ANY ({})
            AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_type'::regclass, 'pg_cast'::regclass, 'pg_opclass'::regclass)",
        names(schemas)
    );
    Ok(source.query(&sql)?.into_iter().flatten().flatten().collect())
}

/// A relation that LOCK TABLE accepts.
pub struct Lockable {
    /// Qualified name.
    pub name: String,
    /// Whether its changes are WAL-logged.
    pub logged: bool,
}

/// All relations that LOCK TABLE accepts: tables and their partitioned parents.
pub fn lockable(source: &mut Session, schemas: &[String]) -> Result<Vec<Lockable>> {
    let sql = format!(
        "SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relpersistence <> 'u' AS logged FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = ANY ({}) AND c.relkind IN ('r', 'p') ORDER BY c.oid",
        names(schemas)
    );
    let lockable =
        |row: &Record| Ok(Lockable { name: row.text("name")?, logged: row.flag("logged")? });
    source.query(&sql)?.iter().map(lockable).collect()
}

/// The columns to be copied: all except generated ones.
pub fn columns(session: &mut Session, table: &MovingTable) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT attname FROM pg_attribute WHERE attrelid = {}::regclass AND attnum > 0 AND NOT attisdropped
            AND attgenerated = '' ORDER BY attnum",
        literal(&table.qualified())
    );
    Ok(session.query(&sql)?.into_iter().flatten().flatten().collect())
}

/// Populated materialized views in the order in which they can be refreshed.
pub fn materialized_views(source: &mut Session, schemas: &[String]) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = ANY ({}) AND c.relkind = 'm' AND c.relispopulated ORDER BY c.oid",
        names(schemas)
    );
    Ok(source.query(&sql)?.into_iter().flatten().flatten().collect())
}

/// Positions of the sequences as rows of (name, last value, is_called).
pub fn positions(source: &mut Session, schemas: &[String]) -> Result<Vec<(String, String, bool)>> {
    let sql = format!(
        "SELECT format('%I.%I', schemaname, sequencename) AS name, last_value FROM pg_sequences
          WHERE schemaname = ANY ({}) ORDER BY 1",
        names(schemas)
    );
    let rows = source.query(&sql)?;
    let (mut all, mut reads) = (Vec::new(), Vec::new());
    for row in &rows {
        let name = row.text("name")?;
        match row.option("last_value")? {
            Some(value) => all.push((name, value.to_owned(), true)),
            // For a sequence on which nextval() was never called, the view does not show the position, which setval()
            // may have changed.
            None => reads.push(format!(
                "SELECT {} AS name, last_value, is_called FROM {name}",
                literal(&name)
            )),
        }
    }
    for some in reads.chunks(500) {
        for row in &source.query(&some.join(" UNION ALL "))? {
            all.push((row.text("name")?, row.text("last_value")?, row.flag("is_called")?));
        }
    }
    Ok(all)
}

/// Sets the positions of sequences that differ from those known before.
pub fn set_positions(
    target: &mut Session,
    now: &[(String, String, bool)],
    before: &[(String, String, bool)],
) -> Result<()> {
    let changed: Vec<String> = now
        .iter()
        .filter(|position| !before.contains(position))
        .map(|(name, value, called)| format!("setval({}, {value}, {called})", literal(name)))
        .collect();
    // The length of a target list is limited.
    for some in changed.chunks(500) {
        target.query(&format!("SELECT {}", some.join(", ")))?;
    }
    Ok(())
}
