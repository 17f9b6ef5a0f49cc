//! Statements that repeat on a node the changes made to rows of a reference table here.
//!
//! Everything in them is qualified, including the operators that find a row by its key: some run as another role than
//! the client's, whose `search_path` must not select the client's code.

use crate::error::{Error, Result};
use crate::pg::exec::row_trigger::Values;
use crate::pg::session::own_settings::OwnSettings;
use crate::pg::session::sql;
use crate::remote::messages;
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode as Code};

/// A changed row that has not been sent yet.
pub struct Change {
    pub relation: Oid,
    pub level: u32,
    pub writer: Oid,
    pub old: Option<Values>,
    pub new: Option<Values>,
}

/// Rows per statement for a node.
const BATCH: usize = 500;

/// A column of a reference table.
struct Column {
    /// Index into [`Values`].
    at: usize,
    /// Its name, quoted where needed.
    name: String,
    /// Its own type.
    of_type: String,
    key: Option<Key>,
    always_identity: bool,
}

/// How to compare a column of the key.
struct Key {
    /// The index's equality operator, as `OPERATOR(schema.=)`.
    equals: String,
    /// The type of its values: a domain's base type.
    of_type: String,
    /// Whether there is an array type for it that is not the array of another type.
    in_arrays: bool,
}

/// A reference table as named in statements for nodes.
pub struct Table {
    /// Its schema and its name.
    pub names: (String, String),
    /// Both, quoted where needed.
    pub name: String,
    columns: Vec<Column>,
}

impl Table {
    /// Reads the catalogs.
    pub fn read(relation: Oid) -> Result<Self> {
        let _path = OwnSettings::safe_path();
        let names = "SELECT n.nspname::text AS schema, c.relname::text AS relation, format('%I.%I', n.nspname, c.relname) AS name
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1";
        let names = sql::read_rows(names, &[relation.into()], |row| {
            Ok((row.value("schema")?, row.value("relation")?, row.value("name")?))
        })?;
        let (schema, table, name) = names.into_iter().next().unwrap_or_default();
        let columns = sql::read_rows(COLUMNS, &[relation.into()], |row| {
            let key = row.option("equals")?.zip(row.option("key_type")?);
            let in_arrays = row.option("in_arrays")?.unwrap_or(false);
            Ok(Column {
                at: row.value::<i32>("number")? as usize - 1,
                name: row.value("name")?,
                of_type: row.value("of_type")?,
                always_identity: row.value("always_identity")?,
                key: key.map(|(equals, of_type)| Key { equals, of_type, in_arrays }),
            })
        })?;
        Ok(Self { names: (schema, table), name, columns })
    }

    /// Statements that repeat the changes on a node, each with the number of rows that it must affect.
    pub fn statements(&self, changes: &[Change]) -> Result<Vec<(Vec<u8>, u64)>> {
        let mut statements: Vec<(Vec<u8>, u64)> = Vec::new();
        let kind = |change: &Change| (change.old.is_some(), change.new.is_some());
        for run in changes.chunk_by(|one, next| kind(one) == kind(next)) {
            match kind(&run[0]) {
                (false, _) => {
                    let rows: Vec<&Values> = run.iter().filter_map(|c| c.new.as_ref()).collect();
                    statements.extend(rows.chunks(BATCH).map(|rows| self.insert(rows)));
                }
                (true, false) => {
                    let rows: Vec<&Values> = run.iter().filter_map(|c| c.old.as_ref()).collect();
                    for rows in rows.chunk_by(|one, next| self.has_key(one) && self.has_key(next)) {
                        statements.extend(rows.chunks(BATCH).map(|rows| self.delete(rows)));
                    }
                }
                (true, true) => {
                    for (old, new) in run.iter().filter_map(|c| c.old.as_ref().zip(c.new.as_ref()))
                    {
                        statements.extend(self.update(old, new)?);
                    }
                }
            }
        }
        Ok(statements)
    }

    fn insert(&self, rows: &[&Values]) -> (Vec<u8>, u64) {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let head = format!(
            "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ",
            self.name,
            names.join(", ")
        );
        let mut text = head.into_bytes();
        self.tuples(&mut text, rows);
        (text, rows.len() as u64)
    }

    fn delete(&self, rows: &[&Values]) -> (Vec<u8>, u64) {
        let mut text = format!("DELETE FROM ONLY {} WHERE", self.name).into_bytes();
        let mut keys = self.columns.iter().filter_map(|c| Some((c, c.key.as_ref()?)));
        match (keys.next(), keys.next()) {
            (Some((column, key)), None) if key.in_arrays && self.has_key(rows[0]) => {
                let head = format!(" {} {} ANY (ARRAY[", column.name, key.equals);
                text.extend_from_slice(head.as_bytes());
                for (i, row) in rows.iter().enumerate() {
                    text.extend_from_slice(if i > 0 { b"," } else { b"" });
                    constant(&mut text, row.get(column.at));
                }
                text.extend_from_slice(format!("]::{}[])", key.of_type).as_bytes());
            }
            _ => {
                for (i, row) in rows.iter().enumerate() {
                    text.extend_from_slice(if i > 0 { b" OR (" } else { b" (" });
                    self.finds(&mut text, row);
                    text.push(b')');
                }
            }
        }
        (text, rows.len() as u64)
    }

    /// Whether the row has a key, which is not NULL in any column.
    fn has_key(&self, row: &Values) -> bool {
        let mut keys = self.columns.iter().filter(|column| column.key.is_some()).peekable();
        keys.peek().is_some() && keys.all(|column| matches!(row.get(column.at), Some(Some(_))))
    }

