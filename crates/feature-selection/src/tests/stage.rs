use std::sync::Mutex;

use polars::prelude::{Column, IntoColumn, NamedFrom, Series};
use retune_stage::{
    Design, Device, Field, Fit, FitContext, Fitted, Kind, Level, Progress, Role, Rows, Schema, Stage, Table, TensorRows,
};
use retune_testing::{classification, regression, round_trip, table};
use serde_json::{Value, from_value, json};

use crate::{FeatureSelectionStage, FittedFeatureSelection};

fn stage(declared: Value) -> FeatureSelectionStage {
    FeatureSelectionStage(from_value(declared).unwrap())
}

fn steps(steps: Value) -> FeatureSelectionStage {
    stage(json!({ "steps": steps }))
}

fn fit(stage: &FeatureSelectionStage, table: &Table) -> Fit {
    stage.fit(Rows::Table(table.clone()), &FitContext::plain(7)).unwrap()
}

fn names(rows: &Rows) -> Vec<String> {
    rows.schema().features().map(|field| field.name.clone()).collect()
}

fn kept(stage: &FeatureSelectionStage, table: &Table) -> Vec<String> {
    names(&fit(stage, table).train)
}

fn refusal(stage: &FeatureSelectionStage, table: &Table) -> String {
    let error = stage.fit(Rows::Table(table.clone()), &FitContext::plain(7)).err().expect("an error");
    format!("{}; {}", error.message, error.help.unwrap_or_default())
}

/// The account's entry of a column.
fn account(fit: &Fit, column: &str) -> Value {
    let entries = fit.report.details["features"].as_array().unwrap();
    entries.iter().find(|entry| entry["name"] == column).unwrap().clone()
}

fn with(table: &Table, name: &str, values: Vec<f64>) -> Table {
    let column: Column = Series::new(name.into(), values).into_column();
    table.replace(&[], vec![(Field::feature(name, Kind::Numeric), column)]).unwrap()
}

/// Numbers that tell nothing.
fn noise(n: usize, seed: u64) -> Vec<f64> {
    regression(n, 1, seed).numeric("x0").unwrap()
}

/// Three columns of which the classes can be told, among noise, one of them twice and one column that never changes.
fn planted(n: usize) -> Table {
    let mut planted = classification(n, 3, 4, 1);
    for at in 0..12 {
        planted = with(&planted, &format!("noise{at}"), noise(n, 100 + at));
    }
    let again = planted.numeric("x1").unwrap().iter().map(|x| 5.0 - 2.0 * x).collect();
    let planted = with(&planted, "again", again);
    with(&planted, "constant", vec![0.1; n])
}

#[test]
fn planted_columns_are_found_and_every_column_is_accounted_for() {
    let stage =
        steps(json!([{ "variance_threshold": {} }, { "correlation": {} }, { "mutual_information": { "keep": 3 } }]));
    let fit = fit(&stage, &planted(400));
    assert_eq!(names(&fit.train), ["x0", "x1", "x2"]);
    assert_eq!(fit.report.columns, [17, 3]);
    assert_eq!(
        fit.report.details["summary"],
        "17 -> 3 features (variance_threshold -1, correlation -1, mutual_information -12)"
    );
    let entries = fit.report.details["features"].as_array().unwrap();
    assert_eq!(entries.len(), 17);
    assert_eq!((&entries[0]["decision"], &entries[0]["rank"]), (&json!("kept"), &json!(1)));
    let again = account(&fit, "again");
    let told = format!("{:.3}", again["score"].as_f64().unwrap());
    let reason = format!("correlates -1 with `x1`, which comes before it and tells as much of the target ({told})");
    assert_eq!(
        (&again["method"], &again["decision"], &again["reason"]),
        (&json!("correlation"), &json!("dropped"), &json!(reason))
    );
    assert_eq!(account(&fit, "constant")["reason"], "it is constant");
    let noise = account(&fit, "noise5");
    assert_eq!((&noise["method"], &noise["source"]), (&json!("mutual_information"), &json!("noise5")));
    assert!(
        noise["reason"].as_str().unwrap().ends_with("nats of the target, not among the 3 best of 15 columns"),
        "{noise}"
    );
    let (name, frame) = &fit.report.tables[0];
    // What each of the methods said of the columns that it was given.
    assert_eq!((name.as_str(), frame.height()), ("features", 17 + 16 + 15));
    let expected = [
        "column",
        "source",
        "step",
        "method",
        "score",
        "rank",
        "p_value",
        "low",
        "high",
        "frequency",
        "decision",
        "reason",
        "kept",
    ];
    assert_eq!(frame.get_column_names(), expected);
}

