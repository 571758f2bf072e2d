//! Pickles, parsed into plain values; nothing in them is ever executed.
//!
//! A pickle is a program for a stack machine that may call anything. This machine knows how
//! PyTorch builds dictionaries, storages and tensors. Every other class or function becomes
//! [`Value::Opaque`], which swallows what is done to it: checkpoints with optimiser states or
//! command-line arguments beside the weights still give their tensors.
//!
//! Values live in arenas and refer to each other by index, so that pickles nested a million deep,
//! or lists that contain themselves, need no recursion. How many values there may be is limited.
//!
//! Reference: CPython `Lib/pickletools.py`, which describes every instruction.

use std::collections::HashMap;

use super::call;
use super::opcode::{self, Reader};

/// Most values of a pickle: thousands of times those of a checkpoint, and a bound on memory.
const MAX_VALUES: usize = 4_000_000;

/// A value of a pickle. Texts and classes are slices of it, containers are in its [`Arena`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Tuple(Tuple),
    List(usize),
    Dict(usize),
    Global {
        module: &'a str,
        name: &'a str,
    },
    Storage(usize),
    Tensor(usize),
    /// Anything that is of no use for weights.
    Opaque,
}

/// Items of a tuple in the arena.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tuple {
    start: usize,
    len: usize,
}

/// A run of numbers in a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Storage<'a> {
    /// Name in the file.
    pub(super) key: &'a str,
    /// Class such as `FloatStorage`.
    pub(super) class: &'a str,
    /// Number of entries.
    pub(super) len: i64,
    /// First entry of a view of another storage, in the old format.
    pub(super) view_start: i64,
}

/// A tensor as its pickle describes it, not yet checked against its storage.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PickledTensor {
    pub(super) storage: usize,
    pub(super) offset: i64,
    pub(super) shape: Vec<i64>,
    pub(super) strides: Vec<i64>,
}

/// Owner of all values of a pickle.
#[derive(Debug, Default)]
pub(super) struct Arena<'a> {
    tuples: Vec<Value<'a>>,
    pub(super) lists: Vec<Vec<Value<'a>>>,
    pub(super) dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    pub(super) storages: Vec<Storage<'a>>,
    pub(super) tensors: Vec<PickledTensor>,
    /// Values made so far, whether they are still there or not.
    made: usize,
}

impl<'a> Arena<'a> {
    /// Counts values that are about to be made.
    ///
    /// # Errors
    ///
    /// If they are too many.
    pub(super) fn charge(&mut self, values: usize) -> Result<(), String> {
        self.made += values;
        match self.made > MAX_VALUES {
            true => Err(format!("more than {MAX_VALUES} values")),
            false => Ok(()),
        }
    }

    pub(super) fn tuple(&self, tuple: Tuple) -> &[Value<'a>] {
        &self.tuples[tuple.start..tuple.start + tuple.len]
    }

    fn add_tuple(&mut self, items: &[Value<'a>]) -> Value<'a> {
        let start = self.tuples.len();
        self.tuples.extend_from_slice(items);
        let len = items.len();
        Value::Tuple(Tuple { start, len })
    }

    fn add_list(&mut self, items: Vec<Value<'a>>) -> Value<'a> {
        self.lists.push(items);
        Value::List(self.lists.len() - 1)
    }

    pub(super) fn add_dict(&mut self, entries: Vec<(Value<'a>, Value<'a>)>) -> Value<'a> {
        self.dicts.push(entries);
        Value::Dict(self.dicts.len() - 1)
    }
}

/// The machine: a stack, a memo, and what they refer to.
pub(super) struct Machine<'a> {
    reader: Reader<'a>,
    pub(super) arena: Arena<'a>,
    stack: Vec<Value<'a>>,
    /// Heights of the stack at its marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Value<'a>>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(bytes),
            arena: Arena::default(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.reader.position()
    }

    /// Runs one pickle, up to its end, and returns its value. Another may follow in the same bytes.
    ///
    /// # Errors
    ///
    /// The place in the bytes and what is wrong there.
    pub(super) fn run(&mut self) -> Result<Value<'a>, String> {
        self.stack.clear();
        self.marks.clear();
        self.memo.clear();
        loop {
            let place = self.reader.position();
            let at = |problem: String| format!("pickle, byte {place}: {problem}");
            let code = self.reader.byte().map_err(at)?;
            if code == opcode::STOP {
                return self.pop().map_err(at);
            }
            self.step(code).map_err(at)?;
        }
    }

