use std::collections::BTreeSet;

use retune_spec::Split;
use retune_table::{Parts, Role, Table, TableError, Target, Ties, folds, folds_of, halves, split};
use retune_testing::{classification, table};
use serde_json::{Value, json};

use crate::same;

fn declared(json: Value) -> Split {
    serde_json::from_value(json).unwrap()
}

fn cut(rows: &Table, json: Value) -> Result<Parts, TableError> {
    split(rows, &declared(json), 7)
}

fn complete(parts: &Parts, n_rows: usize) {
    let mut all = [parts.train.clone(), parts.validation.clone(), parts.test.clone()];
    assert!(all.iter().all(|part| part.is_sorted()));
    all[0].append(&mut [parts.validation.clone(), parts.test.clone()].concat());
    all[0].sort_unstable();
    assert_eq!(all[0], (0..n_rows).collect::<Vec<_>>());
}

fn sizes(parts: &Parts) -> [usize; 3] {
    [parts.train.len(), parts.validation.len(), parts.test.len()]
}

/// Sizes as scikit-learn's `train_test_split(test_size=share)` gives them: rounded up.
#[test]
fn shares_are_rounded_up() {
    for (n, validation, test, expected) in [
        (10, 0.15, 0.15, [6, 2, 2]),
        (100, 0.15, 0.15, [70, 15, 15]),
        (7, 0.0, 0.3, [4, 0, 3]),
        (178, 0.2, 0.1, [124, 36, 18]),
    ] {
        for stratify in [false, true] {
            let parts = cut(
                &classification(n, 1, 2, 1),
                json!({ "validation": validation, "test": test, "stratify": stratify }),
            )
            .unwrap();
            complete(&parts, n);
            assert_eq!(sizes(&parts), expected, "{n} {stratify}");
        }
    }
}

#[test]
fn the_seed_decides() {
    let rows = classification(60, 1, 3, 1);
    for json in [json!({}), json!({ "stratify": true })] {
        let split_with = |seed| split(&rows, &declared(json.clone()), seed).unwrap();
        assert_eq!(split_with(1), split_with(1));
        assert_ne!(split_with(1), split_with(2));
        let mut own = declared(json.clone());
        own.seed = Some(1);
        assert_eq!(split(&rows, &own, 9).unwrap(), split_with(1));
    }
}

#[test]
fn strata_keep_their_shares() {
    let labels: Vec<String> = (0..100)
        .map(|row| {
            if row < 90 {
                "a"
            } else if row < 98 {
                "b"
            } else if row < 99 {
                "c"
            } else {
                "d"
            }
            .to_owned()
        })
        .collect();
    let rows = table([("y", labels.clone().into())]).target("y").build();
    let parts = cut(&rows, json!({ "validation": 0.2, "test": 0.2, "stratify": true })).unwrap();
    complete(&parts, 100);
    let count = |part: &[usize], label: &str| part.iter().filter(|&&row| labels[row] == label).count();
    assert_eq!(sizes(&parts), [60, 20, 20]);
    for (label, least, most) in [("a", 18, 19), ("b", 1, 2), ("c", 0, 0), ("d", 0, 0)] {
        for part in [&parts.validation, &parts.test] {
            assert!((least..=most).contains(&count(part, label)), "{label}");
        }
        assert!(count(&parts.train, label) > 0, "{label} is in no training row");
    }
}

#[test]
fn groups_stay_together() {
    let groups: Vec<i64> = (0..200).map(|row| (row * row) % 23).collect();
    let rows =
        table([("g", groups.clone().into()), ("y", vec![0.5; 200].into())]).role("g", Role::Group).target("y").build();
    let parts = cut(&rows, json!({ "group": "g", "validation": 0.2, "test": 0.2 })).unwrap();
    complete(&parts, 200);
    let of = |part: &[usize]| part.iter().map(|&row| groups[row]).collect::<BTreeSet<_>>();
    let [train, validation, test] = [of(&parts.train), of(&parts.validation), of(&parts.test)];
    assert!(train.is_disjoint(&validation) && train.is_disjoint(&test) && validation.is_disjoint(&test));
    assert!(parts.test.len().abs_diff(40) <= 10 && parts.validation.len().abs_diff(40) <= 10, "{:?}", sizes(&parts));
}