#[test]
fn of_correlated_columns_the_one_stays_that_tells_more() {
    let line = regression(200, 2, 3);
    let (x, shaken) = (line.numeric("x1").unwrap(), noise(200, 9));
    let weaker: Vec<f64> = x.iter().zip(&shaken).map(|(x, noise)| x + 0.1 * noise).collect();
    // The weaker one comes first, so that the order of the columns does not decide.
    let line = with(&line.drop(&["x1".to_owned()]).unwrap(), "weaker", weaker);
    let line = with(&line, "x1", x);
    let fit = fit(&steps(json!([{ "correlation": { "max": 0.9, "method": "spearman" } }])), &line);
    assert_eq!(names(&fit.train), ["x0", "x1"]);
    let reason = account(&fit, "weaker")["reason"].as_str().unwrap().to_owned();
    assert!(
        reason.starts_with("correlates 0.99") && reason.contains("with `x1`, which tells more of the target (0.8"),
        "{reason}"
    );
    assert_eq!(account(&fit, "x1")["reason"], "no better column correlates above 0.9");
    assert_eq!(kept(&steps(json!([{ "correlation": { "max": 1.0 } }])), &line).len(), 3);
}

#[test]
fn correlated_columns_are_found_across_tiles_and_blocks() {
    let n = 300;
    let mut wide = regression(n, 150, 5);
    let x = wide.numeric("x3").unwrap();
    wide = with(&wide, "far", x.iter().map(|x| -x).collect());
    let fit = fit(&steps(json!([{ "correlation": {} }])), &wide);
    assert_eq!(fit.report.details["summary"], "151 -> 150 features (correlation -1)");
    assert_eq!(account(&fit, "far")["decision"], "dropped");
}

#[test]
fn always_and_never_keep_are_obeyed() {
    let table = planted(400);
    let by = |always: Value, never: Value, steps: Value| {
        stage(json!({ "steps": steps, "always_keep": always, "never_keep": never }))
    };
    let keep = json!([{ "variance_threshold": {} }, { "correlation": {} }, { "mutual_information": { "keep": 3 } }]);
    let pinned = by(json!(["constant", "again"]), json!("noise*"), keep);
    let fit = fit(&pinned, &table);
    // What is always kept is counted in, and wins over a column that repeats it.
    assert_eq!(names(&fit.train).len(), 3);
    assert!(["constant", "again"].iter().all(|name| names(&fit.train).contains(&(*name).to_owned())));
    assert_eq!(account(&fit, "again")["reason"], "listed under `always_keep`");
    assert!(
        account(&fit, "x1")["reason"].as_str().unwrap().ends_with("with `again`, which is listed under `always_keep`")
    );
    assert_eq!(account(&fit, "noise3")["method"], "never_keep");
    assert!(fit.report.details["summary"].as_str().unwrap().starts_with("17 -> 3 features (never_keep -12, "));
    let both = by(json!(["x0", "again"]), json!(["again", "x1"]), json!([{ "correlation": {} }]));
    assert_eq!(
        kept(&by(json!(["x0"]), json!({ "not": ["x0"] }), json!([{ "mutual_information": { "keep": 1 } }])), &table),
        ["x0"]
    );
    assert!(refusal(&both, &table).starts_with("column `again` is chosen by both `always_keep` and `never_keep`; "));
}