    fn step(&mut self, code: u8) -> Result<(), String> {
        if let Some(value) = self.reader.literal(code)? {
            return self.push(value);
        }
        match code {
            opcode::PROTO => self.reader.skip(1),
            opcode::FRAME => self.reader.skip(8),
            opcode::MARK => {
                self.marks.push(self.stack.len());
                self.arena.charge(1)
            }
            opcode::POP => self.pop_or_unmark(),
            opcode::POP_MARK => self.pop_to_mark().map(drop),
            opcode::DUP => {
                let top = self.top()?;
                self.push(top)
            }
            opcode::EMPTY_TUPLE | opcode::TUPLE | opcode::TUPLE1..=opcode::TUPLE3 => {
                self.tuple(code)
            }
            opcode::EMPTY_LIST | opcode::LIST | opcode::APPEND | opcode::APPENDS => self.list(code),
            opcode::EMPTY_DICT | opcode::DICT | opcode::SETITEM | opcode::SETITEMS => {
                self.dict(code)
            }
            opcode::EMPTY_SET | opcode::ADDITEMS | opcode::FROZENSET => self.set(code),
            opcode::GET | opcode::BINGET | opcode::LONG_BINGET => {
                let index = self.reader.memo_index(code)?;
                let found = self.memo.get(&index).copied();
                self.push(found.ok_or_else(|| format!("memo {index} is empty"))?)
            }
            opcode::PUT | opcode::BINPUT | opcode::LONG_BINPUT => {
                let index = self.reader.memo_index(code)?;
                self.memoize(index)
            }
            opcode::MEMOIZE => self.memoize(self.memo.len() as u64),
            _ => self.object(code),
        }
    }

