//! Elements of a JSON array, one at a time, in bounded memory.

use std::io::{BufRead, BufReader};

use anyhow::{Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::reader::{BYTE_ORDER_MARK, Counted};

/// The elements of an array with their numbers, from 1. What is no JSON ends them, since nobody knows
/// where the next one would begin.
pub(super) struct Elements {
    reader: BufReader<Counted>,
    number: u64,
    ended: bool,
}

impl Elements {
    pub(super) fn new(reader: BufReader<Counted>) -> Self {
        Self {
            reader,
            number: 0,
            ended: false,
        }
    }

    fn element(&mut self) -> Result<Option<(u64, Value)>> {
        self.reader.get_ref().begin_record();
        if self.number == 0 {
            if self.reader.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
                self.reader.consume(BYTE_ORDER_MARK.len());
            }
            ensure!(self.sign()? == Some(b'['), "expected a JSON array");
            self.reader.consume(1);
        }
        let sign = match self.sign()? {
            Some(b',') if self.number > 0 => {
                self.reader.consume(1);
                self.sign()?
            }
            Some(b']') => {
                self.reader.consume(1);
                ensure!(self.sign()?.is_none(), "something follows the JSON array");
                return Ok(None);
            }
            Some(_) if self.number > 0 => {
                bail!(
                    "expected a comma after element {} of the JSON array",
                    self.number
                )
            }
            sign => sign,
        };
        self.number += 1;
        let number = self.number;
        // The end of a number shows in the sign after it, which would be lost.
        let is_number = sign.is_some_and(|it| it == b'-' || it.is_ascii_digit());
        ensure!(
            !is_number,
            "element {number} of the JSON array is a number, expected an object or a string"
        );
        let mut json = serde_json::Deserializer::from_reader(&mut self.reader);
        match Value::deserialize(&mut json) {
            Ok(value) => Ok(Some((number, value))),
            Err(error) if error.is_io() => Err(std::io::Error::from(error).into()),
            Err(error) => bail!("element {number} of the JSON array is not valid JSON: {error}"),
        }
    }

    /// The next byte that is no white space, which stays.
    fn sign(&mut self) -> std::io::Result<Option<u8>> {
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(None);
            }
            let spaces = buffer.iter().take_while(|it| it.is_ascii_whitespace());
            let spaces = spaces.count();
            let sign = buffer.get(spaces).copied();
            self.reader.consume(spaces);
            if sign.is_some() {
                return Ok(sign);
            }
        }
    }
}

impl Iterator for Elements {
    type Item = Result<(u64, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let element = self.element().transpose();
        self.ended = !matches!(element, Some(Ok(_)));
        element
    }
}