#[test]
fn two_valued_columns_are_counted_whatever_their_values() {
    let y = noise(300, 1);
    let flag: Vec<f64> = y.iter().zip(noise(300, 2)).map(|(y, noise)| f64::from(u8::from(y + noise > 0.0))).collect();
    let booleans: Vec<bool> = flag.iter().map(|flag| *flag > 0.0).collect();
    let scaled: Vec<f64> = flag.iter().map(|flag| (flag - 0.487) / 0.3).collect();
    let labels: Vec<&str> = y.iter().map(|y| if *y > 0.5 { "high" } else { "low" }).collect();
    let stage = steps(json!([{ "mutual_information": { "keep": "100 %" } }]));
    for target in [y.clone().into(), labels.into()] {
        let columns = [
            ("flag", flag.clone().into()),
            ("boolean", booleans.clone().into()),
            ("scaled", scaled.clone().into()),
            ("y", target),
        ];
        let fit = fit(&stage, &table(columns).target("y").build());
        let [a, b, c] = ["flag", "boolean", "scaled"].map(|name| account(&fit, name)["score"].as_f64().unwrap());
        assert!(a > 0.05 && a == b && a == c, "{a} {b} {c}");
    }
}

#[test]
fn every_mistake_of_the_columns_is_said_at_once() {
    let people = table([
        ("age", [41.0, 23.0, 35.0].into()),
        ("member", [true, false, true].into()),
        ("city", ["Lyon", "Oslo", "Rome"].into()),
        ("colour", ["red", "red", "blue"].into()),
        ("remark", ["a b", "c", "d"].into()),
        ("born", ["1980-01-01", "2001-04-03", "1990-01-01"].into()),
        ("paid", [1.0, 2.0, 3.0].into()),
    ]);
    let people = people.text("remark").kind("born", Kind::Datetime).target("paid").build();
    let check = |declared: Value, expected: &[&str]| {
        let errors = stage(declared).check(people.schema()).err().unwrap_or_default();
        let said: Vec<String> =
            errors.into_iter().map(|error| format!("{}; {}", error.message, error.help.unwrap_or_default())).collect();
        assert_eq!(said, expected);
    };
    let columns = [
        "columns `city` and `colour` are categorical; feature selection works on numbers; \
         encode them in a preprocessing stage before: `one_hot` or `target_encode`",
        "column `born` is datetime; feature selection works on numbers; leave it out: list it under `data.ignore` or `never_keep`",
        "column `remark` is text; feature selection works on numbers; encode it in a preprocessing stage before: `tf_idf`",
    ];
    let step = json!([{ "variance_threshold": {} }]);
    check(json!({ "steps": step }), &columns);
    let unknown = "`always_keep`: no column `aeg`; did you mean `age`?; ";
    check(json!({ "steps": step, "always_keep": "aeg" }), &[&[unknown], &columns[..]].concat());
    check(json!({ "steps": step, "never_keep": { "not": "numeric" } }), &[]);
    check(json!({ "steps": step, "never_keep": ["c*", "born", "remark"], "always_keep": ["age"] }), &[]);
    check(
        json!({ "steps": step, "never_keep": "all" }),
        &["`never_keep` drops all 6 feature columns; let it choose fewer"],
    );
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let step = |step: Value| steps(json!([step]));
    let two = |x: [Option<f64>; 4], y: [f64; 4]| table([("x", x.into()), ("y", y.into())]).target("y").build();
    let some = |x: [f64; 4]| x.map(Some);
    let check =
        |stage: &FeatureSelectionStage, table: &Table, expected: &str| assert_eq!(refusal(stage, table), expected);
    let variance = step(json!({ "variance_threshold": {} }));
    check(
        &step(json!({ "correlation": {} })),
        &two([Some(1.0), None, Some(2.0), None], [1.0, 2.0, 3.0, 4.0]),
        "step 1 (correlation): column `x` has a missing value in row 2; add the step `impute` to a preprocessing stage before",
    );
    check(
        &variance,
        &two(some([1.0, 2.0, f64::INFINITY, 3.0]), [1.0, 2.0, 3.0, 4.0]),
        "step 1 (variance_threshold): column `x` is infinite in row 3; add the step `clip_outliers` to a preprocessing stage before",
    );
    check(
        &variance,
        &two(some([1.0, 2.0, 3.0, 4.0]), [0.5; 4]),
        "target `y` is the same in all 4 training rows: no feature can tell of it; \
         check `data.target` and the split: rows of one kind may have come together",
    );
    check(
        &step(json!({ "variance_threshold": { "threshold": 2.0 } })),
        &two(some([1.0, 2.0, 3.0, 4.0]), [1.0, 2.0, 3.0, 4.0]),
        "step 1 (variance_threshold): no column of 1 is left; the best variance is 1.25, that of `x`; \
         loosen the method, or list columns under `always_keep`",
    );
    let one_row = two(some([1.0, 2.0, 3.0, 4.0]), [1.0, 2.0, 3.0, 4.0]).take(&[2]).unwrap();
    check(&variance, &one_row, "feature selection needs two training rows, there are 1; ");
    let no_features = table([("y", [1.0, 2.0].into())]).target("y").build();
    check(&variance, &no_features, "there are no feature columns to choose from; ");
}

