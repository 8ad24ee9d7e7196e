//! Which dict of a pickle holds the weights.

use std::collections::HashSet;

use indexmap::IndexMap;

use crate::error::{ErrorKind, WeightsError};
use crate::pattern::nearest;
use crate::pickle::{Node, Pickled, Value};

/// Where training programs keep a state dict in a checkpoint.
const USUAL_KEYS: [&str; 17] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "network",
    "net",
    "module",
    "weights",
    "params",
    "ema",
    "model_ema",
    "ema_state_dict",
    "state_dict_ema",
    "params_ema",
    "student",
    "teacher",
    "generator",
];

/// So many dicts of tensors are named in a message.
const MAX_LISTED: usize = 8;

/// So far from the top are they looked for, among so many dicts and under keys of so many bytes: dicts may hold each other, and themselves.
const MAX_DEPTH: usize = 8;
const MAX_LOOKED_AT: usize = 10_000;
const MAX_KEY: usize = 100;

/// A dict of tensors, and how it was found.
#[derive(Debug)]
pub(crate) struct StateDict<'p, 'n> {
    /// In the order of the dict.
    pub tensors: IndexMap<&'p str, &'n Node<'p>>,
    pub notes: Vec<String>,
}

type Result<T> = std::result::Result<T, WeightsError>;
type Entries<'p, 'n> = &'n [(Value<'p>, Value<'p>)];

/// The dict of tensors at a path of keys, or the one that is meant: under a usual key, or else the whole object.
pub(crate) fn choose<'p, 'n>(pickled: &'n Pickled<'p>, key: Option<&str>) -> Result<StateDict<'p, 'n>> {
    let Some(top) = pickled.dict(pickled.root) else {
        return Err(WeightsError::new(
            ErrorKind::Key,
            format!("it holds {}, not a dict of tensors", described(pickled)),
        )
        .with_help("save `model.state_dict()`, or a dict of tensors"));
    };
    if let Some(key) = key {
        return match at_path(pickled, top, key) {
            Some(entries) if n_tensors(pickled, entries) > 0 => Ok(state_dict(pickled, entries, Vec::new())),
            found => Err(no_such_key(pickled, key, found.is_some())),
        };
    }
    let usual: Vec<(&str, Entries)> = USUAL_KEYS
        .iter()
        .filter_map(|usual| Some((*usual, pickled.dict(get(top, usual)?)?)))
        .filter(|(_, entries)| n_tensors(pickled, entries) > 0)
        .collect();
    match usual[..] {
        [] if n_tensors(pickled, top) > 0 => Ok(state_dict(pickled, top, Vec::new())),
        [] => Err(nowhere(pickled)),
        [(usual, entries)] => {
            let besides = top.iter().filter(|(key, _)| *key != Value::Text(usual)).count();
            let mut note = format!("took the {} under `{usual}`", tensors(n_tensors(pickled, entries)));
            if besides > 0 {
                note.push_str(&format!(", and none of the {besides} entries beside it"));
            }
            Ok(state_dict(pickled, entries, vec![note]))
        }
        _ => Err(several(pickled)),
    }
}

fn state_dict<'p, 'n>(pickled: &'n Pickled<'p>, entries: Entries<'p, 'n>, mut notes: Vec<String>) -> StateDict<'p, 'n> {
    // As in Python, a later entry of the same name takes the place of an earlier one.
    let mut by_name: IndexMap<&str, Option<&Node>> = IndexMap::new();
    let mut n_others = 0;
    for (key, value) in entries {
        match key {
            Value::Text(name) => drop(by_name.insert(name, tensor(pickled, *value))),
            _ => n_others += 1,
        }
    }
    let others: Vec<&str> = by_name.iter().filter(|(_, node)| node.is_none()).map(|(name, _)| *name).collect();
    n_others += others.len();
    if n_others > 0 {
        let what = if n_others == 1 { "1 entry that is no tensor" } else { "entries that are no tensors" };
        let count = if n_others == 1 { String::new() } else { format!("{n_others} ") };
        let names = if others.is_empty() { String::new() } else { format!(": {}", listed(others.iter().copied())) };
        notes.push(format!("left out {count}{what}{names}"));
    }
    let tensors = by_name.into_iter().filter_map(|(name, node)| Some((name, node?))).collect();
    StateDict { tensors, notes }
}

fn tensor<'p, 'n>(pickled: &'n Pickled<'p>, value: Value<'p>) -> Option<&'n Node<'p>> {
    pickled.node(value).filter(|node| matches!(node, Node::Tensor(_) | Node::OtherTensor(_)))
}

fn n_tensors<'p>(pickled: &Pickled<'p>, entries: Entries<'p, '_>) -> usize {
    entries.iter().filter(|(key, value)| matches!(key, Value::Text(_)) && tensor(pickled, *value).is_some()).count()
}

