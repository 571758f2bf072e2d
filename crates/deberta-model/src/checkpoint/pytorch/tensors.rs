//! From the value of a pickle to tensors that are checked against their storages.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::pickle::{Arena, PickledTensor, Value};
use crate::checkpoint::files::{Blob, StoredTensor, Strides};
use crate::checkpoint::floats::{ElementType, FloatType};

/// Keys under which training programs put the weights, in the order of preference.
const WEIGHTS_KEYS: [&str; 6] = [
    "model_state_dict",
    "state_dict",
    "model_state",
    "model",
    "module",
    "net",
];

/// Dictionaries inside each other on the way to the weights.
const MAX_DEPTH: usize = 4;

/// Named tensors of the dictionary of weights.
///
/// # Errors
///
/// If there is none.
pub(super) fn find_weights<'p, 'a>(
    arena: &'p Arena<'a>,
    root: Value<'a>,
) -> Result<BTreeMap<&'a str, &'p PickledTensor>, String> {
    let Value::Dict(root) = root else {
        return Err(
            "it holds no dictionary of tensors; save `model.state_dict()`, not the model itself"
                .into(),
        );
    };
    let mut dicts = vec![root];
    while let Some(inner) = inner_weights(arena, dicts[dicts.len() - 1]) {
        dicts.push(inner);
        if dicts.len() > MAX_DEPTH {
            break;
        }
    }
    // The innermost: a checkpoint may have tensors of its own, such as a random state.
    let tensors = dicts.iter().rev().map(|dict| named_tensors(arena, *dict));
    if let Some(tensors) = tensors.into_iter().find(|it| !it.is_empty()) {
        return Ok(tensors);
    }
    let keys = arena.dicts[root].iter().filter_map(|(key, _)| match key {
        Value::Text(key) => Some(format!("`{key}`")),
        _ => None,
    });
    let keys: Vec<String> = keys.take(20).collect();
    Err(match keys.is_empty() {
        true => "its dictionary is empty".into(),
        false => format!(
            "no dictionary of tensors under its keys {}",
            keys.join(", ")
        ),
    })
}

fn named_tensors<'p, 'a>(
    arena: &'p Arena<'a>,
    dict: usize,
) -> BTreeMap<&'a str, &'p PickledTensor> {
    // A key that was set twice has its last value.
    let entries = arena.dicts[dict].iter().filter_map(|entry| match entry {
        (Value::Text(name), Value::Tensor(tensor)) => Some((*name, &arena.tensors[*tensor])),
        _ => None,
    });
    entries.collect()
}

/// The dictionary inside this one that holds the weights: under a known key, or the only one.
fn inner_weights(arena: &Arena<'_>, dict: usize) -> Option<usize> {
    let inner: Vec<(&str, usize)> = arena.dicts[dict]
        .iter()
        .filter_map(|entry| match entry {
            (Value::Text(key), Value::Dict(inner)) => Some((*key, *inner)),
            _ => None,
        })
        .collect();
    let known = WEIGHTS_KEYS.iter().find_map(|key| {
        let mut found = inner.iter().filter(|(it, _)| it == key);
        found.next_back()
    });
    match (known, inner.as_slice()) {
        (Some((_, dict)), _) => Some(*dict),
        (None, [(_, inner)]) if named_tensors(arena, dict).is_empty() => Some(*inner),
        _ => None,
    }
}

/// Type of the entries of a class of storages, with their width in bytes.
pub(super) fn element_type(class: &str) -> Result<(ElementType, usize), String> {
    let other = |name: &str, size| (ElementType::Other(name.into()), size);
    for float in FloatType::ALL {
        if class == float.storage_name() {
            return Ok((ElementType::Float(float), float.size()));
        }
    }
    Ok(match class {
        "LongStorage" => other("i64", 8),
        "IntStorage" => other("i32", 4),
        "ShortStorage" => other("i16", 2),
        "CharStorage" => other("i8", 1),
        "ByteStorage" => other("u8", 1),
        "BoolStorage" => other("bool", 1),
        "ComplexFloatStorage" => other("complex64", 8),
        "ComplexDoubleStorage" => other("complex128", 16),
        _ => return Err(format!("unknown kind of numbers, `{class}`")),
    })
}

/// Bytes of the storages of a file.
pub(super) trait Storages {
    /// Where the storage of that key lies.
    ///
    /// # Errors
    ///
    /// If there is no such storage.
    fn range(&mut self, key: &str) -> Result<Range<usize>, String>;
}

