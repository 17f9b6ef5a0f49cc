use super::*;
use crate::lex::tests::sql_bytes;
use proptest::prelude::*;

/// What the server sees of `CREATE SCHEMA…` after blanking.
fn blanked(statement: &str) -> String {
    let mut text = statement.as_bytes().to_vec();
    let clause = text.to_ascii_lowercase().windows(6).position(|w| w == b"schema").unwrap() + 6;
    let held = text.get(clause).copied();
    let rest = text.get(clause + 1..).unwrap_or_default();
    if let Some(range) = after_schema(held, rest) {
        blank(&mut text[clause + 1..][range]);
    }
    String::from_utf8(text).unwrap()
}

/// The clause's text in a statement, which both entries must agree on.
fn found(statement: &str) -> Option<&str> {
    let clause = read(statement.as_bytes()).unwrap_or_else(|e| panic!("{statement}: {e:?}"));
    let text = clause.as_ref().map(|clause| &statement[clause.range.clone()]);
    let spaces = text.map(|text| " ".repeat(text.len()));
    let expected = match &clause {
        Some(clause) => {
            let mut copy = statement.to_string();
            copy.replace_range(clause.range.clone(), &spaces.unwrap());
            copy
        }
        None => statement.to_string(),
    };
    assert_eq!(blanked(statement), expected);
    text
}

#[test]
fn spellings() {
    for head in [
        "CREATE SCHEMA x",
        "create schema distributed",
        "create schema\"Dis tributed\"",
        "create schema if not exists x",
        "create schema if",
        "create schema authorization bob",
        "create schema authorization distributed",
        "create schema x authorization current_user",
        "create schema x authorization Session_User",
        "create schema if not exists authorization CURRENT_ROLE",
        "create/**/schema/* a /* b */ */x--c\n",
        "create schema--c\nx",
        "create schema U&\"d\\0061t\"",
        "create schema u&\"d!0061t\" uescape '!' authorization u&\"r\" UESCAPE '#'",
        "create schema x authorization \"a\"\"b\"",
        "create schema with_",
        "create schema tést",
        "create schema \"d\ne\"",
    ] {
        for clause in [
            "DISTRIBUTED",
            "distributed on node n1",
            "Distributed on node \"node-1\"",
            "distributed /* x */ on node distributed",
            "distributed with (a = 1)",
            "distributed with (a = -1.5, b = 'x,)', c = on, d = E'\\'', e = $$)$$)",
            "distributed on node n1 with (a = true)",
        ] {
            for tail in ["", ";", " create table t()", "\n;select 'distributed'", "--x"] {
                let statement = format!("{head} {clause}{tail}");
                assert_eq!(found(&statement), Some(clause), "{statement}");
            }
        }
        assert_eq!(found(head), None, "{head}");
    }
}

#[test]
fn plain_meanings() {
    for statement in [
        "CREATE SCHEMA distributed",
        "CREATE SCHEMA distributed;",
        "CREATE SCHEMA AUTHORIZATION distributed",
        "create schema \"x distributed\"",
        "create schema x create table distributed()",
        "create schema x -- distributed",
        "create schema x /* distributed */",
        "create schema x; select 1 distributed",
        "create schema if not distributed",
        "create schema select distributed",
        "create schema on distributed",
        "update s.create schema set distributed = 1",
        "update s.create schema set distributed[1] = 1",
        "update s.create schema set (distributed, b) = (1, 2)",
        "select t.create schema from distributed",
        "select * from s.create schema, distributed",
        "select * from s.create schema cross join distributed",
        "delete from s.create schema using distributed",
        "create schema x.distributed distributed",
        "create schema 'x' distributed",
        "create schema",
        "create schema \"x",
        "select 1",
    ] {
        if statement.contains("schema") {
            assert_eq!(blanked(statement), statement);
        }
        assert_eq!(read(statement.as_bytes()), Ok(None), "{statement}");
    }
}

#[test]
fn empty_statements_before() {
    let statement = b" ;/* x */; create schema x distributed";
    assert_eq!(read(statement).unwrap().unwrap().range, 27..38);
}

