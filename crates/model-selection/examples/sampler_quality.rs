//! How good the best of some trials is, for functions to minimise: `sampler_quality [SEEDS] [TRIALS]`. Prints the median over seeds for each function and sampler
//! as JSON, for `just bench model-selection`; `bench/peers/sampler_quality.py` prints the same of Optuna.
#![allow(clippy::print_stdout)]

use std::f64::consts::{E, PI};

use retune_model_selection::samplers::Proposer;
use retune_spec::model_selection::{Sampler, Space};
use retune_stage::Seed;
use serde_json::{Map, Value, json};

const SAMPLERS: [(&str, Sampler); 5] = [
    ("random", Sampler::Random),
    ("sobol", Sampler::Sobol),
    ("tpe", Sampler::Tpe),
    ("multivariate_tpe", Sampler::MultivariateTpe),
    ("cma_es", Sampler::CmaEs),
];

/// A function to minimise, with its spaces.
struct Problem {
    name: &'static str,
    spaces: Vec<(String, Space)>,
    value: fn(&Map<String, Value>) -> f64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let seeds: u64 = arguments.next().map_or(Ok(20), |seeds| seeds.parse())?;
    let trials: usize = arguments.next().map_or(Ok(50), |trials| trials.parse())?;
    let of_problem = |problem: &Problem| -> Value {
        let median = |sampler| {
            let mut best: Vec<f64> = (0..seeds).map(|seed| best_of(problem, sampler, seed, trials)).collect();
            best.sort_by(f64::total_cmp);
            let middle = best.len() / 2;
            if best.len() % 2 == 1 { best[middle] } else { f64::midpoint(best[middle - 1], best[middle]) }
        };
        SAMPLERS.iter().map(|(name, sampler)| ((*name).to_owned(), json!(median(*sampler)))).collect()
    };
    let medians: Map<String, Value> =
        problems().iter().map(|problem| (problem.name.to_owned(), of_problem(problem))).collect();
    println!("{}", json!({ "seeds": seeds, "trials": trials, "medians": medians }));
    Ok(())
}

fn best_of(problem: &Problem, sampler: Sampler, seed: u64, trials: usize) -> f64 {
    let mut proposer = Proposer::new(problem.spaces.clone(), sampler, Seed(seed));
    let mut best = f64::INFINITY;
    for _ in 0..trials {
        let Some(proposal) = proposer.propose() else { break };
        let value = (problem.value)(&proposal.values);
        proposer.tell(&proposal.point, Some(-value));
        best = best.min(value);
    }
    best
}

/// Ten standard functions, and the loss of a learner that is made up. Ranges whose middle would be the best place are moved by a quarter of their width.
fn problems() -> Vec<Problem> {
    let line =
        |low: f64, high: f64, n: usize| (0..n).map(|at| (format!("x{at}"), Space::Uniform([low, high]))).collect();
    let problem = |name, spaces, value| Problem { name, spaces, value };
    vec![
        problem("sphere 5d", line(-2.56, 7.68, 5), |x| numbers(x).iter().map(|x| x * x).sum()),
        problem("rosenbrock 2d", line(-5.0, 10.0, 2), rosenbrock),
        problem("rosenbrock 5d", line(-5.0, 10.0, 5), rosenbrock),
        problem("ackley 5d", line(-16.384, 49.152, 5), ackley),
        problem("rastrigin 5d", line(-2.56, 7.68, 5), |x| {
            numbers(x).iter().map(|x| 10.0 + x * x - 10.0 * (2.0 * PI * x).cos()).sum()
        }),
        problem(
            "branin",
            vec![("x0".to_owned(), Space::Uniform([-5.0, 10.0])), ("x1".to_owned(), Space::Uniform([0.0, 15.0]))],
            branin,
        ),
        problem("hartmann 6d", line(0.0, 1.0, 6), hartmann),
        problem("griewank 5d", line(-300.0, 900.0, 5), griewank),
        problem("levy 5d", line(-10.0, 10.0, 5), levy),
        problem("styblinski-tang 5d", line(-5.0, 5.0, 5), |x| {
            numbers(x).iter().map(|x| 0.5 * (x.powi(4) - 16.0 * x * x + 5.0 * x)).sum()
        }),
        problem(
            "learner",
            vec![
                ("kernel".to_owned(), Space::Choice(vec![json!("linear"), json!("rbf"), json!("polynomial")])),
                ("learning_rate".to_owned(), Space::LogUniform([1e-5, 1.0])),
                ("depth".to_owned(), Space::Int([1, 20])),
                ("dropout".to_owned(), Space::Uniform([0.0, 0.9])),
            ],
            learner,
        ),
    ]
}