#[test]
fn the_latest_rows_are_test_rows() {
    let rows = table([("t", [5.0, 1.0, 4.0, 2.0, 3.0, 6.0, 6.0, 0.0, 0.5, 0.7].into())]).role("t", Role::Time).build();
    let parts = cut(&rows, json!({ "time": "t", "validation": 0.2, "test": 0.2 })).unwrap();
    assert_eq!((parts.validation, parts.test), (vec![0, 2], vec![5, 6]));
    // Rows of one time stay together, on the later side.
    let parts = cut(&rows, json!({ "time": "t", "validation": 0.0, "test": 0.1 })).unwrap();
    assert_eq!(parts.test, [5, 6]);
}

#[test]
fn a_column_can_say_it() {
    let rows = table([("part", ["test", "train", "val", "valid", "validation"].into())]).build();
    let parts = cut(&rows, json!({ "column": "part" })).unwrap();
    assert_eq!(parts, Parts { train: vec![1], validation: vec![2, 3, 4], test: vec![0] });
}

#[test]
fn splits_that_cannot_be_are_told() {
    let words = "each row needs `train`, `validation` or `test`";
    let rows = table([
        ("part", ["train", "trian", "test"].into()),
        ("gap", [Some("train"), None, Some("test")].into()),
        ("n", [1.0, 2.0, 3.0].into()),
        ("hole", [Some(1.0), None, Some(3.0)].into()),
        ("same", [1.0, 1.0, 1.0].into()),
        ("all", ["test", "test", "test"].into()),
        ("one", ["g", "g", "g"].into()),
        ("y", [0.5, 1.5, 2.5].into()),
    ])
    .target("y")
    .build();
    let half = json!({ "validation": 0.5, "test": 0.5 });
    let with = |name: &str, value: &str| json!({ name: value, "validation": 0.3, "test": 0.3 });
    let cases = [
        (with("column", "part"), "split column `part` holds `trian` in row 2", words),
        (with("column", "gap"), "split column `gap` is empty in row 2", words),
        (with("column", "n"), "split column `n` is not text", words),
        (with("column", "prt"), "no column `prt`; did you mean `part`?", ""),
        (
            with("column", "all"),
            "the split of 3 rows leaves no training rows",
            "change the shares of `split`, or give more rows",
        ),
        (with("time", "hole"), "time column `hole` is missing in row 2", "a split by time needs the time of every row"),
        (
            with("time", "part"),
            "time column `part` holds neither dates nor numbers",
            "write dates as 2024-02-29 or 2024-02-29T12:30; to see which values are not dates: `columns: { part: datetime }`",
        ),
        (
            with("time", "same"),
            "the split of 3 rows leaves no training rows",
            "change the shares of `split`, or give more rows",
        ),
        (with("group", "gap"), "group column `gap` is missing in row 2", "every row needs a group"),
        (
            with("group", "one"),
            "group column `one` has 1 group, too few for this split",
            "each part needs a group of its own: give more groups, or set a share to 0",
        ),
        (
            json!({ "stratify": true, "validation": 0.3, "test": 0.3 }),
            "a split can be stratified by labels only, and the target is a number",
            "leave out `stratify`",
        ),
        (
            half,
            "the split of 3 rows into 2 validation and 2 test rows leaves no training rows",
            "lower `split.validation` and `split.test`, or give more rows",
        ),
    ];
    for (json, message, help) in cases {
        same(&cut(&rows, json).expect_err(message), message, help);
    }
}

#[test]
fn folds_are_even_and_stratified() {
    let labels: Vec<String> = (0..103).map(|row| if row % 5 == 0 { "rare" } else { "often" }.to_owned()).collect();
    let rows = table([("y", labels.clone().into())]).target("y").build();
    let cut = folds(&rows, 4, 3).unwrap();
    let mut seen = vec![0; 103];
    for fold in &cut {
        assert_eq!(fold.train.len() + fold.validation.len(), 103);
        assert!((25..=26).contains(&fold.validation.len()));
        let rare = fold.validation.iter().filter(|&&row| labels[row] == "rare").count();
        assert!((5..=6).contains(&rare), "{rare}");
        fold.validation.iter().for_each(|&row| seen[row] += 1);
        assert!(fold.validation.iter().all(|row| !fold.train.contains(row)));
    }
    assert!(seen.iter().all(|&times| times == 1));
    assert_eq!(cut, folds(&rows, 4, 3).unwrap());
    assert_ne!(cut, folds(&rows, 4, 4).unwrap());
}

