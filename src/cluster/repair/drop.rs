//! Drops objects that differ on the coordinator, and the objects of the schema that depend on them.

use super::differences::{Action, Differences, Subject};
use super::lines::{Aspect, pairs};
use super::views::Views;
use crate::error::{Error, Result};
use crate::migration::requirements;
use crate::pg::session::sql;
use crate::remote::{Record, own_rows};
use crate::replication::endpoints::literal;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::collections::{BTreeMap, BTreeSet};

/// Drops the differing objects. Views of other schemas that depend on them are kept with a placeholder query until the
/// end.
///
/// 55000, listing the objects outside of the schema that would have to be dropped.
pub fn differing(
    subject: &Subject,
    found: &Differences,
    views: &mut Views,
    note: &mut impl FnMut(Action),
) -> Result<()> {
    // Objects of this server identified by the keys of the lines.
    let units: BTreeMap<&str, (u32, u32)> = found
        .here
        .iter()
        .filter(|here| here.line.aspect == Aspect::Definition)
        .map(|here| (here.line.key.as_str(), (here.class, here.id)))
        .collect();
    let mut seeds = BTreeSet::new();
    for line in found.of(Aspect::Definition) {
        let unit = units.get(line.key.as_str());
        seeds.extend(unit);
        let how = found.how(&line.object);
        note(Action::new(
            &line.object,
            how,
            match (unit, how) {
                (None, _) => "created",
                (Some(_), "missing on the node") if line.object == line.key => "dropped",
                (Some(_), _) if line.object == line.key => "recreated",
                (Some(_), _) => "recreated with the object it belongs to",
            },
        ));
    }
    let seeds: Vec<_> = seeds.into_iter().collect();
    if seeds.is_empty() {
        return Ok(());
    }
    let closure = closure(subject, &seeds)?;
    let outside: Vec<&Dropped> = closure
        .iter()
        .filter(|dropped| !dropped.inside && !dropped.is_view && dropped.is_whole)
        .collect();
    if !outside.is_empty() {
        return Err(refusal(subject, &outside));
    }
    for view in closure.iter().filter(|dropped| dropped.is_view) {
        if views.set_aside(&view.identity)? {
            note(Action::new(&view.shown, "depends on a recreated object", "kept"));
        }
    }
    for dropped in closure.iter().filter(|dropped| dropped.inside && dropped.is_whole) {
        note(Action::new(&dropped.shown, "depends on an object that differs", "recreated"));
        sql::run(&dropped.statement, &[])?;
    }
    Ok(())
}

/// An object that is dropped along with the seeds, or a view that is kept.
struct Dropped {
    shown: String,
    identity: String,
    statement: String,
    inside: bool,
    /// A dependent view of another schema.
    is_view: bool,
    /// Not a part of another object that is dropped.
    is_whole: bool,
}

/// Pairs of a part and its whole, as (class, id): a part can only be dropped with its whole.
const PARTS: &str = "
    SELECT d.classid AS class, d.objid AS id, d.refclassid AS whole_class, d.refobjid AS whole
      FROM pg_depend d WHERE d.deptype IN ('i', 'P') AND (d.classid, d.objid) <> (d.refclassid, d.refobjid)
    UNION ALL SELECT 'pg_class'::regclass, h.inhrelid, 'pg_class'::regclass, h.inhparent
                FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid WHERE c.relispartition AND c.relkind IN ('r', 'p', 'f')
    UNION ALL SELECT 'pg_attrdef'::regclass, a.oid, 'pg_class'::regclass, a.adrelid FROM pg_attrdef a
    UNION ALL SELECT 'pg_constraint'::regclass, k.oid, 'pg_class'::regclass, k.conrelid FROM pg_constraint k
               WHERE k.contype IN ('c', 'n') AND k.conrelid <> 0
    UNION ALL SELECT 'pg_constraint'::regclass, k.oid, 'pg_type'::regclass, k.contypid FROM pg_constraint k WHERE k.contypid <> 0
    UNION ALL SELECT 'pg_amop'::regclass, o.oid, 'pg_opfamily'::regclass, o.amopfamily FROM pg_amop o
    UNION ALL SELECT 'pg_amproc'::regclass, o.oid, 'pg_opfamily'::regclass, o.amprocfamily FROM pg_amproc o";

