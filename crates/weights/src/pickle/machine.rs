//! The stack machine: one opcode after the other.

use std::collections::HashMap;

use super::globals::{Element, Global, Rebuild};
use super::{Node, Pickled, Storage, Tensor, Value};
use crate::error::{ErrorKind, WeightsError};
use crate::stored::Strided;

type Result<T> = std::result::Result<T, WeightsError>;

/// More axes than any tensor has; PyTorch's own limit is 64.
const MAX_AXES: usize = 64;

/// More than any state dict needs, few enough for memory: a checkpoint of a large model has some ten thousand values.
const MAX_OPCODES: usize = 20_000_000;

const SAVE_TENSORS_ALONE: &str =
    "where the file was made, save the tensors alone: `torch.save(model.state_dict(), path)`, or as safetensors";

/// Reads the pickle that starts at byte `start`. Where these are not the bytes of the file, messages say which record they are.
pub(crate) fn read<'p>(bytes: &'p [u8], start: usize, record: Option<&'p str>) -> Result<Pickled<'p>> {
    let mut machine = Machine {
        bytes,
        record,
        at: start,
        opcode_at: start,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        nodes: Vec::new(),
        n_copied: 0,
    };
    let root = machine.run()?;
    Ok(Pickled { root, nodes: machine.nodes, end: machine.at })
}

struct Machine<'p> {
    bytes: &'p [u8],
    record: Option<&'p str>,
    /// Where to read on.
    at: usize,
    /// Where the opcode lies that is being followed, for messages.
    opcode_at: usize,
    stack: Vec<Value<'p>>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'p>>,
    nodes: Vec<Node<'p>>,
    /// Values that were copied rather than moved or shared.
    n_copied: usize,
}

