//! `retune schema`.

use crate::Outcome;
use crate::arguments::Schema;
use crate::exit::Exit;
use crate::output;

/// Prints the JSON Schema of pipelines, or the reference of the language.
pub fn schema(arguments: &Schema) -> Outcome {
    if arguments.reference {
        output::print(&retune_spec::language_reference());
    } else {
        output::print(&format!("{:#}\n", retune_spec::json_schema()));
    }
    Ok(Exit::Done)
}
