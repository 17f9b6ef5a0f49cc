use super::*;
use proptest::prelude::*;

fn cut(text: &str) -> Vec<(Kind, String)> {
    let kind = |token: Token| {
        (token.kind, String::from_utf8_lossy(token.bytes(text.as_bytes())).into_owned())
    };
    tokens(text.as_bytes(), Rules::default()).map(kind).collect()
}

fn only(text: &str) -> Token {
    let all: Vec<Token> = tokens(text.as_bytes(), Rules::default()).collect();
    assert_eq!(all.len(), 1, "{text:?} is one token, got {all:?}");
    all[0]
}

fn name(text: &str) -> Result<String, ValueError> {
    identifier(text.as_bytes(), only(text), b'\\')
}

fn value(text: &str) -> Result<String, ValueError> {
    string(text.as_bytes(), only(text), b'\\')
}

#[test]
fn every_kind() {
    use Kind::*;
    let one = [
        ("abc_1$x", Word),
        ("tést", Word),
        ("\"a\"\"b c\"", QuotedIdentifier),
        ("U&\"d\\0061t\"", UnicodeIdentifier),
        ("'it''s'", String),
        ("'a\\'", String),
        ("'a' -- c\n  'b'", String),
        ("e'it\\'s'", EscapeString),
        ("u&'x'", UnicodeString),
        ("B'01'", BitString),
        ("x'1F'", HexString),
        ("N'n'", NationalString),
        ("$$a $ b$$", DollarString),
        ("$t1$ $$ $t$ $t1$", DollarString),
        ("12", Number),
        ("1_000.5e-7", Number),
        (".5", Number),
        ("0x1F", Number),
        ("12abc", Number),
        ("$17", Parameter),
        ("<->", Operator),
        ("::", Operator),
        ("@-", Operator),
        (";", Punctuation),
        ("'open", Unterminated),
        ("\"open\"\"", Unterminated),
        ("/* /* */", Unterminated),
        ("$a$ $b$", Unterminated),
        ("\\", Unknown),
    ];
    for (text, kind) in one {
        assert_eq!(only(text).kind, kind, "{text}");
    }
}

#[test]
fn borders() {
    let words = |text: &str| cut(text).into_iter().map(|t| t.1).collect::<Vec<_>>();
    assert_eq!(words("a--b\nc/*d/*e*/f*/g"), ["a", "c", "g"]);
    assert_eq!(words("1..2"), ["1", "..", "2"]);
    assert_eq!(words("a=-1"), ["a", "=", "-", "1"]);
    assert_eq!(words("a<--x"), ["a", "<"]);
    assert_eq!(words("a*/*c*/b"), ["a", "*", "b"]);
    assert_eq!(words("'a' 'b'"), ["'a'", "'b'"]);
    assert_eq!(words("\"a\"b"), ["\"a\"", "b"]);
    assert_eq!(words("a$b$c"), ["a$b$c"]);
    assert_eq!(words("$a b"), ["$", "a", "b"]);
    assert_eq!(words("1$2"), ["1", "$2"]);
    assert_eq!(words("X'1''2'"), ["X'1'", "'2'"]);
    assert_eq!(words("u & x"), ["u", "&", "x"]);
    assert_eq!(words("e 'x'"), ["e", "'x'"]);
}

#[test]
fn backslash_rule_of_plain_strings() {
    let off = Rules { standard_conforming_strings: false };
    let text = br"'a\'b' c";
    assert_eq!(tokens(text, off).map(|t| t.end).collect::<Vec<_>>(), [6, 8]);
    assert_eq!(token_at(text, 0, Rules::default()).map(|t| t.end), Some(4));
}