impl<'p> Machine<'p> {
    fn run(&mut self) -> Result<Value<'p>> {
        for _ in 0..MAX_OPCODES {
            self.opcode_at = self.at;
            let opcode = self.byte()?;
            if opcode == b'.' {
                return self.pop();
            }
            self.follow(opcode)?;
        }
        let message = format!("the pickle has more than {MAX_OPCODES} opcodes");
        Err(WeightsError::new(ErrorKind::Unsupported, message).with_help(SAVE_TENSORS_ALONE))
    }

    fn follow(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            // PROTO and FRAME: nothing here depends on them.
            0x80 => self.skip(1),
            0x95 => self.skip(8),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }

            // Plain values.
            b'N' => self.push(Value::Nothing),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.push(Value::Int(number.into()))
            }
            b'K' => {
                let number = self.byte()?;
                self.push(Value::Int(number.into()))
            }
            b'M' => {
                let number = u16::from_le_bytes(self.array()?);
                self.push(Value::Int(number.into()))
            }
            0x8a => {
                let length = self.byte()?;
                self.push_long(length.into())
            }
            0x8b => {
                let length = self.length::<4>()?;
                self.push_long(length)
            }
            b'G' => {
                self.skip(8)?;
                self.push(Value::Inert)
            }

            // Text and bytes. That of Python 2 is both.
            0x8c => self.push_text::<1>(),
            b'X' => self.push_text::<4>(),
            0x8d => self.push_text::<8>(),
            b'U' => self.push_bytes::<1>(),
            b'T' => self.push_bytes::<4>(),
            b'C' => self.push_bytes::<1>(),
            b'B' => self.push_bytes::<4>(),
            0x8e | 0x96 => self.push_bytes::<8>(),

            // Containers.
            b')' => self.push_node(Node::Tuple(Vec::new())),
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode - 0x84))?;
                self.push_node(Node::Tuple(items))
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.push_node(Node::Tuple(items))
            }
            b']' => self.push_node(Node::List(Vec::new())),
            b'a' => {
                let items = self.pop_many(1)?;
                self.append(items)
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)
            }
            b'}' => self.push_node(Node::Dict(Vec::new())),
            b's' => {
                let items = self.pop_many(2)?;
                self.set_items(&items)
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)
            }
            // EMPTY_SET, ADDITEMS and FROZENSET: sets are of no use here.
            0x8f => self.push_node(Node::Inert),
            0x90 => {
                self.pop_to_mark()?;
                match self.top()? {
                    Value::Node(place) if matches!(self.nodes[place], Node::Inert) => Ok(()),
                    _ => Err(self.damaged("adds to what is no set")),
                }
            }
            0x91 => {
                self.pop_to_mark()?;
                self.push_node(Node::Inert)
            }

            // The memo. A number that is not there costs nothing, however large it is.
            b'q' => {
                let key = self.byte()?.into();
                self.remember(key)
            }
            b'r' => {
                let key = u32::from_le_bytes(self.array()?);
                self.remember(key)
            }
            0x94 => {
                let key = self.memo.len() as u32;
                self.remember(key)
            }
            b'h' => {
                let key = self.byte()?.into();
                self.recall(key)
            }
            b'j' => {
                let key = u32::from_le_bytes(self.array()?);
                self.recall(key)
            }

            // What in Python would look a name up, or call it.
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push_global(module, name)
            }
            0x93 => match self.pop_many(2)?[..] {
                [Value::Text(module), Value::Text(name)] => self.push_global(module, name),
                _ => Err(self.damaged("asks for a name that is no text")),
            },
            b'R' | 0x81 => {
                let arguments = self.pop()?;
                let callee = self.pop()?;
                self.call(callee, arguments)
            }
            0x92 => {
                let _by_name = self.pop()?;
                let arguments = self.pop()?;
                let callee = self.pop()?;
                self.call(callee, arguments)
            }
            b'b' => self.build(),
            b'Q' => self.push_storage(),

            _ => Err(self.refused(opcode)),
        }
    }

    /// Opcodes that run code, those of the text protocols 0 and 1, and bytes that are none.
    fn refused(&mut self, opcode: u8) -> WeightsError {
        let name = match opcode {
            b'i' => match (self.line(), self.line()) {
                (Ok(module), Ok(name)) => {
                    return self.not_allowed(&format!("`{}.{}`", module.escape_debug(), name.escape_debug()));
                }
                _ => "INST",
            },
            b'o' => "OBJ",
            0x82 => "EXT1",
            0x83 => "EXT2",
            0x84 => "EXT4",
            b'P' => "PERSID",
            0x97 => "NEXT_BUFFER",
            0x98 => "READONLY_BUFFER",
            b'0' | b'1' | b'2' | b'F' | b'I' | b'L' | b'S' | b'V' | b'd' | b'g' | b'l' | b'p' => {
                let message = format!(
                    "the pickle has the opcode `{}` at {}, which PyTorch does not write",
                    opcode as char,
                    self.place()
                );
                return WeightsError::new(ErrorKind::Unsupported, message).with_help(SAVE_TENSORS_ALONE);
            }
            _ => return self.damaged(&format!("has 0x{opcode:02x}, which is no opcode,")),
        };
        self.not_allowed(&format!("the opcode {name}"))
    }

    fn not_allowed(&self, what: &str) -> WeightsError {
        let message = format!("the pickle asks for {what} at {}, which could run code; nothing was run", self.place());
        WeightsError::new(ErrorKind::Unsafe, message).with_help(SAVE_TENSORS_ALONE)
    }

    fn damaged(&self, what: &str) -> WeightsError {
        WeightsError::damaged(format!("the pickle {what} at {}", self.place()))
    }

    /// Where the opcode lies that is being followed.
    fn place(&self) -> String {
        match self.record {
            Some(record) => format!("byte {} of `{record}`", self.opcode_at),
            None => format!("byte {}", self.opcode_at),
        }
    }
}