    /// `key = …`, for each column of the key. A row without a key is found by all its values; of rows that are equal to the
    /// last bit, any one will do.
    fn finds(&self, text: &mut Vec<u8>, row: &Values) {
        if !self.has_key(row) {
            return self.finds_image(text, row);
        }
        let keys = self.columns.iter().filter_map(|c| Some((c, c.key.as_ref()?)));
        for (i, (column, key)) in keys.enumerate() {
            text.extend_from_slice(if i > 0 { b" AND " } else { b"" });
            text.extend_from_slice(format!("{} {}", column.name, key.equals).as_bytes());
            constant(text, row.get(column.at));
            text.extend_from_slice(format!("::{}", key.of_type).as_bytes());
        }
    }

    fn finds_image(&self, text: &mut Vec<u8>, row: &Values) {
        let head = format!(
            "ctid OPERATOR(pg_catalog.=) (SELECT r.ctid FROM ONLY {} r WHERE pg_catalog.record_image_eq(ROW(",
            self.name
        );
        text.extend_from_slice(head.as_bytes());
        let names = self.columns.iter().map(|column| format!("r.{}", column.name));
        text.extend_from_slice(names.collect::<Vec<_>>().join(", ").as_bytes());
        text.extend_from_slice(b"), ROW(");
        for (i, column) in self.columns.iter().enumerate() {
            text.extend_from_slice(if i > 0 { b"," } else { b"" });
            constant(text, row.get(column.at));
            text.extend_from_slice(format!("::{}", column.of_type).as_bytes());
        }
        text.extend_from_slice(b")) LIMIT 1)");
    }

    /// None if no replicated column has changed.
    fn update(&self, old: &Values, new: &Values) -> Result<Option<(Vec<u8>, u64)>> {
        let changed: Vec<&Column> =
            self.columns.iter().filter(|c| old.get(c.at) != new.get(c.at)).collect();
        if changed.is_empty() {
            return Ok(None);
        }
        if let Some(column) = changed.iter().find(|column| column.always_identity) {
            return Err(Error::new(
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("cannot update identity column {} of a reference table", column.name),
            )
            .detail("The new value of a GENERATED ALWAYS column cannot be sent to nodes.")
            .hint("Delete the row and insert a new one."));
        }
        let mut text = format!("UPDATE ONLY {} SET ", self.name).into_bytes();
        for (i, column) in changed.iter().enumerate() {
            text.extend_from_slice(if i > 0 { b", " } else { b"" });
            text.extend_from_slice(column.name.as_bytes());
            text.extend_from_slice(b" =");
            constant(&mut text, new.get(column.at));
        }
        text.extend_from_slice(b" WHERE ");
        self.finds(&mut text, old);
        Ok(Some((text, 1)))
    }

    /// `(…), (…)`: all columns of each row.
    fn tuples(&self, text: &mut Vec<u8>, rows: &[&Values]) {
        for (i, row) in rows.iter().enumerate() {
            text.extend_from_slice(if i > 0 { b", (" } else { b"(" });
            for (j, column) in self.columns.iter().enumerate() {
                text.extend_from_slice(if j > 0 { b"," } else { b"" });
                constant(text, row.get(column.at));
            }
            text.push(b')');
        }
    }
}

/// Columns named in statements: number, name, type, whether it is GENERATED ALWAYS AS IDENTITY, and for columns of the
/// key the operator, the type and whether the type has arrays. The key is the primary key, or a unique index, if possible
/// one without NULLs. A type modifier of -1 keeps `bpchar` from being `char(1)`.
const COLUMNS: &str = "
    SELECT a.attnum::int AS number, quote_ident(a.attname) AS name, a.attidentity = 'a' AS always_identity,
           (SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
              FROM pg_opclass oc JOIN pg_amop am ON am.amopfamily = oc.opcfamily AND am.amopstrategy = 3
                        AND am.amoplefttype = oc.opcintype AND am.amoprighttype = oc.opcintype
                   JOIN pg_operator o ON o.oid = am.amopopr JOIN pg_namespace n ON n.oid = o.oprnamespace
             WHERE oc.oid = k.class) AS equals,
           format_type(a.atttypid, -1) AS of_type,
           CASE WHEN k.class IS NOT NULL THEN format_type(b.oid, -1) END AS key_type,
           b.typarray <> 0 AND b.typcategory <> 'A' AS in_arrays
      FROM pg_attribute a
           LEFT JOIN (SELECT i.indrelid, i.indkey[p] AS attnum, i.indclass[p] AS class
                        FROM (SELECT i.* FROM pg_index i
                               WHERE i.indrelid = $1 AND i.indisunique AND i.indimmediate AND i.indisvalid
                                 AND i.indpred IS NULL AND i.indexprs IS NULL
                               ORDER BY i.indisprimary DESC,
                                     EXISTS (SELECT FROM pg_attribute n WHERE n.attrelid = i.indrelid AND NOT n.attnotnull
                                                AND n.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])), i.indexrelid
                               LIMIT 1) i, generate_series(0, i.indnkeyatts - 1) p) k
                ON k.indrelid = a.attrelid AND k.attnum = a.attnum
           CROSS JOIN LATERAL (WITH RECURSIVE base AS (SELECT t.* FROM pg_type t WHERE t.oid = a.atttypid
                                 UNION ALL SELECT t.* FROM base JOIN pg_type t ON t.oid = base.typbasetype WHERE base.typtype = 'd')
                               SELECT * FROM base WHERE typtype <> 'd') b
     WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum";

fn constant(text: &mut Vec<u8>, value: Option<&Option<Vec<u8>>>) {
    match value {
        Some(Some(value)) => messages::literal(text, value),
        _ => text.extend_from_slice(b" NULL"),
    }
}