#[test]
fn few_rows_are_no_hindrance() {
    let stage = steps(json!([{ "correlation": {} }, { "mutual_information": { "keep": 1, "neighbors": 100 } }]));
    for n in 2..12 {
        assert_eq!(kept(&stage, &classification(n, 2, 2, 1)).len(), 1);
        assert_eq!(kept(&stage, &regression(n, 2, 1)).len(), 1);
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let stage = steps(json!([{ "correlation": { "max": 0.5 } }, { "mutual_information": { "keep": "50 %" } }]));
    for table in [planted(300), regression(300, 140, 2)] {
        let with_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let fit = pool.install(|| fit(&stage, &table));
            (names(&fit.train), fit.report.details)
        };
        assert_eq!(with_threads(1), with_threads(3));
    }
}

#[test]
fn sampled_rows_depend_on_the_seed_alone() {
    let table = planted(400);
    let scores = |max_rows: usize, seed: u64| {
        let stage = steps(json!([{ "mutual_information": { "keep": 3, "max_rows": max_rows } }]));
        let fit = stage.fit(Rows::Table(table.clone()), &FitContext::plain(seed)).unwrap();
        (account(&fit, "x0")["score"].clone(), names(&fit.train))
    };
    assert_eq!(scores(100, 1), scores(100, 1));
    assert_ne!(scores(100, 1).0, scores(100, 2).0);
    assert_ne!(scores(100, 1).0, scores(400, 1).0);
    assert_eq!(scores(400, 1), scores(100_000, 1));
    assert!(scores(100, 1).1.iter().all(|name| !name.starts_with("noise")));
}

#[test]
fn other_rows_than_those_of_training_are_not_looked_at() {
    let stage = steps(json!([{ "correlation": {} }, { "mutual_information": { "keep": 3 } }]));
    let (train, other) = (planted(200), Rows::Table(planted(400)));
    let context = FitContext { validation: Some(&other), ..FitContext::plain(7) };
    let fit_with = stage.fit(Rows::Table(train.clone()), &context).unwrap();
    assert_eq!(fit_with.report.details, fit(&stage, &train).report.details);
}

#[test]
fn columns_are_found_by_name_and_survive_saving() {
    let table = planted(100);
    let fit = fit(&steps(json!([{ "mutual_information": { "keep": 3 } }])), &table);
    let loaded = round_trip(fit.fitted.as_ref(), FittedFeatureSelection::load).unwrap();
    assert_eq!((loaded.kind(), loaded.input()), ("feature-selection", fit.fitted.input()));
    assert_eq!(loaded.kept().collect::<Vec<_>>(), names(&fit.train));
    // Other order, fewer rows, no target, and none of the columns that were dropped.
    let order =
        Schema { fields: table.schema().fields.iter().rev().cloned().collect(), task: table.schema().task.clone() };
    let shuffled =
        Table::new(table.frame().clone(), order).unwrap().drop(&["label".to_owned(), "noise3".to_owned()]).unwrap();
    let Rows::Table(expected) = &fit.train else { panic!("a table") };
    let expected = expected.drop(&["label".to_owned()]).unwrap().take(&[7, 5]).unwrap();
    for fitted in [fit.fitted.as_ref(), &loaded] {
        let Rows::Table(applied) = fitted.apply(Rows::Table(shuffled.take(&[7, 5]).unwrap())).unwrap() else {
            panic!("a table")
        };
        assert_eq!((applied.frame(), applied.schema()), (expected.frame(), expected.schema()));
        let Rows::Table(again) = fitted.apply(Rows::Table(table.clone())).unwrap() else { panic!("a table") };
        assert_eq!(names(&Rows::Table(again)), names(&fit.train));
    }
    let without = Rows::Table(table.drop(&["x1".to_owned()]).unwrap());
    assert_eq!(loaded.apply(without).err().unwrap().message, "the rows lack 1 column: `x1`");
    assert!(
        fit.train.schema().of_role(Role::RowNumber).is_some() && fit.train.schema().of_role(Role::Target).is_some()
    );
}