#[test]
fn folds_keep_groups_together() {
    let groups: Vec<i64> = (0..120).map(|row| row % 17).collect();
    let values: Vec<f64> = (0..120).map(f64::from).collect();
    let rows = table([("g", groups.clone().into()), ("y", values.into())]).role("g", Role::Group).target("y").build();
    for fold in folds(&rows, 5, 1).unwrap() {
        let of = |part: &[usize]| part.iter().map(|&row| groups[row]).collect::<BTreeSet<_>>();
        assert!(of(&fold.train).is_disjoint(&of(&fold.validation)));
        assert!((20..=29).contains(&fold.validation.len()), "{}", fold.validation.len());
    }
}

#[test]
fn folds_that_cannot_be_are_told() {
    let labels = ["x".to_owned(), "y".to_owned(), "z".to_owned()];
    let codes = [vec![0; 10], vec![1; 3], vec![2; 4]].concat();
    let target = Target::Classes { codes, n_classes: 3 };
    let few = Target::Values(vec![1.0, 2.0, 3.0]);
    let groups = [0, 1, 0];
    let cases = [
        (
            folds_of(&target, &labels, None, 5, 1),
            "5 folds need at least 5 rows of every label; `y` has 3, and so have too few: `z`",
            "use 3 folds, give that label more rows, or leave its rows out",
        ),
        (folds_of(&few, &[], None, 5, 1), "5 folds need at least 5 rows; there are 3", "use fewer folds"),
        (
            folds_of(&few, &[], Some(&groups), 3, 1),
            "3 folds need at least 3 groups; there are 2",
            "use 2 folds or fewer",
        ),
        (folds_of(&few, &[], None, 1, 1), "1 fold cannot validate each other", "use 2 folds or more"),
    ];
    for (result, message, help) in cases {
        same(&result.expect_err(message), message, help);
    }
}

/// scikit-learn: `TimeSeriesSplit(3, test_size=2)` of eight rows, and the order of their times.
#[test]
fn folds_by_time_learn_from_the_past() {
    let rows = table([
        ("t", [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0].into()),
        ("y", [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0].into()),
    ])
    .target("y")
    .role("t", Role::Time)
    .build();
    let cut: Vec<_> = folds(&rows, 3, 1).unwrap().into_iter().map(|fold| (fold.train, fold.validation)).collect();
    let expected = [(vec![6, 7], vec![4, 5]), (vec![4, 5, 6, 7], vec![2, 3]), (vec![2, 3, 4, 5, 6, 7], vec![0, 1])];
    assert_eq!(cut, expected);
    assert_eq!(halves(&rows, 1).unwrap(), [vec![4, 5, 6, 7], vec![0, 1, 2, 3]]);
    let error = folds(&rows, 9, 1).unwrap_err();
    assert_eq!(error.message, "the rows have too few different times in `t` for 9 folds");
}

#[test]
fn ties_are_those_of_the_group_and_the_time_column() {
    let columns = [
        ("g", vec![Some("b"), None, Some("a"), Some("b"), None].into()),
        ("t", vec![Some(2.5), Some(-1.0), None, Some(-1.0), Some(7.0)].into()),
    ];
    let rows = table(columns).role("g", Role::Group).role("t", Role::Time).build();
    // Rows without a group are one group; a row without a time comes first.
    let ties = Ties { groups: Some(vec![0, 1, 2, 0, 1]), times: Some(vec![2, 1, 0, 1, 3]) };
    assert_eq!(Ties::of(&rows).unwrap(), ties);
    assert_eq!(ties.take(&[4, 0]), Ties { groups: Some(vec![1, 0]), times: Some(vec![3, 2]) });
    assert!(Ties::of(&table([("x", [1.0, 2.0].into())]).build()).unwrap().is_empty());
}

