//! The relations that the text of a function's body names, for languages whose bodies are made of SQL.
//!
//! The text is scanned without a grammar, and nothing of it runs: a name counts where SQL has the name of a relation,
//! after FROM, JOIN, INSERT INTO and the like. What a body computes or passes to EXECUTE is not seen.

use crate::lex::{self, Kind, Rules, Token};
use std::collections::HashSet;

/// A relation as it is named.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Named {
    /// The schema, if the name is qualified.
    pub schema: Option<String>,
    /// The name without the schema.
    pub name: String,
}

/// The relations that a body names, without duplicates and without the names of its own CTEs.
pub fn relations(text: &[u8], rules: Rules) -> Vec<Named> {
    let body = Body::new(text, lex::tokens(text, rules).collect());
    let ctes = body.ctes();
    let mut found = Vec::new();
    for at in 0..body.tokens.len() {
        body.relations_after(at, &mut found);
    }
    let mut seen = HashSet::new();
    found.retain(|named| named.schema.is_some() || !ctes.contains(&named.name));
    found.retain(|named| seen.insert(named.clone()));
    found
}

/// Functions whose arguments are separated by FROM.
const WITH_FROM: [&str; 4] = ["extract", "substring", "trim", "overlay"];

struct Body<'a> {
    text: &'a [u8],
    tokens: Vec<Token>,
    /// For each token, the innermost parenthesis of its statement that is open there.
    opened: Vec<Option<usize>>,
    /// For each token, how many SELECT are before it.
    selects: Vec<usize>,
}

impl<'a> Body<'a> {
    fn new(text: &'a [u8], tokens: Vec<Token>) -> Self {
        let mut body = Self { text, tokens, opened: Vec::new(), selects: Vec::new() };
        let (mut open, mut selects) = (Vec::new(), 0);
        for at in 0..body.tokens.len() {
            body.opened.push(open.last().copied());
            body.selects.push(selects);
            if body.mark(at, "(") {
                open.push(at);
            } else if body.mark(at, ")") {
                open.pop();
            } else if body.mark(at, ";") {
                open.clear();
            }
            selects += usize::from(body.is(at, "select"));
        }
        body
    }

