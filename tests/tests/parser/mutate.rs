//! Random mutations of real SQL, and random statements that create distributed schemas.

use fastrand::Rng;
use helios_core::lex::{Rules, Token, tokens};

/// Words of the clause, and statements that contain it.
const PIECES: [&str; 22] = [
    "CREATE",
    "SCHEMA",
    "DISTRIBUTED",
    "ON NODE",
    "ON",
    "NODE n1",
    "WITH (a = 1)",
    "WITH (",
    "AUTHORIZATION",
    "IF NOT EXISTS",
    "CREATE SCHEMA",
    "SCHEMA DISTRIBUTED",
    "CREATE SCHEMA distributed",
    "CREATE SCHEMA x DISTRIBUTED",
    "create schema \"a b\" distributed on node \"n 1\" with (k = 'v', l = -1)",
    "; CREATE SCHEMA x DISTRIBUTED;",
    "; CREATE SCHEMA AUTHORIZATION distributed;",
    "; CREATE SCHEMA U&\"d\\0061t\" AUTHORIZATION r DISTRIBUTED ON NODE x CREATE TABLE t ();",
    "s.create schema",
    "distributed = 1",
    "ö",
    ";",
];

/// Separators between two words.
const GAPS: [&str; 15] = [
    " ",
    " ",
    " ",
    "\n",
    "\r\n",
    "\t",
    "  \n ",
    "/**/",
    "/* a /* DISTRIBUTED */ ' */",
    " /* \" */ ",
    "--\n",
    " -- CREATE SCHEMA y DISTRIBUTED\n",
    "--ö'\r",
    "\u{c}",
    // White space since PostgreSQL 16 only.
    "\u{b}",
];

fn pick<'a>(rng: &mut Rng, from: &[&'a str]) -> &'a str {
    from[rng.usize(..from.len())]
}

/// Mutates a text at one to three places.
pub fn mutated(rng: &mut Rng, text: &str) -> String {
    let mut changed = text.to_owned();
    for _ in 0..rng.usize(1..=3) {
        changed = change(rng, &changed);
    }
    changed
}

fn change(rng: &mut Rng, text: &str) -> String {
    let all: Vec<Token> = tokens(text.as_bytes(), Rules::default()).collect();
    if all.is_empty() || rng.u8(..) < 20 {
        return insert_anywhere(rng, text);
    }
    let token = all[rng.usize(..all.len())];
    let (before, word, after) =
        (&text[..token.start], &text[token.start..token.end], &text[token.end..]);
    match rng.u8(..12) {
        0..=4 => {
            let piece = dressed(rng);
            format!("{before}{piece}{}{word}{after}", pick(rng, &GAPS))
        }
        5 => format!("{before}{}{after}", dressed(rng)),
        6 => format!("{before}{after}"),
        7 => format!("{before}{word}{}{word}{after}", pick(rng, &GAPS)),
        8 => format!("{before}{}{after}", quoted(rng, word)),
        9 => format!("{before}{}{word}{after}", pick(rng, &GAPS)),
        10 => format!("{before}{word}"),
        _ => {
            let other = all[rng.usize(..all.len())];
            format!("{before}{}{after}", &text[other.start..other.end])
        }
    }
}

/// Inside of a word, a string or a comment as well.
fn insert_anywhere(rng: &mut Rng, text: &str) -> String {
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let (before, after) = text.split_at(places[rng.usize(..places.len())]);
    format!("{before}{}{after}", dressed(rng))
}

/// A piece, possibly with other spaces, in another case, or inside quotes or a comment.
fn dressed(rng: &mut Rng) -> String {
    let piece = pick(rng, &PIECES);
    let piece = spaced(rng, piece);
    if rng.u8(..3) == 0 { quoted(rng, &piece) } else { piece }
}

fn quoted(rng: &mut Rng, text: &str) -> String {
    match rng.u8(..12) {
        0 => format!("\"{text}\""),
        1 => format!("'{text}'"),
        2 => format!("E'{text}\\''"),
        3 => format!("$${text}$$"),
        4 => format!("$t$ {text} $$ $t$"),
        5 => format!("/* {text} */"),
        6 => format!("/* /* */ {text} */"),
        7 => format!("-- {text}\n"),
        8 => format!("U&\"{text}\""),
        9 => format!("U&'{text}' UESCAPE '!'"),
        10 => format!("'{text}'\n'{text}'"),
        _ => format!("({text})"),
    }
}

/// Uses other white space between the words, and another case.
fn spaced(rng: &mut Rng, text: &str) -> String {
    let mut out = String::new();
    for (i, word) in text.split(' ').enumerate() {
        if i > 0 {
            out.push_str(pick(rng, &GAPS));
        }
        match rng.u8(..4) {
            0 => out.push_str(&word.to_lowercase()),
            1 => out.push_str(&word.to_uppercase()),
            _ => out.push_str(word),
        }
    }
    out
}

/// A statement that creates a distributed schema.
pub struct Creation {
    /// The part before the clause.
    pub head: String,
    /// The clause.
    pub clause: String,
    /// Schema elements, possibly empty.
    pub tail: String,
}

const NAMES: [&str; 9] = [
    "x",
    "distributed",
    "schema",
    "\"a \"\" b\"",
    "U&\"d\\0061t\"",
    "U&\"d!0061t\" UESCAPE '!'",
    "größe",
    "\"DISTRIBUTED\"",
    "node$1",
];

const VALUES: [&str; 8] =
    ["1", "-1.5", "on", "true", "'it''s, )'", "E'\\''", "$v$ DISTRIBUTED $v$", "\"Q\""];

const TAILS: [&str; 5] = [
    "",
    "",
    " CREATE TABLE t (a int, distributed text)",
    " CREATE VIEW v AS SELECT 'distributed' AS distributed",
    " GRANT SELECT ON t TO distributed",
];

impl Creation {
    /// Generates a random statement.
    pub fn random(rng: &mut Rng) -> Self {
        let name = |rng: &mut Rng| pick(rng, &NAMES).to_owned();
        let exists = if rng.bool() { "IF NOT EXISTS " } else { "" };
        let head = match rng.u8(..3) {
            0 => format!("CREATE SCHEMA {exists}{}", name(rng)),
            1 => format!("CREATE SCHEMA {exists}{} AUTHORIZATION {}", name(rng), name(rng)),
            _ => format!("CREATE SCHEMA {exists}AUTHORIZATION {}", name(rng)),
        };
        let mut clause = "DISTRIBUTED".to_owned();
        if rng.bool() {
            clause = format!("{clause} ON NODE {}", name(rng));
        }
        if rng.bool() {
            let option = |rng: &mut Rng| format!("{} = {}", name(rng), pick(rng, &VALUES));
            let options: Vec<String> = (0..rng.usize(1..4)).map(|_| option(rng)).collect();
            clause = format!("{clause} WITH ({})", options.join(", "));
        }
        // PostgreSQL does not allow elements with IF NOT EXISTS.
        let tail = if exists.is_empty() { pick(rng, &TAILS) } else { "" };
        Self { head: respaced(rng, &head), clause: respaced(rng, &clause), tail: tail.to_owned() }
    }
}

/// Like [`spaced`], but preserves strings and quoted names, as they are single tokens.
fn respaced(rng: &mut Rng, text: &str) -> String {
    let mut out = String::new();
    let mut end = 0;
    for token in tokens(text.as_bytes(), Rules::default()) {
        if token.start > end {
            out.push_str(pick(rng, &GAPS));
        }
        out.push_str(&text[token.start..token.end]);
        end = token.end;
    }
    out
}
