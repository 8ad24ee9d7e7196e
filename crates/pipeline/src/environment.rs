//! What a run runs on.

use retune_protocol::Device;
use serde::{Deserialize, Serialize};

use crate::keys::{LIBTORCH, LIGHTGBM};

/// What may decide bits or times and is not in the pipeline, and how the program was called.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Environment {
    /// The command, as a shell takes it.
    pub command: String,
    /// The version of retune.
    pub retune: String,
    /// That of libtorch.
    pub libtorch: String,
    /// That of LightGBM.
    pub lightgbm: String,
    /// The operating system and the architecture.
    pub system: String,
    /// What the processor calls itself.
    pub processor: String,
    /// How many cores this program may use.
    pub cores: usize,
    /// How many threads a stage uses.
    pub threads: usize,
    /// Where tensors are computed.
    pub device: String,
    /// What randomness is derived from.
    pub seed: u64,
}

impl Environment {
    /// What this program sees.
    pub fn here(threads: usize, device: Device, seed: u64) -> Self {
        Self {
            command: command(),
            retune: env!("CARGO_PKG_VERSION").to_owned(),
            libtorch: LIBTORCH.to_owned(),
            lightgbm: LIGHTGBM.to_owned(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            processor: processor(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            threads,
            device: device.to_string(),
            seed,
        }
    }
}

/// The words of the command line; the program by its name, since where it lies means nothing elsewhere.
fn command() -> String {
    let words = std::env::args_os().skip(1).map(|word| quoted(&word.to_string_lossy()));
    std::iter::once("retune".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_are_quoted_where_a_shell_would_read_them_otherwise() {
        let words = ["p.yaml", "--set", "a=b c", "it's", ""].map(quoted);
        assert_eq!(words, ["p.yaml", "--set", "'a=b c'", "'it'\\''s'", "''"]);
    }
}