fn numbers(values: &Map<String, Value>) -> Vec<f64> {
    values.values().filter_map(Value::as_f64).collect()
}

fn rosenbrock(values: &Map<String, Value>) -> f64 {
    numbers(values).windows(2).map(|x| 100.0 * (x[1] - x[0] * x[0]).powi(2) + (1.0 - x[0]).powi(2)).sum()
}

fn ackley(values: &Map<String, Value>) -> f64 {
    let x = numbers(values);
    let mean = |of: fn(f64) -> f64| x.iter().map(|x| of(*x)).sum::<f64>() / x.len() as f64;
    20.0 + E - 20.0 * (-0.2 * mean(|x| x * x).sqrt()).exp() - mean(|x| (2.0 * PI * x).cos()).exp()
}

fn branin(values: &Map<String, Value>) -> f64 {
    let x = numbers(values);
    let curve = x[1] - 5.1 / (4.0 * PI * PI) * x[0] * x[0] + 5.0 / PI * x[0] - 6.0;
    curve * curve + 10.0 * (1.0 - 1.0 / (8.0 * PI)) * x[0].cos() + 10.0
}

fn hartmann(values: &Map<String, Value>) -> f64 {
    const HEIGHTS: [f64; 4] = [1.0, 1.2, 3.0, 3.2];
    const WIDTHS: [[f64; 6]; 4] = [
        [10.0, 3.0, 17.0, 3.5, 1.7, 8.0],
        [0.05, 10.0, 17.0, 0.1, 8.0, 14.0],
        [3.0, 3.5, 1.7, 10.0, 17.0, 8.0],
        [17.0, 8.0, 0.05, 10.0, 0.1, 14.0],
    ];
    const PLACES: [[f64; 6]; 4] = [
        [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
        [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
        [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
        [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
    ];
    let x = numbers(values);
    let hill = |at: usize| -> f64 {
        let distance =
            x.iter().zip(WIDTHS[at].iter().zip(PLACES[at])).map(|(x, (width, place))| width * (x - place).powi(2));
        HEIGHTS[at] * (-distance.sum::<f64>()).exp()
    };
    -(0..4).map(hill).sum::<f64>()
}

fn griewank(values: &Map<String, Value>) -> f64 {
    let x = numbers(values);
    let waves: f64 = x.iter().zip(1..).map(|(x, at)| (x / f64::from(at).sqrt()).cos()).product();
    1.0 + x.iter().map(|x| x * x).sum::<f64>() / 4000.0 - waves
}

fn levy(values: &Map<String, Value>) -> f64 {
    let w: Vec<f64> = numbers(values).iter().map(|x| 1.0 + (x - 1.0) / 4.0).collect();
    let (first, last) = (w[0], w[w.len() - 1]);
    let between: f64 =
        w[..w.len() - 1].iter().map(|w| (w - 1.0).powi(2) * (1.0 + 10.0 * (PI * w + 1.0).sin().powi(2))).sum();
    (PI * first).sin().powi(2) + between + (last - 1.0).powi(2) * (1.0 + (2.0 * PI * last).sin().powi(2))
}

/// A loss whose best learning rate and depth depend on the kernel, in which dropout matters little.
fn learner(values: &Map<String, Value>) -> f64 {
    let number = |name: &str| values[name].as_f64().unwrap_or(f64::NAN);
    let (worse, rate, depth) = match values["kernel"].as_str() {
        Some("linear") => (0.3, -1.0, 4.0),
        Some("rbf") => (0.0, -2.5, 7.0),
        _ => (0.1, -3.5, 12.0),
    };
    let rate = number("learning_rate").log10() - rate;
    let depth = (number("depth") - depth) / 5.0;
    0.1 + worse
        + 0.2 * rate * rate
        + 0.1 * depth * depth
        + 0.1 * (rate * depth).abs()
        + 0.05 * (number("dropout") - 0.3).powi(2)
}
