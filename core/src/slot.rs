//! Hash slots, equal to those of Redis Cluster for every key.
//!
//! Source: Redis Cluster specification, "Key distribution model" and "Hash tags".

use crc::{CRC_16_XMODEM, Crc};

/// How many slots there are.
pub const SLOTS: u16 = 16384;

const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// The part of a schema's name that determines its placement: the text between the first `{` and the next `}`,
/// or the whole name if there is no such pair or nothing in between.
pub fn key_of(name: &str) -> &str {
    let tag = name.split_once('{').and_then(|(_, tail)| tail.split_once('}'));
    match tag {
        Some((tag, _)) if !tag.is_empty() => tag,
        _ => name,
    }
}

/// The slot of a schema's name, `0..SLOTS`: CRC16 (XMODEM) of its key, modulo 16384.
pub fn slot_of(name: &str) -> u16 {
    CRC.checksum(key_of(name).as_bytes()) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The reference implementation of the specification's appendix, bit by bit.
    fn crc16_bitwise(bytes: &[u8]) -> u16 {
        bytes.iter().fold(0u16, |crc, &byte| {
            (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            })
        })
    }

    #[test]
    fn vectors_of_the_specification() {
        assert_eq!(CRC.checksum(b"123456789"), 0x31c3);
        assert_eq!(key_of("{user1000}.following"), "user1000");
        assert_eq!(key_of("foo{}{bar}"), "foo{}{bar}");
        assert_eq!(key_of("foo{{bar}}zap"), "{bar");
        assert_eq!(key_of("foo{bar}{zap}"), "bar");
        assert_eq!(slot_of("{user1000}.following"), slot_of("{user1000}.followers"));
    }

    /// What CLUSTER KEYSLOT of a Redis server answers.
    #[test]
    fn slots_of_redis() {
        for (key, slot) in [
            ("", 0),
            ("foo", 12182),
            ("bar", 5061),
            ("hello", 866),
            ("somekey", 11058),
            ("foo{hash_tag}", 2515),
            ("bar{hash_tag}", 2515),
            ("123456789", 12739),
        ] {
            assert_eq!(slot_of(key), slot, "{key}");
        }
    }

    #[test]
    fn tags() {
        for (name, key) in [
            ("", ""),
            ("{}", "{}"),
            ("{", "{"),
            ("}a{", "}a{"),
            ("}{a}", "a"),
            ("{a", "{a"),
            ("{a}}", "a"),
            ("a{b}c{d}", "b"),
            ("{é}x", "é"),
        ] {
            assert_eq!(key_of(name), key, "{name}");
        }
    }

    proptest! {
        #[test]
        fn equals_the_reference(name in any::<String>()) {
            let bytes = name.as_bytes();
            let open = bytes.iter().position(|&b| b == b'{');
            let close = open.and_then(|open| {
                bytes[open + 1..].iter().position(|&b| b == b'}').map(|close| open + 1 + close)
            });
            let key = match (open, close) {
                (Some(open), Some(close)) if close > open + 1 => &bytes[open + 1..close],
                _ => bytes,
            };
            prop_assert_eq!(slot_of(&name), crc16_bitwise(key) & 16383);
            prop_assert!(slot_of(&name) < SLOTS);
        }
    }
}