#[test]
fn names() {
    assert_eq!(name("Tenant_1"), Ok("tenant_1".into()));
    assert_eq!(name("\"Ten\"\"ant\""), Ok("Ten\"ant".into()));
    assert_eq!(name(r#"U&"d\0061t\+000061""#), Ok("data".into()));
    assert_eq!(name(r#"U&"\d83d\de00\\""#), Ok("😀\\".into()));
    assert_eq!(name(r#"U&"\d83dx""#), Err(ValueError::Escape));
    assert_eq!(name(r#"U&"\00""#), Err(ValueError::Escape));
    assert_eq!(name("\"\""), Err(ValueError::Empty));
    assert_eq!(name("'x'"), Err(ValueError::Kind));
    assert_eq!(name(&"X".repeat(70)), Ok("x".repeat(63)));
    // the character on the border goes whole
    assert_eq!(name(&format!("{}é", "x".repeat(62))), Ok("x".repeat(62)));
    let text = r#"U&"d!0061t""#;
    assert_eq!(identifier(text.as_bytes(), only(text), b'!'), Ok("dat".into()));
}

#[test]
fn strings() {
    assert_eq!(value("'it''s'"), Ok("it's".into()));
    assert_eq!(value("'a'\n'b''' -- x\n 'c'"), Ok("ab'c".into()));
    assert_eq!(value(r"'a\n'"), Err(ValueError::Backslash));
    assert_eq!(value(r"E'a\n\'''\101\x41\x4Az\u0041\U00000041\q'"), Ok("a\n''AAJzAAq".into()));
    assert_eq!(value(r"E'\ud83d\ude00'"), Ok("😀".into()));
    assert_eq!(value(r"E'\000'"), Err(ValueError::Escape));
    assert_eq!(value(r"E'\xff'"), Err(ValueError::Encoding));
    assert_eq!(value(r"E'\u12'"), Err(ValueError::Escape));
    assert_eq!(value(r"U&'\0041'"), Ok("A".into()));
    assert_eq!(value("$q$it's$q$"), Ok("it's".into()));
    assert_eq!(value("$$$$"), Ok("".into()));
    assert_eq!(value("B'1'"), Err(ValueError::Kind));
}

#[test]
fn reserved_words() {
    assert!(is_reserved(b"SELECT") && is_reserved(b"authorization") && is_reserved(b"with"));
    assert!(!is_reserved(b"set") && !is_reserved(b"distributed") && !is_reserved(b""));
}

#[test]
fn statements_start_behind_empty_ones() {
    assert_eq!(statement_start(b" ; -- x\n/* y */;z"), 16);
    assert_eq!(statement_start(b" ;"), 2);
    assert_eq!(statement_start(b""), 0);
}

/// Bytes that matter to the lexer come often.
pub(crate) fn sql_bytes() -> impl Strategy<Value = Vec<u8>> {
    let mark = proptest::sample::select(b"'\"$\\;,()-/*\n euUnxb&_a1.+=:<>[]\0".as_slice());
    proptest::collection::vec(prop_oneof![4 => mark, 1 => any::<u8>()], 0..80)
}

proptest! {
    #[test]
    fn tokens_stay_in_bounds_and_in_order(text in sql_bytes(), standard: bool) {
        let rules = Rules { standard_conforming_strings: standard };
        let mut end = 0;
        for token in tokens(&text, rules) {
            prop_assert!(end <= token.start && token.start < token.end);
            prop_assert!(token.end <= text.len());
            prop_assert_eq!(skip_space(&text, end), token.start);
            let _ = identifier(&text, token, b'\\').is_ok_and(|name| name.len() <= 63);
            let _ = string(&text, token, b'!').is_ok();
            end = token.end;
        }
        prop_assert_eq!(skip_space(&text, end), text.len());
    }

    #[test]
    fn a_quoted_name_is_read_back(name in "[^\0]{1,15}") {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        prop_assert_eq!(super::tests::name(&quoted), Ok(name));
    }

    #[test]
    fn a_quoted_string_is_read_back(text in "[^\0]{0,30}") {
        let quoted = format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
        prop_assert_eq!(value(&quoted), Ok(text));
    }
}
