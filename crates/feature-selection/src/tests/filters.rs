//! Filters against scikit-learn, SciPy and straightforward NumPy, from `tests/reference/filters.py`, and on what their papers promise.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retune_spec::feature_selection::Method;
use retune_stage::{FitContext, Rows, Stage, Table};
use retune_testing::{classification, regression, table};
use serde_json::{Value, from_value, json};

use crate::chi2::chi2_tail;
use crate::f_test::f_tail;
use crate::judge::Verdict;
use crate::tests::judged;
use crate::{FeatureSelectionStage, judge_of};

fn reference() -> Value {
    serde_json::from_str(include_str!("../../tests/fixtures/filters.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    from_value(value.clone()).unwrap()
}

/// The columns of the reference, and one of its targets.
fn data(reference: &Value, columns: &[String], target: &str) -> Table {
    let values = numbers(&reference["targets"][target]);
    let labels: Vec<String> = values.iter().map(|value| format!("label {value}")).collect();
    let target = if target == "values" { values.into() } else { labels.into() };
    let columns = columns.iter().map(|name| (name.as_str(), numbers(&reference["columns"][name]).into()));
    table(columns.chain([("y", target)])).target("y").build()
}

fn names(reference: &Value) -> Vec<String> {
    reference["columns"].as_object().unwrap().keys().cloned().collect()
}

fn verdicts(method: Value, table: &Table) -> Vec<Verdict> {
    let method: Method = from_value(method).unwrap();
    judged(judge_of(&method), table).unwrap().verdicts
}

fn scores(method: Value, table: &Table) -> Vec<f64> {
    verdicts(method, table).iter().map(|verdict| verdict.score).collect()
}

fn refusal(method: Value, table: &Table) -> String {
    let stage = FeatureSelectionStage(from_value(json!({ "steps": [method] })).unwrap());
    let error = stage.fit(Rows::Table(table.clone()), &FitContext::plain(7)).err().unwrap();
    format!("{}; {}", error.message, error.help.unwrap_or_default())
}

/// To 1e-9 of what is expected, or of `least` where that is more.
fn near(what: &str, names: &[String], found: &[f64], expected: &[f64], least: f64) {
    assert_eq!(found.len(), expected.len());
    for ((name, found), expected) in names.iter().zip(found).zip(expected) {
        let good = (found - expected).abs() <= 1e-9 * expected.abs().max(least);
        assert!(good, "{what} of {name}: {found} against {expected}");
    }
}

/// Scores, p-values, and what is chosen under each control of false discoveries.
fn check_test(method: &str, key: &str, columns: &[String], target: &str) {
    let reference = reference();
    let table = data(&reference, columns, target);
    let expected = &reference[key];
    let found = verdicts(json!({ method: {} }), &table);
    let of = |what: fn(&Verdict) -> f64| found.iter().map(what).collect::<Vec<_>>();
    near(key, columns, &of(|verdict| verdict.score), &numbers(&expected["scores"]), 1e-12);
    near(key, columns, &of(|verdict| verdict.p_value.unwrap()), &numbers(&expected["p_values"]), 0.0);
    for (control, levels) in expected["selected"].as_object().unwrap() {
        for (alpha, selected) in levels.as_object().unwrap() {
            let declared = json!({ method: { "control": control, "alpha": alpha.parse::<f64>().unwrap() } });
            let kept: Vec<bool> = verdicts(declared, &table).iter().map(|verdict| verdict.kept).collect();
            assert_eq!(json!(kept), *selected, "{key}, {control} at {alpha}");
        }
    }
}

#[test]
fn f_tests() {
    check_test("f_test", "f_classif", &names(&reference()), "classes");
    check_test("f_test", "f_regression", &names(&reference()), "values");
}

#[test]
fn chi_squared_tests() {
    let counted: Vec<String> = from_value(reference()["counted"].clone()).unwrap();
    check_test("chi2", "chi2", &counted, "classes");
}

#[test]
fn rank_tests() {
    check_test("kruskal_wallis", "kruskal", &names(&reference()), "classes");
}

/// By mpmath, with 60 digits.
#[test]
fn tails_are_exact_down_to_1e_300() {
    let reference = reference();
    for row in reference["f_tails"].as_array().unwrap() {
        let [f, above, below, expected, _] = numbers(row)[..] else { panic!("five numbers") };
        let found = f_tail(f, above, below);
        assert!((found / expected - 1.0).abs() < 1e-11, "F {f} of {above} and {below}: {found:e} against {expected:e}");
    }
    for row in reference["chi2_tails"].as_array().unwrap() {
        let [x, freedom, expected] = numbers(row)[..] else { panic!("three numbers") };
        let found = chi2_tail(x, freedom);
        assert!((found / expected - 1.0).abs() < 1e-11, "chi2 {x} of {freedom}: {found:e} against {expected:e}");
    }
}

#[test]
fn tests_of_columns_that_tell_nothing_or_everything() {
    let labels = ["a", "a", "b", "b", "b"];
    let columns = [("constant", [0.1; 5].into()), ("exact", [1.0, 1.0, 2.0, 2.0, 2.0].into()), ("y", labels.into())];
    let by_label = table(columns).target("y").build();
    let pairs = |method: &str, table: &Table| {
        let verdicts = verdicts(json!({ method: {} }), table);
        verdicts.iter().map(|verdict| (verdict.score, verdict.p_value.unwrap())).collect::<Vec<_>>()
    };
    for method in ["f_test", "chi2", "kruskal_wallis"] {
        assert_eq!(pairs(method, &by_label)[0], (0.0, 1.0), "{method}");
    }
    assert_eq!(pairs("f_test", &by_label)[1], (f64::MAX, 0.0));
    let columns =
        [("constant", [0.1; 4].into()), ("exact", [3.0, 5.0, 7.0, 11.0].into()), ("y", [1.0, 2.0, 3.0, 5.0].into())];
    assert_eq!(pairs("f_test", &table(columns).target("y").build()), [(0.0, 1.0), (f64::MAX, 0.0)]);
    // No degree of freedom is left.
    let two = table([("x", [1.0, 2.0].into()), ("y", [1.0, 3.0].into())]).target("y").build();
    assert_eq!(pairs("f_test", &two), [(0.0, 1.0)]);
    // The deviations are exact, whatever the mean: F is 1 / (1 / 2).
    let far = [1e9, 1e9 + 1.0, 1e9 + 1.0, 1e9 + 2.0];
    let far = table([("x", far.into()), ("y", ["a", "a", "b", "b"].into())]).target("y").build();
    assert_eq!(pairs("f_test", &far)[0].0, 2.0);
}

#[test]
fn labels_that_no_row_has_do_not_count() {
    let build = |labels: [&str; 4]| {
        let x = [1.0, 2.0, 4.0, 7.0, 3.0, 1.0].into();
        table([("x", x), ("y", ["a", "b", "a", "c", "c", "b"].into())]).target("y").labels(labels).build()
    };
    let few = build(["a", "b", "c", "d"]);
    let columns = [("x", [1.0, 2.0, 4.0, 7.0, 3.0, 1.0].into()), ("y", ["a", "b", "a", "c", "c", "b"].into())];
    let plain = table(columns).target("y").build();
    for method in ["f_test", "chi2", "kruskal_wallis", "information_value"] {
        assert_eq!(verdicts(json!({ method: {} }), &few), verdicts(json!({ method: {} }), &plain), "{method}");
    }
    for method in [json!({ "relief_f": { "keep": 1 } }), json!({ "mrmr": { "keep": 1 } })] {
        assert_eq!(verdicts(method.clone(), &few), verdicts(method, &plain));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let negative = table([("x", [1.0, 0.0, -2.5].into()), ("y", ["a", "b", "a"].into())]).target("y").build();
    assert_eq!(
        refusal(json!({ "chi2": {} }), &negative),
        "step 1 (chi2): column `x` is -2.5 in row 3; `chi2` takes counts, which are not negative; \
         use `f_test`, or add the step `min_max_scale` to a preprocessing stage before"
    );
    let step = "step 1 (chi2): column `x` is -2.5 in row 3";
    assert!(refusal(json!({ "chi2": {} }), &negative.take(&[1, 2, 0]).unwrap()).starts_with(step));
    for method in ["chi2", "kruskal_wallis", "information_value"] {
        assert_eq!(
            refusal(json!({ method: {} }), &regression(20, 2, 1)),
            format!(
                "step 1 ({method}): this method compares labels, and the task is regression; use `f_test` or `mutual_information`"
            )
        );
    }
}

#[test]
fn information_values() {
    let reference = reference();
    let names = names(&reference);
    for (target, bins, expected) in ["classes", "halves"]
        .iter()
        .flat_map(|target| ["4", "10", "100"].map(|bins| (target, bins, &reference["information_value"][target][bins])))
    {
        let method = json!({ "information_value": { "bins": bins.parse::<usize>().unwrap() } });
        let found = scores(method, &data(&reference, &names, target));
        near("information value", &names, &found, &numbers(expected), 1e-3);
    }
}

/// By hand: bins of 1 and 2 with 3 and 1 rows of `a`, 1 and 3 of `b`; the shares differ by 1/2 with the weight ln 3 in each. A bin without `b`: ln(2/4 / (1/2 / 4)).
#[test]
fn information_values_by_hand() {
    let labels = ["a", "a", "a", "a", "b", "b", "b", "b"];
    let columns = [
        ("x", [1.0, 1.0, 1.0, 2.0, 1.0, 2.0, 2.0, 2.0].into()),
        ("empty", [1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0].into()),
        ("useless", [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0].into()),
        ("y", labels.into()),
    ];
    let found = verdicts(json!({ "information_value": {} }), &table(columns).target("y").build());
    let expected = [3_f64.ln(), 0.375 * 4_f64.ln() - 0.5 * 0.5_f64.ln(), 0.0];
    for (verdict, expected) in found.iter().zip(expected) {
        assert!((verdict.score - expected).abs() < 1e-12, "{} against {expected}", verdict.score);
    }
    assert_eq!(found.iter().map(|verdict| verdict.kept).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(found[0].reason, "strong information value: 1.099, not below 0.02");
    assert_eq!(found[2].reason, "useless information value: 0, below 0.02");
}

#[test]
fn weights_among_near_rows() {
    let reference = reference();
    let names = names(&reference);
    for (key, target) in [("relief_f", "classes"), ("r_relief_f", "values")] {
        for (neighbors, expected) in reference[key].as_object().unwrap() {
            let method = json!({ "relief_f": { "neighbors": neighbors.parse::<usize>().unwrap(), "keep": 3 } });
            let found = scores(method, &data(&reference, &names, target));
            near(key, &names, &found, &numbers(expected), 1.0);
        }
    }
}

/// Columns of whole numbers below `below`, and a target made of each row.
fn drawn(n: usize, d: usize, below: usize, target: impl Fn(&[usize]) -> f64, labels: bool) -> Table {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let rows: Vec<Vec<usize>> = (0..n).map(|_| (0..d).map(|_| rng.random_range(0..below)).collect()).collect();
    let names: Vec<String> = (0..d).map(|at| format!("x{at}")).collect();
    let column = |at: usize| rows.iter().map(|row| row[at] as f64).collect::<Vec<f64>>();
    let columns = names.iter().enumerate().map(|(at, name)| (name.as_str(), column(at).into()));
    let values: Vec<f64> = rows.iter().map(|row| target(row)).collect();
    let target = if labels { values.iter().map(f64::to_string).collect::<Vec<_>>().into() } else { values.into() };
    table(columns.chain([("y", target)])).target("y").build()
}

/// Robnik-Sikonja and Kononenko (2003), section 4: parity of three bits, of which each alone tells nothing; and Modulo-p-I.
#[test]
fn columns_that_tell_only_together_are_seen() {
    let check = |table: &Table, relevant: usize, least: f64, most: f64| {
        for max_rows in [2000, 300] {
            let scores = scores(json!({ "relief_f": { "keep": 3, "max_rows": max_rows } }), table);
            assert!(scores[..relevant].iter().all(|score| *score > least), "{scores:?}");
            assert!(scores[relevant..].iter().all(|score| score.abs() < most), "{scores:?}");
        }
    };
    let parity = drawn(600, 8, 2, |row| ((row[0] + row[1] + row[2]) % 2) as f64, true);
    check(&parity, 3, 0.3, 0.1);
    let modulo = drawn(600, 6, 5, |row| ((row[0] + row[1]) % 5) as f64, false);
    check(&modulo, 2, 0.06, 0.06);
    // By itself, no column is seen.
    assert!(scores(json!({ "f_test": {} }), &parity).iter().all(|f| *f < 12.0));
}

#[test]
fn columns_chosen_one_after_the_other() {
    let reference = reference();
    let names = names(&reference);
    for (key, expected) in reference["mrmr"].as_object().unwrap() {
        let [target, measure, scheme] = key.split(' ').collect::<Vec<_>>()[..] else { panic!("three words") };
        let method = |bins: usize| json!({ "mrmr": { "keep": 8, "measure": measure, "scheme": scheme, "bins": bins } });
        let table = data(&reference, &names, target);
        let found = verdicts(method(10), &table);
        let chosen: Vec<String> = from_value(expected["chosen"].clone()).unwrap();
        for (name, verdict) in names.iter().zip(&found) {
            let place = chosen.iter().position(|other| other == name);
            let start = place.map_or("not chosen:".to_owned(), |place| format!("chosen as number {}:", place + 1));
            assert!(verdict.reason.starts_with(&start), "{key}: {name} is {}", verdict.reason);
            assert_eq!(verdict.kept, place.is_some(), "{key}: {name}");
        }
        let scores: Vec<f64> = found.iter().map(|verdict| verdict.score).collect();
        near(key, &names, &scores, &numbers(&expected["scores"]), 1e-3);
        // As many bins as rows or more: codes of two bytes.
        assert_eq!(verdicts(method(256), &table), verdicts(method(257), &table));
    }
}

#[test]
fn a_column_that_repeats_the_best_is_not_chosen_second() {
    let planted = classification(500, 2, 3, 1);
    let best = planted.numeric("x0").unwrap();
    let columns = [
        ("best", best.clone().into()),
        ("again", best.iter().map(|x| 3.0 * x - 1.0).collect::<Vec<_>>().into()),
        ("other", planted.numeric("x1").unwrap().into()),
        ("y", (0..500).map(|row| ["a", "b", "c"][row % 3]).collect::<Vec<_>>().into()),
    ];
    let table = table(columns).target("y").build();
    for (measure, scheme) in
        [("mutual_information", "difference"), ("mutual_information", "quotient"), ("f_test", "quotient")]
    {
        let method = json!({ "mrmr": { "keep": 2, "measure": measure, "scheme": scheme } });
        let kept: Vec<bool> = verdicts(method, &table).iter().map(|verdict| verdict.kept).collect();
        assert!(kept[2] && !(kept[0] && kept[1]), "{measure} {scheme}: {kept:?}");
    }
}

#[test]
fn mrmr_counts_groups_and_takes_pinned_columns_first() {
    let kept = |declared: Value, table: &Table| {
        let fit = FeatureSelectionStage(from_value(declared).unwrap());
        let fit = fit.fit(Rows::Table(table.clone()), &FitContext::plain(7)).unwrap();
        fit.train.schema().features().map(|field| field.name.clone()).collect::<Vec<_>>()
    };
    let table = regression(200, 6, 3);
    let steps = json!([{ "mrmr": { "keep": 2, "measure": "f_test", "scheme": "quotient" } }]);
    assert_eq!(kept(json!({ "steps": steps }), &table), ["x4", "x5"]);
    assert_eq!(kept(json!({ "steps": steps, "always_keep": ["x0"] }), &table), ["x0", "x5"]);
    assert_eq!(kept(json!({ "steps": steps, "always_keep": ["x0", "x1", "x2"] }), &table), ["x0", "x1", "x2"]);
    let groups = json!({ "ends": ["x0", "x5"], "middle": ["x2", "x3"] });
    assert_eq!(kept(json!({ "steps": steps, "groups": groups }), &table), ["x0", "x4", "x5"]);
}

#[test]
fn results_do_not_depend_on_threads() {
    let methods = [
        json!({ "f_test": {} }),
        json!({ "relief_f": { "keep": 3 } }),
        json!({ "relief_f": { "keep": 3, "max_rows": 200 } }),
        json!({ "mrmr": { "keep": 3 } }),
        json!({ "mrmr": { "keep": 3, "measure": "f_test" } }),
    ];
    for table in [classification(700, 9, 3, 1), regression(700, 9, 2)] {
        for method in &methods {
            let with_threads = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| verdicts(method.clone(), &table))
            };
            assert_eq!(with_threads(1), with_threads(3), "{method}");
        }
    }
}

#[test]
fn few_rows_are_no_hindrance() {
    let methods = [
        json!({ "relief_f": { "keep": 1, "neighbors": 100 } }),
        json!({ "mrmr": { "keep": 1 } }),
        json!({ "mrmr": { "keep": 1, "measure": "f_test", "scheme": "quotient" } }),
        json!({ "f_test": { "keep": 1 } }),
    ];
    for n in 2..12 {
        for method in &methods {
            for table in [classification(n, 2, 2, 1), regression(n, 2, 1)] {
                let found = verdicts(method.clone(), &table);
                assert!(found.iter().all(|verdict| verdict.score.is_finite()), "{method} of {n} rows: {found:?}");
                assert_eq!(found.iter().filter(|verdict| verdict.kept).count(), 1, "{method} of {n} rows");
            }
        }
        for method in ["kruskal_wallis", "information_value"] {
            let found = verdicts(json!({ method: {} }), &classification(n, 2, 2, 1));
            assert!(found.iter().all(|verdict| verdict.score.is_finite()), "{method} of {n} rows: {found:?}");
        }
    }
}

#[test]
fn scores_are_finite() {
    let columns = |target| {
        let columns = [
            ("great", [1e308, -1e308, 1e308, 0.0, 3e307, -1e308].into()),
            ("positive", [1e308, 1e308, 1e308, 0.0, 3e307, 1e307].into()),
            ("small", [0.0, 1e-310, 0.0, 2e-310, 0.0, 0.0].into()),
            ("zeros", [0.0, -0.0, 0.0, -0.0, 0.0, 0.0].into()),
            ("y", target),
        ];
        table(columns).target("y").build()
    };
    let by_label = columns(["a", "b", "a", "b", "c", "c"].into());
    let by_value = columns([1e308, -1e308, 2.0, 1.0, 5.0, 5.0].into());
    let check = |method: Value, table: &Table| {
        let found = verdicts(method.clone(), table);
        assert!(found.iter().all(|verdict| verdict.score.is_finite()), "{method}: {found:?}");
        assert!(
            found.iter().all(|verdict| verdict.p_value.is_none_or(|p| (0.0..=1.0).contains(&p))),
            "{method}: {found:?}"
        );
        assert_eq!(found[3].score, 0.0, "{method}");
    };
    for method in ["f_test", "kruskal_wallis", "information_value"] {
        check(json!({ method: { "keep": 4 } }), &by_label);
    }
    let counts = verdicts(json!({ "chi2": { "keep": 3 } }), &by_label.drop(&["great".to_owned()]).unwrap());
    assert!(counts.iter().all(|verdict| verdict.score.is_finite()), "{counts:?}");
    for table in [&by_label, &by_value] {
        check(json!({ "f_test": { "keep": 4 } }), table);
        check(json!({ "relief_f": { "keep": 4 } }), table);
        for measure in ["mutual_information", "f_test"] {
            check(json!({ "mrmr": { "keep": 4, "measure": measure, "scheme": "quotient" } }), table);
        }
    }
}
