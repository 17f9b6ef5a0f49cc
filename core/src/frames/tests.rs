use super::*;
use proptest::prelude::*;
use std::time::Instant;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&(body.len() as i32 + 4).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Feeds a stream in pieces of at most `piece` bytes and collects what comes out.
fn feed(buffer: &mut FrameBuffer, mut stream: &[u8], piece: usize) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    while !stream.is_empty() {
        read(buffer, &mut stream, piece);
        while let Some(frame) = buffer.next_frame().unwrap() {
            all.push((frame.kind, frame.to_vec()));
        }
    }
    all
}

/// One read from a socket that has this stream.
fn read(buffer: &mut FrameBuffer, stream: &mut &[u8], piece: usize) {
    let room = buffer.room().unwrap();
    let count = room.len().min(piece).min(stream.len());
    assert!(count > 0, "no room");
    room[..count].copy_from_slice(&stream[..count]);
    buffer.filled(count);
    *stream = &stream[count..];
}

fn row(columns: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = (columns.len() as u16).to_be_bytes().to_vec();
    for column in columns {
        let length = column.map_or(-1, |value| value.len() as i32);
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(column.unwrap_or_default());
    }
    body
}

#[test]
fn malformed_lengths() {
    for length in [3, 0, -1, i32::MIN, 0x4000_0001] {
        let mut buffer = FrameBuffer::default();
        let bytes = [b"D".as_slice(), &length.to_be_bytes()].concat();
        read(&mut buffer, &mut bytes.as_slice(), 5);
        let expected = FrameError::Length(length as u32);
        assert_eq!(buffer.next_frame().unwrap_err(), expected);
        assert_eq!(buffer.next_frame().unwrap_err(), expected, "the error stays");
        assert_eq!(buffer.room().unwrap_err(), expected);
    }
}

#[test]
fn a_length_word_alone_reserves_little() {
    let mut buffer = FrameBuffer::default();
    let bytes = [b"D".as_slice(), &0x3fff_0000_i32.to_be_bytes()].concat();
    assert_eq!(feed(&mut buffer, &bytes, 5), []);
    let room = buffer.room().unwrap().len();
    assert!(room <= 256 * 1024, "{room}");
}

#[test]
fn a_giant_message_does_not_keep_its_memory() {
    let mut buffer = FrameBuffer::default();
    let giant = message(b'D', &vec![1; 20_000_000]);
    assert_eq!(feed(&mut buffer, &giant, usize::MAX)[0].1.len(), 20_000_000);
    assert!(buffer.capacity() >= 20_000_000);
    assert!(buffer.capacity() <= 2 * 20_000_000, "{}", buffer.capacity());
    feed(&mut buffer, &message(b'D', b"x"), usize::MAX);
    assert!(buffer.capacity() <= 256 * 1024, "{}", buffer.capacity());
}

#[test]
fn a_row_being_looked_at_survives_further_reading() {
    let mut buffer = FrameBuffer::default();
    read(&mut buffer, &mut message(b'D', b"kept").as_slice(), usize::MAX);
    let kept = buffer.next_frame().unwrap().unwrap();
    for i in 0..10_000u32 {
        let row = (b'D', i.to_be_bytes().to_vec());
        assert_eq!(feed(&mut buffer, &message(b'D', &row.1), usize::MAX), [row]);
    }
    assert_eq!(&*kept, b"kept");
}

#[test]
fn a_giant_message_in_small_pieces_is_not_moved_again_and_again() {
    let mut buffer = FrameBuffer::default();
    let giant = message(b'D', &vec![1; 50_000_000]);
    let start = Instant::now();
    assert_eq!(feed(&mut buffer, &giant, 4096).len(), 1);
    // moving it for each piece would be 300 GB
    assert!(start.elapsed().as_secs() < 10, "took {:?}", start.elapsed());
}

