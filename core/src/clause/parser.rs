//! Recursive descent parser for the clause's tokens.

use super::{Clause, ClauseError, ClauseOption, Name, RULES};
use crate::lex::{self, Kind, Token, ValueError};

/// A malformed clause, with the information that [`super::after_schema`] needs.
pub(super) struct Fault {
    expected: String,
    /// The offending token; None at the end of the text.
    token: Option<Token>,
    /// End of the last valid token, and of the one before it.
    read: usize,
    read_before: usize,
}

impl Fault {
    /// How much of the clause may be blanked so that the server rejects the rest.
    pub(super) fn readable_end(&self, text: &[u8]) -> usize {
        let server_goes_on = self.token.is_none_or(|token| {
            token.is_mark(text, ";")
                || ["create", "grant", "authorization"].iter().any(|word| token.is_word(text, word))
        });
        if server_goes_on { self.read_before } else { self.read }
    }

    pub(super) fn into_error(self, text: &[u8]) -> ClauseError {
        let position = self.token.map_or(text.len(), |token| token.start);
        let message = match self.token {
            Some(token) => format!(
                "syntax error at or near \"{}\"",
                String::from_utf8_lossy(token.bytes(text))
            ),
            None => "syntax error at end of input".into(),
        };
        let hint = format!("In the DISTRIBUTED clause, expected {}.", self.expected);
        ClauseError { message, hint, position }
    }
}