/// Writes down what it is told; may ask to stop.
#[derive(Default)]
struct Listener {
    messages: Mutex<Vec<(Level, String)>>,
    stop: bool,
}

impl Progress for Listener {
    fn update(&self, _phase: &str, _done: u64, _total: Option<u64>) {}
    fn message(&self, level: Level, text: &str) {
        self.messages.lock().unwrap().push((level, text.to_owned()));
    }
    fn cancelled(&self) -> bool {
        self.stop
    }
}

#[test]
fn keeping_more_than_there_is_warns() {
    let listener = Listener::default();
    let context = FitContext { progress: &listener, ..FitContext::plain(7) };
    let stage = steps(json!([{ "mutual_information": { "keep": 120 } }]));
    let fit = stage.fit(Rows::Table(classification(50, 4, 2, 1)), &context).unwrap();
    assert_eq!(names(&fit.train).len(), 4);
    let expected = "mutual_information: `keep` is 120, but only 4 columns are left; all are kept";
    assert_eq!(*listener.messages.lock().unwrap(), [(Level::Warning, expected.to_owned())]);
}

#[test]
fn a_wish_to_stop_is_heard() {
    let listener = Listener { stop: true, ..Listener::default() };
    let context = FitContext { progress: &listener, device: Device::Cpu, ..FitContext::plain(7) };
    let stage = steps(json!([{ "correlation": {} }]));
    assert_eq!(stage.fit(Rows::Table(classification(50, 4, 2, 1)), &context).err().unwrap().message, "stopped");
}

struct NoTensors(Schema);

