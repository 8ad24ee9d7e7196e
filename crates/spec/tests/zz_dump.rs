//! x
#![allow(clippy::unwrap_used)]
use retune_spec::*;
#[test]
fn dump() {
    std::fs::write("/tmp/pipeline.schema.json", serde_json::to_string_pretty(&json_schema()).unwrap()).unwrap();
    std::fs::write("/tmp/language.md", language_reference()).unwrap();
}
