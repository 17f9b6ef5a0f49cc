//! Quotes names and strings for SQL.

/// Quotes an identifier. It is always quoted, because keywords differ between servers.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `"schema"."name"`.
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

/// Quotes a string constant independently of `standard_conforming_strings`: with backslashes it is written as `E'…'`,
/// as by PostgreSQL's `quote_literal`.
pub fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// The names in a comma-separated list like `search_path`, in lower case unless quoted.
pub fn identifiers(list: &str) -> Vec<String> {
    let (mut names, mut name) = (Vec::new(), String::new());
    let (mut is_quoted, mut was_quoted) = (false, false);
    let mut letters = list.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => {
                letters.next();
                name.push('"');
            }
            '"' => {
                is_quoted = !is_quoted;
                was_quoted = true;
            }
            ',' if !is_quoted => {
                names.push(std::mem::take(&mut name));
                was_quoted = false;
            }
            _ if is_quoted => name.push(letter),
            _ if letter.is_whitespace() || was_quoted => {}
            _ => name.extend(letter.to_lowercase()),
        }
    }
    names.push(name);
    names.retain(|name| !name.is_empty());
    names
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

    #[test]
    fn lists_of_names() {
        let list = r#"public, Audit ,"Odd, ""Name""",, " x ""#;
        assert_eq!(identifiers(list), ["public", "audit", "Odd, \"Name\"", " x "]);
        assert!(identifiers(" , ").is_empty());
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
