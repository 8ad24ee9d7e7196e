//! Cache keys: the digest of canonical JSON, and what differs between the fields of two keys.

use serde_json::{Number, Value};

use crate::Digest;

/// The digest of a value's canonical JSON.
///
/// Equal for equal data however it was written: keys are sorted by their bytes, nothing is between the tokens, floats are
/// the shortest text that reads back the same. A float with an integral value below 2^53 is that integer, so that `1`
/// and `1.0` in a pipeline find the same entry, and `-0.0` is 0; integers are exact.
pub fn key_of(fields: &Value) -> Digest {
    let mut text = String::new();
    canonical(fields, &mut text);
    Digest::of(text.as_bytes())
}

/// One difference between two values.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Where, as in `with.steps[2].impute.strategy`. Empty for the value itself. An index counts in the new value, and
    /// in the old one where the item was removed.
    pub path: String,
    /// What was there; `None` if nothing.
    pub old: Option<Value>,
    /// What is there now; `None` if nothing.
    pub new: Option<Value>,
}

/// What changed from one value to the next, in the order of the old one's fields. Empty exactly if their keys are equal.
///
/// A step added to or removed from the middle of a list is one change, not one for every step after it.
pub fn diff(old: &Value, new: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    compare("", old, new, &mut changes);
    changes
}

fn compare(path: &str, old: &Value, new: &Value, changes: &mut Vec<Change>) {
    match (old, new) {
        (Value::Object(old_fields), Value::Object(new_fields)) => {
            for (key, old) in old_fields {
                match new_fields.get(key) {
                    Some(new) => compare(&field(path, key), old, new, changes),
                    None => changes.push(Change { path: field(path, key), old: Some(old.clone()), new: None }),
                }
            }
            for (key, new) in new_fields.iter().filter(|(key, _)| !old_fields.contains_key(*key)) {
                changes.push(Change { path: field(path, key), old: None, new: Some(new.clone()) });
            }
        }
        (Value::Array(old), Value::Array(new)) => compare_items(path, old, new, changes),
        _ if same(old, new) => {}
        _ => changes.push(Change { path: path.to_owned(), old: Some(old.clone()), new: Some(new.clone()) }),
    }
}

/// Leaves out what is equal at both ends, then pairs the rest by place if it is equally long, else by equality.
fn compare_items(path: &str, old: &[Value], new: &[Value], changes: &mut Vec<Change>) {
    let start = old.iter().zip(new).take_while(|(a, b)| same(a, b)).count();
    let (old, new) = (&old[start..], &new[start..]);
    let end = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| same(a, b)).count();
    let (old, new) = (&old[..old.len() - end], &new[..new.len() - end]);
    let item = |i: usize| format!("{path}[{}]", start + i);
    if old.len() == new.len() {
        for (i, (old, new)) in old.iter().zip(new).enumerate() {
            compare(&item(i), old, new, changes);
        }
        return;
    }
    for (i, gone) in old.iter().enumerate() {
        changes.push(Change { path: item(i), old: Some(gone.clone()), new: None });
    }
    for (i, added) in new.iter().enumerate() {
        changes.push(Change { path: item(i), old: None, new: Some(added.clone()) });
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => number(a) == number(b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

fn field(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|letter| letter.is_alphanumeric() || "_-".contains(letter));
    match (plain, path.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{path}.{key}"),
        (false, _) => format!("{path}[{key:?}]"),
    }
}

fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Number(value) => text.push_str(&number(value)),
        Value::String(value) => string(value, text),
        Value::Array(items) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                canonical(item, text);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by(|a, b| a.0.cmp(b.0));
            text.push('{');
            for (i, (key, value)) in fields.into_iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                string(key, text);
                text.push(':');
                canonical(value, text);
            }
            text.push('}');
        }
    }
}

/// Written here and not by the serializer, so that its updates cannot change every key.
fn number(value: &Number) -> String {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    match value.as_f64() {
        Some(float) if value.is_f64() && float.fract() == 0.0 && float.abs() < EXACT => {
            format!("{}", float as i64)
        }
        Some(float) if value.is_f64() => format!("{float:e}"),
        _ => value.to_string(),
    }
}

