use retune_table::{Role, Table, TargetPolicy, conform};
use retune_testing::table;

use crate::{frame, same, texts};

fn fitted() -> Table {
    table([
        ("key", ["k1", "k2"].into()),
        ("installed_size", [1.0, 2.0].into()),
        ("zip", ["00501", "90210"].into()),
        ("ok", [true, false].into()),
        ("y", ["a", "b"].into()),
    ])
    .role("key", Role::Id)
    .target("y")
    .build()
}

#[test]
fn columns_are_bound_by_name() {
    let rows = frame("ok,zip,extra,installed_size\ntrue,10001,1,3\n,10002.5,2,\n");
    let bound = conform(&rows, fitted().schema(), TargetPolicy::Optional).unwrap();
    assert_eq!(bound.extra, ["extra"]);
    let names: Vec<&str> = bound.table.schema().fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["#row", "installed_size", "zip", "ok"]);
    assert_eq!(texts(&bound.table, "zip"), [Some("10001"), Some("10002.5")]);
    assert_eq!(bound.table.row_number(1), 2);
    // The task stays: it names the labels of the predictions.
    assert_eq!(bound.table.schema().task, fitted().schema().task);
}

#[test]
fn a_table_conforms_to_its_own_schema() {
    let table = fitted().take(&[1]).unwrap();
    let bound = conform(table.frame(), table.schema(), TargetPolicy::Required).unwrap();
    assert!(bound.table.frame().equals_missing(table.frame()));
    assert_eq!((bound.table.row_number(0), bound.extra.len()), (2, 0));
}

#[test]
fn a_target_is_optional_for_rows_to_predict() {
    let text = |labels: [&str; 2]| {
        format!("key,installed_size,zip,ok,y\nk,1,1,true,{}\nl,1,1,true,{}\n", labels[0], labels[1])
    };
    let bind = |labels, policy| conform(&frame(&text(labels)), fitted().schema(), policy);
    for policy in [TargetPolicy::Optional, TargetPolicy::Required] {
        let bound = bind(["b", "a"], policy).unwrap();
        assert_eq!(texts(&bound.table, "y"), [Some("b"), Some("a")]);
        assert_eq!(texts(&bound.table, "key"), [Some("k"), Some("l")]);
    }
    for (labels, message, help) in [
        (
            ["a", "new"],
            "target `y` has the label `new` in row 2, which no training row has",
            "the labels are `a` and `b`",
        ),
        (["a", ""], "target `y` is missing in row 2", ""),
    ] {
        assert!(bind(labels, TargetPolicy::Optional).unwrap().table.schema().of_role(Role::Target).is_none());
        same(&bind(labels, TargetPolicy::Required).unwrap_err(), message, help);
    }
}

#[test]
fn rows_that_do_not_fit_are_told() {
    let cases = [
        (
            "Installed-Size,other\n1,2\n",
            TargetPolicy::Optional,
            "the rows lack 3 columns: `installed_size`, `zip` and `ok`",
            "`Installed-Size` may be `installed_size`; columns are matched by their names",
        ),
        (
            "p,q\n1,2\n",
            TargetPolicy::Required,
            "the rows lack 4 columns: `installed_size`, `zip`, `ok` and `y`",
            "they have `p` and `q`",
        ),
        (
            "installed_size,zip,ok\nbig,1,true\n1,1,true\n",
            TargetPolicy::Optional,
            "column `installed_size` must be numeric, but holds `big` in row 1",
            "correct them, or add words that stand for a missing value: `null_values: [big]`",
        ),
        (
            "installed_size,zip,ok\n2024-01-01,1,true\n",
            TargetPolicy::Optional,
            "column `installed_size` is datetime, where numeric is needed",
            "",
        ),
        (
            "installed_size,zip,ok\n1,1,true\ninf,1,true\n",
            TargetPolicy::Optional,
            "column `installed_size` is infinite in row 2",
            "replace infinite values by a number or leave them empty, before retune reads them",
        ),
    ];
    for (text, policy, message, help) in cases {
        same(&conform(&frame(text), fitted().schema(), policy).expect_err(message), message, help);
    }
}
