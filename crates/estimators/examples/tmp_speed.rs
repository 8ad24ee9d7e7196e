//! Scratch.
use ndarray::Array2;
use retune_estimators::{FitOptions, boosting, linear, logistic};
use retune_stage::{Design, Device, Seed, Silent, Target};
use std::time::Instant;
fn main() {
    {
        use retune_metrics::*; use retune_spec::Metric;
        let n = 1200; let k = 12;
        let codes: Vec<u32> = (0..n).map(|i| (i * 7919 % k) as u32).collect();
        let p = Array2::from_shape_fn((n, k), |(i, j)| ((i * 31 + j * 17) as f64).sin().abs() + if codes[i] == j as u32 { 1.0 } else { 0.0 });
        let p = Prediction::Probabilities(&p / &p.sum_axis(ndarray::Axis(1)).insert_axis(ndarray::Axis(1)));
        let truth = Truth::Classes { codes: &codes, n_classes: k };
        for _ in 0..3 {
            let all = Instant::now();
            let mut line = String::new();
            for m in Metric::ALL.into_iter().take(11) {
                let t = Instant::now();
                interval(m, &truth, &p, 1000, 0.95, 7).unwrap();
                line += &format!("{} {:.1}  ", m.word(), t.elapsed().as_secs_f64() * 1e3);
            }
            eprintln!("metrics {:.1} ms: {line}", all.elapsed().as_secs_f64() * 1e3);
        }
    }

    let dir = std::env::args().nth(1).unwrap();
    let read = |name: &str| std::fs::read(format!("{dir}/{name}")).unwrap();
    let x: Vec<f64> = read("x.bin").chunks_exact(8).map(|c| f64::from_le_bytes(c.try_into().unwrap())).collect();
    let y: Vec<u32> = read("y.bin").chunks_exact(8).map(|c| i64::from_le_bytes(c.try_into().unwrap()) as u32).collect();
    let (n, d) = (y.len(), x.len() / y.len());
    let k = *y.iter().max().unwrap() as usize + 1;
    let features = Array2::from_shape_vec((n, d), x).unwrap();
    let values: Vec<f64> = features.rows().into_iter().map(|r| r.sum()).collect();
    let mut rows = Design { features, names: (0..d).map(|i| format!("x{i}")).collect(), target: Some(Target::Classes { codes: y, n_classes: k }), weights: None };
    let threads = rayon::current_num_threads();
    let o = FitOptions { seed: Seed(1), threads, device: Device::Cpu, progress: &Silent };
    for _ in 0..3 {
        let t = Instant::now();
        let (m, _) = logistic::fit(&serde_json::from_str(r#"{"max_iterations":1000}"#).unwrap(), &rows, &o).unwrap();
        eprintln!("logistic {:.3} s {:?} threads {threads}", t.elapsed().as_secs_f64(), m.search());
        let t = Instant::now();
        m.predict(rows.features.view()).unwrap();
        eprintln!("  predict {:.4}", t.elapsed().as_secs_f64());
    }
    for _ in 0..2 {
        let t = Instant::now();
        let (m, _) = boosting::fit(&serde_json::from_str("{}").unwrap(), &rows, &o).unwrap();
        eprintln!("boosting {:.3} s", t.elapsed().as_secs_f64());
        let t = Instant::now();
        m.predict(rows.features.view()).unwrap();
        eprintln!("  predict {:.4}", t.elapsed().as_secs_f64());
    }
    rows.target = Some(Target::Values(values));
    for _ in 0..3 {
        let t = Instant::now();
        linear::LeastSquares::new(&rows).unwrap().solve(1.0);
        eprintln!("ridge {:.4} s", t.elapsed().as_secs_f64());
    }
}
