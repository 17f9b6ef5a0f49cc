//! Objects outside of schemas on which they depend, and which must exist at their destination.

use crate::catalog;
use crate::error::{Error, Result};
use crate::pg::ipc::worker;
use crate::pg::session;
use crate::remote::{Record, Session};
use crate::replication::endpoint::Endpoint;
use crate::replication::endpoints::{identifier, literal, names};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::collections::HashSet;

/// Query for all objects in the schemas, as (class, oid), for use in other queries.
pub fn objects(schemas: &[String]) -> String {
    format!("WITH {}", inside(schemas))
}

/// Common table expressions `inside`, the schemas, and `object`, all objects in them.
pub fn inside(schemas: &[String]) -> String {
    let of = |catalog: &str, schema: &str| {
        format!(
            "SELECT '{catalog}'::regclass, x.oid FROM {catalog} x WHERE x.{schema} IN (SELECT oid FROM inside)"
        )
    };
    let below = |catalog: &str, relation: &str| {
        format!(
            "SELECT '{catalog}'::regclass, x.oid FROM {catalog} x JOIN pg_class c ON c.oid = x.{relation}
              WHERE c.relnamespace IN (SELECT oid FROM inside)"
        )
    };
    let all = [
        "SELECT 'pg_namespace'::regclass, oid FROM inside".to_owned(),
        of("pg_class", "relnamespace"),
        of("pg_type", "typnamespace"),
        of("pg_proc", "pronamespace"),
        of("pg_operator", "oprnamespace"),
        of("pg_opclass", "opcnamespace"),
        of("pg_opfamily", "opfnamespace"),
        of("pg_collation", "collnamespace"),
        of("pg_conversion", "connamespace"),
        of("pg_ts_config", "cfgnamespace"),
        of("pg_ts_dict", "dictnamespace"),
        of("pg_ts_parser", "prsnamespace"),
        of("pg_ts_template", "tmplnamespace"),
        of("pg_statistic_ext", "stxnamespace"),
        of("pg_constraint", "connamespace"),
        of("pg_default_acl", "defaclnamespace"),
        below("pg_attrdef", "adrelid"),
        below("pg_rewrite", "ev_class"),
        below("pg_trigger", "tgrelid"),
        below("pg_policy", "polrelid"),
        // Objects without a schema that are parts of objects in the schemas.
        "SELECT 'pg_cast'::regclass, x.oid FROM pg_cast x WHERE x.oid >= 16384
            AND (EXISTS (SELECT FROM pg_type t WHERE t.oid IN (x.castsource, x.casttarget) AND t.typnamespace IN (SELECT oid FROM inside))
                 OR EXISTS (SELECT FROM pg_proc p WHERE p.oid = x.castfunc AND p.pronamespace IN (SELECT oid FROM inside)))"
            .to_owned(),
        "SELECT 'pg_transform'::regclass, x.oid FROM pg_transform x
          WHERE EXISTS (SELECT FROM pg_type t WHERE t.oid = x.trftype AND t.typnamespace IN (SELECT oid FROM inside))
             OR EXISTS (SELECT FROM pg_proc p WHERE p.oid IN (x.trffromsql, x.trftosql) AND p.pronamespace IN (SELECT oid FROM inside))"
            .to_owned(),
    ];
    format!(
        "inside AS (SELECT oid FROM pg_namespace WHERE nspname = ANY ({})), object(class, oid) AS ({})",
        names(schemas),
        all.join(" UNION ALL ")
    )
}

/// An object outside of the schemas on which an object inside depends.
#[derive(Clone, Debug)]
pub struct Need {
    /// The extension to which it belongs, or that it is.
    pub extension: Option<String>,
    /// Its description for users.
    pub shown: String,
    /// Arguments for `pg_get_object_address`.
    address: [String; 3],
    /// Its catalog and OID.
    pub object: (u32, u32),
    /// Its qualified name.
    identity: String,
    /// Description of the object that depends on it.
    pub needed_by: String,
    /// Kind of the dependency: `foreign key`, `partition`, `child`, or empty.
    link: String,
    /// The dependent table.
    table: String,
    /// The schemas of the dependent object and of the needed one, if both are in distributed schemas.
    colocation: Option<(String, String)>,
}

