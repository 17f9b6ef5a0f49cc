//! Finds the query inside a statement that embeds one (`EXPLAIN`, `DECLARE … CURSOR`, `PREPARE`, `CREATE TABLE … AS`,
//! `COPY (…)`), so that its text can be sent separately.

use crate::lex::{Rules, Token, tokens};
use std::ops::Range;

/// Byte range of the query in `statement`: the statement itself if it is a query, the embedded query if it embeds one,
/// `None` if the text is not sufficient (`EXECUTE`, `SELECT … INTO`, anything else).
///
/// `statement` is a single valid statement; text after its semicolon is ignored.
pub fn range(statement: &[u8], rules: Rules) -> Option<Range<usize>> {
    let all: Vec<Token> =
        tokens(statement, rules).take_while(|t| !t.is_mark(statement, ";")).collect();
    let rest = inner(statement, &all)?;
    let (first, last) = (rest.first()?, rest.last()?);
    (!selects_into(statement, rest)).then_some(first.start..last.end)
}

const QUERY: [&str; 8] =
    ["select", "insert", "update", "delete", "merge", "with", "values", "table"];

fn is_any(text: &[u8], token: &Token, words: &[&str]) -> bool {
    words.iter().any(|word| token.is_word(text, word))
}

fn inner<'a>(text: &[u8], all: &'a [Token]) -> Option<&'a [Token]> {
    let first = all.first()?;
    if is_any(text, first, &QUERY) || is_parenthesised_query(text, all) {
        return Some(all);
    }
    let rest = &all[1..];
    if first.is_word(text, "explain") {
        return inner(text, after_explain_options(text, rest)?);
    }
    if first.is_word(text, "declare") {
        return inner(text, after_word(text, rest, "for")?);
    }
    if first.is_word(text, "prepare") {
        return inner(text, after_word(text, rest, "as")?);
    }
    if first.is_word(text, "copy") && rest.first()?.is_mark(text, "(") {
        return inner(text, rest.get(1..closing(text, rest)?)?);
    }
    if first.is_word(text, "create") {
        return inner(text, without_data_clause(text, after_word(text, rest, "as")?));
    }
    None
}

fn after_explain_options<'a>(text: &[u8], rest: &'a [Token]) -> Option<&'a [Token]> {
    let is_query = |t: &Token| is_any(text, t, &QUERY) || t.is_mark(text, "(");
    let options = rest.first()?.is_mark(text, "(") && !rest.get(1).is_some_and(is_query);
    let mut at = if options { closing(text, rest)? + 1 } else { 0 };
    while rest.get(at).is_some_and(|t| is_any(text, t, &["analyze", "analyse", "verbose"])) {
        at += 1;
    }
    rest.get(at..)
}

/// Index of the parenthesis that closes the first one.
fn closing(text: &[u8], from: &[Token]) -> Option<usize> {
    let mut depth = 0;
    from.iter().position(|t| {
        depth += step(text, t);
        depth == 0
    })
}

fn step(text: &[u8], token: &Token) -> i32 {
    i32::from(token.is_mark(text, "(")) - i32::from(token.is_mark(text, ")"))
}

fn after_word<'a>(text: &[u8], from: &'a [Token], word: &str) -> Option<&'a [Token]> {
    let mut depth = 0;
    let at = from.iter().position(|t| {
        depth += step(text, t);
        depth == 0 && t.is_word(text, word)
    })?;
    from.get(at + 1..)
}

/// Removes `WITH [NO] DATA`.
fn without_data_clause<'a>(text: &[u8], query: &'a [Token]) -> &'a [Token] {
    let Some((last, before)) = query.split_last() else { return query };
    if !last.is_word(text, "data") {
        return query;
    }
    let before = match before.split_last() {
        Some((no, before)) if no.is_word(text, "no") => before,
        _ => before,
    };
    match before.split_last() {
        Some((with, before)) if with.is_word(text, "with") => before,
        _ => query,
    }
}

