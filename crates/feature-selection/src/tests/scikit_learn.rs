//! Scores against those of scikit-learn, NumPy and SciPy, from `tests/reference/feature_selection.py`.

use std::borrow::Cow;

use retune_spec::feature_selection::{Correlation, CorrelationMethod, MutualInformation, VarianceThreshold};
use retune_stage::{FitContext, Table, Target};
use retune_testing::table;
use serde_json::{Value, from_value, json};

use crate::correlation::{centred, pairs_above};
use crate::features::Stored;
use crate::judge::{Judge, Verdict};
use crate::neighbors::{Digamma, Sorted, kraskov, ross};
use crate::tests::judged;

struct Reference {
    all: Value,
    names: Vec<String>,
    columns: Vec<Vec<f64>>,
}

impl Reference {
    fn read() -> Self {
        let all: Value = serde_json::from_str(include_str!("../../tests/fixtures/feature_selection.json")).unwrap();
        let columns = all["columns"].as_object().unwrap();
        let names = columns.keys().cloned().collect();
        let columns = columns.values().map(numbers).collect();
        Self { all, names, columns }
    }

    fn table(&self, target: &Target) -> Table {
        let columns = self.names.iter().zip(&self.columns);
        let mut columns: Vec<(&str, _)> =
            columns.map(|(name, values)| (name.as_str(), values.clone().into())).collect();
        columns.push(match target {
            Target::Classes { codes, .. } => {
                // Labels are numbered in their order.
                let labels: Vec<String> = codes.iter().map(|code| format!("label {code}")).collect();
                ("y", labels.iter().map(String::as_str).collect::<Vec<_>>().into())
            }
            Target::Values(values) => ("y", values.clone().into()),
        });
        table(columns).target("y").build()
    }

    fn classes(&self, key: &str) -> (Vec<u32>, usize) {
        let codes: Vec<u32> = from_value(self.all[key].clone()).unwrap();
        let n_classes = *codes.iter().max().unwrap() as usize + 1;
        (codes, n_classes)
    }

    fn targets(&self) -> [Target; 2] {
        let (codes, n_classes) = self.classes("classes");
        [Target::Classes { codes, n_classes }, Target::Values(numbers(&self.all["values"]))]
    }

    fn verdicts(&self, judge: &dyn Judge, target: &Target) -> Vec<Verdict> {
        judged(judge, &self.table(target)).unwrap().verdicts
    }

    /// Each column's score against the expected one.
    fn check(&self, judge: &dyn Judge, target: &Target, expected: &Value, tolerance: f64) {
        for ((name, verdict), expected) in self.names.iter().zip(self.verdicts(judge, target)).zip(numbers(expected)) {
            let near = (verdict.score - expected).abs() <= tolerance * expected.abs().max(1.0);
            assert!(near, "{name}: {} against {expected}", verdict.score);
        }
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    from_value(value.clone()).unwrap()
}

fn method<T: serde::de::DeserializeOwned>(value: Value) -> T {
    from_value(value).unwrap()
}

#[test]
fn variances() {
    let reference = Reference::read();
    let [_, target] = reference.targets();
    for (threshold, expected) in reference.all["above"].as_object().unwrap() {
        let judge = VarianceThreshold { threshold: threshold.parse().unwrap() };
        reference.check(&judge, &target, &reference.all["variances"], 1e-12);
        let verdicts = reference.verdicts(&judge, &target);
        let kept = reference.names.iter().zip(&verdicts).filter(|(_, verdict)| verdict.kept);
        let kept: Vec<&String> = kept.map(|(name, _)| name).collect();
        assert_eq!(json!(kept), *expected, "above {threshold}");
    }
}

#[test]
fn correlations() {
    let reference = Reference::read();
    for (method, key) in [(CorrelationMethod::Pearson, "pearson"), (CorrelationMethod::Spearman, "spearman")] {
        let stored = |values: &'_ Vec<f64>| Stored::F64(Cow::Owned(values.clone()));
        let columns: Vec<_> = reference.columns.iter().map(|values| centred(stored(values), method).unwrap()).collect();
        let pairs = pairs_above(&columns, -1.0, &FitContext::plain(7)).unwrap();
        assert_eq!(pairs.len(), columns.len() * (columns.len() - 1) / 2);
        for (a, b, r) in pairs {
            let expected = reference.all[key][a][b].as_f64().unwrap();
            assert!(
                (r - expected).abs() < 1e-12,
                "{key} of {} and {}: {r} against {expected}",
                reference.names[a],
                reference.names[b]
            );
        }
    }
}

#[test]
fn correlations_with_the_target() {
    let reference = Reference::read();
    let check = |method, target: usize, key: &str| {
        let judge = Correlation { max: 0.9, method };
        reference.check(&judge, &reference.targets()[target], &reference.all[key], 1e-12);
    };
    check(CorrelationMethod::Pearson, 0, "told_of_classes");
    check(CorrelationMethod::Spearman, 0, "told_of_classes_by_ranks");
    check(CorrelationMethod::Pearson, 1, "told_of_values");
    check(CorrelationMethod::Spearman, 1, "told_of_value_ranks");
}

#[test]
fn neighbor_estimates() {
    let reference = Reference::read();
    let digamma = Digamma::up_to(reference.columns[0].len());
    let values = numbers(&reference.all["values"]);
    let target = Sorted::new(&values);
    let [classes, rare] = ["classes", "rare"].map(|key| reference.classes(key));
    let mut n_checked = 0;
    for (name, column) in reference.names.iter().zip(&reference.columns) {
        let Some(by_neighbors) = reference.all["ross"][name].as_object() else { continue };
        let sorted = Sorted::new(column);
        for (k, expected) in by_neighbors {
            let of_values = reference.all["kraskov"][name][k].as_f64().unwrap();
            let k = k.parse().unwrap();
            let ours = [&classes, &rare].map(|(codes, n_classes)| ross(&sorted, codes, *n_classes, k, &digamma));
            assert!(
                ours.iter().zip(numbers(expected)).all(|(a, b)| (a - b).abs() < 1e-12),
                "{name}, {k}: {ours:?} against {expected}"
            );
            let ours = kraskov(column, &sorted, &values, &target, k, &digamma);
            assert!((ours - of_values).abs() < 1e-12, "{name}, {k}: {ours} against {of_values}");
            n_checked += 1;
        }
    }
    assert!(n_checked >= 15);
}

#[test]
fn mutual_information() {
    let reference = Reference::read();
    let judge: MutualInformation = method(json!({ "keep": 3 }));
    for (target, key) in reference.targets().iter().zip(["classif", "regression"]) {
        let [least, greatest] = ["least", "greatest"].map(|end| numbers(&reference.all[key][end]));
        for (at, verdict) in reference.verdicts(&judge, target).iter().enumerate() {
            let (name, slack) = (&reference.names[at], 0.5 * (greatest[at] - least[at]) + 1e-9);
            let within = (least[at] - slack..=greatest[at] + slack).contains(&verdict.score);
            assert!(within, "{key} of {name}: {} against {} to {}", verdict.score, least[at], greatest[at]);
            if let (Some(counted), "classif") = (reference.all["counted"][name].as_f64(), key) {
                assert!((verdict.score - counted).abs() < 1e-12, "{name}: {} against {counted}", verdict.score);
            }
        }
    }
}