/// Reads tokens from a text, and remembers where the last two ended.
pub(super) struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    before: usize,
    name_read: bool,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a [u8], at: usize) -> Self {
        Parser { text, at, before: at, name_read: false }
    }

    /// Positioned after the schema's name, which ends at `at`.
    pub(super) fn behind_name(text: &'a [u8], at: usize) -> Self {
        Parser { name_read: true, ..Parser::new(text, at) }
    }

    pub(super) fn peek(&self) -> Option<Token> {
        lex::token_at(self.text, self.at, RULES)
    }

    fn take(&mut self, token: Token) {
        self.before = self.at;
        self.at = token.end;
    }

    fn take_if(&mut self, accept: impl Fn(Token) -> bool) -> Option<Token> {
        let token = self.peek().filter(|&token| accept(token))?;
        self.take(token);
        Some(token)
    }

    /// Consumes this keyword if it comes next.
    pub(super) fn keyword(&mut self, word: &str) -> bool {
        self.keyword_token(word).is_some()
    }

    fn keyword_token(&mut self, word: &str) -> Option<Token> {
        let text = self.text;
        self.take_if(|token| token.is_word(text, word))
    }

    fn mark(&mut self, mark: &str) -> bool {
        let text = self.text;
        self.take_if(|token| token.is_mark(text, mark)).is_some()
    }

    fn fault(&self, expected: &str) -> Fault {
        Fault {
            expected: expected.into(),
            token: self.peek(),
            read: self.at,
            read_before: self.before,
        }
    }

    fn expect(&mut self, found: bool, expected: &str) -> Result<(), Fault> {
        if found { Ok(()) } else { Err(self.fault(expected)) }
    }

    /// From after SCHEMA to after DISTRIBUTED; returns that word's offset. None if this is not the beginning of a
    /// distributed schema.
    pub(super) fn head(&mut self) -> Option<usize> {
        if !self.name_read {
            self.if_not_exists()?;
            if self.is_name() {
                self.skip_identifier()?;
                self.name_read = true;
            }
        }
        if self.keyword("authorization") {
            self.skip_identifier()?;
        } else if !self.name_read {
            return None;
        }
        self.keyword_token("distributed").map(|token| token.start)
    }

    /// A schema may be named `if`: only IF NOT is unambiguous.
    fn if_not_exists(&mut self) -> Option<()> {
        let start = self.at;
        if self.keyword("if") && self.keyword("not") {
            return self.keyword("exists").then_some(());
        }
        self.at = start;
        Some(())
    }

    /// Whether a `ColId` comes next.
    fn is_name(&self) -> bool {
        self.peek().is_some_and(|token| match token.kind {
            Kind::Word => !lex::is_reserved(token.bytes(self.text)),
            Kind::QuotedIdentifier | Kind::UnicodeIdentifier => true,
            _ => false,
        })
    }

    /// Consumes an identifier or a role (CURRENT_USER and so on are treated like other words); returns its token and
    /// its escape character.
    fn skip_identifier(&mut self) -> Option<(Token, u8)> {
        let token = self.take_if(|token| {
            matches!(token.kind, Kind::Word | Kind::QuotedIdentifier | Kind::UnicodeIdentifier)
        })?;
        let unicode = token.kind == Kind::UnicodeIdentifier;
        let escape = if unicode { self.uescape()? } else { b'\\' };
        Some((token, escape))
    }

    /// The escape character of a `U&` token. None if the one after UESCAPE is invalid.
    fn uescape(&mut self) -> Option<u8> {
        let text = self.text;
        if !self.keyword("uescape") {
            return Some(b'\\');
        }
        let string = self.take_if(|token| token.is_string())?;
        // read `'x'` literally, so that a backslash is harmless
        match string.bytes(text) {
            [b'\'', escape, b'\'']
                if !escape.is_ascii_hexdigit()
                    && !b"+'\"".contains(escape)
                    && !lex::is_space(*escape) =>
            {
                Some(*escape)
            }
            _ => None,
        }
    }

    /// From after DISTRIBUTED to the clause's end.
    pub(super) fn clause(&mut self) -> Result<Clause, Fault> {
        let start = self.at - "distributed".len();
        let mut node = None;
        if self.keyword("on") {
            let found = self.keyword("node");
            self.expect(found, "NODE")?;
            node = Some(self.name("a node name")?);
        }
        let options = if self.keyword("with") { self.options()? } else { Vec::new() };
        Ok(Clause { range: start..self.at, node, options })
    }

    fn options(&mut self) -> Result<Vec<ClauseOption>, Fault> {
        let found = self.mark("(");
        self.expect(found, "\"(\"")?;
        let mut options = Vec::new();
        loop {
            let name = self.name("an option name")?;
            let found = self.mark("=");
            self.expect(found, "\"=\"")?;
            options.push(ClauseOption { name, value: self.value()? });
            if self.mark(")") {
                return Ok(options);
            }
            let found = self.mark(",");
            self.expect(found, "\",\" or \")\"")?;
        }
    }

    fn name(&mut self, expected: &str) -> Result<Name, Fault> {
        if !self.is_name() {
            return Err(self.fault(expected));
        }
        let text = self.text;
        self.decoded(expected, |parser| {
            let (token, escape) = parser.skip_identifier()?;
            Some((token, lex::identifier(text, token, escape)))
        })
    }

    fn value(&mut self) -> Result<Name, Fault> {
        const EXPECTED: &str = "an identifier, a string, or a number";
        let text = self.text;
        let Some(token) = self.peek() else { return Err(self.fault(EXPECTED)) };
        // these start a schema element or AUTHORIZATION: the value is missing
        let missing = ["create", "grant", "authorization"];
        match token.kind {
            Kind::Word if missing.iter().any(|word| token.is_word(text, word)) => {
                Err(self.fault(EXPECTED))
            }
            Kind::Word | Kind::QuotedIdentifier | Kind::UnicodeIdentifier => {
                self.decoded(EXPECTED, |parser| {
                    let (token, escape) = parser.skip_identifier()?;
                    Some((token, lex::identifier(text, token, escape)))
                })
            }
            _ if token.is_string() => self.decoded(EXPECTED, |parser| {
                parser.take(token);
                let unicode = token.kind == Kind::UnicodeString;
                let escape = if unicode { parser.uescape()? } else { b'\\' };
                Some((token, lex::string(text, token, escape)))
            }),
            _ => self.number(token, EXPECTED),
        }
    }

    /// A number as written, with its sign.
    fn number(&mut self, first: Token, expected: &str) -> Result<Name, Fault> {
        let negative = self.mark("-");
        if !negative {
            self.mark("+");
        }
        let Some(token) = self.take_if(|token| token.kind == Kind::Number) else {
            return Err(self.fault(expected));
        };
        let digits = String::from_utf8_lossy(token.bytes(self.text));
        let sign = if negative { "-" } else { "" };
        Ok(Name { text: format!("{sign}{digits}"), position: first.start })
    }

    /// Reads a name or value that may consist of several tokens; if it is invalid, all of it is the offending token.
    fn decoded(
        &mut self,
        expected: &str,
        read: impl FnOnce(&mut Self) -> Option<(Token, Result<String, ValueError>)>,
    ) -> Result<Name, Fault> {
        let mut fault = self.fault(expected);
        match read(self) {
            Some((token, Ok(text))) => Ok(Name { text, position: token.start }),
            Some((_, Err(reason))) => {
                fault.expected = format!("{expected} ({reason})");
                Err(fault)
            }
            None => Err(fault),
        }
    }
}