#[test]
fn parts() {
    let text = "create schema x distributed on node U&\"N!00f6\" uescape '!' \
                with (A = 'it''s', \"B\" = Word, c = - 5, d = U&'!0041' uescape '!')";
    let clause = read(text.as_bytes()).unwrap().unwrap();
    let node = clause.node.unwrap();
    assert_eq!((node.text.as_str(), node.position), ("Nö", text.find("U&").unwrap()));
    let options: Vec<_> =
        clause.options.iter().map(|o| (o.name.text.as_str(), o.value.text.as_str())).collect();
    assert_eq!(options, [("a", "it's"), ("B", "word"), ("c", "-5"), ("d", "A")]);
    for option in &clause.options {
        assert!(clause.range.contains(&option.name.position));
        assert!(option.value.position > option.name.position);
    }
    assert_eq!(clause.options[0].value.position, text.find("'it").unwrap());
    assert_eq!(clause.range.end, text.len());
}

#[test]
fn names_are_cut_as_the_server_cuts_them() {
    let text = format!("create schema x distributed on node {}", "N".repeat(70));
    let clause = read(text.as_bytes()).unwrap().unwrap();
    assert_eq!(clause.node.unwrap().text, "n".repeat(63));
    assert_eq!(clause.range.end, text.len());
}

/// Malformed clauses: what the server sees of them, the token that our own error names, its hint.
#[test]
fn malformed() {
    const NODE: &str = "a node name";
    for (clause, left, token, hint) in [
        ("on nod n1", "nod n1", "nod", "NODE"),
        ("on", "on", "", "NODE"),
        ("on;", "on;", ";", "NODE"),
        ("on node", "node", "", NODE),
        ("on node;", "node;", ";", NODE),
        ("on node create table t()", "node create table t()", "create", NODE),
        ("on node authorization bob", "node authorization bob", "authorization", NODE),
        ("on node 'n1'", "'n1'", "'n1'", NODE),
        ("on node select", "select", "select", NODE),
        ("on node \"\"", "\"\"", "\"\"", "zero-length"),
        ("on node u&\"\\zz\"", "u&\"\\zz\"", "u&\"\\zz\"", "escape"),
        ("on node u&\"x\" uescape 5", "u&\"x\" uescape 5", "u&\"x\"", NODE),
        ("on node \"n1", "\"n1", "\"n1", NODE),
        ("with a = 1", "a = 1", "a", "\"(\""),
        ("with (", "(", "", "an option"),
        ("with ()", ")", ")", "an option"),
        ("with (a)", ")", ")", "\"=\""),
        ("with (a = )", ")", ")", "an identifier, a string, or a number"),
        ("with (a = 1", "1", "", "\",\" or \")\""),
        ("with (a = 1,)", ")", ")", "an option"),
        ("with (a = 1 b = 2)", "b = 2)", "b", "\",\" or \")\""),
        ("with (grant create on", "(grant create on", "grant", "an option"),
        ("with (a = grant create on", "= grant create on", "grant", "an identifier"),
        ("with (a = - x)", "x)", "x", "an identifier"),
        ("with (a = 'b\\c')", "'b\\c')", "'b\\c'", "E'…'"),
        ("with (a = 'b", "'b", "'b", "an identifier"),
        ("with (a = /* b", "/* b", "/* b", "an identifier"),
    ] {
        let statement = format!("create schema x distributed {clause}");
        let kept = statement.len() - left.len();
        let expected = format!("create schema x {}{left}", " ".repeat(kept - 16));
        assert_eq!(blanked(&statement), expected);
        let error = read(statement.as_bytes()).unwrap_err();
        if token.is_empty() {
            assert_eq!(error.position, statement.len());
            assert_eq!(error.message, "syntax error at end of input");
        } else {
            assert!(statement[error.position..].starts_with(token), "{error:?}");
            assert_eq!(error.message, format!("syntax error at or near \"{token}\""));
        }
        assert!(error.hint.contains(hint), "{statement}: {error:?}");
    }
}

#[test]
fn what_follows_is_the_servers_to_judge() {
    assert_eq!(found("create schema x distributed foo"), Some("distributed"));
    assert_eq!(found("create schema x distributed authorization bob"), Some("distributed"));
    assert_eq!(found("create schema x distributed distributed"), Some("distributed"));
    // an operator directly behind it makes it a column's name to the scanner's hook
    assert_eq!(blanked("create schema x distributed = 1"), "create schema x distributed = 1");
}

