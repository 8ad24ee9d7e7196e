//! A reader of the pickles that PyTorch writes. It knows some opcodes and some names, and refuses every other: nothing is ever called.
//!
//! A pickle is a program for a small stack machine (CPython's `Lib/pickletools.py` describes each opcode). The one here makes plain data of it, in memory that is
//! proportional to the pickle, and without recursion. What Python would call to rebuild a tensor is done here by hand; what is known to be harmless, but of no
//! use, becomes [`Node::Inert`]. The names are those of `torch/_weights_only_unpickler.py`, and the few that checkpoints of other libraries need.

mod globals;
mod machine;

pub(crate) use globals::Element;
use globals::Global;
pub(crate) use machine::read;

use crate::stored::Strided;

/// What a pickle holds: a value, and what it refers to.
#[derive(Debug)]
pub(crate) struct Pickled<'p> {
    pub root: Value<'p>,
    nodes: Vec<Node<'p>>,
    /// Where the pickle ends.
    pub end: usize,
}

/// A value on the machine's stack. Whatever may be shared is a node, given by its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'p> {
    Nothing,
    Bool(bool),
    Int(i64),
    /// A number or text that is of no use here: floats, long integers, bytes.
    Inert,
    Text(&'p str),
    Global(Global),
    Node(usize),
}

#[derive(Debug)]
pub(crate) enum Node<'p> {
    Tuple(Vec<Value<'p>>),
    List(Vec<Value<'p>>),
    Dict(Vec<(Value<'p>, Value<'p>)>),
    Storage(Box<Storage<'p>>),
    Tensor(Box<Tensor<'p>>),
    /// A tensor that cannot be read, and of what kind it is.
    OtherTensor(&'static str),
    /// An object that is of no use here.
    Inert,
}

/// A storage, whose bytes are elsewhere in the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storage<'p> {
    pub key: &'p str,
    pub element: Element,
    /// Its length in elements.
    pub n_elements: usize,
    /// The part of it that is meant, as offset and length in elements: older files have storages within storages.
    pub view: Option<(usize, usize)>,
}

#[derive(Debug)]
pub(crate) struct Tensor<'p> {
    pub storage: Storage<'p>,
    pub element: Element,
    pub at: Strided,
}

impl<'p> Pickled<'p> {
    pub fn node(&self, value: Value<'p>) -> Option<&Node<'p>> {
        match value {
            Value::Node(place) => self.nodes.get(place),
            _ => None,
        }
    }

    pub fn dict(&self, value: Value<'p>) -> Option<&[(Value<'p>, Value<'p>)]> {
        match self.node(value) {
            Some(Node::Dict(entries)) => Some(entries),
            _ => None,
        }
    }

    pub fn list(&self, value: Value<'p>) -> Option<&[Value<'p>]> {
        match self.node(value) {
            Some(Node::List(items)) => Some(items),
            _ => None,
        }
    }

    /// All storages that it names.
    pub fn storages(&self) -> impl Iterator<Item = &Storage<'p>> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Storage(storage) => Some(&**storage),
            _ => None,
        })
    }
}
