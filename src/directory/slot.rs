//! Hash slots as Redis Cluster computes them.

/// The part of a key that is hashed: between the first `{` and the next `}`, if something is between them.
pub fn hash_tag(key: &str) -> &str {
    let Some((_, behind)) = key.split_once('{') else { return key };
    match behind.split_once('}') {
        Some((tag, _)) if !tag.is_empty() => tag,
        _ => key,
    }
}

/// CRC16 (XMODEM) of the key's tag modulo 16384.
pub fn key_slot(key: &str) -> u16 {
    let step = |crc: u16, byte: u8| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 }
        })
    };
    hash_tag(key).bytes().fold(0, step) % 16384
}
