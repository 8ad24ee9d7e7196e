use std::borrow::Cow;
use std::time::Instant;
use retune_stage::{FitContext, Target};
use crate::features::Feature;
use crate::judge::Judge;
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0
}
fn run(what: &str, judge: &dyn Judge, features: &[Feature], target: &Target) {
    for _ in 0..2 {
    let (c, t) = (cpu(), Instant::now());
    let v = judge.judge(features, target, &FitContext::plain(7)).unwrap();
    println!("{what}: cpu {:.3} wall {:.3} ({})", cpu() - c, t.elapsed().as_secs_f64(), v[0].score);
    }
}
#[test]
#[ignore]
fn speed() {
    let mut s = 1u64;
    let mut u = move || { s ^= s << 13; s ^= s >> 7; s ^= s << 17; (s >> 11) as f64 / (1u64 << 53) as f64 - 0.5 };
    let mut make = |n: usize, d: usize| -> (Vec<f64>, Vec<Vec<f64>>) {
        let y: Vec<f64> = (0..n).map(|_| u() + u() + u()).collect();
        let columns = (0..d).map(|j| y.iter().map(|y| y * (j % 5) as f64 * 0.3 + u() + u() + u() + u()).collect()).collect();
        (y, columns)
    };
    let features = |columns: Vec<Vec<f64>>| -> Vec<Feature<'static>> { columns.into_iter().enumerate().map(|(at, v)| Feature { name: Box::leak(format!("c{at}").into_boxed_str()), at, values: Cow::Owned(v), pinned: false }).collect() };
    let (y, columns) = make(50_000, 50);
    let zeros: Vec<Vec<f64>> = columns.iter().map(|c| c.iter().map(|v| if *v < 0.5 { 0.0 } else { *v }).collect()).collect();
    let f = features(columns);
    let z = features(zeros);
    let codes: Vec<u32> = y.iter().map(|y| ((y * 3.0 + 3.0).max(0.0) as u32).min(4)).collect();
    let classes = Target::Classes { codes, n_classes: 5 };
    let values = Target::Values(y);
    let mi = retune_spec::feature_selection::MutualInformation { keep: retune_spec::feature_selection::Keep::Count(3), neighbors: 3, max_rows: 100_000 };
    run("classif", &mi, &f, &classes);
    run("regress", &mi, &f, &values);
    run("classif zeros", &mi, &z, &classes);
    run("regress zeros", &mi, &z, &values);
    let (y, columns) = make(50_000, 1000);
    let f = features(columns);
    let values = Target::Values(y);
    for method in [retune_spec::feature_selection::CorrelationMethod::Pearson, retune_spec::feature_selection::CorrelationMethod::Spearman] {
        run("correlation", &retune_spec::feature_selection::Correlation { max: 0.98, method }, &f, &values);
    }
    run("variance", &retune_spec::feature_selection::VarianceThreshold { threshold: 0.0 }, &f, &values);
}
