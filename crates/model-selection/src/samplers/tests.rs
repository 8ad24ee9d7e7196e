#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use serde::de::DeserializeOwned;
use serde_json::json;

use super::*;

/// What `tests/reference/samplers.py` expects.
pub fn fixture<T: DeserializeOwned>(name: &str) -> T {
    let mut fixtures: Map<String, Value> =
        serde_json::from_str(include_str!("../../tests/fixtures/samplers.json")).unwrap();
    serde_json::from_value(fixtures.remove(name).unwrap()).unwrap()
}

const DRAWN: [Sampler; 5] = [Sampler::Random, Sampler::Sobol, Sampler::Tpe, Sampler::MultivariateTpe, Sampler::CmaEs];

fn proposer(spaces: Value, sampler: Sampler, seed: u64) -> Proposer {
    let spaces: Map<String, Value> = serde_json::from_value(spaces).unwrap();
    Proposer::new(
        spaces.iter().map(|(name, space)| (name.clone(), Space::of(space).unwrap())).collect(),
        sampler,
        Seed(seed),
    )
}

type Score = fn(&Map<String, Value>) -> f64;

/// The values of so many trials, each told of before the next.
fn tried(spaces: Value, sampler: Sampler, seed: u64, trials: usize, score: Score) -> Vec<Map<String, Value>> {
    let mut proposer = proposer(spaces, sampler, seed);
    let next = |_| {
        let Proposal { values, point } = proposer.propose()?;
        proposer.tell(&point, Some(score(&values)));
        Some(values)
    };
    (0..trials).map_while(next).collect()
}

fn numbers(values: &Map<String, Value>) -> Vec<f64> {
    values.values().filter_map(Value::as_f64).collect()
}

fn cube(n: usize) -> Value {
    (0..n).map(|at| (format!("x{at}"), json!({ "uniform": [0, 1] }))).collect()
}

fn near_three(values: &Map<String, Value>) -> f64 {
    -(numbers(values)[0] - 3.0).powi(2)
}

#[test]
fn the_grid_tries_every_combination_once() {
    let spaces = json!({ "dropout": { "choice": [0, 0.5] }, "epochs": { "int": [1, 3] } });
    let expected = [(json!(0), 1), (json!(0), 2), (json!(0), 3), (json!(0.5), 1), (json!(0.5), 2), (json!(0.5), 3)];
    let expected = expected.map(|(dropout, epochs)| json!({ "dropout": dropout, "epochs": epochs }));
    let all = tried(spaces, Sampler::Grid, 0, 100, near_three);
    assert_eq!(all.into_iter().map(Value::Object).collect::<Vec<_>>(), expected);
    let wide = || json!({ "l2": { "int": [1, 3] }, "more": { "uniform": [0, 1] } });
    assert_eq!(proposer(wide(), Sampler::Grid, 0).combinations(), Some(15));
    assert_eq!(proposer(wide(), Sampler::Random, 0).combinations(), None);
}

#[test]
fn without_spaces_there_is_one_combination() {
    for sampler in DRAWN.into_iter().chain([Sampler::Grid]) {
        assert_eq!(tried(json!({}), sampler, 0, 100, |_| 0.0), [Map::new()]);
    }
}

#[test]
fn ranges_are_cut_at_their_ends() {
    assert_eq!(grid_of(&Space::Uniform([0.0, 1.0])), [json!(0.0), json!(0.25), json!(0.5), json!(0.75), json!(1.0)]);
    let log = grid_of(&Space::LogUniform([1e-4, 1.0]));
    assert_eq!((log.len(), log[0].as_f64(), log[4].as_f64()), (5, Some(1e-4), Some(1.0)));
}

