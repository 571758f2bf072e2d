//! Lines of a file with a bound on memory: a line over the limit comes in several segments.

use std::io::{self, BufRead};

/// Part of a line, without its line ending.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Segment<'a> {
    /// The bytes; not yet checked to be UTF-8.
    pub(crate) bytes: &'a [u8],
    /// Line number, from 1.
    pub(crate) line: u64,
    /// First segment of its line.
    pub(crate) starts_line: bool,
    /// Last segment of its line.
    pub(crate) ends_line: bool,
}

/// Reads lines as [`Segment`]s of at most `limit` bytes.
///
/// A longer line is split at the last white space before the limit, or between two UTF-8
/// characters if it has none. A byte-order mark at the start of the file and a carriage return
/// at the end of a line are dropped.
#[derive(Debug)]
pub(crate) struct LineReader<R> {
    reader: R,
    limit: usize,
    segment: Vec<u8>,
    /// Bytes of `segment` that were handed out by the last call.
    handed_out: usize,
    line: u64,
    at_line_start: bool,
    bytes_read: u64,
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

impl<R: BufRead> LineReader<R> {
    pub(crate) fn new(reader: R, limit: usize) -> Self {
        Self {
            reader,
            limit: limit.max(16),
            segment: Vec::new(),
            handed_out: 0,
            line: 0,
            at_line_start: true,
            bytes_read: 0,
        }
    }

    /// Bytes consumed so far, line endings included.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The next segment, or `None` at the end of the file.
    pub(crate) fn next_segment(&mut self) -> io::Result<Option<Segment<'_>>> {
        self.segment.drain(..self.handed_out);
        self.handed_out = 0;
        let starts_line = self.at_line_start;
        let ends_line = match self.fill()? {
            Fill::Newline => true,
            Fill::Full => false,
            Fill::EndOfFile if self.segment.is_empty() && starts_line => return Ok(None),
            Fill::EndOfFile => true,
        };
        if starts_line {
            self.line += 1;
        }
        self.at_line_start = ends_line;

        let mut start = 0;
        if self.line == 1 && starts_line && self.segment.starts_with(BYTE_ORDER_MARK) {
            start = BYTE_ORDER_MARK.len();
        }
        self.handed_out = if ends_line {
            self.segment.len()
        } else {
            split_point(&self.segment)
        };
        let mut end = self.handed_out;
        if ends_line && end > start && self.segment[end - 1] == b'\r' {
            end -= 1;
        }
        let bytes = &self.segment[start..end];
        Ok(Some(Segment {
            bytes,
            line: self.line,
            starts_line,
            ends_line,
        }))
    }

    /// Appends to the segment up to the end of the line or the limit.
    fn fill(&mut self) -> io::Result<Fill> {
        loop {
            let room = self.limit.saturating_sub(self.segment.len());
            if room == 0 {
                return Ok(Fill::Full);
            }
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if chunk.is_empty() {
                return Ok(Fill::EndOfFile);
            }
            let chunk = &chunk[..chunk.len().min(room)];
            let newline = chunk.iter().position(|byte| *byte == b'\n');
            let taken = newline.unwrap_or(chunk.len());
            self.segment.extend_from_slice(&chunk[..taken]);
            let consumed = taken + usize::from(newline.is_some());
            self.reader.consume(consumed);
            self.bytes_read += consumed as u64;
            if newline.is_some() {
                return Ok(Fill::Newline);
            }
        }
    }
}

enum Fill {
    Newline,
    Full,
    EndOfFile,
}

/// Where to cut a full segment: after its last white space, else before an unfinished character.
fn split_point(segment: &[u8]) -> usize {
    if let Some(space) = segment.iter().rposition(u8::is_ascii_whitespace)
        && space > 0
    {
        return space + 1;
    }
    let is_continuation = |byte: &u8| byte & 0xC0 == 0x80;
    let unfinished = segment
        .iter()
        .rev()
        .take(3)
        .take_while(|byte| is_continuation(byte))
        .count();
    let lead = segment.len() - 1 - unfinished.min(segment.len() - 1);
    let width = match segment[lead] {
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF7 => 4,
        _ => 1,
    };
    if width > 1 && width > unfinished + 1 {
        lead.max(1)
    } else {
        segment.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(bytes: &[u8], limit: usize) -> Vec<(Vec<u8>, u64, bool, bool)> {
        let mut reader = LineReader::new(io::BufReader::with_capacity(7, bytes), limit);
        let mut found = Vec::new();
        while let Some(segment) = reader.next_segment().unwrap() {
            let Segment {
                bytes,
                line,
                starts_line,
                ends_line,
            } = segment;
            found.push((bytes.to_vec(), line, starts_line, ends_line));
        }
        assert_eq!(reader.bytes_read(), bytes.len() as u64);
        found
    }

    #[test]
    fn byte_order_mark_and_carriage_returns_are_dropped() {
        let found = lines(b"\xEF\xBB\xBFone\r\n\r\ntwo", 100);
        let texts: Vec<&[u8]> = found.iter().map(|it| it.0.as_slice()).collect();
        assert_eq!(texts, [b"one".as_slice(), b"", b"two"]);
        assert_eq!(found.iter().map(|it| it.1).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn a_long_line_is_split_at_white_space() {
        let found = lines(b"aaaa bbbb cccc dddd eeee\nshort", 16);
        let expected = [
            (b"aaaa bbbb cccc ".to_vec(), 1, true, false),
            (b"dddd eeee".to_vec(), 1, false, true),
            (b"short".to_vec(), 2, true, true),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_line_of_exactly_the_limit_gains_no_empty_line() {
        let found = lines(b"0123456789abcdef\nnext\n", 16);
        let text: Vec<u8> = found
            .iter()
            .filter(|it| it.1 == 1)
            .flat_map(|it| it.0.clone())
            .collect();
        assert_eq!(text, b"0123456789abcdef");
        assert_eq!(found.last().map(|it| it.1), Some(2));
    }

    proptest! {
        /// Splitting loses nothing, keeps characters whole and respects the limit.
        #[test]
        fn segments_rebuild_the_text(text in "[a-zé€😀 \n]{0,200}", limit in 16usize..40) {
            let found = lines(text.as_bytes(), limit);
            let mut rebuilt = String::new();
            for (bytes, _, starts_line, ends_line) in &found {
                prop_assert!(bytes.len() <= limit);
                let _ = starts_line;
                rebuilt.push_str(std::str::from_utf8(bytes).unwrap());
                if *ends_line { rebuilt.push('\n'); }
            }
            prop_assert_eq!(rebuilt.trim_end_matches('\n'), text.trim_end_matches('\n'));
        }
    }
}
