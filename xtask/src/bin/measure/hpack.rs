//! As much of HPACK (RFC 7541) as measuring needs: what is sent is indexed as clients do it, what comes back is literal,
//! because the connection's settings leave the server no table.

/// `:status 200` of the static table.
const STATUS_200: u8 = 0x88;

/// The name `grpc-status`, Huffman-coded, with the bit and the length before it.
const STATUS_NAME: [u8; 9] = [0x88, 0x9a, 0xca, 0xc8, 0xb2, 0x12, 0x34, 0xda, 0x8f];

/// The codes of gRPC from 0 to 16 as values, Huffman-coded, with the bit and the length before them.
const STATUS_VALUES: [&[u8]; 17] = [
    &[0x81, 0x07],
    &[0x81, 0x0f],
    &[0x81, 0x17],
    &[0x81, 0x67],
    &[0x81, 0x6b],
    &[0x81, 0x6f],
    &[0x81, 0x73],
    &[0x81, 0x77],
    &[0x81, 0x7b],
    &[0x81, 0x7f],
    &[0x82, 0x08, 0x3f],
    &[0x82, 0x08, 0x7f],
    &[0x82, 0x08, 0xbf],
    &[0x82, 0x0b, 0x3f],
    &[0x82, 0x0b, 0x5f],
    &[0x82, 0x0b, 0x7f],
    &[0x82, 0x0b, 0x9f],
];

/// The head of a request: the first one of a connection, and all others, which refer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// Puts every header into the server's table.
    pub(crate) first: Vec<u8>,
    /// Names the headers there.
    pub(crate) next: Vec<u8>,
}

impl Head {
    /// The head of a gRPC call.
    pub(crate) fn new(path: &str) -> Self {
        // `:method POST` and `:scheme http` are in the static table as they are.
        let (mut first, mut next) = (vec![0x83, 0x86], vec![0x83, 0x86]);
        // The others are literals to be indexed: the number of the name in the static table, or 0 and the name.
        // Each of them becomes an entry of the server's table, whose newest is number 62.
        let headers = [(4, "", path), (1, "", "127.0.0.1"), (31, "", "application/grpc"), (0, "te", "trailers")];
        for ((index, name, value), entry) in headers.into_iter().zip([65, 64, 63, 62]) {
            first.push(0x40 | index);
            if index == 0 {
                text(name, &mut first);
            }
            text(value, &mut first);
            next.push(0x80 | entry);
        }
        Self { first, next }
    }
}

/// A text as it is: its length with a prefix of seven bits, and its bytes.
fn text(text: &str, out: &mut Vec<u8>) {
    match u8::try_from(text.len()) {
        Ok(short) if short < 127 => out.push(short),
        _ => {
            out.push(127);
            let mut rest = text.len() - 127;
            while rest >= 128 {
                out.push(0x80 | low_bits(rest));
                rest >>= 7;
            }
            out.push(low_bits(rest));
        }
    }
    out.extend_from_slice(text.as_bytes());
}

fn low_bits(number: usize) -> u8 {
    u8::try_from(number & 0x7f).unwrap_or_default()
}

/// Whether these headers begin with the status 200.
pub(crate) fn is_200(mut block: &[u8]) -> bool {
    // The first block of a connection says that the table has no room.
    while let [0x20..=0x3f, rest @ ..] = block {
        block = rest;
    }
    block.first() == Some(&STATUS_200)
}

/// The status of gRPC in these headers, where there is one.
pub(crate) fn grpc_status(block: &[u8]) -> Option<usize> {
    let at = block.windows(STATUS_NAME.len()).position(|window| window == STATUS_NAME)?;
    let value = block.get(at + STATUS_NAME.len()..)?;
    STATUS_VALUES.iter().position(|status| value.starts_with(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_repeated_in_as_many_bytes_as_it_has_headers() {
        let head = Head::new("/a.B/C");
        assert_eq!(head.next, [0x83, 0x86, 0xc1, 0xc0, 0xbf, 0xbe]);
        assert!(head.first.starts_with(b"\x83\x86\x44\x06/a.B/C\x41\x09127.0.0.1\x5f\x10application/grpc"));
        assert!(head.first.ends_with(b"\x40\x02te\x08trailers"));
    }

    #[test]
    fn a_long_text_has_a_long_length() {
        let length_of = |length: usize| {
            let mut out = Vec::new();
            text(&"x".repeat(length), &mut out);
            out.truncate(out.len() - length);
            out
        };
        assert_eq!(length_of(126), [126]);
        assert_eq!(length_of(127), [127, 0]);
        // The number of RFC 7541, C.1.2, with a prefix of seven bits.
        assert_eq!(length_of(127 + 1306), [127, 0x9a, 0x0a]);
    }

    #[test]
    fn the_status_is_found() {
        assert!(is_200(&[0x20, 0x88, 0x5f]) && is_200(&[0x88]) && !is_200(&[0x8d]) && !is_200(&[]));
        let trailers = [&[0x00][..], &STATUS_NAME, &[0x82, 0x0b, 0x9f]].concat();
        assert_eq!(grpc_status(&trailers), Some(16));
        assert_eq!(grpc_status(&[0x88]), None);
    }
}