/// All objects that depend on the given ones or contain them. Dependencies are not followed beyond views of other
/// schemas.
fn closure(subject: &Subject, seeds: &[(u32, u32)]) -> Result<Vec<Dropped>> {
    let query = format!(
        "WITH RECURSIVE {}, closure(class, id) AS (
            SELECT * FROM (VALUES {}) AS s(class, id)
            UNION
            SELECT x.class::oid, x.id FROM closure c CROSS JOIN LATERAL (
                SELECT d.classid AS class, d.objid AS id FROM pg_depend d
                 WHERE d.refclassid = c.class AND d.refobjid = c.id AND d.deptype IN ('n', 'a', 'i', 'P', 'S')
                UNION ALL SELECT p.whole_class, p.whole FROM ({PARTS}) AS p WHERE p.class = c.class AND p.id = c.id) AS x
             WHERE NOT EXISTS (SELECT FROM pg_rewrite w JOIN pg_class v ON v.oid = w.ev_class
                                WHERE c.class = 'pg_rewrite'::regclass AND w.oid = c.id AND w.rulename = '_RETURN' AND v.relkind = 'v'
                                  AND v.relnamespace NOT IN (SELECT oid FROM inside)))
         SELECT CASE WHEN v.oid IS NULL THEN pg_describe_object(c.class, c.id, 0) ELSE 'view ' || v.oid::regclass END AS shown,
                CASE WHEN v.oid IS NULL THEN i.identity ELSE v.oid::text END AS identity,
                CASE WHEN i.type = 'table constraint'
                     THEN (SELECT format('ALTER TABLE IF EXISTS %s DROP CONSTRAINT IF EXISTS %I CASCADE', k.conrelid::regclass, k.conname)
                             FROM pg_constraint k WHERE k.oid = c.id)
                     WHEN i.type = 'transform'
                     THEN (SELECT format('DROP TRANSFORM IF EXISTS FOR %s LANGUAGE %I CASCADE', format_type(f.trftype, NULL), l.lanname)
                             FROM pg_transform f JOIN pg_language l ON l.oid = f.trflang WHERE f.oid = c.id)
                     ELSE format('DROP %s IF EXISTS %s CASCADE',
                                 CASE i.type WHEN 'composite type' THEN 'TYPE' WHEN 'statistics object' THEN 'STATISTICS' ELSE upper(i.type) END,
                                 i.identity) END AS statement,
                (o.oid IS NOT NULL)::text AS inside,
                (v.oid IS NOT NULL)::text AS is_view,
                (NOT EXISTS (SELECT FROM ({PARTS}) AS p WHERE p.class = c.class AND p.id = c.id))::text AS is_whole
           FROM closure c LEFT JOIN object o ON o.class = c.class AND o.oid = c.id
                CROSS JOIN LATERAL pg_identify_object(c.class, c.id, 0) AS i
                LEFT JOIN pg_rewrite w ON c.class = 'pg_rewrite'::regclass AND w.oid = c.id AND w.rulename = '_RETURN'
                LEFT JOIN pg_class v ON v.oid = w.ev_class AND v.relkind = 'v' AND v.relnamespace NOT IN (SELECT oid FROM inside)
          WHERE i.schema IS DISTINCT FROM 'pg_toast'
          ORDER BY c.class, c.id",
        requirements::inside(std::slice::from_ref(&subject.schema)),
        pairs(seeds)
    );
    let read = |row: &Record| {
        Ok(Dropped {
            shown: row.text("shown")?,
            identity: row.text("identity")?,
            statement: row.text("statement")?,
            inside: row.flag("inside")?,
            is_view: row.flag("is_view")?,
            is_whole: row.flag("is_whole")?,
        })
    };
    own_rows(&query)?.iter().map(read).collect()
}

fn refusal(subject: &Subject, outside: &[&Dropped]) -> Error {
    const SHOWN: usize = 10;
    let all: Vec<_> = outside.iter().take(SHOWN).map(|dropped| dropped.shown.as_str()).collect();
    let mut detail = all.join(", ");
    if outside.len() > SHOWN {
        detail.push_str(&format!(" and {} more", outside.len() - SHOWN));
    }
    Error::new(
        Code::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
        format!(
            "cannot repair schema \"{}\" because objects in other schemas depend on objects that differ",
            subject.schema
        ),
    )
    .detail(format!("These objects would be dropped or lose columns or defaults: {detail}."))
    .hint(format!(
        "Drop them, run SELECT * FROM helios_repair_schema({}), and create them again.",
        literal(&subject.schema)
    ))
}
