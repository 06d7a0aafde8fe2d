//! A cursor over bytes that never reads past its end and never allocates from a length it has read.

use crate::error::{Code, Error};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], Error> {
        let Some((head, tail)) = self.bytes.split_at_checked(len) else {
            let left = self.bytes.len();
            return Err(Error::new(
                Code::Truncated,
                format!("the file is cut off: {what} needs {len} bytes and {left} are left"),
            ));
        };
        self.bytes = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<&'a [u8; N], Error> {
        let Some((head, tail)) = self.bytes.split_first_chunk::<N>() else {
            return Err(Error::new(Code::Truncated, format!("the file is cut off in {what}")));
        };
        self.bytes = tail;
        Ok(head)
    }

    pub(crate) fn byte(&mut self, what: &'static str) -> Result<u8, Error> {
        self.array::<1>(what).map(|[byte]| *byte)
    }

    /// A number in its shortest form, so that one signature section has one encoding.
    pub(crate) fn minimal(&mut self, what: &'static str) -> Result<usize, Error> {
        let (value, minimal) = self.number(what)?;
        if minimal {
            Ok(value)
        } else {
            Err(Error::new(Code::LebNotMinimal, format!("{what} is written with more bytes than it needs")))
        }
    }

    /// A number as WebAssembly has it: linkers pad the lengths of sections that they patch later.
    pub(crate) fn padded(&mut self, what: &'static str) -> Result<usize, Error> {
        self.number(what).map(|(value, _)| value)
    }

    fn number(&mut self, what: &'static str) -> Result<(usize, bool), Error> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte(what)?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let value = usize::try_from(value).map_err(|_| overflow(what))?;
                return Ok((value, shift == 0 || byte != 0));
            }
        }
        Err(overflow(what))
    }
}

fn overflow(what: &'static str) -> Error {
    Error::new(Code::LebOverflow, format!("{what} does not fit into 32 bits"))
}

/// Appends a number in its shortest form.
pub(crate) fn put(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0x7f);
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}
