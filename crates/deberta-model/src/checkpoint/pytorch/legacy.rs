//! The format of `torch.save` before 2020: pickles, then the storages one after the other.
//!
//! Reference: pytorch/pytorch `torch/serialization.py`, `_legacy_load`.

use std::collections::HashMap;
use std::ops::Range;

use super::pickle::{Machine, Value};
use super::tensors::{Storages, element_type};

/// Pickled `0x1950a86a20f9469cfc6c` after the byte of the protocol.
const MAGIC: &[u8] = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// Version of the format, the only one there ever was.
const PROTOCOL_VERSION: i64 = 1001;

/// Where each storage lies.
pub(super) struct LegacyStorages(HashMap<String, Range<usize>>);

/// Whether these bytes begin like a file of this format.
pub(super) fn recognises(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x80) && bytes.get(2..2 + MAGIC.len()) == Some(MAGIC)
}

/// Runs all pickles of the file and finds its storages.
///
/// # Errors
///
/// If a pickle is malformed, or the storages do not fill the file as announced.
pub(super) fn open<'a>(
    bytes: &'a [u8],
) -> Result<(Machine<'a>, Value<'a>, LegacyStorages), String> {
    let mut machine = Machine::new(bytes);
    machine.run()?;
    let version = machine.run()?;
    if version != Value::Int(PROTOCOL_VERSION) {
        return Err(format!("version {version:?}, expected {PROTOCOL_VERSION}"));
    }
    let system = machine.run()?;
    if is_big_endian(&machine, system) {
        return Err("its numbers are big-endian, expected little-endian".into());
    }
    let root = machine.run()?;
    let Value::List(keys) = machine.run()? else {
        return Err("no list of storages".into());
    };
    let storages = locate(bytes, &machine, keys)?;
    Ok((machine, root, storages))
}

fn is_big_endian(machine: &Machine<'_>, system: Value<'_>) -> bool {
    let Value::Dict(dict) = system else {
        return false;
    };
    let entry = (Value::Text("little_endian"), Value::Bool(false));
    machine.arena.dicts[dict].contains(&entry)
}

/// Each storage is its number of entries in eight bytes, then the entries.
fn locate(bytes: &[u8], machine: &Machine<'_>, keys: usize) -> Result<LegacyStorages, String> {
    let mut widths = HashMap::new();
    for storage in &machine.arena.storages {
        widths.insert(storage.key, element_type(storage.class)?.1);
    }
    let mut position = machine.position();
    let mut ranges = HashMap::new();
    for key in &machine.arena.lists[keys] {
        let Value::Text(key) = key else {
            return Err("a storage without a name".into());
        };
        let width = widths.get(key);
        let width = *width.ok_or_else(|| format!("storage `{key}` belongs to no tensor"))?;
        let end = (|| {
            let start = position.checked_add(8)?;
            let len = u64::from_le_bytes(bytes.get(position..start)?.try_into().ok()?);
            let end = start.checked_add(usize::try_from(len).ok()?.checked_mul(width)?)?;
            (end <= bytes.len()).then_some(end)
        })();
        let end =
            end.ok_or_else(|| format!("storage `{key}` reaches beyond the end of the file"))?;
        ranges.insert((*key).to_owned(), position + 8..end);
        position = end;
    }
    Ok(LegacyStorages(ranges))
}

impl Storages for LegacyStorages {
    fn range(&mut self, key: &str) -> Result<Range<usize>, String> {
        let found = self.0.get(key).cloned();
        found.ok_or_else(|| format!("the file has no storage `{key}`"))
    }
}