/// Whether this is `(SELECT …)`, alone or as the first part of a longer query, as opposed to an expression that begins
/// with a sub-select, as used by procedural languages.
fn is_parenthesised_query(text: &[u8], all: &[Token]) -> bool {
    const GOES_ON: [&str; 8] =
        ["union", "intersect", "except", "order", "limit", "offset", "fetch", "for"];
    let Some(end) = closing(text, all).filter(|&end| end > 0) else { return false };
    let inside = &all[1..end];
    inside.first().is_some_and(|t| is_any(text, t, &QUERY) || is_parenthesised_query(text, inside))
        && all.get(end + 1).is_none_or(|t| is_any(text, t, &GOES_ON))
}

/// Whether a `SELECT` has an `INTO` clause; only the outermost can, inside any number of parentheses.
fn selects_into(text: &[u8], query: &[Token]) -> bool {
    let mut previous: Option<&Token> = None;
    query.iter().any(|token| {
        let into = token.is_word(text, "into")
            && !previous.is_some_and(|p| is_any(text, p, &["insert", "merge"]));
        previous = Some(token);
        into
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(statement: &str) -> Option<&str> {
        range(statement.as_bytes(), Rules::default()).map(|range| &statement[range])
    }

    #[test]
    fn a_query_is_itself() {
        assert_eq!(query("  select 1 /* c */ "), Some("select 1"));
        assert_eq!(query("(select 1)"), Some("(select 1)"));
        assert_eq!(query("(select 1) union (select 2)"), Some("(select 1) union (select 2)"));
        assert_eq!(query("((select 1) limit 1)"), Some("((select 1) limit 1)"));
        assert_eq!(query("select ';' ; drop table t"), Some("select ';'"));
        assert_eq!(
            query("with a as (select 1) insert into t select * from a"),
            Some("with a as (select 1) insert into t select * from a")
        );
        assert_eq!(query("values (1)"), Some("values (1)"));
        assert_eq!(
            query("merge into t using s on true when matched then delete"),
            Some("merge into t using s on true when matched then delete")
        );
    }

    #[test]
    fn embedded_queries_are_found() {
        assert_eq!(query("explain select 1"), Some("select 1"));
        assert_eq!(
            query("EXPLAIN (analyze, buffers off) update t set a = 1"),
            Some("update t set a = 1")
        );
        assert_eq!(query("explain analyze verbose select 1"), Some("select 1"));
        assert_eq!(query("explain (select 1)"), Some("(select 1)"));
        assert_eq!(query("explain ((select 1))"), Some("((select 1))"));
        assert_eq!(query("explain (costs off) (select 1)"), Some("(select 1)"));
        assert_eq!(
            query("declare \"for\" no scroll cursor with hold for select 1 for update"),
            Some("select 1 for update")
        );
        assert_eq!(query("prepare p (int, numeric(1,2)) as select $1"), Some("select $1"));
        assert_eq!(
            query("create temp table x (a, b) with (fillfactor=10) as select 1, 2 with no data"),
            Some("select 1, 2")
        );
        assert_eq!(query("create table x as table t with data"), Some("table t"));
        assert_eq!(query("copy (select (1)) to stdout (format csv)"), Some("select (1)"));
        assert_eq!(query("explain create table x as select 'as'"), Some("select 'as'"));
    }

    #[test]
    fn what_the_text_does_not_say_is_none() {
        assert_eq!(query("execute p (1)"), None);
        assert_eq!(query("explain execute p"), None);
        assert_eq!(query("select a into t from s"), None);
        assert_eq!(query("with q as (select 1) select * into t from q"), None);
        assert_eq!(query("(select id into public.s2 from t)"), None);
        assert_eq!(query("(select count(*) from t) > 1"), None);
        assert_eq!(query("((select 1) + 1)"), None);
        assert_eq!(query("(a, b)"), None);
        assert_eq!(query("create table x as execute p"), None);
        assert_eq!(query("copy t to stdout"), None);
        assert_eq!(query(""), None);
        assert_eq!(query("explain ("), None);
    }

    #[test]
    fn into_inside_a_writing_cte_is_no_select_into() {
        let sql = "with a as (insert into t values (1) returning *) select * from a";
        assert_eq!(query(sql), Some(sql));
    }
}