/// Whether a schema is in the directory, read in the transaction that there is, or in one of its own.
pub fn is_distributed(schema: &str) -> Result<bool> {
    let find = || Ok(catalog::any_placement_of(schema)?.is_some());
    if session::can_read_catalogs() { find() } else { worker::attempt(find) }
}

/// The query that finds them. All result columns are text; see [`Need::of_row`].
pub fn query(schemas: &[String]) -> String {
    format!(
        "{} SELECT DISTINCT ON (e.extname, d.refclassid, d.refobjid) e.extname::text AS extension, pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0) AS shown,
                   a.type, a.object_names::text, a.object_args::text, d.refclassid::oid::text AS class, d.refobjid::text AS object,
                   n.identity, pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) AS needed_by,
                   CASE WHEN k.contype = 'f' THEN 'foreign key' WHEN c.relispartition AND d.refclassid = d.classid THEN 'partition'
                        WHEN h.inhrelid IS NOT NULL THEN 'child' ELSE '' END AS link,
                   coalesce(k.conrelid::regclass::text, c.oid::regclass::text, '') AS linked_table,
                   coalesce(b.schema, b.names[1]) AS needing_schema, coalesce(n.schema, a.object_names[1]) AS needed_schema
              FROM pg_depend d JOIN object o ON o.class = d.classid AND o.oid = d.objid
                   LEFT JOIN object i ON i.class = d.refclassid AND i.oid = d.refobjid
                   LEFT JOIN pg_depend m ON m.classid = d.refclassid AND m.objid = d.refobjid AND m.deptype = 'e'
                   LEFT JOIN pg_extension e ON e.oid = m.refobjid OR d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
                   LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
                   LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
                   LEFT JOIN pg_inherits h ON h.inhrelid = c.oid AND d.refclassid = 'pg_class'::regclass AND h.inhparent = d.refobjid
                   CROSS JOIN LATERAL pg_catalog.pg_identify_object_as_address(d.refclassid, d.refobjid, 0) AS a
                   CROSS JOIN LATERAL (SELECT (pg_catalog.pg_identify_object(d.classid, d.objid, 0)).schema,
                                              (pg_catalog.pg_identify_object_as_address(d.classid, d.objid, 0)).object_names) AS b(schema, names)
                   CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.refclassid, d.refobjid, 0) AS n
             WHERE i.oid IS NULL AND d.refobjid >= 16384 AND a.type NOT IN ('index', 'role', 'server', 'foreign-data wrapper')
               AND NOT EXISTS (SELECT FROM pg_trigger g WHERE d.classid = 'pg_trigger'::regclass AND g.oid = d.objid AND g.tgisinternal)
             ORDER BY e.extname, d.refclassid, d.refobjid, link DESC, needed_by",
        objects(schemas)
    )
}

impl Need {
    /// Reads a row of [`query`].
    pub fn of_row(row: &Record) -> Result<Self> {
        let number = |column| Ok::<_, Error>(row.parsed(column)?.unwrap_or(0));
        Ok(Self {
            extension: row.option("extension")?.map(str::to_owned),
            shown: row.text("shown")?,
            address: [row.text("type")?, row.text("object_names")?, row.text("object_args")?],
            object: (number("class")?, number("object")?),
            identity: row.text("identity")?,
            needed_by: row.text("needed_by")?,
            link: row.text("link")?,
            table: row.text("linked_table")?,
            colocation: None,
        })
    }

    /// Whether it is a relation.
    fn is_relation(&self) -> bool {
        matches!(self.address[0].as_str(), "table" | "view" | "materialized view" | "sequence")
    }

    /// Records whether the object is in another distributed schema.
    fn found_on_node(mut self, row: &Record) -> Result<Self> {
        let schemas = (row.option("needing_schema")?, row.option("needed_schema")?);
        if let (Some(needing), Some(needed)) = schemas
            && is_distributed(needed)?
        {
            self.colocation = Some((needing.to_owned(), needed.to_owned()));
        }
        Ok(self)
    }

