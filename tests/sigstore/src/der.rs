//! As much of DER as an SCT and a time stamp need.

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTETS: u8 = 0x04;
pub(crate) const NAME: u8 = 0x06;
pub(crate) const TEXT: u8 = 0x0c;
pub(crate) const TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
/// What stands in the place of a tag by its position: `[0]`.
pub(crate) const FIRST: u8 = 0xa0;

/// A value of less than 64 KiB: its tag, its length, and its parts.
pub(crate) fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    let [.., high, low] = contents.len().to_be_bytes();
    let mut whole = match (high, low) {
        (0, 0..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        (_, _) => vec![tag, 0x82, high, low],
    };
    whole.extend(contents);
    whole
}

/// An object identifier.
pub(crate) fn name(arcs: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for arc in std::iter::once(arcs[0] * 40 + arcs[1]).chain(arcs[2..].iter().copied()) {
        // Seven bits a byte, the last ones last; all bytes but the last say that more follow.
        let mut groups = vec![low(arc)];
        let mut rest = arc >> 7;
        while rest > 0 {
            groups.push(low(rest) | 0x80);
            rest >>= 7;
        }
        bytes.extend(groups.iter().rev());
    }
    value(NAME, &[&bytes])
}

fn low(arc: u64) -> u8 {
    u8::try_from(arc & 0x7f).unwrap_or_default()
}

/// The first value within a value, header included.
pub(crate) fn first(whole: &[u8]) -> &[u8] {
    let (start, _) = extent(whole);
    let inner = &whole[start..];
    let (start, length) = extent(inner);
    &inner[..start + length]
}

/// Where a value's contents begin, and how long they are.
fn extent(whole: &[u8]) -> (usize, usize) {
    match whole[1] {
        0x81 => (3, usize::from(whole[2])),
        0x82 => (4, usize::from(u16::from_be_bytes([whole[2], whole[3]]))),
        short => (2, usize::from(short)),
    }
}
