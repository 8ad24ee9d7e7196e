use polars::prelude::*;
use retune_spec::data::Format;
use retune_table::{ReadOptions, read_files, write_file};
use retune_testing::table;

use crate::{Folder, data};

#[test]
fn files_that_cannot_be_read_are_told() {
    let folder = Folder::temporary();
    folder.write("people.csv", "a,b\n1,2\n");
    folder.write("cut.parquet", b"PAR1abcdef");
    folder.write("other.parquet", b"a,b\n1,2\n");
    folder.write("cut.arrow", b"ARROW1\0\0abc");
    folder.write("x.csv.gz", b"\x1f\x8b");
    folder.write("x.dat", b"1");
    folder.write("none.jsonl", b"\n");
    folder.write("broken.jsonl", b"{\"a\": 1}\n{\"a\": }\n");
    folder.write("list.jsonl", b"{\"a\": 1}\n[1]\n");
    folder.write("nested.jsonl", b"{\"a\": 1}\n\n{\"a\": [1]}\n");
    std::fs::create_dir(folder.path("dir")).unwrap();
    let cases = [
        ("peple.csv", "no file peple.csv", "did you mean people.csv?"),
        ("no/such.csv", "no file no/such.csv", "there is no folder no either"),
        ("dir", "dir is a directory, not a file", "to read its files: dir/*"),
        (
            "cut.parquet",
            "cut.parquet is cut short: it begins like a Parquet file and does not end like one",
            "fetch or write it again",
        ),
        ("other.parquet", "other.parquet is not a Parquet file", "say its `format`, or give it the right ending"),
        (
            "cut.arrow",
            "cut.arrow is cut short: it begins like an Arrow file and does not end like one",
            "fetch or write it again",
        ),
        ("x.csv.gz", "x.csv.gz is compressed", "decompress it first (Parquet is compressed inside)"),
        (
            "x.dat",
            "the format of x.dat cannot be told from its ending",
            "say `format: csv`, `parquet`, `arrow` or `json_lines`; or end the name in .csv, .parquet, .arrow or .jsonl",
        ),
        ("none.jsonl", "none.jsonl is empty", ""),
        ("broken.jsonl", "broken.jsonl, line 2, column 7: expected value", "each line must be one JSON object"),
        (
            "list.jsonl",
            "list.jsonl, line 2 is not an object",
            "each line must be one JSON object: {\"age\": 41, \"city\": \"Lyon\"}",
        ),
        (
            "nested.jsonl",
            "nested.jsonl, line 3: `a` holds a list or an object",
            "give each value a key of its own, or leave the key out",
        ),
    ];
    for (file, message, help) in cases {
        let error = read_files(&[folder.path(file)], &ReadOptions::default()).expect_err(file);
        assert_eq!(folder.words(&error), (message.to_owned(), help.to_owned()), "{file}");
    }
}

#[test]
fn json_lines_become_columns() {
    let folder = Folder::temporary();
    let text = "{\"i\": 1, \"f\": 1, \"s\": \"x\", \"b\": true, \"m\": 1}\r\n\n{\"f\": 2.5, \"i\": null, \"s\": \"\", \"m\": \"one\", \"d\": \"2024-02-29\"}\n";
    let path = folder.write("x.jsonl", text);
    let expected = df!(
        "i" => [Some(1_i64), None],
        "f" => [1.0, 2.5],
        "s" => [Some("x"), None],
        "b" => [Some(true), None],
        "m" => ["1", "one"],
    );
    let read = read_files(&[path], &ReadOptions::default()).unwrap();
    assert!(read.drop("d").unwrap().equals_missing(&expected.unwrap()), "{read}");
    assert_eq!(read.column("d").unwrap().dtype(), &DataType::Date);
}

#[test]
fn every_format_is_written_and_read_back() {
    let folder = Folder::temporary();
    let rows = table([
        ("x", [Some(1.5), None, Some(-0.25)].into()),
        ("n", [1_i64, 2, 3].into()),
        ("city", [Some("Lyon, \"2\""), None, Some("Oslo\nN")].into()),
        ("ok", [true, false, true].into()),
    ])
    .build();
    let expected = rows.frame().drop("#row").unwrap();
    for name in ["x.csv", "x.parquet", "x.arrow", "x.jsonl"] {
        let path = folder.path(name);
        write_file(&rows, &path).unwrap();
        let read = read_files(&[path], &ReadOptions::default()).unwrap();
        assert!(read.equals_missing(&expected), "{name}: {read}");
    }
    let error = write_file(&rows, &folder.path("no/x.csv")).unwrap_err();
    assert_eq!(folder.words(&error).0.split(':').next().unwrap(), "cannot write no/x.csv");
    let both = [folder.path("x.parquet"), folder.path("x.arrow")];
    assert_eq!(read_files(&both, &ReadOptions::default()).unwrap().height(), 6);
}

#[test]
fn files_of_several_types_are_refused_where_they_do_not_fit() {
    let folder = Folder::temporary();
    let write = |name: &str, values: retune_testing::Values| {
        let path = folder.path(name);
        write_file(&table([("a", values)]).build(), &path).unwrap();
        path
    };
    let paths = [write("1.parquet", [1_i64].into()), write("2.parquet", [0.5].into())];
    let frame = read_files(&paths, &ReadOptions::default()).unwrap();
    assert_eq!(frame.column("a").unwrap().f64().unwrap().to_vec(), [Some(1.0), Some(0.5)]);
    let error = read_files(&[paths[0].clone(), write("3.parquet", ["x"].into())], &ReadOptions::default()).unwrap_err();
    let help = "files that are read together need the same types";
    assert_eq!(folder.words(&error), ("column `a` is i64 in 1.parquet and str in 3.parquet".into(), help.into()));
}

/// Damage is an error or goes unseen (digests are the store's), but nothing panics.
#[test]
fn damaged_binary_files_do_not_panic() {
    let folder = Folder::temporary();
    let rows = retune_testing::classification(50, 3, 2, 1);
    for name in ["x.parquet", "x.arrow"] {
        write_file(&rows, &folder.path(name)).unwrap();
        let sound = std::fs::read(folder.path(name)).unwrap();
        let mut refused = 0;
        for at in (8..sound.len() - 8).step_by(sound.len() / 60) {
            let mut bytes = sound.clone();
            bytes[at] ^= 0xff;
            refused += usize::from(read_files(&[folder.write(name, &bytes)], &ReadOptions::default()).is_err());
        }
        assert!(refused > 0, "{name}");
    }
}

#[test]
fn options_come_from_the_pipeline() {
    let options = ReadOptions::of(&data(serde_json::json!({
        "target": "y", "separator": ";", "null_values": ["NA"], "format": "csv", "columns": { "zip": "categorical", "x": "numeric" }
    })));
    let options = options.unwrap();
    assert_eq!((options.separator, options.format, options.text), (b';', Some(Format::Csv), vec!["zip".to_owned()]));
    let error = ReadOptions::of(&data(serde_json::json!({ "target": "y", "separator": "\"" }))).unwrap_err();
    crate::same(&error, "`\\\"` cannot divide fields", "use ',', ';', '|' or \"\\t\"");
}