/// Checks a tensor against its storage.
///
/// # Errors
///
/// If it does not lie within its storage, overlaps itself or runs backwards.
pub(super) fn resolve(
    arena: &Arena<'_>,
    tensor: &PickledTensor,
    storages: &mut impl Storages,
    (path, blob): (&Path, &Arc<Blob>),
    name: &str,
) -> Result<StoredTensor, String> {
    let storage = &arena.storages[tensor.storage];
    let (dtype, size) = element_type(storage.class)?;
    let bytes = storages.range(storage.key)?;
    let window = Window::new(storage.view_start, storage.len, size, &bytes)?;
    let shape = sizes(&tensor.shape, "shape")?;
    let steps = sizes(&tensor.strides, "stride")?;
    let layout = Layout::new(&shape, steps, tensor.offset, window.len)?;
    // An expanded tensor repeats its entries. No parameter does, and a tiny file could claim to be
    // a huge one.
    if dtype.float().is_some() && shape.iter().product::<usize>() > layout.span {
        return Err(format!("its shape {shape:?} overlaps itself"));
    }

    let start = window.start + layout.first * size;
    Ok(StoredTensor {
        name: name.into(),
        path: path.into(),
        shape,
        dtype,
        blob: Arc::clone(blob),
        range: start..start + layout.span * size,
        strides: layout.steps.map(|steps| Strides { steps, size }),
    })
}

fn sizes(values: &[i64], what: &str) -> Result<Vec<usize>, String> {
    let size =
        |value: &i64| usize::try_from(*value).map_err(|_| format!("{what} {value} is below zero"));
    values.iter().map(size).collect()
}

/// The part of a file that a storage, or a view of one, may use.
struct Window {
    /// First byte in the file.
    start: usize,
    /// Entries.
    len: usize,
}

impl Window {
    fn new(view_start: i64, len: i64, size: usize, bytes: &Range<usize>) -> Result<Self, String> {
        let found = bytes.len() / size;
        let inside = |value: i64| usize::try_from(value).ok().filter(|it| *it <= found);
        let too_long = || format!("a storage of {len} numbers, of which the file holds {found}");
        let first = inside(view_start).ok_or_else(too_long)?;
        let len = inside(len).filter(|len| *len <= found - first);
        Ok(Self {
            start: bytes.start + first * size,
            len: len.ok_or_else(too_long)?,
        })
    }
}

/// Where the entries of a tensor lie among those of its storage.
struct Layout {
    /// First entry.
    first: usize,
    /// Entries from the first to the last.
    span: usize,
    /// Steps per axis, unless the entries lie row by row.
    steps: Option<Vec<usize>>,
}

impl Layout {
    fn new(
        shape: &[usize],
        steps: Vec<usize>,
        offset: i64,
        storage_len: usize,
    ) -> Result<Self, String> {
        if shape.len() != steps.len() {
            return Err(format!("shape {shape:?} with strides {steps:?}"));
        }
        let outside = || {
            format!(
                "entry {offset} and on, shape {shape:?} with strides {steps:?}, is not within its \
                 storage of {storage_len} numbers"
            )
        };
        let count = shape
            .iter()
            .try_fold(1usize, |count, len| count.checked_mul(*len))
            .ok_or_else(outside)?;
        if count == 0 {
            return Ok(Self {
                first: 0,
                span: 0,
                steps: None,
            });
        }
        let last = shape
            .iter()
            .zip(&steps)
            .try_fold(0usize, |last, (len, step)| {
                last.checked_add((len - 1).checked_mul(*step)?)
            });
        let first = usize::try_from(offset).map_err(|_| outside())?;
        let span = last.and_then(|last| last.checked_add(1));
        let end = span.and_then(|span| first.checked_add(span));
        let span = span.filter(|_| end.is_some_and(|end| end <= storage_len));
        let span = span.ok_or_else(outside)?;
        Ok(Self {
            first,
            span,
            steps: (!is_row_major(shape, &steps)).then_some(steps),
        })
    }
}

fn is_row_major(shape: &[usize], steps: &[usize]) -> bool {
    let mut expected = 1;
    for (len, step) in shape.iter().zip(steps).rev() {
        // The step of an axis of length one is never taken.
        if *len != 1 && *step != expected {
            return false;
        }
        expected *= len;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(shape: &[usize], steps: &[usize], offset: i64, len: usize) -> Result<Layout, String> {
        Layout::new(shape, steps.to_vec(), offset, len)
    }

    #[test]
    fn layouts_stay_within_their_storage() {
        let whole = layout(&[2, 3], &[3, 1], 0, 6).unwrap();
        assert_eq!((whole.first, whole.span), (0, 6));
        assert!(whole.steps.is_none());
        assert!(layout(&[2, 3], &[1, 2], 0, 6).unwrap().steps.is_some());
        assert!(layout(&[2, 3], &[3, 1], 1, 6).is_err());
        assert!(layout(&[2, 3], &[3, 1], -1, 6).is_err());
        assert!(layout(&[2], &[usize::MAX], 0, 6).is_err());
        assert!(layout(&[usize::MAX, 2], &[1, 1], 0, 6).is_err());
        assert!(layout(&[2], &[1, 1], 0, 6).is_err());
    }

    #[test]
    fn steps_of_axes_of_length_one_do_not_matter() {
        assert!(layout(&[1, 1], &[7, 9], 0, 1).unwrap().steps.is_none());
    }
}
