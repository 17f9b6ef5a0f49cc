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
        let spare = buffer.spare();
        let count = spare.len().min(piece).min(stream.len());
        spare[..count].copy_from_slice(&stream[..count]);
        buffer.filled(count);
        stream = &stream[count..];
        while let Some(frame) = buffer.next_frame().unwrap() {
            all.push((frame.kind, frame.body.to_vec()));
        }
    }
    all
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
    for (length, limit, expected) in [
        (3, 10, FrameError::Length { kind: 'D', length: 3 }),
        (0, 10, FrameError::Length { kind: 'D', length: 0 }),
        (-1, 10, FrameError::Length { kind: 'D', length: -1 }),
        (i32::MIN, 10, FrameError::Length { kind: 'D', length: i32::MIN }),
        (15, 10, FrameError::TooLong { kind: 'D', length: 11, limit: 10 }),
    ] {
        let mut buffer = FrameBuffer::with_limit(limit);
        let mut bytes = vec![b'D'];
        bytes.extend_from_slice(&i32::to_be_bytes(length));
        buffer.spare()[..5].copy_from_slice(&bytes);
        buffer.filled(5);
        assert_eq!(buffer.next_frame(), Err(expected));
        assert_eq!(buffer.next_frame(), Err(expected), "the error stays");
        assert!(!buffer.spare().is_empty());
    }
    let mut buffer = FrameBuffer::with_limit(10);
    assert_eq!(feed(&mut buffer, &message(b'D', &[7; 10]), 3), [(b'D', vec![7; 10])]);
}

#[test]
fn a_length_word_alone_reserves_nothing() {
    let mut buffer = FrameBuffer::default();
    let mut bytes = vec![b'D'];
    bytes.extend_from_slice(&0x3fff_0000_i32.to_be_bytes());
    assert_eq!(feed(&mut buffer, &bytes, 5), []);
    buffer.spare();
    assert!(buffer.capacity() < 256 * 1024, "{}", buffer.capacity());
}

#[test]
fn a_giant_message_does_not_keep_its_memory() {
    let mut buffer = FrameBuffer::default();
    let start = buffer.capacity();
    let giant = message(b'D', &vec![1; 20_000_000]);
    assert_eq!(feed(&mut buffer, &giant, usize::MAX)[0].1.len(), 20_000_000);
    assert!(buffer.capacity() >= 20_000_000);
    assert!(buffer.capacity() <= 2 * 20_000_000 + start, "{}", buffer.capacity());
    let small = message(b'D', b"x").repeat(100);
    for _ in 0..100 {
        feed(&mut buffer, &small, usize::MAX);
    }
    assert_eq!(buffer.capacity(), start);
}

#[test]
fn a_million_small_rows_are_cut_in_a_blink() {
    let body = row(&[Some(b"12345"), None, Some(b"abcdefgh")]);
    let stream = message(b'D', &body).repeat(10_000);
    let mut buffer = FrameBuffer::default();
    let (mut rows, mut bytes) = (0u64, 0usize);
    let start = Instant::now();
    for _ in 0..100 {
        let mut rest = stream.as_slice();
        while !rest.is_empty() {
            let spare = buffer.spare();
            let count = spare.len().min(rest.len());
            spare[..count].copy_from_slice(&rest[..count]);
            buffer.filled(count);
            rest = &rest[count..];
            while let Some(frame) = buffer.next_frame().unwrap() {
                rows += 1;
                bytes += frame.body.len();
            }
        }
    }
    assert_eq!((rows, bytes), (1_000_000, body.len() * 1_000_000));
    assert!(start.elapsed().as_secs() < 10, "took {:?}", start.elapsed());
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
        prop_assert_eq!(buffer.unread(), 0);
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200), limit in 0..1000usize) {
        let mut buffer = FrameBuffer::with_limit(limit);
        buffer.spare()[..bytes.len()].copy_from_slice(&bytes);
        buffer.filled(bytes.len());
        while let Ok(Some(frame)) = buffer.next_frame() {
            prop_assert!(frame.body.len() <= limit);
        }
        prop_assert!(!buffer.spare().is_empty());
        if let Ok(columns) = columns(&bytes) {
            prop_assert!(columns.count() <= bytes.len());
        }
        let _ = error_fields(&bytes).is_ok();
        let _ = copy_response(&bytes).is_ok();
        let _ = command_tag(&bytes).map(rows_affected).is_ok();
    }
}
