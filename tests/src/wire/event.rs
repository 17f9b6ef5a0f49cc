//! What a server sends, message by message.

use std::io;

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend;

/// One column of a result, as `RowDescription` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The table it comes from, 0 for none.
    pub table: u32,
    /// Its number in that table, 0 for none.
    pub number: i16,
    /// Type.
    pub type_oid: u32,
    /// Size of the type, negative for variable sizes.
    pub size: i16,
    /// Type modifier.
    pub modifier: i32,
    /// 0 is text, 1 is binary.
    pub format: i16,
}

/// One message of the server's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// What the rows look like.
    Columns(Vec<Column>),
    /// A statement without rows.
    NoData,
    /// Types of a prepared statement's parameters.
    Parameters(Vec<u32>),
    /// A row; `None` is NULL.
    Row(Vec<Option<Vec<u8>>>),
    /// A command tag.
    Complete(String),
    /// An empty statement.
    Empty,
    /// A portal has more rows.
    Suspended,
    /// An error, by field code.
    Error(Vec<(char, String)>),
    /// A notice, by field code.
    Notice(Vec<(char, String)>),
    /// NOTIFY: channel and payload.
    Notification(String, String),
    /// A setting that the server reports.
    Setting(String, String),
    /// The server waits for COPY data: overall format, formats of the columns.
    CopyIn(u8, Vec<u16>),
    /// COPY data follow.
    CopyOut(u8, Vec<u16>),
    /// The result of a FunctionCall.
    Value(Option<Vec<u8>>),
    /// COPY data.
    Data(Vec<u8>),
    /// The end of COPY data.
    DataEnd,
    /// Parse, Bind or Close is done.
    Done(&'static str),
    /// Ready for the next query: `I`dle, in a `T`ransaction, in a failed on`E`.
    Ready(char),
}

impl Event {
    /// A field of an error or notice.
    pub fn field(&self, code: char) -> Option<&str> {
        let (Event::Error(fields) | Event::Notice(fields)) = self else { return None };
        fields.iter().find(|(found, _)| *found == code).map(|(_, value)| value.as_str())
    }
}

/// A column as the library tells it.
pub(super) fn column(field: &backend::Field<'_>) -> Column {
    Column {
        name: field.name().to_owned(),
        table: field.table_oid(),
        number: field.column_id(),
        type_oid: field.type_oid(),
        size: field.type_size(),
        modifier: field.type_modifier(),
        format: field.format(),
    }
}

/// All fields of an error or notice, by code.
pub(super) fn fields(fields: &mut backend::ErrorFields<'_>) -> io::Result<Vec<(char, String)>> {
    let field = |field: backend::ErrorField<'_>| {
        let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
        Ok((char::from(field.type_()), value))
    };
    fields.map(field).collect()
}
