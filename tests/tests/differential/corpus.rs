//! The corpus: files in `tests/differential/`, one topic each.
//!
//! A file is a list of blocks separated by empty lines; a block is sent in one
//! message. Lines `-- name: value` at the beginning of a block are options:
//!
//! - `bind: 1 | text | \N`: parameters in text format; the block always uses the extended protocol.
//! - `types: 23 | 0 | 25`: OIDs of the parameter types.
//! - `rows: 2`: maximum number of rows per Execute.
//! - `copy: line`: a line of COPY data to send; `copy-hex: 504…` sends bytes.
//! - `session: name`, `session: name as role`: use another connection, opened when first named.
//! - `unordered`: rows come in any order.
//! - `differs: reason`: the result differs from plain PostgreSQL's for this reason.

use std::path::Path;

/// Contents of one message, and how to send it.
#[derive(Debug, Default, Clone)]
pub struct Block {
    pub line: usize,
    pub sql: String,
    pub values: Option<Vec<Option<String>>>,
    pub types: Vec<u32>,
    pub max_rows: i32,
    pub copy: Option<Vec<u8>>,
    pub session: String,
    pub role: Option<String>,
    pub unordered: bool,
    pub differs: Option<String>,
}

impl Block {
    /// Whether there are several statements, which the extended protocol does not allow: a semicolon followed by more
    /// text, outside of quotes.
    pub fn has_several_statements(&self) -> bool {
        let mut inside = None;
        let mut ended = false;
        for (i, c) in self.sql.char_indices() {
            let dollar = self.sql[i..].starts_with("$$") && inside.is_none_or(|q| q == '$');
            match (c, inside) {
                _ if dollar => inside = if inside.is_some() { None } else { Some('$') },
                ('\'' | '"', None) => inside = Some(c),
                (_, Some(quote)) if quote == c && c != '$' => inside = None,
                (';', None) => ended = true,
                (_, None) if ended && !c.is_whitespace() => return true,
                _ => {}
            }
        }
        false
    }
}

/// Reads a file of the corpus.
pub fn read(path: &Path) -> Vec<Block> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut blocks = Vec::new();
    let mut block = Block::default();
    for (number, line) in text.lines().chain([""]).enumerate() {
        if line.is_empty() {
            if !block.sql.is_empty() {
                blocks.push(std::mem::take(&mut block));
            }
            assert!(block.values.is_none() && block.copy.is_none(), "line {number}: no statement");
            block = Block::default();
        } else if block.sql.is_empty() && line.starts_with("--") {
            directive(&mut block, line, number + 1);
        } else {
            if block.sql.is_empty() {
                block.line = number + 1;
            } else {
                block.sql.push('\n');
            }
            block.sql.push_str(line);
        }
    }
    blocks
}

fn directive(block: &mut Block, line: &str, number: usize) {
    let line = line.trim_start_matches('-').trim_start();
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    let words = || value.split('|').map(str::trim);
    match name {
        "bind" => {
            let value = |word: &str| (word != "\\N").then(|| word.to_owned());
            block.values = Some(words().map(value).collect());
        }
        "types" => block.types = words().map(|word| word.parse().unwrap()).collect(),
        "rows" => block.max_rows = value.trim().parse().unwrap(),
        "copy" => {
            let data = block.copy.get_or_insert_default();
            data.extend_from_slice(value.strip_prefix(' ').unwrap_or(value).as_bytes());
            data.push(b'\n');
        }
        "copy-hex" => {
            let digits: Vec<u8> = value.bytes().filter(u8::is_ascii_hexdigit).collect();
            let byte =
                |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            block.copy.get_or_insert_default().extend(digits.chunks(2).map(byte));
        }
        "session" => {
            let (session, role) = match value.split_once(" as ") {
                Some((session, role)) => (session, Some(role.trim().to_owned())),
                None => (value, None),
            };
            (block.session, block.role) = (session.trim().to_owned(), role);
        }
        "unordered" => block.unordered = true,
        "differs" => block.differs = Some(value.trim().to_owned()),
        _ if line.starts_with(char::is_uppercase) => {} // a comment for readers
        _ => panic!("line {number}: unknown directive {name:?}"),
    }
}