/// Trials that are proposed several at once, some of which fail.
fn in_batches(sampler: Sampler, seed: u64) -> Vec<Proposal> {
    let spaces = json!({ "kernel": { "choice": ["a", "b"] }, "l2": { "log_uniform": [1e-4, 10] }, "depth": { "int": [1, 9] }, "dropout": { "uniform": [0, 1] } });
    let mut proposer = proposer(spaces, sampler, seed);
    let mut all = Vec::new();
    for size in [1, 5, 3, 16, 2, 7, 20, 1, 1, 4] {
        let batch: Vec<Proposal> = (0..size).filter_map(|_| proposer.propose()).collect();
        // What is finished first is told of first.
        for (at, Proposal { values, point }) in batch.iter().enumerate().rev() {
            let score = values["depth"].as_f64().unwrap() - values["l2"].as_f64().unwrap();
            proposer.tell(point, (at != 1).then_some(score));
        }
        all.extend(batch);
    }
    all
}

#[test]
fn the_same_seed_proposes_the_same_in_its_ranges() {
    for sampler in DRAWN {
        let all = in_batches(sampler, 1);
        assert_eq!(all.len(), 60);
        assert_eq!(all, in_batches(sampler, 1));
        assert_ne!(all, in_batches(sampler, 2));
        for Proposal { values, .. } in all {
            let number = |name: &str| values[name].as_f64().unwrap();
            assert!((1e-4..=10.0).contains(&number("l2")) && (0.0..=1.0).contains(&number("dropout")), "{values:?}");
            assert!((1..=9).contains(&values["depth"].as_i64().unwrap()), "{values:?}");
        }
    }
}

#[test]
fn choices_and_whole_numbers_are_drawn_alike_often() {
    for sampler in [Sampler::Random, Sampler::Sobol] {
        let all = tried(json!({ "a": { "choice": [1, 2, 3, 4] }, "b": { "int": [1, 4] } }), sampler, 1, 4000, |_| 0.0);
        for (name, value) in ["a", "b"].into_iter().flat_map(|name| (1..5).map(move |value| (name, value))) {
            let count = all.iter().filter(|values| values[name] == value).count();
            assert!((900..1100).contains(&count), "{sampler:?} {name} {value}: {count}");
        }
    }
}

/// The centred discrepancy (Hickernell 1998): how far shares of points are from shares of space.
fn discrepancy(points: &[Vec<f64>]) -> f64 {
    let (n, from_middle) = (points.len() as f64, |at: f64| (at - 0.5).abs());
    let one = |point: &Vec<f64>| -> f64 {
        point.iter().map(|&at| 1.0 + 0.5 * from_middle(at) - 0.5 * from_middle(at).powi(2)).product()
    };
    let two = |a: &Vec<f64>, b: &Vec<f64>| -> f64 {
        let factor = |(&a, &b): (&f64, &f64)| 1.0 + 0.5 * (from_middle(a) + from_middle(b) - (a - b).abs());
        a.iter().zip(b).map(factor).product()
    };
    let pairs: f64 = points.iter().flat_map(|a| points.iter().map(move |b| two(a, b))).sum();
    (13.0_f64 / 12.0).powi(points[0].len() as i32) - 2.0 / n * points.iter().map(one).sum::<f64>() + pairs / (n * n)
}

#[test]
fn sobol_fills_the_space_more_evenly_than_random_draws() {
    #[derive(serde::Deserialize)]
    struct Reference {
        points: Vec<Vec<f64>>,
        centred: f64,
    }
    let reference: Reference = fixture("discrepancy");
    assert!((discrepancy(&reference.points) - reference.centred).abs() < 1e-12);
    for seed in 0..5 {
        let of =
            |sampler| discrepancy(&tried(cube(5), sampler, seed, 128, |_| 0.0).iter().map(numbers).collect::<Vec<_>>());
        assert!(of(Sampler::Sobol) < 0.3 * of(Sampler::Random), "{} {}", of(Sampler::Sobol), of(Sampler::Random));
    }
}