#[test]
fn ties_divide_as_the_table_does() {
    let numbers: Vec<i64> = (0..60).map(|row| row * 7 % 20).collect();
    let labels: Vec<&str> = (0..60).map(|row| ["no", "yes"][row % 2]).collect();
    for role in [Role::Group, Role::Time, Role::Feature] {
        let columns = [("z", numbers.clone().into()), ("y", labels.clone().into())];
        let rows = table(columns).role("z", role).target("y").build();
        let (ties, target) = (Ties::of(&rows).unwrap(), rows.target().unwrap());
        assert_eq!(ties.folds(&target, &[], 4, 3).unwrap(), folds(&rows, 4, 3).unwrap(), "{role:?}");
        assert_eq!(ties.halves(&target, 3).unwrap(), halves(&rows, 3).unwrap(), "{role:?}");
    }
}

#[test]
fn a_tenth_is_set_aside() {
    let codes: Vec<u32> = (0..200).map(|row| u32::from(row % 4 == 0) * 2).collect();
    let target = Target::Classes { codes: codes.clone(), n_classes: 3 };
    let fold = Ties::default().set_aside(&target, 1).unwrap();
    assert_eq!((fold.train.len(), fold.validation.len()), (180, 20));
    assert_eq!(fold.validation.iter().filter(|&&row| codes[row] == 2).count(), 5);
    let mut all = [fold.train, fold.validation].concat();
    all.sort_unstable();
    assert_eq!(all, (0..200).collect::<Vec<_>>());
    assert_eq!(Ties::default().set_aside(&Target::Values(vec![0.0; 4]), 1), None);
}

#[test]
fn the_latest_rows_are_set_aside() {
    let set_aside = |times: Vec<u32>| {
        let target = Target::Values(vec![0.0; times.len()]);
        Ties { times: Some(times), groups: None }.set_aside(&target, 1).map(|fold| fold.validation)
    };
    for (times, expected) in [
        ((0..40).collect(), Some(vec![36, 37, 38, 39])),
        ((0..40).rev().collect(), Some(vec![0, 1, 2, 3])),
        // Rows of one time stay together.
        ((0..40).map(|row| row / 8).collect(), Some((32..40).collect())),
        // Most rows are of the latest time, all are of one time, there are few rows.
        ((0..40).map(|row| u32::from(row > 10)).collect(), None),
        (vec![5; 40], None),
        (vec![1, 2, 3, 4], None),
    ] {
        assert_eq!(set_aside(times.clone()), expected, "{times:?}");
    }
}

#[test]
fn whole_groups_are_set_aside() {
    let set_aside = |groups: Vec<u32>, codes: Vec<u32>| {
        Ties { groups: Some(groups), times: None }.set_aside(&Target::Classes { codes, n_classes: 2 }, 1)
    };
    let alternating: Vec<u32> = (0..100).map(|row| row % 2).collect();
    for (groups, n_judges) in [
        ((0..100).map(|row| row / 5).collect::<Vec<u32>>(), Some(10)),
        // Fewer groups than ten.
        ((0..100).map(|row| row / 25).collect(), Some(25)),
        // The large group is learned from.
        ((0..100).map(|row| if row < 70 { 0 } else { row / 10 }).collect(), Some(10)),
        (vec![3; 100], None),
    ] {
        let fold = set_aside(groups.clone(), alternating.clone());
        assert_eq!(fold.as_ref().map(|fold| fold.validation.len()), n_judges, "{groups:?}");
        if let Some(fold) = fold {
            let of = |rows: &[usize]| rows.iter().map(|&row| groups[row]).collect::<BTreeSet<_>>();
            assert!(of(&fold.train).is_disjoint(&of(&fold.validation)), "{groups:?}");
        }
    }
    // A label that is in one group only is learned from.
    let groups: Vec<u32> = (0..100).map(|row| row / 20).collect();
    let rare: Vec<u32> = (0..100).map(|row| u32::from(row < 3)).collect();
    for seed in 0..10 {
        let ties = Ties { groups: Some(groups.clone()), times: None };
        let fold = ties.set_aside(&Target::Classes { codes: rare.clone(), n_classes: 2 }, seed).unwrap();
        assert!(fold.validation.iter().all(|&row| row >= 20), "{fold:?}");
    }
}