fn string(value: &str, text: &mut String) {
    text.push('"');
    for letter in value.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            control if u32::from(control) < 0x20 => {
                text.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            letter => text.push(letter),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::json;

    use super::*;

    fn value(json: &str) -> Value {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn canonical_text() {
        for (json, expected) in [
            (r#"{ "b": 1, "a": { "d": [ ], "c": {} } }"#, r#"{"a":{"c":{},"d":[]},"b":1}"#),
            (r#"[null, true, false, "x"]"#, r#"[null,true,false,"x"]"#),
            ("[1, 1.0, 1e0, 100e-2, -0.0, 0]", "[1,1,1,1,0,0]"),
            ("[0.1, 1e-4, 0.0001, 1.5e10, 1e300]", "[1e-1,1e-4,1e-4,15000000000,1e300]"),
            ("[0.30000000000000004, 5e-324]", "[3.0000000000000004e-1,5e-324]"),
            (
                "[9007199254740991.0, 9007199254740993, 9007199254740992.0]",
                "[9007199254740991,9007199254740993,9.007199254740992e15]",
            ),
            ("[18446744073709551615, -9223372036854775808]", "[18446744073709551615,-9223372036854775808]"),
            (r#""\u00e9\u0001\n\"\\/\u007f""#, "\"é\\u0001\\u000a\\\"\\\\/\u{7f}\""),
            (r#"{"1.0": "1.0"}"#, r#"{"1.0":"1.0"}"#),
        ] {
            let mut text = String::new();
            canonical(&value(json), &mut text);
            assert_eq!(text, expected);
            assert_eq!(key_of(&value(&text)), key_of(&value(json)), "reading canonical text back changes nothing");
        }
    }

    #[test]
    fn a_key_does_not_change_with_the_program() {
        // A change here empties every user's cache: b3sum of `{"a":[1,2.5e-1],"b":"x"}`.
        assert_eq!(key_of(&json!({ "b": "x", "a": [1.0, 0.25] })), Digest::of(br#"{"a":[1,2.5e-1],"b":"x"}"#));
    }

    #[test]
    fn different_data_has_different_keys() {
        let values = [
            "null",
            "0",
            "\"\"",
            "\"0\"",
            "[]",
            "{}",
            "[0]",
            "[[]]",
            "[0,0]",
            "0.5",
            "\"null\"",
            "false",
            "{\"a\":null}",
            "{\"a\":{\"b\":1}}",
            "{\"a\":1,\"b\":{}}",
            "9007199254740992",
            "9007199254740993",
            "-1",
        ];
        for (i, a) in values.iter().enumerate() {
            for b in &values[i + 1..] {
                assert_ne!(key_of(&value(a)), key_of(&value(b)), "{a} and {b}");
            }
        }
    }

    #[test]
    fn differences() {
        let strategies = |names: &[&str]| {
            let steps: Vec<_> = names.iter().map(|name| json!({ "impute": { "strategy": name } })).collect();
            json!({ "with": { "steps": steps } })
        };
        let impute = |name: &str| Some(json!({ "impute": { "strategy": name } }));
        let some = |value: Value| Some(value);
        for (old, new, expected) in [
            (json!({ "a": 1, "b": [1.0] }), json!({ "b": [1], "a": 1.0 }), vec![]),
            (json!(1), json!("1"), vec![("", some(json!(1)), some(json!("1")))]),
            (
                strategies(&["a", "b", "median"]),
                strategies(&["a", "b", "mean"]),
                vec![("with.steps[2].impute.strategy", some(json!("median")), some(json!("mean")))],
            ),
            (strategies(&["a", "b"]), strategies(&["a", "x", "b"]), vec![("with.steps[1]", None, impute("x"))]),
            (strategies(&["a", "x", "b"]), strategies(&["a", "b"]), vec![("with.steps[1]", impute("x"), None)]),
            (
                json!({ "seed": 1, "data.csv": { "": 1 } }),
                json!({ "data.csv": { "": 2 }, "new": null }),
                vec![
                    ("seed", some(json!(1)), None),
                    ("[\"data.csv\"][\"\"]", some(json!(1)), some(json!(2))),
                    ("new", None, some(json!(null))),
                ],
            ),
            (json!([1, 2]), json!({}), vec![("", some(json!([1, 2])), some(json!({})))]),
        ] {
            let changes = diff(&old, &new);
            let found: Vec<_> = changes.iter().map(|c| (c.path.as_str(), c.old.clone(), c.new.clone())).collect();
            assert_eq!(found, expected);
            assert_eq!(changes.is_empty(), key_of(&old) == key_of(&new));
        }
    }
}