impl TensorRows for NoTensors {
    fn n_rows(&self) -> usize {
        0
    }
    fn schema(&self) -> &Schema {
        &self.0
    }
    fn take(&self, _indices: &[usize]) -> retune_stage::Result<std::sync::Arc<dyn TensorRows>> {
        unreachable!()
    }
    fn design(&self) -> retune_stage::Result<Design> {
        unreachable!()
    }
    fn save(&self, _path: &std::path::Path) -> retune_stage::Result<()> {
        unreachable!()
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

#[test]
fn tensors_are_refused_with_the_way_out() {
    let tensors = Rows::Tensors(std::sync::Arc::new(NoTensors(Schema::default())));
    let error = steps(json!([{ "correlation": {} }])).fit(tensors, &FitContext::plain(7)).err().unwrap();
    assert_eq!(error.help.unwrap(), "put `to_tensor` in a preprocessing stage after feature selection");
}

/// Two columns made from one, of which only one tells of the target, and one by itself that tells a little.
fn grouped(n: usize) -> Table {
    let base = classification(n, 1, 2, 1);
    let x = base.numeric("x0").unwrap();
    let weak: Vec<f64> = x.iter().zip(noise(n, 4)).map(|(x, noise)| x + 1.5 * noise).collect();
    let of = |name: &str, source: Option<&str>| Field {
        source: source.map(str::to_owned),
        ..Field::feature(name, Kind::Numeric)
    };
    let columns = [
        (of("city_oslo", Some("city")), x),
        (of("city_rome", Some("city")), noise(n, 3)),
        (of("weak", None), weak),
        (of("nothing", None), noise(n, 5)),
    ];
    let columns = columns.into_iter().map(|(field, values)| {
        let column = Series::new(field.name.as_str().into(), values).into_column();
        (field, column)
    });
    base.replace(&["x0".to_owned()], columns.collect()).unwrap()
}

#[test]
fn groups_are_kept_and_dropped_together() {
    let table = grouped(400);
    let by = |groups: Value, steps: Value| kept(&stage(json!({ "steps": steps, "groups": groups })), &table);
    let information = |keep: usize| json!([{ "mutual_information": { "keep": keep } }]);
    assert_eq!(kept(&steps(information(1)), &table), ["city_oslo"]);
    // `keep` counts groups, and a group is as good as its best column.
    assert_eq!(by(json!("source"), information(1)), ["city_oslo", "city_rome"]);
    assert_eq!(by(json!("source"), information(2)), ["city_oslo", "city_rome", "weak"]);
    assert_eq!(by(json!({ "rest": ["weak", "nothing"] }), information(2)), ["city_oslo", "weak", "nothing"]);
    // So it is where a method decides by itself.
    let variance = json!([{ "variance_threshold": { "threshold": 2.0 } }]);
    assert_eq!(by(json!({ "rest": ["weak", "nothing"] }), variance), ["weak", "nothing"]);
    let told = fit(&stage(json!({ "steps": information(1), "groups": "source" })), &table);
    let reason = account(&told, "city_rome")["reason"].as_str().unwrap().to_owned();
    assert!(reason.ends_with("; belongs to `city`, kept for `city_oslo`"), "{reason}");
    assert!(account(&told, "weak")["reason"].as_str().unwrap().ends_with("not among the 1 best of 3 groups"));
    let refused = |groups: Value| refusal(&stage(json!({ "steps": information(1), "groups": groups })), &table);
    assert_eq!(
        refused(json!({ "none": { "not": "all" } })),
        "no column belongs to the group `none`: `{ not: all }` chooses none; correct the selector under `groups`, or leave the group out"
    );
    assert_eq!(
        refused(json!({ "none": "zip*" })),
        "group `none` of `groups`: the pattern `zip*` matches no feature column; "
    );
    assert_eq!(
        refused(json!({ "one": "city*", "two": "*oslo" })),
        "column `city_oslo` belongs to two groups, `one` and `two`; let each column be chosen by one group under `groups`"
    );
}

#[test]
fn frequent_choices_are_stable() {
    let table = planted(300);
    let stability = |more: Value| {
        let mut stability = json!({ "method": { "mutual_information": { "keep": 4 } }, "repeats": 20 });
        stability.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fit(&steps(json!([{ "stability": stability }])), &table)
    };
    for sample in ["bootstrap", "half"] {
        let told = stability(json!({ "sample": sample }));
        // Three columns that tell, and one of them twice.
        assert_eq!(names(&told.train), ["x0", "x1", "x2", "again"], "{sample}");
        let x0 = account(&told, "x0");
        assert_eq!((&x0["frequency"], &x0["interval"][1]), (&json!(1.0), &json!(1.0)));
        assert_eq!(x0["reason"], "chosen in 20 of 20 samples, not below 0.6");
        let text = &told.report.learned[0].text;
        assert!(
            text.contains("; mutual_information chose 4 columns on average, with a stability of 0.9")
                || text.ends_with("of 1"),
            "{text}"
        );
    }
    let told = stability(json!({ "keep": 2 }));
    assert_eq!(names(&told.train).len(), 2);
    let again = stability(json!({ "keep": 2 }));
    assert_eq!(told.report.details, again.report.details);
}

#[test]
fn missing_values_are_counted() {
    let x = |n: usize| (0..10).map(|row| (row >= n).then_some(row as f64)).collect::<Vec<_>>();
    let y: Vec<f64> = (0..10).map(f64::from).collect();
    let columns = [("few", x(2).into()), ("half", x(5).into()), ("many", x(6).into()), ("y", y.into())];
    let table = table(columns).target("y").build();
    let told = fit(&steps(json!([{ "missing_share": {} }, { "variance_threshold": {} }])), &table);
    assert_eq!(names(&told.train), ["few", "half"]);
    assert_eq!(account(&told, "many")["reason"], "60 % of its values are missing, more than 50 %");
    let refused = refusal(&steps(json!([{ "missing_share": {} }, { "correlation": {} }])), &table);
    assert!(refused.starts_with("step 2 (correlation): column `few` has a missing value in row 1; "), "{refused}");
}