/// Bytes and the stack.
impl<'p> Machine<'p> {
    fn take(&mut self, length: usize) -> Result<&'p [u8]> {
        let taken = self.at.checked_add(length).and_then(|end| self.bytes.get(self.at..end));
        let Some(taken) = taken else {
            return Err(WeightsError::damaged(format!(
                "the pickle is cut: it has {} bytes and goes on at byte {}",
                self.bytes.len(),
                self.at
            )));
        };
        self.at += length;
        Ok(taken)
    }

    fn skip(&mut self, length: usize) -> Result<()> {
        self.take(length).map(|_| ())
    }

    fn byte(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// A length of `N` bytes. One that is too large for this machine is too large for the file as well.
    fn length<const N: usize>(&mut self) -> Result<usize> {
        let mut length = [0; 8];
        length[..N].copy_from_slice(self.take(N)?);
        Ok(usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX))
    }

    fn line(&mut self) -> Result<&'p str> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let line = self.take(length)?;
        self.skip(1)?;
        self.text(line)
    }

    fn text(&self, bytes: &'p [u8]) -> Result<&'p str> {
        std::str::from_utf8(bytes).map_err(|_| self.damaged("has text that is not UTF-8"))
    }

    fn push(&mut self, value: Value<'p>) -> Result<()> {
        self.stack.push(value);
        Ok(())
    }

    fn push_node(&mut self, node: Node<'p>) -> Result<()> {
        self.nodes.push(node);
        self.push(Value::Node(self.nodes.len() - 1))
    }

    fn push_long(&mut self, length: usize) -> Result<()> {
        let bytes = self.take(length)?;
        if bytes.len() > 8 {
            return self.push(Value::Inert);
        }
        // Two's complement of any length.
        let is_negative = bytes.last().is_some_and(|last| *last >= 0x80);
        let mut number = if is_negative { [0xff; 8] } else { [0; 8] };
        number[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(number)))
    }

    fn push_text<const N: usize>(&mut self) -> Result<()> {
        let length = self.length::<N>()?;
        let bytes = self.take(length)?;
        let text = self.text(bytes)?;
        self.push(Value::Text(text))
    }

    fn push_bytes<const N: usize>(&mut self) -> Result<()> {
        let length = self.length::<N>()?;
        let bytes = self.take(length)?;
        self.push(std::str::from_utf8(bytes).map_or(Value::Inert, Value::Text))
    }

    /// The height of the stack above which values may be taken: what lies below a mark belongs to whoever set it.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop_many(&mut self, n: usize) -> Result<Vec<Value<'p>>> {
        match self.stack.len().checked_sub(n) {
            Some(height) if height >= self.floor() => Ok(self.stack.split_off(height)),
            _ => Err(self.damaged("takes more than there is")),
        }
    }

    fn pop(&mut self) -> Result<Value<'p>> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    fn top(&self) -> Result<Value<'p>> {
        match self.stack.last() {
            Some(value) if self.stack.len() > self.floor() => Ok(*value),
            _ => Err(self.damaged("takes more than there is")),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value<'p>>> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.split_off(height)),
            None => Err(self.damaged("goes back to a mark that is not there")),
        }
    }

    fn remember(&mut self, key: u32) -> Result<()> {
        let value = self.top()?;
        self.memo.insert(key, value);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<()> {
        match self.memo.get(&key) {
            Some(value) => self.push(*value),
            None => Err(self.damaged("recalls what it did not remember")),
        }
    }

    fn append(&mut self, items: Vec<Value<'p>>) -> Result<()> {
        if let Value::Node(place) = self.top()? {
            match &mut self.nodes[place] {
                Node::List(list) => {
                    list.extend(items);
                    return Ok(());
                }
                Node::Inert => return Ok(()),
                _ => {}
            }
        }
        Err(self.damaged("appends to what is no list"))
    }

    fn set_items(&mut self, items: &[Value<'p>]) -> Result<()> {
        let (pairs, odd) = items.as_chunks::<2>();
        if let (Value::Node(place), []) = (self.top()?, odd) {
            match &mut self.nodes[place] {
                Node::Dict(dict) => {
                    dict.extend(pairs.iter().map(|[key, value]| (*key, *value)));
                    return Ok(());
                }
                Node::Inert => return Ok(()),
                _ => {}
            }
        }
        Err(self.damaged("sets items of what is no dict"))
    }
}

/// What in Python would run code.
impl<'p> Machine<'p> {
    fn push_global(&mut self, module: &str, name: &str) -> Result<()> {
        match Global::named(module, name) {
            Some(global) => self.push(Value::Global(global)),
            None => Err(self.not_allowed(&format!("`{}.{}`", module.escape_debug(), name.escape_debug()))),
        }
    }

    fn call(&mut self, callee: Value<'p>, arguments: Value<'p>) -> Result<()> {
        let Value::Global(global) = callee else {
            return Err(self.not_allowed("a call of what is no function"));
        };
        let Some(arguments) = self.tuple(arguments) else {
            return Err(self.damaged("calls with arguments that are no tuple, or too many,"));
        };
        let node = match global {
            Global::OrderedDict => {
                let pairs = self.pairs(&arguments)?;
                self.count_copied(pairs.len())?;
                Node::Dict(pairs)
            }
            Global::Rebuild(rebuild) => {
                let tensor = self.rebuild(rebuild, &arguments)?;
                return self.push(tensor);
            }
            Global::Size => match arguments[..] {
                [sizes] => return self.push(sizes),
                _ => Node::Tuple(Vec::new()),
            },
            Global::OtherTensor(what) => Node::OtherTensor(what),
            Global::Inert => Node::Inert,
            Global::Storage(_) | Global::Element(_) | Global::TensorType => {
                return Err(self.not_allowed("a call of a type that is only named in weights"));
            }
        };
        self.push_node(node)
    }

    /// The arguments of `OrderedDict`: nothing, or, as Python 2 has it, a list of lists of key and value.
    fn pairs(&self, arguments: &[Value<'p>]) -> Result<Vec<(Value<'p>, Value<'p>)>> {
        let items = |value: &Value<'p>| match value {
            Value::Node(place) => match &self.nodes[*place] {
                Node::List(items) | Node::Tuple(items) => Some(&items[..]),
                _ => None,
            },
            _ => None,
        };
        let pair = |value: &Value<'p>| match items(value)? {
            [key, value] => Some((*key, *value)),
            _ => None,
        };
        let pairs = match arguments {
            [] => Some(Vec::new()),
            [list] => items(list).and_then(|list| list.iter().map(pair).collect()),
            _ => None,
        };
        pairs.ok_or_else(|| self.damaged("makes a dict of what are no pairs"))
    }

    /// A tensor, as the function of PyTorch would make it.
    fn rebuild(&mut self, rebuild: Rebuild, arguments: &[Value<'p>]) -> Result<Value<'p>> {
        let wrong = |machine: &Self| machine.damaged("rebuilds a tensor of what is none");
        match (rebuild, arguments) {
            (
                Rebuild::FromType,
                [Value::Global(Global::Rebuild(inner)), Value::Global(Global::TensorType), inner_arguments, _state],
            ) if *inner != Rebuild::FromType => {
                let inner_arguments = self.tuple(*inner_arguments).ok_or_else(|| wrong(self))?;
                self.rebuild(*inner, &inner_arguments)
            }
            (Rebuild::Parameter, [tensor, _requires_grad, _hooks, ..]) if arguments.len() <= 4 => match tensor {
                Value::Node(place) if matches!(self.nodes[*place], Node::Tensor(_) | Node::OtherTensor(_)) => {
                    Ok(*tensor)
                }
                _ => Err(wrong(self)),
            },
            (Rebuild::V1, [storage, offset, size, stride]) => self.tensor(*storage, *offset, *size, *stride, None),
            (Rebuild::V2, [storage, offset, size, stride, _requires_grad, _hooks, metadata @ ..])
                if metadata.len() <= 1 =>
            {
                self.tensor_or_lazy(metadata, |machine| machine.tensor(*storage, *offset, *size, *stride, None))
            }
            (
                Rebuild::V3,
                [
                    storage,
                    offset,
                    size,
                    stride,
                    _requires_grad,
                    _hooks,
                    Value::Global(Global::Element(element)),
                    metadata @ ..,
                ],
            ) if metadata.len() <= 1 => {
                let element = Some(*element);
                self.tensor_or_lazy(metadata, |machine| machine.tensor(*storage, *offset, *size, *stride, element))
            }
            _ => Err(wrong(self)),
        }
    }

    /// A tensor with metadata is one whose values are still to be negated or conjugated.
    fn tensor_or_lazy(
        &mut self,
        metadata: &[Value<'p>],
        tensor: impl FnOnce(&mut Self) -> Result<Value<'p>>,
    ) -> Result<Value<'p>> {
        let is_plain = match metadata {
            [] | [Value::Nothing] => true,
            [Value::Node(place)] => matches!(&self.nodes[*place], Node::Dict(entries) if entries.is_empty()),
            _ => false,
        };
        if is_plain { tensor(self) } else { Ok(self.node(Node::OtherTensor("still to be negated or conjugated"))) }
    }

    fn tensor(
        &mut self,
        storage: Value<'p>,
        offset: Value<'p>,
        size: Value<'p>,
        stride: Value<'p>,
        element: Option<Element>,
    ) -> Result<Value<'p>> {
        let storage = match storage {
            Value::Node(place) => match &self.nodes[place] {
                Node::Storage(storage) => Some(**storage),
                _ => None,
            },
            _ => None,
        };
        let (Some(storage), Some(offset), Some(shape), Some(strides)) =
            (storage, length(offset), self.lengths(size), self.lengths(stride))
        else {
            return Err(self.damaged("rebuilds a tensor of what is no storage, offset, size and stride"));
        };
        if shape.len() != strides.len() {
            let axes = format!("rebuilds a tensor of {} axes with {} strides", shape.len(), strides.len());
            return Err(self.damaged(&axes));
        }
        self.count_copied(shape.len() + strides.len())?;
        let element = element.unwrap_or(storage.element);
        Ok(self.node(Node::Tensor(Box::new(Tensor { storage, element, at: Strided { offset, shape, strides } }))))
    }

    /// The attributes of a dict, or of what is of no use here, are not used. Set on anything else, they could run code.
    fn build(&mut self) -> Result<()> {
        let _state = self.pop()?;
        match self.top()? {
            Value::Node(place) if matches!(self.nodes[place], Node::Dict(_) | Node::Inert) => Ok(()),
            _ => Err(self.not_allowed("the opcode BUILD on what is no dict")),
        }
    }

    /// BINPERSID: what lies outside the pickle, of which only storages are known.
    fn push_storage(&mut self) -> Result<()> {
        let id = self.pop()?;
        let id = self.tuple(id).unwrap_or_default();
        let storage = match id[..] {
            [
                Value::Text("storage"),
                Value::Global(Global::Storage(element)),
                Value::Text(key),
                _location,
                n_elements,
                ref view @ ..,
            ] => match (length(n_elements), self.view(view)) {
                (Some(n_elements), Some(view)) => Some(Storage { key, element, n_elements, view }),
                _ => None,
            },
            _ => None,
        };
        match storage {
            Some(storage) => self.push_node(Node::Storage(Box::new(storage))),
            None => Err(self.damaged("names a storage in a way that is not known")),
        }
    }

    /// What may follow in an older file: nothing, or key, offset and length of a part of the storage.
    #[allow(clippy::option_option)]
    fn view(&self, view: &[Value<'p>]) -> Option<Option<(usize, usize)>> {
        match view {
            [] | [Value::Nothing] => Some(None),
            [view] => match self.tuple(*view)?[..] {
                [_key, offset, n_elements] => Some(Some((length(offset)?, length(n_elements)?))),
                _ => None,
            },
            _ => None,
        }
    }

    fn node(&mut self, node: Node<'p>) -> Value<'p> {
        self.nodes.push(node);
        Value::Node(self.nodes.len() - 1)
    }

    /// A pickle may go back to the same tuple or list again and again; what is kept of it each time must not exceed the pickle.
    fn count_copied(&mut self, n: usize) -> Result<()> {
        self.n_copied += n;
        if self.n_copied <= self.bytes.len() {
            return Ok(());
        }
        Err(self.damaged("makes more of itself than it holds"))
    }

    /// A tuple that is not longer than a shape may be.
    fn tuple(&self, value: Value<'p>) -> Option<Vec<Value<'p>>> {
        match value {
            Value::Node(place) => match &self.nodes[place] {
                Node::Tuple(items) if items.len() <= MAX_AXES => Some(items.clone()),
                _ => None,
            },
            _ => None,
        }
    }

    fn lengths(&self, value: Value<'p>) -> Option<Vec<usize>> {
        self.tuple(value)?.into_iter().map(length).collect()
    }
}

fn length(value: Value) -> Option<usize> {
    match value {
        Value::Int(number) => usize::try_from(number).ok(),
        _ => None,
    }
}
