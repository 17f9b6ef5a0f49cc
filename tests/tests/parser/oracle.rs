//! Two servers used only for parsing.

use std::ops::Range;

use helios_core::clause;
use helios_core::lex::{self, Rules};
use helios_tests::{Cluster, Event, PlainServer, Wire};
use testkit::cluster::DATABASE;
use testkit::server::Server;

/// Result of parsing: notices and the error, without the server's source location.
pub type Answer = Vec<Event>;

/// Servers for [`Oracle`]s.
pub struct Servers {
    plain: PlainServer,
    helios: Cluster,
}

impl Servers {
    pub fn start() -> Self {
        Self { plain: PlainServer::start(), helios: Cluster::start(0) }
    }
}

/// One session on each of two servers, in an aborted transaction.
pub struct Oracle {
    plain: Wire,
    helios: Wire,
    rules: Rules,
}

/// Relation between the servers' results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Both parse it.
    Parsed,
    /// Both give the same error.
    Refused,
    /// It creates a distributed schema: an error at DISTRIBUTED without Helios.
    Distributed,
    /// Likewise, with a mistake in the clause: an error after the word with Helios.
    Malformed,
}

impl Oracle {
    /// `standard_conforming_strings` determines the meaning of a backslash in `'…'`.
    pub fn new(servers: &Servers, standard_conforming_strings: bool) -> Self {
        let session = |server| abort(server, standard_conforming_strings);
        Self {
            plain: session(&servers.plain.server),
            helios: session(servers.helios.coordinator()),
            rules: Rules { standard_conforming_strings },
        }
    }

    /// The result without Helios.
    pub fn plain(&mut self, text: &str) -> Answer {
        parse(&mut self.plain, text)
    }

    /// The result with Helios.
    pub fn helios(&mut self, text: &str) -> Answer {
        parse(&mut self.helios, text)
    }

    /// Compares the results. The error shows the text and both results.
    ///
    /// They must be equal, unless without Helios the word DISTRIBUTED of a distributed schema is a syntax
    /// error. Then the result with Helios must be that of the text without the clause, or an error
    /// at or after the word if the clause has a mistake.
    pub fn compare(&mut self, text: &str) -> Result<Relation, String> {
        let plain = self.plain(text);
        let helios = self.helios(text);
        if plain == helios {
            let parsed = is_parsed(&plain);
            return Ok(if parsed { Relation::Parsed } else { Relation::Refused });
        }
        let differ = |what: &str| {
            let shown: String = text.chars().take(2000).collect();
            format!("{what}\n--- text\n{shown}\n--- without\n{plain:?}\n--- with\n{helios:?}")
        };
        let mut rest = text.to_owned();
        let mut expected = plain.clone();
        while let Some(word) = refused_at_distributed(&expected, &rest) {
            match clause_at(&rest, word, self.rules) {
                Some(Ok(range)) => {
                    let mut bytes = rest.into_bytes();
                    clause::blank(&mut bytes[range]);
                    rest = String::from_utf8(bytes).unwrap();
                    expected = self.plain(&rest);
                    if expected == helios {
                        return Ok(Relation::Distributed);
                    }
                }
                Some(Err(())) if error_at(&helios, &rest).is_some_and(|at| at >= word) => {
                    return Ok(Relation::Malformed);
                }
                _ => break,
            }
        }
        Err(differ(&format!("without the clause it is {expected:?}")))
    }
}

/// A session that parses what it is sent, and refuses to execute it with 25P02.
fn abort(server: &Server, standard_conforming_strings: bool) -> Wire {
    let mut wire = Wire::connect(server, DATABASE);
    let strings = if standard_conforming_strings { "on" } else { "off" };
    for statement in [
        // Otherwise each text would be in the server's log.
        "SET log_min_messages = panic",
        "SET log_min_error_statement = panic",
        "SET escape_string_warning = on",
        &format!("SET standard_conforming_strings = {strings}"),
        "BEGIN",
    ] {
        let events = wire.simple(statement, None).unwrap();
        assert!(!events.iter().any(|event| matches!(event, Event::Error(_))), "{events:?}");
    }
    assert_eq!(wire.simple("SELECT 1/0", None).unwrap().pop(), Some(Event::Ready('E')));
    wire
}

fn parse(wire: &mut Wire, text: &str) -> Answer {
    let mut events = wire.simple(text, None).unwrap();
    assert_eq!(events.pop(), Some(Event::Ready('E')), "this ended the transaction: {text}");
    for event in &mut events {
        if let Event::Error(fields) | Event::Notice(fields) = event {
            fields.retain(|(code, _)| !matches!(code, 'F' | 'L' | 'R'));
        }
    }
    events
}

/// Makes sure that the text does not begin with a statement that is executed in an aborted transaction:
/// one that ends it.
pub fn harmless(text: &str) -> String {
    let bytes = text.as_bytes();
    let first = lex::token_at(bytes, lex::statement_start(bytes), Rules::default());
    let ends = ["commit", "end", "rollback", "abort", "prepare"];
    if first.is_some_and(|token| ends.iter().any(|word| token.is_word(bytes, word))) {
        format!("SELECT 1; {text}")
    } else {
        text.to_owned()
    }
}

/// Whether the result is 25P02, or there was nothing to parse.
pub fn is_parsed(answer: &Answer) -> bool {
    match answer.last() {
        Some(event @ Event::Error(_)) => event.field('C') == Some("25P02"),
        Some(Event::Empty) => true,
        _ => panic!("unexpected result: {answer:?}"),
    }
}

/// Byte offset of an error's position.
fn error_at(answer: &Answer, text: &str) -> Option<usize> {
    let characters = answer.last()?.field('P')?.parse::<usize>().ok()? - 1;
    let at = text.char_indices().nth(characters).map(|(at, _)| at);
    Some(at.unwrap_or(text.len()))
}

/// Byte offset of the word DISTRIBUTED if it is a syntax error.
pub fn refused_at_distributed(answer: &Answer, text: &str) -> Option<usize> {
    let at = error_at(answer, text).filter(|_| is_syntax_error(answer))?;
    let bytes = text.as_bytes();
    let token = lex::token_at(bytes, at, Rules::default())?;
    (token.start == at && token.is_word(bytes, "distributed")).then_some(at)
}

fn is_syntax_error(answer: &Answer) -> bool {
    answer.last().is_some_and(|event| event.field('C') == Some("42601"))
}

/// Parses the clause that begins at this byte; returns an error if it has a mistake.
fn clause_at(text: &str, word: usize, rules: Rules) -> Option<Result<Range<usize>, ()>> {
    let bytes = text.as_bytes();
    let before = lex::tokens(bytes, rules).take_while(|token| token.start < word);
    let creates = before.filter(|token| token.is_word(bytes, "create"));
    for create in creates.collect::<Vec<_>>().into_iter().rev() {
        match clause::read(&bytes[create.start..]) {
            Ok(Some(found)) if create.start + found.range.start == word => {
                return Some(Ok(word..create.start + found.range.end));
            }
            Err(error) if create.start + error.position >= word => return Some(Err(())),
            _ => {}
        }
    }
    None
}