    /// The command that removes the dependency, or that lets both schemas move together.
    fn remedy(&self, schema: &str) -> String {
        if let Some((needing, needed)) = &self.colocation {
            return format!("SELECT helios_colocate({}, {});", literal(needing), literal(needed));
        }
        let (kind, name) = (self.address[0].as_str(), &self.identity);
        match (self.link.as_str(), kind) {
            ("partition", _) => format!("ALTER TABLE {name} DETACH PARTITION {};", self.table),
            ("child", _) => format!("ALTER TABLE {} NO INHERIT {name};", self.table),
            (_, "table") => {
                format!("SELECT helios_create_reference_table({});", literal(name))
            }
            (
                _,
                "sequence" | "view" | "materialized view" | "type" | "function" | "procedure"
                | "aggregate",
            ) => {
                format!("ALTER {} {name} SET SCHEMA {};", kind.to_uppercase(), identifier(schema))
            }
            _ => format!("Drop {}.", self.needed_by),
        }
    }
}

/// 0A000: the schema cannot be placed there because of these dependencies.
pub fn refusal(schema: &str, place: &str, needs: &[Need]) -> Error {
    let shown =
        needs.iter().take(10).map(|need| format!("{} needs {}", need.needed_by, need.shown));
    let mut detail = shown.collect::<Vec<_>>().join("; ");
    if needs.len() > 10 {
        detail.push_str(&format!(" and {} more", needs.len() - 10));
    }
    let mut remedies: Vec<_> = needs.iter().take(10).map(|need| need.remedy(schema)).collect();
    let mut seen = HashSet::new();
    remedies.retain(|remedy| seen.insert(remedy.clone()));
    Error::new(
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("schema \"{schema}\" depends on objects that do not exist on {place}"),
    )
    .detail(format!("{detail}."))
    .hint(remedies.join(" "))
}

/// Dependencies that do not exist on a server.
pub fn missing(
    schemas: &[String],
    source: &mut Session,
    side: &mut Session,
    from: Endpoint,
) -> Result<Vec<Need>> {
    let mut missing: Vec<Need> = Vec::new();
    for row in source.query(&query(schemas))? {
        let need = Need::of_row(&row)?;
        if let Some(extension) = &need.extension {
            let there = format!("SELECT FROM pg_extension WHERE extname = {}", literal(extension));
            let is_known = missing.iter().any(|other| other.extension == need.extension);
            if !is_known && side.query(&there)?.is_empty() {
                missing.push(need);
            }
            continue;
        }
        let [kind, name, arguments] = need.address.each_ref().map(|part| literal(part));
        let find =
            format!("SELECT pg_get_object_address({kind}, {name}::text[], {arguments}::text[])");
        match side.query(&find) {
            Ok(_) => {}
            Err(error) if error.is_class("42") || error.is_class("3F") => {
                missing.push(match from {
                    Endpoint::Node(_) => need.found_on_node(&row)?,
                    Endpoint::Local | Endpoint::Foreign(_) => need,
                });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(missing)
}

/// Query that returns the list positions of the dependencies that do not exist on a node, without raising an error,
/// which would abort the transaction there. Covers types, functions and relations.
pub fn absent(needs: &[Need]) -> Option<String> {
    let questions: Vec<_> = needs
        .iter()
        .enumerate()
        .filter_map(|(at, need)| {
            let name = literal(&need.identity);
            let find = match need.address[0].as_str() {
                "type" => "pg_catalog.to_regtype",
                "function" | "procedure" | "aggregate" => "pg_catalog.to_regprocedure",
                _ if need.is_relation() => "pg_catalog.to_regclass",
                _ => return None,
            };
            Some(format!("SELECT {at} WHERE {find}({name}) IS NULL"))
        })
        .collect();
    (!questions.is_empty()).then(|| questions.join(" UNION ALL "))
}

/// 42704 or 0A000 unless `side`, called `place` in messages, has everything that the schemas depend on, which come
/// `from` the source.
pub fn check(
    schemas: &[String],
    source: &mut Session,
    side: &mut Session,
    place: &str,
    from: Endpoint,
) -> Result<()> {
    let missing = missing(schemas, source, side, from)?;
    match (missing.is_empty(), schemas.first()) {
        (false, Some(schema)) => Err(refusal(schema, place, &missing)),
        _ => Ok(()),
    }
}
