//! Instructions of pickles, and their operands.

use super::pickle::Value;

macro_rules! opcodes {
    ($($name:ident = $byte:expr;)*) => { $(pub(super) const $name: u8 = $byte;)* };
}

// Names as in CPython's `pickle.py`.
opcodes! {
    MARK = b'(';
    STOP = b'.';
    POP = b'0';
    POP_MARK = b'1';
    DUP = b'2';
    FLOAT = b'F';
    INT = b'I';
    BININT = b'J';
    BININT1 = b'K';
    LONG = b'L';
    BININT2 = b'M';
    NONE = b'N';
    BINPERSID = b'Q';
    REDUCE = b'R';
    STRING = b'S';
    BINSTRING = b'T';
    SHORT_BINSTRING = b'U';
    UNICODE = b'V';
    BINUNICODE = b'X';
    APPEND = b'a';
    BUILD = b'b';
    GLOBAL = b'c';
    DICT = b'd';
    EMPTY_DICT = b'}';
    APPENDS = b'e';
    GET = b'g';
    BINGET = b'h';
    INST = b'i';
    LONG_BINGET = b'j';
    LIST = b'l';
    EMPTY_LIST = b']';
    OBJ = b'o';
    PUT = b'p';
    BINPUT = b'q';
    LONG_BINPUT = b'r';
    SETITEM = b's';
    TUPLE = b't';
    EMPTY_TUPLE = b')';
    SETITEMS = b'u';
    BINFLOAT = b'G';
    PROTO = 0x80;
    NEWOBJ = 0x81;
    TUPLE1 = 0x85;
    TUPLE3 = 0x87;
    NEWTRUE = 0x88;
    NEWFALSE = 0x89;
    LONG1 = 0x8a;
    LONG4 = 0x8b;
    BINBYTES = b'B';
    SHORT_BINBYTES = b'C';
    SHORT_BINUNICODE = 0x8c;
    BINUNICODE8 = 0x8d;
    BINBYTES8 = 0x8e;
    EMPTY_SET = 0x8f;
    ADDITEMS = 0x90;
    FROZENSET = 0x91;
    NEWOBJ_EX = 0x92;
    STACK_GLOBAL = 0x93;
    MEMOIZE = 0x94;
    FRAME = 0x95;
    BYTEARRAY8 = 0x96;
}

/// A cursor over the bytes of a pickle.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.position.checked_add(count);
        let found = end.and_then(|end| self.bytes.get(self.position..end));
        let found = found.ok_or("the bytes end here")?;
        self.position += count;
        Ok(found)
    }

    pub(super) fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn skip(&mut self, count: usize) -> Result<(), String> {
        self.take(count).map(drop)
    }

    /// A little-endian number of up to eight bytes.
    fn number(&mut self, width: usize) -> Result<u64, String> {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(self.take(width)?);
        Ok(u64::from_le_bytes(bytes))
    }

    /// Bytes after their length, which is a number of `width` bytes.
    fn sized(&mut self, width: usize) -> Result<&'a [u8], String> {
        let len = usize::try_from(self.number(width)?).map_err(|_| "the bytes end here")?;
        self.take(len)
    }

    /// Text up to the end of the line.
    pub(super) fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.bytes[self.position..];
        let len = rest.iter().position(|it| *it == b'\n');
        let line = self.take(len.ok_or("the bytes end here")?)?;
        self.position += 1;
        std::str::from_utf8(line).map_err(|_| "a line is not text".into())
    }

    fn line_number<T: std::str::FromStr>(&mut self) -> Result<T, String> {
        let line = self.line()?;
        let digits = line.strip_suffix('L').unwrap_or(line);
        digits
            .parse()
            .map_err(|_| format!("`{line}` is not a number"))
    }

    pub(super) fn memo_index(&mut self, code: u8) -> Result<u64, String> {
        match code {
            GET | PUT => self.line_number(),
            BINGET | BINPUT => self.number(1),
            _ => self.number(4),
        }
    }

    /// The value of an instruction that pushes a constant; `None` for any other instruction.
    pub(super) fn literal(&mut self, code: u8) -> Result<Option<Value<'a>>, String> {
        Ok(Some(match code {
            NONE => Value::None,
            NEWTRUE => Value::Bool(true),
            NEWFALSE => Value::Bool(false),
            BININT => Value::Int(i64::from(self.number(4)? as u32 as i32)),
            BININT1 => Value::Int(self.number(1)? as i64),
            BININT2 => Value::Int(self.number(2)? as i64),
            INT => match self.line()? {
                "00" => Value::Bool(false),
                "01" => Value::Bool(true),
                line => integer(line),
            },
            LONG => {
                let line = self.line()?;
                integer(line.strip_suffix('L').unwrap_or(line))
            }
            LONG1 => long(self.sized(1)?),
            LONG4 => long(self.sized(4)?),
            FLOAT => {
                self.line()?;
                Value::Opaque
            }
            BINFLOAT => {
                self.skip(8)?;
                Value::Opaque
            }
            SHORT_BINUNICODE => unicode(self.sized(1)?)?,
            BINUNICODE => unicode(self.sized(4)?)?,
            BINUNICODE8 => unicode(self.sized(8)?)?,
            // Python 2 wrote its texts as bytes; those that are no text are of no use here.
            SHORT_BINSTRING => bytes(self.sized(1)?),
            BINSTRING => bytes(self.sized(4)?),
            STRING | UNICODE => escaped(self.line()?),
            SHORT_BINBYTES => opaque(self.sized(1)?),
            BINBYTES => opaque(self.sized(4)?),
            BINBYTES8 | BYTEARRAY8 => opaque(self.sized(8)?),
            _ => return Ok(None),
        }))
    }
}