#[test]
fn each_slice_holds_one_of_sobols_points() {
    let points = tried(cube(7), Sampler::Sobol, 3, 64, |_| 0.0);
    for axis in 0..7 {
        let mut slices: Vec<usize> = points.iter().map(|point| (numbers(point)[axis] * 64.0) as usize).collect();
        slices.sort_unstable();
        assert!(slices.into_iter().eq(0..64), "{axis}");
    }
}

/// The mean distance of the last draws from the optimum, over seeds.
fn distance(sampler: Sampler, space: &Value) -> f64 {
    let of_seed = |seed| {
        let tried = tried(json!({ "l2": space }), sampler, seed, 60, near_three);
        tried.iter().skip(40).map(|values| (numbers(values)[0] - 3.0).abs()).sum::<f64>()
    };
    (0..10).map(of_seed).sum::<f64>() / 200.0
}

#[test]
fn those_that_learn_close_in_on_the_optimum() {
    for space in [json!({ "uniform": [-50, 50] }), json!({ "log_uniform": [0.01, 1000] }), json!({ "int": [-50, 50] })]
    {
        let random = distance(Sampler::Random, &space);
        for sampler in [Sampler::Tpe, Sampler::MultivariateTpe, Sampler::CmaEs] {
            let learned = distance(sampler, &space);
            assert!(learned < 0.5 * random, "{sampler:?} {space}: {learned} {random}");
        }
    }
}

#[test]
fn the_better_choice_is_preferred() {
    for sampler in [Sampler::Tpe, Sampler::MultivariateTpe, Sampler::CmaEs] {
        let tried = tried(json!({ "l2": { "choice": [1, 2, 3, 4, 5, 6] } }), sampler, 1, 60, near_three);
        let right = tried.iter().skip(20).filter(|values| values["l2"] == 3).count();
        assert!(right > 20, "{sampler:?}: {right} of 40");
    }
}

#[test]
fn two_spaces_of_the_same_range_are_told_apart() {
    let apart: Score = |values| -(numbers(values)[0] - 0.9).abs() - (numbers(values)[1] - 0.1).abs();
    for sampler in [Sampler::Tpe, Sampler::MultivariateTpe, Sampler::CmaEs] {
        let tried = tried(cube(2), sampler, 3, 80, apart);
        let mean = |at: usize| tried.iter().skip(50).map(|values| numbers(values)[at]).sum::<f64>() / 30.0;
        assert!(mean(0) > 0.7 && mean(1) < 0.3, "{sampler:?}: {} {}", mean(0), mean(1));
    }
}

/// The median of the best scores that searches of 50 trials find.
fn best(sampler: Sampler, spaces: &Value, score: Score) -> f64 {
    let of_seed =
        |seed| tried(spaces.clone(), sampler, seed, 50, score).iter().map(score).fold(f64::NEG_INFINITY, f64::max);
    let mut best: Vec<f64> = (0..21).map(of_seed).collect();
    best.sort_by(f64::total_cmp);
    best[10]
}

fn near_a_corner(values: &Map<String, Value>) -> f64 {
    -numbers(values).iter().map(|at| (at - 0.2).powi(2)).sum::<f64>()
}

#[test]
fn those_that_learn_find_better_values_than_those_that_do_not() {
    let random = best(Sampler::Random, &cube(5), near_a_corner);
    for sampler in [Sampler::Tpe, Sampler::MultivariateTpe, Sampler::CmaEs] {
        let learned = best(sampler, &cube(5), near_a_corner);
        assert!(learned > 0.5 * random, "{sampler:?}: {learned} {random}");
    }
}

#[test]
fn one_density_over_all_axes_brings_what_is_good_in_each_together() {
    let [together, each] =
        [Sampler::MultivariateTpe, Sampler::Tpe].map(|sampler| best(sampler, &cube(5), near_a_corner));
    assert!(together > 0.6 * each, "{together} {each}");
}