    fn is(&self, at: usize, word: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is_word(self.text, word))
    }

    fn is_one_of(&self, at: Option<usize>, words: &[&str]) -> bool {
        at.is_some_and(|at| words.iter().any(|word| self.is(at, word)))
    }

    fn mark(&self, at: usize, mark: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is_mark(self.text, mark))
    }

    fn identifier(&self, at: usize) -> Option<String> {
        lex::identifier(self.text, *self.tokens.get(at)?, b'\\').ok()
    }

    /// A word that can be a name without quotes, or a quoted one.
    fn name(&self, at: usize) -> Option<String> {
        let token = self.tokens.get(at)?;
        let name = self.identifier(at)?;
        (token.kind != Kind::Word || !lex::is_reserved(name.as_bytes())).then_some(name)
    }

    /// Names that are followed by `AS (`, as those of CTEs are, and those that follow WITH.
    fn ctes(&self) -> HashSet<String> {
        let defined = |&at: &usize| {
            let mut next = at + 1;
            if !self.is(next, "as") {
                return at > 0 && self.is_one_of(Some(at - 1), &["with", "recursive"]);
            }
            next += 1;
            next += usize::from(self.is(next, "not"));
            next += usize::from(self.is(next, "materialized"));
            self.mark(next, "(")
        };
        (0..self.tokens.len()).filter(defined).filter_map(|at| self.identifier(at)).collect()
    }

    /// Adds the relations that follow a keyword at `at`.
    fn relations_after(&self, at: usize, found: &mut Vec<Named>) {
        let before = at.checked_sub(1);
        if before.is_some_and(|before| self.mark(before, ".")) {
            return;
        }
        let is_source = self.is_one_of(Some(at), &["from", "join"]);
        let names = if is_source {
            !self.is_one_of(before, &["distinct"]) && !self.is_argument(at)
        } else if self.is(at, "into") {
            self.is_one_of(before, &["insert", "merge"])
        } else if self.is(at, "update") {
            !self.is_one_of(before, &["for", "do", "key", "on", "or", "before", "after", "of"])
        } else {
            self.is(at, "truncate") || self.is(at, "using")
        };
        let is_list = self.is_one_of(Some(at), &["from", "using", "truncate"]);
        if names {
            self.list(at + 1, is_source, is_list, found);
        }
    }

    fn list(&self, mut at: usize, is_source: bool, is_list: bool, found: &mut Vec<Named>) {
        loop {
            while self.is_one_of(Some(at), &["only", "table", "lateral"])
                || is_source && self.mark(at, "(")
            {
                at += 1;
            }
            let Some((named, next)) = self.qualified(at) else { return };
            // A function that returns rows.
            if is_source && self.mark(next, "(") {
                return;
            }
            found.push(named);
            at = next + usize::from(self.mark(next, "*"));
            at += usize::from(self.is(at, "as"));
            at += usize::from(self.name(at).is_some());
            if !is_list || !self.mark(at, ",") {
                return;
            }
            at += 1;
        }
    }

    /// A name with its qualification, and the position after it.
    fn qualified(&self, mut at: usize) -> Option<(Named, usize)> {
        let mut parts = vec![self.name(at)?];
        while self.mark(at + 1, ".") {
            parts.push(self.identifier(at + 2)?);
            at += 2;
        }
        let name = parts.pop()?;
        Some((Named { schema: parts.pop(), name }, at + 1))
    }

    /// Whether FROM separates the arguments of a function, as in `extract(year FROM t)`.
    fn is_argument(&self, at: usize) -> bool {
        let Some(open) = self.opened[at] else { return false };
        self.is_one_of(open.checked_sub(1), &WITH_FROM) && self.selects[open] == self.selects[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> String {
        let rules = Rules { standard_conforming_strings: true };
        let show = |named: Named| match named.schema {
            Some(schema) => format!("{schema}.{}", named.name),
            None => named.name,
        };
        relations(text.as_bytes(), rules).into_iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn names_are_found_where_relations_stand() {
        for (text, expected) in [
            ("SELECT 1", ""),
            ("SELECT * FROM a", "a"),
            ("select x from only s.a as t, \"B\" b, lateral f(x), c", "s.a B"),
            ("SELECT * FROM (a JOIN b USING (x)) LEFT JOIN s.c ON true", "a b s.c"),
            ("SELECT * FROM (SELECT 1 FROM a) q, b", "a"),
            ("SELECT * FROM generate_series(1, 2)", ""),
            ("INSERT INTO s.a (x) SELECT x FROM b ON CONFLICT DO UPDATE SET x = 1", "s.a b"),
            ("UPDATE a SET x = 1 FROM b WHERE true", "a b"),
            ("DELETE FROM a USING b, c WHERE true", "a b c"),
            ("MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE", "a b"),
            ("TRUNCATE TABLE a, b", "a b"),
            ("SELECT * FROM a FOR UPDATE OF a", "a"),
            ("SELECT a IS DISTINCT FROM b", ""),
            ("SELECT extract(year FROM a), trim(both FROM b), (SELECT 1 FROM c)", "c"),
            ("SELECT extract(year FROM (SELECT x FROM a))", "a"),
            ("WITH a AS (SELECT 1 FROM b), c AS NOT MATERIALIZED (TABLE d) SELECT FROM a, c", "b"),
            ("WITH RECURSIVE a (x) AS (SELECT 1 UNION SELECT x FROM a) SELECT FROM a", ""),
            ("SELECT 'FROM a' /* FROM b */ -- FROM c\n, $$FROM d$$ FROM e", "e"),
            ("SELECT t.from FROM db.s.a t", "s.a"),
        ] {
            assert_eq!(names(text), expected, "{text}");
        }
    }

    #[test]
    fn bodies_of_procedures_are_read_as_well() {
        let text = "DECLARE r record; BEGIN
            FOR r IN SELECT * FROM public.a LOOP
                INSERT INTO b VALUES (r.x) RETURNING x INTO STRICT r;
                SELECT count(*) INTO r FROM c;
                EXECUTE 'SELECT FROM d';
                PERFORM 1 FROM e WHERE x = r.x;
            END LOOP; RETURN QUERY SELECT * FROM f; END";
        assert_eq!(names(text), "public.a b c e f");
    }

    #[test]
    fn long_bodies_take_no_longer_than_their_length() {
        let many = |separator: &str, count: usize| {
            (0..count).map(|i| format!("n{i}")).collect::<Vec<_>>().join(separator)
        };
        for separator in [", ", " from ", ", (select from "] {
            let text = format!("select from {}", many(separator, 50_000));
            let rules = Rules { standard_conforming_strings: true };
            assert_eq!(relations(text.as_bytes(), rules).len(), 50_000, "{separator}");
        }
    }
}
