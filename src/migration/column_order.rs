//! Preserves the column order of inheritance children.
//!
//! If a parent got a column after the child was created, the column comes after the child's own ones. pg_dump writes
//! `CREATE TABLE … INHERITS`, which puts all inherited columns first. So the child temporarily gets an additional first
//! parent whose columns are in the right order, and the columns of the other parents are merged with them.

use crate::error::Result;
use crate::remote::Session;
use crate::replication::endpoints::{identifier, names};
use helios_core::archive::Entry;
use helios_core::lex;

/// Children whose columns would be in another order: the table's OID, qualified name, schema, and the columns of the
/// temporary parent, with the statements needed afterwards.
const QUERY: &str = "
    SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS child, n.nspname,
           string_agg(format('%I %s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
                             CASE WHEN a.attcollation <> 0 THEN format(' COLLATE %s', a.attcollation::regcollation) END,
                             CASE WHEN a.attgenerated <> '' THEN format(' GENERATED ALWAYS AS (%s) %s', pg_get_expr(d.adbin, d.adrelid),
                                                                        CASE a.attgenerated WHEN 's' THEN 'STORED' ELSE 'VIRTUAL' END) END),
                      ', ' ORDER BY a.attnum) AS columns,
           string_agg(concat_ws(', ',
                        CASE WHEN a.attstorage <> t.typstorage
                             THEN format('ALTER %I SET STORAGE %s', a.attname, CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END) END,
                        CASE WHEN a.attcompression <> ''
                             THEN format('ALTER %I SET COMPRESSION %s', a.attname, CASE a.attcompression WHEN 'p' THEN 'pglz' ELSE 'lz4' END) END), ', ' ORDER BY a.attnum)
             FILTER (WHERE a.attstorage <> t.typstorage OR a.attcompression <> '') AS settings
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid
           LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
           CROSS JOIN LATERAL (SELECT min(h.inhseqno * 10000::bigint + p.attnum) AS place
                                 FROM pg_inherits h JOIN pg_attribute p ON p.attrelid = h.inhparent AND p.attname = a.attname AND NOT p.attisdropped
                                WHERE h.inhrelid = c.oid) AS inherited
     WHERE n.nspname = ANY (SCHEMAS) AND c.relkind = 'r' AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped
       AND EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid)
     GROUP BY c.oid, n.nspname, c.relname
    HAVING array_agg(a.attname ORDER BY a.attnum) <> array_agg(a.attname ORDER BY inherited.place NULLS LAST, a.attnum)";

/// Adapts a dump of these schemas so that children keep the column order that they have on the source.
pub fn keep(entries: &mut [Entry], schemas: &[String], source: &mut Session) -> Result<()> {
    for row in source.query(&QUERY.replace("SCHEMAS", &names(schemas)))? {
        let (oid, child): (u32, _) = (row.parsed("oid")?.unwrap_or(0), row.text("child")?);
        let parent = format!(
            "{}.{}",
            identifier(&row.text("nspname")?),
            identifier(&format!("helios_order_{oid}"))
        );
        let is_it = |entry: &&mut Entry| entry.kind == "TABLE" && entry.object == oid;
        let Some(entry) = entries.iter_mut().find(is_it) else { continue };
        let Some(place) = parents(&entry.definition) else { continue };
        let (head, tail) = entry.definition.split_at(place);
        let settings = match row.option("settings")? {
            None => String::new(),
            Some(settings) => format!("ALTER TABLE {parent} {settings};\n"),
        };
        entry.definition = format!(
            "CREATE TABLE {parent} ({});\n{settings}{head}{parent}, {tail}\nALTER TABLE ONLY {child} NO INHERIT {parent};\nDROP TABLE {parent};\n",
            row.text("columns")?
        );
    }
    Ok(())
}

/// Position of the parents' names in CREATE TABLE … INHERITS (…).
fn parents(definition: &str) -> Option<usize> {
    let source = definition.as_bytes();
    let rules = lex::Rules { standard_conforming_strings: true };
    let (mut depth, mut is_next) = (0u32, false);
    for token in lex::tokens(source, rules) {
        if token.is_mark(source, ";") && depth == 0 {
            return None;
        }
        if token.is_mark(source, "(") {
            if is_next {
                return Some(token.end);
            }
            depth += 1;
        } else if token.is_mark(source, ")") {
            depth = depth.saturating_sub(1);
        }
        is_next = depth == 0 && token.is_word(source, "inherits");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_found_outside_of_names_and_literals() {
        let text = "CREATE TABLE t.\"INHERITS (\" (\n a text DEFAULT ') INHERITS (x' -- INHERITS (\n)\nINHERITS (t.p);\n";
        assert_eq!(parents(text).map(|at| &text[at..]), Some("t.p);\n"));
        assert_eq!(
            parents("CREATE TABLE t.a (inherits int);\nCREATE TABLE b () INHERITS (c);"),
            None
        );
    }
}