    /// Classes, calls and references to storages.
    fn object(&mut self, code: u8) -> Result<(), String> {
        match code {
            opcode::GLOBAL => {
                let module = self.reader.line()?;
                let name = self.reader.line()?;
                self.push(Value::Global { module, name })
            }
            opcode::STACK_GLOBAL => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (module, name) {
                    (Value::Text(module), Value::Text(name)) => {
                        self.push(Value::Global { module, name })
                    }
                    _ => Err("a class without a name".into()),
                }
            }
            opcode::INST => {
                self.reader.line()?;
                self.reader.line()?;
                self.pop_to_mark()?;
                self.push(Value::Opaque)
            }
            opcode::OBJ => {
                self.pop_to_mark()?;
                self.push(Value::Opaque)
            }
            opcode::REDUCE | opcode::NEWOBJ => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let result = call::call(&mut self.arena, function, arguments)?;
                self.push(result)
            }
            opcode::NEWOBJ_EX => {
                for _ in 0..3 {
                    self.pop()?;
                }
                self.push(Value::Opaque)
            }
            // The state of an object; of an ordered dictionary, attributes that are of no use here.
            opcode::BUILD => self.pop().map(drop),
            opcode::BINPERSID => {
                let id = self.pop()?;
                let value = call::load_persistent(&mut self.arena, id)?;
                self.push(value)
            }
            other => Err(format!(
                "instruction {other:#04x} is not one of a weights file"
            )),
        }
    }

    fn tuple(&mut self, code: u8) -> Result<(), String> {
        let items = match code {
            opcode::EMPTY_TUPLE => Vec::new(),
            opcode::TUPLE => self.pop_to_mark()?,
            _ => self.pop_many(usize::from(code - opcode::TUPLE1) + 1)?,
        };
        let tuple = self.arena.add_tuple(&items);
        self.push(tuple)
    }

    fn list(&mut self, code: u8) -> Result<(), String> {
        if code == opcode::EMPTY_LIST || code == opcode::LIST {
            let items = match code {
                opcode::LIST => self.pop_to_mark()?,
                _ => Vec::new(),
            };
            let list = self.arena.add_list(items);
            return self.push(list);
        }
        let items = match code {
            opcode::APPEND => self.pop_many(1)?,
            _ => self.pop_to_mark()?,
        };
        match self.top()? {
            Value::List(list) => self.arena.lists[list].extend(items),
            Value::Opaque => {}
            _ => return Err("appends to what is not a list".into()),
        }
        Ok(())
    }

    fn dict(&mut self, code: u8) -> Result<(), String> {
        let items = match code {
            opcode::EMPTY_DICT => Vec::new(),
            opcode::SETITEM => self.pop_many(2)?,
            _ => self.pop_to_mark()?,
        };
        if !items.len().is_multiple_of(2) {
            return Err("a key without a value".into());
        }
        let entries = items.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        if code == opcode::EMPTY_DICT || code == opcode::DICT {
            let entries = entries.collect();
            let dict = self.arena.add_dict(entries);
            return self.push(dict);
        }
        match self.top()? {
            Value::Dict(dict) => self.arena.dicts[dict].extend(entries),
            Value::Opaque => {}
            _ => return Err("sets an item of what is not a dictionary".into()),
        }
        Ok(())
    }

    /// Sets hold nothing of use.
    fn set(&mut self, code: u8) -> Result<(), String> {
        if code != opcode::EMPTY_SET {
            self.pop_to_mark()?;
        }
        match code {
            opcode::ADDITEMS => self.top().map(drop),
            _ => self.push(Value::Opaque),
        }
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), String> {
        self.stack.push(value);
        self.arena.charge(1)
    }

    fn memoize(&mut self, index: u64) -> Result<(), String> {
        let top = self.top()?;
        self.memo.insert(index, top);
        self.arena.charge(1)
    }

    /// Height below which values belong to an outer mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Value<'a>, String> {
        let top = self.stack[self.floor()..].last().copied();
        top.ok_or_else(|| "the stack is empty".into())
    }

    fn pop(&mut self) -> Result<Value<'a>, String> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_or_unmark(&mut self) -> Result<(), String> {
        if self.stack.len() == self.floor() && self.marks.pop().is_some() {
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Value<'a>>, String> {
        match self.stack.len().checked_sub(count) {
            Some(height) if height >= self.floor() => Ok(self.stack.split_off(height)),
            _ => Err("the stack is too short".into()),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value<'a>>, String> {
        let height = self.marks.pop().ok_or("no mark on the stack")?;
        Ok(self.stack.split_off(height))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(bytes: &[u8]) -> Result<Value<'_>, String> {
        Machine::new(bytes).run()
    }

    #[test]
    fn foreign_functions_are_not_called() {
        // What `pickle.dumps` gives for an object whose `__reduce__` returns `os.system`.
        let bytes = b"\x80\x02cposix\nsystem\nX\x09\x00\x00\x00touch /tm\x85R.";
        assert_eq!(run(bytes), Ok(Value::Opaque));
    }

    #[test]
    fn problems_name_their_place() {
        assert_eq!(
            run(b"\x80\x02h\x05."),
            Err("pickle, byte 2: memo 5 is empty".into())
        );
        assert_eq!(run(b"]"), Err("pickle, byte 1: the bytes end here".into()));
        assert_eq!(
            run(b"\x80\x02."),
            Err("pickle, byte 2: the stack is empty".into())
        );
        assert_eq!(
            run(b"(]u."),
            Err("pickle, byte 2: a key without a value".into())
        );
    }

    #[test]
    fn deep_nesting_and_cycles_are_no_trouble() {
        let mut bytes = b"]".repeat(100_000);
        bytes.extend(b"a".repeat(99_999));
        bytes.push(b'.');
        assert!(matches!(run(&bytes), Ok(Value::List(_))));
        // A list that contains itself.
        assert!(matches!(run(b"]q\x00h\x00a."), Ok(Value::List(0))));
    }

    #[test]
    fn the_number_of_values_is_limited() {
        let bytes = b")".repeat(MAX_VALUES + 1);
        let error = run(&bytes).unwrap_err();
        assert!(error.contains("more than"), "{error}");
    }
}