fn get<'p>(entries: Entries<'p, '_>, key: &str) -> Option<Value<'p>> {
    entries.iter().rev().find(|(candidate, _)| *candidate == Value::Text(key)).map(|(_, value)| *value)
}

/// The dict at a path of keys with dots between them. Keys may have dots themselves: at each dict, the longest that it has is taken.
fn at_path<'p, 'n>(pickled: &'n Pickled<'p>, top: Entries<'p, 'n>, path: &str) -> Option<Entries<'p, 'n>> {
    let mut entries = top;
    let mut rest = Some(path);
    while let Some(path) = rest {
        let ends = path.rmatch_indices('.').map(|(dot, _)| dot);
        let end = std::iter::once(path.len()).chain(ends).find(|end| get(entries, &path[..*end]).is_some())?;
        entries = pickled.dict(get(entries, &path[..end])?)?;
        rest = path.get(end + 1..);
    }
    Some(entries)
}

/// The paths of dicts that hold tensors, and how many, nearest to the top first.
fn places(pickled: &Pickled) -> Vec<(String, usize)> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    let mut level = vec![(String::new(), pickled.root)];
    for _ in 0..MAX_DEPTH {
        for (path, value) in std::mem::take(&mut level) {
            let (Value::Node(place), Some(entries)) = (value, pickled.dict(value)) else {
                continue;
            };
            if seen.len() >= MAX_LOOKED_AT || !seen.insert(place) {
                continue;
            }
            let n = n_tensors(pickled, entries);
            if n > 0 && !path.is_empty() {
                found.push((path.clone(), n));
            }
            for (key, value) in entries {
                if let (Value::Text(key), Some(_)) = (key, pickled.dict(*value))
                    && key.len() <= MAX_KEY
                {
                    level.push((if path.is_empty() { (*key).to_owned() } else { format!("{path}.{key}") }, *value));
                }
            }
        }
    }
    found
}

fn no_such_key(pickled: &Pickled, key: &str, is_there: bool) -> WeightsError {
    let places = places(pickled);
    let message = if is_there {
        format!("there are no tensors under `{}`", key.escape_debug())
    } else {
        format!("there is no dict under the key `{}`", key.escape_debug())
    };
    let help = match nearest(key, places.iter().map(|(path, _)| path.as_str())) {
        Some(near) => format!("did you mean `{near}`?"),
        None if places.is_empty() => "leave `key:` out".to_owned(),
        None => format!("tensors are under {}", listed_places(&places)),
    };
    WeightsError::new(ErrorKind::Key, message).with_help(help)
}

fn several(pickled: &Pickled) -> WeightsError {
    WeightsError::new(ErrorKind::Key, format!("it holds several dicts of tensors: {}", listed_places(&places(pickled))))
        .with_help("say which one by `key:`")
}

fn nowhere(pickled: &Pickled) -> WeightsError {
    let places = places(pickled);
    match places.first() {
        Some((first, _)) => {
            let message = format!("its tensors are under keys that are not the usual ones: {}", listed_places(&places));
            WeightsError::new(ErrorKind::Key, message)
                .with_help(format!("say which one by `key:`, as in `key: {first}`"))
        }
        None => {
            WeightsError::new(ErrorKind::Key, format!("there are no tensors in it: it holds {}", described(pickled)))
                .with_help("save `model.state_dict()`, or a dict of tensors")
        }
    }
}

/// What the whole object is.
fn described(pickled: &Pickled) -> String {
    match pickled.node(pickled.root) {
        Some(Node::Dict(entries)) => {
            let keys = entries.iter().filter_map(|(key, _)| match key {
                Value::Text(key) => Some(*key),
                _ => None,
            });
            let keys: Vec<&str> = keys.collect();
            if keys.is_empty() { "a dict".to_owned() } else { format!("a dict with {}", listed(keys.into_iter())) }
        }
        Some(Node::List(_)) => "a list".to_owned(),
        Some(Node::Tuple(_)) => "a tuple".to_owned(),
        Some(Node::Tensor(_) | Node::OtherTensor(_)) => "a single tensor".to_owned(),
        Some(Node::Storage(_)) => "a storage".to_owned(),
        Some(Node::Inert) | None => "a single value".to_owned(),
    }
}

fn listed_places(places: &[(String, usize)]) -> String {
    let shown: Vec<String> = places
        .iter()
        .take(MAX_LISTED)
        .map(|(path, n)| format!("`{}` ({})", path.escape_debug(), tensors(*n)))
        .collect();
    let more = if places.len() > MAX_LISTED { " and more" } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// `` `a`, `b` and 3 more ``
fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let n_more = names.len().saturating_sub(MAX_LISTED);
    let shown: Vec<String> = names.take(MAX_LISTED).map(|name| format!("`{}`", name.escape_debug())).collect();
    if n_more > 0 { format!("{} and {n_more} more", shown.join(", ")) } else { shown.join(", ") }
}

fn tensors(n: usize) -> String {
    if n == 1 { "1 tensor".to_owned() } else { format!("{n} tensors") }
}
