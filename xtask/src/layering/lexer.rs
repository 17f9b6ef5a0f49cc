//! Just enough of Rust's lexical rules to tell code from comments, strings and characters.

/// An identifier, `::`, or one punctuation character, with its line (from 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<'a> {
    /// As written.
    pub text: &'a str,
    /// Line it starts on.
    pub line: usize,
}

/// The words of a source text, without comments, strings, characters and lifetimes.
pub fn words(text: &str) -> Vec<Word<'_>> {
    let mut lexer = Lexer { text, at: 0, line: 1 };
    let mut words = Vec::new();
    while lexer.at < text.len() {
        let (start, line) = (lexer.at, lexer.line);
        if lexer.skip_ignored() {
            continue;
        }
        lexer.advance_word();
        let word = &text[start..lexer.at];
        if !word.trim().is_empty() {
            words.push(Word { text: word, line });
        }
    }
    words
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn advance(&mut self, bytes: usize) {
        let end = (self.at + bytes).min(self.text.len());
        self.line += self.text[self.at..end].matches('\n').count();
        self.at = end;
    }

    /// Moves behind an identifier, a `::` or one character.
    fn advance_word(&mut self) {
        let rest = self.rest();
        let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let length = match word {
            0 if rest.starts_with("::") => 2,
            0 => rest.chars().next().map_or(1, char::len_utf8),
            word => word,
        };
        self.advance(length);
    }

    /// Moves behind a comment, string, character or lifetime, if one starts here.
    fn skip_ignored(&mut self) -> bool {
        let rest = self.rest();
        if rest.starts_with("//") {
            self.advance(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.skip_block_comment();
        } else if let Some(length) = raw_string(rest) {
            self.advance(length);
        } else if rest.starts_with('"') || rest.starts_with("b\"") || rest.starts_with("c\"") {
            self.skip_string();
        } else if rest.starts_with('\'') {
            self.skip_character();
        } else {
            return false;
        }
        true
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.text.len() {
            let rest = self.rest();
            if rest.starts_with("/*") {
                depth += 1;
                self.advance(2);
            } else if rest.starts_with("*/") {
                depth -= 1;
                self.advance(2);
                if depth == 0 {
                    return;
                }
            } else {
                self.advance(rest.chars().next().map_or(1, char::len_utf8));
            }
        }
    }

    fn skip_string(&mut self) {
        let rest = self.rest();
        let open = rest.find('"').unwrap_or(0) + 1;
        self.advance(closing(rest, open, '"'));
    }

    /// A character literal, or a lifetime: that one has no closing quote behind one character.
    fn skip_character(&mut self) {
        let rest = self.rest();
        let mut inner = rest[1..].chars();
        let length = match (inner.next(), inner.next()) {
            (Some('\\'), _) => closing(rest, 1, '\''),
            (Some(c), Some('\'')) => 1 + c.len_utf8() + 1,
            _ => 1 + rest[1..].find(|c| !is_word(c)).unwrap_or(rest.len() - 1),
        };
        self.advance(length);
    }
}

/// The length up to and with the closing quote, backslash escapes skipped.
fn closing(text: &str, from: usize, quote: char) -> usize {
    let mut escaped = false;
    for (i, c) in text[from..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return from + i + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a raw string that starts here.
fn raw_string(text: &str) -> Option<usize> {
    let marks = ["r", "br", "cr"].iter().find(|mark| {
        let rest = text.strip_prefix(**mark).unwrap_or_default().trim_start_matches('#');
        text.starts_with(**mark) && rest.starts_with('"')
    })?;
    let hashes = text[marks.len()..].chars().take_while(|c| *c == '#').count();
    let open = marks.len() + hashes + 1;
    let close = format!("\"{}", "#".repeat(hashes));
    Some(text[open..].find(&close).map_or(text.len(), |i| open + i + close.len()))
}
