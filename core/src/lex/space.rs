//! White space and comments.

/// Whether the byte is white space.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Offset of the first byte at or after `at` that is neither white space nor part of a comment; the length of the text
/// if there is none. A block comment without an end is not skipped.
pub fn skip_space(text: &[u8], mut at: usize) -> usize {
    loop {
        match text.get(at) {
            Some(&byte) if is_space(byte) => at += 1,
            Some(b'-') if text.get(at + 1) == Some(&b'-') => at = line_end(text, at),
            Some(b'/') if text.get(at + 1) == Some(&b'*') => {
                match block_comment_end(text, at + 2) {
                    Some(end) => at = end,
                    None => return at,
                }
            }
            _ => return at.min(text.len()),
        }
    }
}

/// Offset of a statement's first byte, after white space, comments and empty statements.
pub fn statement_start(text: &[u8]) -> usize {
    let mut at = skip_space(text, 0);
    while text.get(at) == Some(&b';') {
        at = skip_space(text, at + 1);
    }
    at
}

/// Offset after the end of a block comment, which may contain nested ones; `at` is after its beginning. None if it has
/// no end.
pub fn block_comment_end(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 1;
    while depth > 0 {
        match (*text.get(at)?, *text.get(at + 1)?) {
            (b'/', b'*') => {
                depth += 1;
                at += 2;
            }
            (b'*', b'/') => {
                depth -= 1;
                at += 2;
            }
            _ => at += 1,
        }
    }
    Some(at)
}

/// Offset after the quote that continues the string closed before `at`: white space and line comments with at least one
/// line break, then a quote.
pub(super) fn continuation(text: &[u8], mut at: usize) -> Option<usize> {
    let mut line_break = false;
    loop {
        match *text.get(at)? {
            b'\n' | b'\r' => {
                line_break = true;
                at += 1;
            }
            byte if is_space(byte) => at += 1,
            b'-' if text.get(at + 1) == Some(&b'-') => at = line_end(text, at),
            b'\'' if line_break => return Some(at + 1),
            _ => return None,
        }
    }
}

/// Offset of the line break at or after `at`, or the end of the text.
fn line_end(text: &[u8], at: usize) -> usize {
    let rest = &text[at..];
    at + rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len())
}