#[test]
fn proposals_made_together_keep_apart() {
    // Nothing is told of a batch, so only the others in it can keep a proposal away.
    let spread = |forget: bool| -> f64 {
        let of_seed = |seed| {
            let mut proposer = proposer(cube(2), Sampler::MultivariateTpe, seed);
            for _ in 0..30 {
                let Proposal { values, point } = proposer.propose().unwrap();
                proposer.tell(&point, Some(-numbers(&values).iter().map(|at| (at - 0.3).powi(2)).sum::<f64>()));
            }
            let mut batch = Vec::new();
            for _ in 0..10 {
                let Proposal { values, point } = proposer.propose().unwrap();
                if forget {
                    proposer.tell(&point, None);
                }
                batch.push(numbers(&values));
            }
            let gap = |a: &Vec<f64>, b: &Vec<f64>| a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>();
            batch.iter().enumerate().flat_map(|(at, a)| batch[..at].iter().map(move |b| gap(a, b))).sum::<f64>()
        };
        (0..20).map(of_seed).sum::<f64>()
    };
    assert!(spread(false) > 1.1 * spread(true), "{} {}", spread(false), spread(true));
}

#[test]
fn evolution_leaves_where_trials_fail() {
    let mut proposer = proposer(cube(2), Sampler::CmaEs, 1);
    let mut fails = |_| {
        let Proposal { values, point } = proposer.propose().unwrap();
        let is_failure = numbers(&values)[0] > 0.5;
        proposer.tell(&point, (!is_failure).then_some(1.0));
        is_failure
    };
    let failed: Vec<bool> = (0..100).map(&mut fails).collect();
    let n_failed = failed[60..].iter().filter(|failed| **failed).count();
    assert!(n_failed < 10, "{n_failed} of 40");
}

#[test]
fn evolution_converges_where_many_trials_run_at_once() {
    let mut proposer = proposer(cube(3), Sampler::CmaEs, 1);
    let mut last = f64::NEG_INFINITY;
    for _ in 0..60 {
        // More than a generation has.
        let batch: Vec<Proposal> = (0..20).filter_map(|_| proposer.propose()).collect();
        let scores: Vec<f64> = batch.iter().map(|proposal| near_a_corner(&proposal.values)).collect();
        batch.iter().zip(&scores).for_each(|(proposal, &score)| proposer.tell(&proposal.point, Some(score)));
        last = scores.into_iter().fold(f64::NEG_INFINITY, f64::max);
    }
    assert!(last > -1e-8, "{last}");
}

/// The median number of evaluations until a score is within 1e-8 of the best.
fn evaluations(n: usize, score: Score) -> usize {
    let of_seed = |seed| {
        let mut proposer = proposer(cube(n), Sampler::CmaEs, seed);
        let is_there = |_: &usize| {
            let Proposal { values, point } = proposer.propose().unwrap();
            proposer.tell(&point, Some(score(&values)));
            score(&values) > -1e-8
        };
        (1..20_000).find(is_there).unwrap_or(20_000)
    };
    let mut counts: Vec<usize> = (0..21).map(of_seed).collect();
    counts.sort_unstable();
    counts[10]
}

#[test]
fn evolution_needs_as_many_evaluations_as_the_reference() {
    #[derive(serde::Deserialize)]
    struct Reference {
        sphere: f64,
        rosenbrock: f64,
    }
    let reference: Reference = fixture("evaluations");
    let sphere = evaluations(5, |values| -numbers(values).iter().map(|at| (at - 0.3).powi(2)).sum::<f64>());
    let rosenbrock = evaluations(4, |values| {
        let x: Vec<f64> = numbers(values).iter().map(|at| 4.0 * at - 2.0).collect();
        -x.windows(2).map(|x| 100.0 * (x[1] - x[0] * x[0]).powi(2) + (1.0 - x[0]).powi(2)).sum::<f64>()
    });
    for (ours, expected) in [(sphere, reference.sphere), (rosenbrock, reference.rosenbrock)] {
        assert!((ours as f64) < 1.15 * expected, "{ours} {expected}");
    }
}
