//! The few functions that PyTorch's pickles call, and what they make.

use super::pickle::{Arena, PickledTensor, Storage, Tuple, Value};

/// Most axes of a tensor; parameters have three at most.
const MAX_AXES: usize = 16;

/// The result of calling `function`; [`Value::Opaque`] for all that weights do not need.
pub(super) fn call<'a>(
    arena: &mut Arena<'a>,
    function: Value<'a>,
    arguments: Value<'a>,
) -> Result<Value<'a>, String> {
    let (Value::Global { module, name }, Value::Tuple(arguments)) = (function, arguments) else {
        return Ok(Value::Opaque);
    };
    match (module, name) {
        ("collections", "OrderedDict") | ("builtins" | "__builtin__", "dict") => {
            dict(arena, arguments)
        }
        // The first argument makes values for keys that are not there.
        ("collections", "defaultdict") => Ok(arena.add_dict(Vec::new())),
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => tensor(arena, arguments),
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
            let first = arena.tuple(arguments).first();
            Ok(first.copied().unwrap_or(Value::Opaque))
        }
        ("torch", "Size") => {
            let first = arena.tuple(arguments).first();
            Ok(first.copied().unwrap_or(Value::Opaque))
        }
        _ => Ok(Value::Opaque),
    }
}

/// An empty dictionary, or one of a list of pairs, as Python 2 wrote it.
fn dict<'a>(arena: &mut Arena<'a>, arguments: Tuple) -> Result<Value<'a>, String> {
    let pairs = match arena.tuple(arguments) {
        [] => &[],
        [Value::List(list)] => arena.lists[*list].as_slice(),
        _ => return Ok(Value::Opaque),
    };
    let pair = |value: &Value<'a>| match value {
        Value::Tuple(tuple) => as_pair(arena.tuple(*tuple)),
        Value::List(list) => as_pair(&arena.lists[*list]),
        _ => None,
    };
    let entries: Option<Vec<_>> = pairs.iter().map(pair).collect();
    let entries = entries.ok_or("a dictionary made of something other than pairs")?;
    // The same list may be copied again and again.
    arena.charge(entries.len())?;
    Ok(arena.add_dict(entries))
}

fn as_pair<'a>(items: &[Value<'a>]) -> Option<(Value<'a>, Value<'a>)> {
    match items {
        [key, value] => Some((*key, *value)),
        _ => None,
    }
}

/// `_rebuild_tensor(storage, offset, shape, strides, ...)`
fn tensor<'a>(arena: &mut Arena<'a>, arguments: Tuple) -> Result<Value<'a>, String> {
    let (storage, offset, shape, strides) = match arena.tuple(arguments) {
        [
            Value::Storage(storage),
            Value::Int(offset),
            Value::Tuple(shape),
            Value::Tuple(strides),
            ..,
        ] => (*storage, *offset, *shape, *strides),
        // A tensor of another kind: quantised, or on a device of its own.
        _ => return Ok(Value::Opaque),
    };
    let tensor = PickledTensor {
        storage,
        offset,
        shape: integers(arena, shape)?,
        strides: integers(arena, strides)?,
    };
    arena.tensors.push(tensor);
    Ok(Value::Tensor(arena.tensors.len() - 1))
}

fn integers(arena: &Arena<'_>, tuple: Tuple) -> Result<Vec<i64>, String> {
    let items = arena.tuple(tuple);
    if items.len() > MAX_AXES {
        return Err(format!("a tensor of {} axes", items.len()));
    }
    let items = items.iter().map(|item| match item {
        Value::Int(number) => Ok(*number),
        _ => Err("a shape that is not made of integers".to_owned()),
    });
    items.collect()
}

/// What an identifier of something outside the pickle stands for:
/// `("storage", class, key, device, length[, view])`.
pub(super) fn load_persistent<'a>(
    arena: &mut Arena<'a>,
    id: Value<'a>,
) -> Result<Value<'a>, String> {
    let Value::Tuple(id) = id else {
        return Err("an identifier that is not a tuple".into());
    };
    let storage = match arena.tuple(id) {
        [
            Value::Text("storage"),
            Value::Global { name: class, .. },
            Value::Text(key),
            _,
            Value::Int(len),
            view @ ..,
        ] => {
            let (view_start, len) = match view {
                [] | [Value::None] => (0, *len),
                [Value::Tuple(view)] => as_view(arena.tuple(*view))?,
                _ => return Err("a storage with an unknown view".into()),
            };
            Storage {
                key,
                class,
                len,
                view_start,
            }
        }
        // The source code of a module, in files that hold whole modules.
        [Value::Text("module"), ..] => return Ok(Value::Opaque),
        _ => return Err("an identifier of something other than a storage".into()),
    };
    arena.storages.push(storage);
    Ok(Value::Storage(arena.storages.len() - 1))
}

/// `(key of the view, first entry, number of entries)`
fn as_view(view: &[Value<'_>]) -> Result<(i64, i64), String> {
    match view {
        [_, Value::Int(start), Value::Int(len)] => Ok((*start, *len)),
        _ => Err("a storage with an unknown view".into()),
    }
}