#[test]
fn data_rows() {
    let body = row(&[Some(b"a"), None, Some(b"")]);
    let read: Vec<_> = columns(&body).unwrap().map(Result::unwrap).collect();
    assert_eq!(read, [Some(b"a".as_slice()), None, Some(b"".as_slice())]);
    assert_eq!(columns(&row(&[])).unwrap().count(), 0);
    assert_eq!(columns(b"\0").unwrap_err(), FrameError::Body("DataRow"));
    for cut in 2..body.len() {
        assert!(columns(&body[..cut]).unwrap().last().unwrap().is_err(), "cut at {cut}");
    }
    let trailing = [body.as_slice(), b"x"].concat();
    let read: Vec<_> = columns(&trailing).unwrap().collect();
    assert_eq!((read.len(), read[3]), (4, Err(FrameError::Body("DataRow"))));
    // a negative length other than -1
    assert!(columns(b"\0\x01\xff\xff\xff\xfe").unwrap().next().unwrap().is_err());
}

#[test]
fn errors() {
    let body = b"SFEHLER\0VERROR\0C42P01\0Mno such table\0P15\0p7\0qselect\0Wctx\0ss\0tt\0\
                 cc\0dd\0nn\0Dde\0Hhi\0Ff.c\0L99\0Rr\0Znew\0\0";
    let fields = error_fields(body).unwrap();
    let expected = ErrorFields {
        severity: Some(b"FEHLER"),
        severity_nonlocalized: Some(b"ERROR"),
        code: Some(b"42P01"),
        message: Some(b"no such table"),
        detail: Some(b"de"),
        hint: Some(b"hi"),
        position: Some(15),
        internal_position: Some(7),
        internal_query: Some(b"select"),
        context: Some(b"ctx"),
        schema: Some(b"s"),
        table: Some(b"t"),
        column: Some(b"c"),
        data_type: Some(b"d"),
        constraint: Some(b"n"),
        file: Some(b"f.c"),
        line: Some(99),
        routine: Some(b"r"),
    };
    assert_eq!(fields, expected);
    for malformed in [b"".as_slice(), b"Sx", b"Sx\0", b"S", b"Px\0\0", b"\0x"] {
        assert_eq!(error_fields(malformed), Err(FrameError::Body("ErrorResponse")));
    }
}

#[test]
fn tags() {
    assert_eq!(command_tag(b"INSERT 0 5\0"), Ok("INSERT 0 5"));
    assert!(command_tag(b"INSERT").is_err() && command_tag(b"A\0B").is_err());
    for (tag, rows) in [
        ("INSERT 0 5", Some(5)),
        ("SELECT 18446744073709551615", Some(u64::MAX)),
        ("COPY 0", Some(0)),
        ("CREATE TABLE", None),
        ("BEGIN", None),
        ("", None),
        ("SELECT +1", None),
    ] {
        assert_eq!(rows_affected(tag), rows, "{tag}");
    }
}

#[test]
fn copies() {
    let response = copy_response(b"\x01\0\x02\0\x01\0\0").unwrap();
    assert_eq!(response, CopyResponse { format: 1, columns: vec![1, 0] });
    assert_eq!(copy_response(b"\0\0\0").unwrap().columns, [0i16; 0]);
    for malformed in [b"".as_slice(), b"\0\0", b"\0\0\x01", b"\0\0\x01\0", b"\0\0\0\0\0"] {
        assert!(copy_response(malformed).is_err());
    }
}

proptest! {
    #[test]
    fn any_cut_of_the_stream_gives_the_same_messages(
        messages in proptest::collection::vec(
            (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..300)), 0..40),
        giant in 0..200_000usize,
        piece in 1..5000usize,
    ) {
        let mut messages = messages;
        messages.push((b'd', vec![9; giant]));
        messages.push((b'Z', vec![b'I']));
        let stream: Vec<u8> =
            messages.iter().flat_map(|(kind, body)| message(*kind, body)).collect();
        let mut buffer = FrameBuffer::default();
        prop_assert_eq!(feed(&mut buffer, &stream, piece), messages);
        prop_assert!(buffer.is_empty());
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut buffer = FrameBuffer::default();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() && buffer.room().is_ok() {
            read(&mut buffer, &mut rest, 50);
            while let Ok(Some(frame)) = buffer.next_frame() {
                prop_assert!(frame.len() <= bytes.len());
            }
        }
        if let Ok(columns) = columns(&bytes) {
            prop_assert!(columns.count() <= bytes.len());
        }
        let _ = error_fields(&bytes).is_ok();
        let _ = copy_response(&bytes).is_ok();
        let _ = command_tag(&bytes).map(rows_affected).is_ok();
    }
}
