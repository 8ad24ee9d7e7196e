//! A sequence that fills a cube evenly: Sobol's (1967), scrambled by Owen's nested permutations as Burley (2020) hashes them.

use retune_stage::Seed;
use sobol_burley::{NUM_DIMENSIONS, sample};

/// How many points of a sequence `sobol_burley` has.
const POINTS: u64 = 1 << 16;

/// The coordinate in [0, 1) of a point along an axis. After the last point, and beyond the last dimension, another sequence begins that is scrambled otherwise.
pub fn share(number: u64, axis: usize, seed: Seed) -> f64 {
    let dimensions = NUM_DIMENSIONS as usize;
    let sequence = format!("sequence {} of dimensions {}", number / POINTS, axis / dimensions);
    let point = (number % POINTS) as u32;
    f64::from(sample(point, (axis % dimensions) as u32, seed.derive(&sequence).0 as u32))
}