#[test]
fn held_byte() {
    let at = |held, rest: &str| after_schema(held, rest.as_bytes());
    assert_eq!(at(Some(b' '), "x distributed"), Some(2..13));
    assert_eq!(at(Some(b'"'), "a\"\" b\" distributed"), Some(7..18));
    assert_eq!(at(Some(b'"'), "a b\"distributed"), Some(4..15));
    assert_eq!(at(Some(b'/'), "* c */x distributed"), Some(8..19));
    assert_eq!(at(Some(b'-'), "- c\nx distributed"), Some(6..17));
    assert_eq!(at(Some(b';'), "x distributed"), None);
    assert_eq!(at(Some(b'/'), " x distributed"), None);
    // not known: taken as white space unless a quote may hide there
    assert_eq!(at(None, "x distributed"), Some(2..13));
    assert_eq!(at(None, "* c */x distributed"), Some(8..19));
    assert_eq!(at(None, "- c\nx distributed"), Some(6..17));
    assert_eq!(at(None, "x distributed on node \"n\""), None);
    assert_eq!(at(None, "x distributed\" distributed"), None);
    assert_eq!(at(None, ""), None);
}

#[test]
fn characters_are_still_counted_right() {
    let statement = "create schema x distributed on node ñö  select";
    let text = blanked(statement);
    assert_eq!(text.len(), statement.len());
    assert_eq!(text.chars().count(), statement.chars().count());
    assert_eq!(text.find("select"), statement.find("select"));
    assert_eq!(read(text.as_bytes()), Ok(None));
    let shape = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(shape, "create schema x /*ñö */ select");
    assert_eq!(blanked("create schema x distributed\n on node n"), {
        format!("create schema x {}\n{}", " ".repeat(11), " ".repeat(10))
    });
}

fn words() -> impl Strategy<Value = String> {
    let word = proptest::sample::select(vec![
        "distributed",
        "on",
        "node",
        "with",
        "(",
        ")",
        "=",
        ",",
        ";",
        "a",
        "'s'",
        "1",
        "-",
        "create",
        "grant",
        "authorization",
        "\"q\"",
        "U&\"u\"",
        "uescape",
        "'!'",
        "if",
        "not",
        "exists",
        "/**/",
        "--c\n",
        "set",
        "ö",
        "E'\\''",
        "$$x$$",
        "'\\'",
        "table",
        ".",
    ]);
    proptest::collection::vec(word, 0..12).prop_map(|words| words.join(" "))
}

proptest! {
    /// The invariant of this folder: a statement that the server can take after blanking has a
    /// clause that reads well.
    #[test]
    fn malformed_clauses_never_pass(tail in words()) {
        let statement = format!("create schema x distributed {tail}");
        let left = blanked(&statement);
        prop_assert_eq!(left.len(), statement.len());
        let next = lex::token_at(left.as_bytes(), "create schema x".len(), RULES);
        let taken = next.is_none_or(|token| {
            let bytes = token.bytes(left.as_bytes());
            [b";".as_slice(), b"create", b"grant", b"authorization"].contains(&bytes)
        });
        let clause = read(statement.as_bytes());
        if taken {
            prop_assert!(matches!(clause, Ok(Some(_))), "{statement:?} passes as {left:?}");
        }
        if clause.is_err() {
            prop_assert!(!taken);
        }
    }

    #[test]
    fn any_words(head in words(), tail in words()) {
        let statement = format!("create schema {head} distributed {tail}");
        let left = blanked(&statement);
        prop_assert_eq!(left.chars().count(), statement.chars().count());
        if let Ok(Some(clause)) = read(statement.as_bytes()) {
            prop_assert!(statement[clause.range].starts_with("distributed"));
        }
    }

    #[test]
    fn any_bytes(bytes in sql_bytes(), held: Option<u8>) {
        if let Some(range) = after_schema(held, &bytes) {
            prop_assert!(range.start < range.end && range.end <= bytes.len());
        }
        let mut statement = b"create schema x distributed ".to_vec();
        statement.extend_from_slice(&bytes);
        match read(&statement) {
            Ok(Some(clause)) => prop_assert!(clause.range.end <= statement.len()),
            Ok(None) => prop_assert!(false, "the clause is there"),
            Err(error) => prop_assert!(error.position <= statement.len()),
        }
        let mut text = bytes.clone();
        blank(&mut text);
        prop_assert_eq!(text.len(), bytes.len());
    }
}