/// A number in digits; those beyond 64 bits are of no use here.
fn integer<'a>(digits: &str) -> Value<'a> {
    digits.parse().map_or(Value::Opaque, Value::Int)
}

/// A number of any width in two's complement.
fn long<'a>(bytes: &[u8]) -> Value<'a> {
    if bytes.len() > 8 {
        return Value::Opaque;
    }
    let negative = bytes.last().is_some_and(|it| it & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(wide))
}

/// Text; Python may write lone surrogates, which no name of a tensor has.
fn unicode(bytes: &[u8]) -> Result<Value<'_>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "a text is not UTF-8")?;
    Ok(Value::Text(text))
}

fn bytes(bytes: &[u8]) -> Value<'_> {
    std::str::from_utf8(bytes).map_or(Value::Opaque, Value::Text)
}

/// Text of the oldest protocols, maybe in quotes. One with escapes is no name of a tensor.
fn escaped(line: &str) -> Value<'_> {
    if line.contains('\\') {
        return Value::Opaque;
    }
    let inner = ['\'', '"'].into_iter().find_map(|quote| {
        let inner = line.strip_prefix(quote)?;
        inner.strip_suffix(quote)
    });
    Value::Text(inner.unwrap_or(line))
}

fn opaque<'a>(_: &[u8]) -> Value<'a> {
    Value::Opaque
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: Value<'_>) {
        let mut reader = Reader::new(bytes);
        let code = reader.byte().unwrap();
        assert_eq!(reader.literal(code), Ok(Some(expected)));
        assert_eq!(reader.position(), bytes.len());
    }

    #[test]
    fn numbers_of_all_widths_are_read() {
        check(b"K\xff", Value::Int(255));
        check(b"M\x00\x01", Value::Int(256));
        check(b"J\xfe\xff\xff\xff", Value::Int(-2));
        check(b"\x8a\x00", Value::Int(0));
        check(b"\x8a\x01\xff", Value::Int(-1));
        check(b"\x8a\x05\x00\x00\x00\x00\x01", Value::Int(1 << 32));
        check(
            b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01",
            Value::Opaque,
        );
        check(b"I01\n", Value::Bool(true));
        check(b"I-7\n", Value::Int(-7));
        check(b"L12L\n", Value::Int(12));
    }

    #[test]
    fn texts_of_all_protocols_are_read() {
        check(b"X\x02\x00\x00\x00ab", Value::Text("ab"));
        check(b"\x8c\x02ab", Value::Text("ab"));
        check(b"U\x02ab", Value::Text("ab"));
        check(b"S'ab'\n", Value::Text("ab"));
        check(b"Vab\n", Value::Text("ab"));
        check(b"U\x01\xff", Value::Opaque);
    }

    #[test]
    fn lengths_beyond_the_end_are_refused() {
        for bytes in [
            &b"X\xff\xff\xff\xffab"[..],
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffab",
            b"J\x00",
            b"S'ab'",
        ] {
            let mut reader = Reader::new(bytes);
            let code = reader.byte().unwrap();
            assert!(reader.literal(code).is_err(), "{bytes:?}");
        }
    }
}
