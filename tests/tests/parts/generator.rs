//! Random statements over tables in several places. Their results depend on nothing but the rows: where only some rows are
//! taken, they are in an order that tells all columns apart.

use fastrand::Rng;

/// Types of the columns and expressions that are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Int,
    Numeric,
    Text,
    Bool,
    Date,
}

use Type::{Bool, Date, Int, Numeric, Text};

const TYPES: [Type; 5] = [Int, Numeric, Text, Bool, Date];

/// The columns of every table.
pub const COLUMNS: [(&str, Type); 6] =
    [("id", Int), ("k", Int), ("n", Numeric), ("s", Text), ("b", Bool), ("d", Date)];

/// What stands in FROM under one name.
#[derive(Clone)]
struct Source {
    alias: String,
    columns: Vec<(String, Type)>,
}

/// Makes statements from a seed.
pub struct Generator<'a> {
    rng: Rng,
    tables: &'a [&'a str],
    aliases: usize,
}

/// How deep subqueries are nested at most.
const DEPTH: usize = 3;

impl<'a> Generator<'a> {
    pub fn new(seed: u64, tables: &'a [&'a str]) -> Self {
        Self { rng: Rng::with_seed(seed), tables, aliases: 0 }
    }

    fn one_of<'b>(&mut self, choices: &[&'b str]) -> &'b str {
        choices[self.rng.usize(..choices.len())]
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("x{}", self.aliases)
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.u32(..100) < percent
    }

    /// A query whose rows come in any order, or in a full one.
    pub fn query(&mut self) -> String {
        let types = self.types();
        let query = self.select(&types, &[], DEPTH);
        if self.chance(30) { self.limited(&query, types.len()) } else { query }
    }

    /// A statement that changes `target`, a table with [`COLUMNS`].
    pub fn change(&mut self, target: &str) -> String {
        let own = Source { alias: "own".into(), columns: columns() };
        let scope = std::slice::from_ref(&own);
        match self.rng.u32(..6) {
            0 => {
                let types: Vec<Type> = COLUMNS.iter().map(|(_, of)| *of).collect();
                let query = self.select(&types, &[], DEPTH - 1);
                format!("INSERT INTO {target} {query}")
            }
            1 => {
                let condition = self.boolean(scope, DEPTH - 1);
                format!("DELETE FROM {target} AS own WHERE {condition}")
            }
            2 => {
                let condition = self.boolean(scope, 1);
                let value = self.expression(Numeric, scope, DEPTH - 1);
                format!("UPDATE {target} AS own SET n = {value} WHERE {condition}")
            }
            3 => {
                let source = self.keyed();
                format!(
                    "UPDATE {target} AS own SET n = src.v, s = own.s || 'u' FROM {source} AS src WHERE own.id = src.key"
                )
            }
            4 => {
                let source = self.keyed();
                format!(
                    "DELETE FROM {target} AS own USING {source} AS src WHERE own.id = src.key AND src.v > 2"
                )
            }
            _ => {
                let source = self.keyed();
                format!(
                    "MERGE INTO {target} AS own USING {source} AS src ON own.id = src.key
                     WHEN MATCHED AND src.v > 3 THEN UPDATE SET n = src.v WHEN MATCHED THEN DELETE
                     WHEN NOT MATCHED THEN INSERT (id, n) VALUES (src.key, src.v)"
                )
            }
        }
    }

    /// A subquery with columns `key` (each value once) and `v`.
    fn keyed(&mut self) -> String {
        let (from, scope) = self.from(&[], DEPTH - 1);
        let key = self.expression(Int, &scope, 0);
        let value = self.expression(Numeric, &scope, 1);
        format!("(SELECT {key} AS key, max({value}) AS v FROM {from} GROUP BY 1)")
    }

    fn types(&mut self) -> Vec<Type> {
        let count = self.rng.usize(1..4);
        (0..count).map(|_| TYPES[self.rng.usize(..TYPES.len())]).collect()
    }

    fn limited(&mut self, query: &str, columns: usize) -> String {
        let order: Vec<String> = (1..=columns).map(|n| n.to_string()).collect();
        let limit = self.rng.usize(..12);
        let offset = if self.chance(30) { " OFFSET 2" } else { "" };
        format!("SELECT * FROM ({query}) AS l ORDER BY {} LIMIT {limit}{offset}", order.join(", "))
    }

    /// A query with columns `c1`, `c2`, … of these types; it may refer to `outer`.
    fn select(&mut self, types: &[Type], outer: &[Source], depth: usize) -> String {
        match self.rng.u32(..10) {
            0 if depth > 0 => {
                let operation =
                    self.one_of(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL"]);
                let left = self.select(types, outer, depth - 1);
                let right = self.select(types, outer, depth - 1);
                format!("({left}) {operation} ({right})")
            }
            1 if depth > 0 => {
                let name = self.alias();
                let kinds = self.types();
                let inner = self.select(&kinds, outer, depth - 1);
                let source = named(&name, &kinds);
                let mode = self.one_of(&["", "MATERIALIZED ", "NOT MATERIALIZED "]);
                let table = self.table();
                let mut scope = vec![source, table.1];
                scope.extend(outer.iter().cloned());
                let list = self.list(types, &scope, 1);
                let condition = self.boolean(&scope, depth - 1);
                format!(
                    "WITH {name} AS {mode}({inner}) SELECT {list} FROM {name}, {} WHERE {condition}",
                    table.0
                )
            }
            2 | 3 => self.grouped(types, outer, depth),
            4 => self.windowed(types, outer, depth),
            _ => {
                let (from, mut scope) = self.from(outer, depth);
                scope.extend(outer.iter().cloned());
                let distinct = if self.chance(20) { "DISTINCT " } else { "" };
                let list = self.list(types, &scope, depth);
                let condition = self.boolean(&scope, depth);
                format!("SELECT {distinct}{list} FROM {from} WHERE {condition}")
            }
        }
    }

    fn list(&mut self, types: &[Type], scope: &[Source], depth: usize) -> String {
        let columns = types.iter().enumerate().map(|(i, of)| {
            let value = self.expression(*of, scope, depth.min(1));
            format!("{value} AS c{}", i + 1)
        });
        columns.collect::<Vec<_>>().join(", ")
    }

    fn grouped(&mut self, types: &[Type], outer: &[Source], depth: usize) -> String {
        let over_all = self.chance(30);
        let (from, scope) = if over_all {
            let (from, source) = self.all_of_several();
            (from, vec![source])
        } else {
            self.from(outer, depth)
        };
        // Subqueries in it would be a reason to fetch all rows.
        let depth = if over_all && self.chance(70) { 0 } else { depth };
        // A constant would be the number of a column.
        let key = match self.chance(25) {
            true => format!("{} || ''", self.column(Text, &scope)),
            false => format!("{} + 0", self.column(Int, &scope)),
        };
        let mut all = scope.clone();
        all.extend(outer.iter().cloned());
        let condition = self.boolean(&all, depth);
        let list: Vec<String> = types
            .iter()
            .enumerate()
            .map(|(i, of)| format!("{} AS c{}", self.aggregate(*of, &scope), i + 1))
            .collect();
        let grouping = match self.rng.u32(..4) {
            0 => String::new(),
            1 => format!(" GROUP BY ROLLUP ({key})"),
            _ => format!(" GROUP BY {key}"),
        };
        let having = if self.chance(30) { " HAVING count(*) > 1" } else { "" };
        format!("SELECT {} FROM {from} WHERE {condition}{grouping}{having}", list.join(", "))
    }

    fn aggregate(&mut self, of: Type, scope: &[Source]) -> String {
        let argument = self.expression(of, scope, 0);
        match of {
            Int => match self.rng.u32(..3) {
                0 => "count(*)::int".into(),
                1 => format!("count(DISTINCT {argument})::int"),
                _ => format!("sum({argument})::int"),
            },
            Numeric => format!("{}({argument})", self.one_of(&["sum", "avg", "max"])),
            Text => format!("string_agg({argument}, ',' ORDER BY {argument})"),
            Bool => format!("{}({argument})", self.one_of(&["bool_or", "bool_and", "every"])),
            Date => format!("{}({argument})", self.one_of(&["min", "max"])),
        }
    }

    fn windowed(&mut self, types: &[Type], outer: &[Source], depth: usize) -> String {
        let (from, scope) = self.from(outer, depth);
        let mut all = scope.clone();
        all.extend(outer.iter().cloned());
        let condition = self.boolean(&all, depth);
        let (partition, order) = (self.column(Int, &scope), self.column(Int, &scope));
        let list = types.iter().enumerate().map(|(i, of)| {
            let value = self.expression(*of, &scope, 0);
            let value = match of {
                Int => format!("rank() OVER (PARTITION BY {partition} ORDER BY {order})::int"),
                Numeric => format!("sum({value}) OVER (PARTITION BY {partition} ORDER BY {order})"),
                _ => value,
            };
            format!("{value} AS c{}", i + 1)
        });
        let list = list.collect::<Vec<_>>().join(", ");
        format!("SELECT {list} FROM {from} WHERE {condition}")
    }

    /// A table with a name of its own.
    fn table(&mut self) -> (String, Source) {
        let table = self.tables[self.rng.usize(..self.tables.len())];
        let alias = self.alias();
        (format!("{table} AS {alias}"), Source { alias, columns: columns() })
    }

    /// Several tables as one, as a view over tenants has them, each with a constant of its own.
    fn all_of_several(&mut self) -> (String, Source) {
        let branches = self.rng.usize(2..6);
        let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
        let branch = |generator: &mut Self, tenant: &str| {
            let (table, source) = generator.table();
            let condition = match generator.chance(30) {
                true => format!(" WHERE {}", generator.boolean(&[source], 0)),
                false => String::new(),
            };
            format!(
                "SELECT '{tenant}'::text AS tenant, {} FROM {table}{condition}",
                names.join(", ")
            )
        };
        let tenants = ["a", "b", "xy", "c", "d"];
        let all: Vec<String> = (0..branches).map(|i| branch(self, tenants[i])).collect();
        let alias = self.alias();
        let mut columns = columns();
        columns.push(("tenant".into(), Text));
        (format!("({}) AS {alias}", all.join(" UNION ALL ")), Source { alias, columns })
    }

    fn item(&mut self, lateral: &[Source], outer: &[Source], depth: usize) -> (String, Source) {
        if depth == 0 || self.chance(65) {
            return self.table();
        }
        let alias = self.alias();
        let types = self.types();
        match self.rng.u32(..9) {
            8 => self.all_of_several(),
            0 => {
                let source = Source { alias: alias.clone(), columns: vec![("v".into(), Int)] };
                (format!("generate_series(1, 4) AS {alias}(v)"), source)
            }
            1 => {
                let source = Source {
                    alias: alias.clone(),
                    columns: vec![("v".into(), Int), ("w".into(), Text)],
                };
                (format!("(VALUES (1, 'a'), (3, 'c'), (NULL, 'e')) AS {alias}(v, w)"), source)
            }
            2 | 3 if !lateral.is_empty() => {
                let mut scope = lateral.to_vec();
                scope.extend(outer.iter().cloned());
                let query = self.select(&types, &scope, depth - 1);
                (format!("LATERAL ({query}) AS {alias}"), named(&alias, &types))
            }
            4 => {
                let inner = self.select(&types, outer, depth - 1);
                let query = self.limited(&inner, types.len());
                (format!("({query}) AS {alias}"), named(&alias, &types))
            }
            _ => {
                let query = self.select(&types, outer, depth - 1);
                (format!("({query}) AS {alias}"), named(&alias, &types))
            }
        }
    }

    /// What stands in FROM, at most three items, with their names.
    fn from(&mut self, outer: &[Source], depth: usize) -> (String, Vec<Source>) {
        let (mut text, first) = self.item(&[], outer, depth);
        let mut scope = vec![first];
        for _ in 0..self.rng.usize(..3) {
            let join = self.one_of(&[
                "JOIN",
                "JOIN",
                "LEFT JOIN",
                "RIGHT JOIN",
                "FULL JOIN",
                "CROSS JOIN",
            ]);
            let may_be_lateral = matches!(join, "JOIN" | "LEFT JOIN" | "CROSS JOIN");
            let before = if may_be_lateral { scope.clone() } else { Vec::new() };
            let (item, source) = self.item(&before, outer, depth.saturating_sub(1));
            scope.push(source);
            text = match join {
                "CROSS JOIN" => format!("{text} CROSS JOIN {item}"),
                // Only such conditions can be those of FULL JOIN.
                "FULL JOIN" => {
                    let (left, right) = scope.split_at(scope.len() - 1);
                    let (left, right) = (left.to_vec(), right.to_vec());
                    let column = |generator: &mut Self, of: &[Source]| {
                        let any = of.iter().any(|s| s.columns.iter().any(|(_, kind)| *kind == Int));
                        any.then(|| generator.column(Int, of))
                    };
                    let (left, right) = (column(self, &left), column(self, &right));
                    let (left, right) = left.zip(right).unwrap_or_else(|| ("1".into(), "1".into()));
                    {
                        let text = grouped(text, scope.len());
                        format!("{text} FULL JOIN {item} ON {left} = {right}")
                    }
                }
                _ => {
                    let (left, right) = scope.split_at(scope.len() - 1);
                    let (left, right) = (left.to_vec(), right.to_vec());
                    let equal =
                        format!("{} = {}", self.column(Int, &left), self.column(Int, &right));
                    let on = if self.chance(30) {
                        let more = self.boolean(&scope.clone(), 0);
                        format!("{equal} AND {more}")
                    } else {
                        equal
                    };
                    let text = if join == "RIGHT JOIN" { grouped(text, scope.len()) } else { text };
                    format!("{text} {join} {item} ON {on}")
                }
            };
        }
        (text, scope)
    }

    /// A column of the type, or a constant where there is none.
    fn column(&mut self, of: Type, scope: &[Source]) -> String {
        let found: Vec<String> = scope
            .iter()
            .flat_map(|source| {
                let of_type = source.columns.iter().filter(|(_, kind)| *kind == of);
                of_type.map(|(name, _)| format!("{}.{name}", source.alias))
            })
            .collect();
        if found.is_empty() {
            self.constant(of)
        } else {
            found[self.rng.usize(..found.len())].clone()
        }
    }

    fn constant(&mut self, of: Type) -> String {
        match of {
            Int => self.rng.i32(-2..9).to_string(),
            Numeric => format!("{}.5::numeric", self.rng.i32(-2..9)),
            Text => format!("'{}'::text", self.one_of(&["a", "b", "xy", "it''s", ""])),
            Bool => self.one_of(&["true", "false", "NULL::boolean"]).into(),
            Date => format!("date '2024-01-0{}'", self.rng.u32(1..9)),
        }
    }

    fn expression(&mut self, of: Type, scope: &[Source], depth: usize) -> String {
        if depth == 0 || self.chance(50) {
            return if self.chance(85) { self.column(of, scope) } else { self.constant(of) };
        }
        if self.chance(15) {
            let (from, inner) = self.from(scope, depth - 1);
            let value = self.aggregate(of, &inner);
            let mut all = inner;
            all.extend(scope.iter().cloned());
            let condition = self.boolean(&all, depth - 1);
            return format!("(SELECT {value} FROM {from} WHERE {condition})");
        }
        let less = depth - 1;
        let one = self.expression(of, scope, less);
        let other = self.expression(of, scope, less);
        match (of, self.rng.u32(..4)) {
            (Bool, _) => self.boolean(scope, less),
            (_, 0) => format!("coalesce({one}, {other})"),
            (_, 1) => {
                let condition = self.boolean(scope, less);
                format!("CASE WHEN {condition} THEN {one} ELSE {other} END")
            }
            (Int, 2) => format!("({one} + {other})"),
            (Int, _) => format!("length({})", self.expression(Text, scope, less)),
            (Numeric, 2) => format!("({one} - {other})"),
            (Numeric, _) => format!("round({one}, 1)"),
            (Text, 2) => format!("upper({one})"),
            (Text, _) => format!("({one} || {other})"),
            (Date, _) => format!("({one} + 1)"),
        }
    }

    fn boolean(&mut self, scope: &[Source], depth: usize) -> String {
        let of = TYPES[self.rng.usize(..TYPES.len())];
        if depth == 0 || self.chance(55) {
            let left = self.column(of, scope);
            return match self.rng.u32(..5) {
                0 => format!("({left} IS NOT NULL)"),
                1 => format!("({left} IS DISTINCT FROM {})", self.column(of, scope)),
                2 => format!("({left} IN ({}, {}))", self.constant(of), self.constant(of)),
                _ => {
                    let comparison = self.one_of(&["=", "<>", "<", ">="]);
                    let right =
                        if self.chance(50) { self.constant(of) } else { self.column(of, scope) };
                    format!("({left} {comparison} {right})")
                }
            };
        }
        let less = depth - 1;
        match self.rng.u32(..7) {
            0 => format!("({} AND {})", self.boolean(scope, less), self.boolean(scope, less)),
            1 => format!("({} OR {})", self.boolean(scope, less), self.boolean(scope, less)),
            2 => format!("NOT ({})", self.boolean(scope, less)),
            3 => {
                let not = self.one_of(&["", "NOT "]);
                let query = self.select(&[Int], scope, less);
                format!("{not}EXISTS ({query})")
            }
            4 => {
                let not = self.one_of(&["", "NOT "]);
                let query = self.select(&[of], scope, less);
                format!("{} {not}IN ({query})", self.column(of, scope))
            }
            5 => {
                let how = self.one_of(&["= ANY", "< ALL", ">= ANY", "<> ALL"]);
                let query = self.select(&[of], scope, less);
                format!("{} {how} ({query})", self.column(of, scope))
            }
            _ => {
                let (left, right) =
                    (self.expression(of, scope, less), self.expression(of, scope, less));
                format!("({left} = {right})")
            }
        }
    }
}

fn columns() -> Vec<(String, Type)> {
    COLUMNS.iter().map(|(name, of)| ((*name).to_owned(), *of)).collect()
}

fn named(alias: &str, types: &[Type]) -> Source {
    let columns = types.iter().enumerate().map(|(i, of)| (format!("c{}", i + 1), *of)).collect();
    Source { alias: alias.to_owned(), columns }
}

/// What stands before a join, with so many items when the join is made.
fn grouped(text: String, items: usize) -> String {
    if items > 2 { format!("({text})") } else { text }
}
