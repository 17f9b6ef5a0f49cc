//! Names and strings as SQL text.

/// A name as a quoted identifier. It is always quoted: which words are keywords differs between
/// servers.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `"schema"."name"`.
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

/// A text as a string constant that means the same whatever `standard_conforming_strings` is: with
/// a backslash in it, it is written as `E'…'`, as PostgreSQL's `quote_literal` does.
pub fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lex::{self, Rules};
    use proptest::prelude::*;

    #[test]
    fn as_postgresql_does() {
        assert_eq!(identifier("a\"b C"), "\"a\"\"b C\"");
        assert_eq!(qualified("s", "t"), "\"s\".\"t\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\'b"), r"E'a\\''b'");
        assert_eq!(literal(""), "''");
    }

    proptest! {
        #[test]
        fn the_lexer_reads_it_back(text in "[^\0]{0,20}", name in "[^\0]{1,15}", standard: bool) {
            let rules = Rules { standard_conforming_strings: standard };
            let sql = literal(&text);
            let token = lex::token_at(sql.as_bytes(), 0, rules).unwrap();
            prop_assert_eq!(token.end, sql.len());
            prop_assert_eq!(lex::string(sql.as_bytes(), token, b'\\'), Ok(text));
            let sql = identifier(&name);
            let token = lex::token_at(sql.as_bytes(), 0, rules).unwrap();
            prop_assert_eq!(token.end, sql.len());
            prop_assert_eq!(lex::identifier(sql.as_bytes(), token, b'\\'), Ok(name));
        }
    }
}
