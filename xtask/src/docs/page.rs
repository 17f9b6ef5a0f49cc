//! Generated pages, and the escaping of text in them.

/// A file in `docs/reference/`.
#[derive(Debug)]
pub struct Page {
    /// The file's name.
    pub name: &'static str,
    /// The contents of the file.
    pub text: String,
}

/// Escapes text for a table cell: comments contain `_`, `*` and `<` in names of arguments and files.
pub(super) fn cell(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '|' | '*' | '<' | '>' | '`' | '\\' => shown.extend(['\\', letter]),
            '\n' => shown.push(' '),
            _ => shown.push(letter),
        }
    }
    shown
}

/// Formats a comment as a sentence: starts with a capital letter and ends with a period.
pub(super) fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut letters = text.chars();
    // A name keeps its case.
    let first = text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
    let mut shown: String = match letters.next() {
        Some(letter) if !first.contains('_') => letter.to_uppercase().chain(letters).collect(),
        _ => text.to_owned(),
    };
    if !shown.ends_with(['.', '!', '?']) {
        shown.push('.');
    }
    cell(&shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_become_sentences_that_mean_themselves() {
        assert_eq!(sentence("one migration"), "One migration.");
        assert_eq!(sentence("helios_x of a|b"), "helios_x of a\\|b.");
        assert_eq!(sentence("Ends. "), "Ends.");
    }
}
