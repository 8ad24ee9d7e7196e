//! Files that are read by chunks give what the same files give when they are read at once: the same bytes, the same words.

use std::path::PathBuf;

use polars::prelude::*;
use retune_spec::data::Data;
use retune_table::{
    ArrowFile, ConformFiles, Files, IngestFiles, IngestReport, PIECE_ROWS, Parts, ReadOptions, Schema as Columns,
    Table, TableError, TargetPolicy, conform, ingest, ingest_like, read_files, split, write_file, write_ipc,
};
use serde_json::{Value, json};

use crate::{Folder, data};

type Read = Result<(Vec<Vec<u8>>, Columns, IngestReport), TableError>;

/// The bytes of the three sets of a split.
fn at_once(folder: &Folder, paths: &[PathBuf], declared: &Data, options: &ReadOptions) -> Read {
    let (table, report) = ingest(&read_files(paths, options)?, declared)?;
    let bytes = |rows: Vec<usize>| {
        write_ipc(&table.take(&rows).unwrap(), &folder.path("once")).unwrap();
        std::fs::read(folder.path("once")).unwrap()
    };
    Ok((sets(&table, declared)?.map(bytes).to_vec(), table.schema().clone(), report))
}

fn by_chunks(folder: &Folder, paths: &[PathBuf], declared: &Data, options: &ReadOptions) -> Read {
    let files = Files::open(paths, options)?;
    let ingest = IngestFiles::new(&files, declared)?;
    let parts = ["train", "validation", "test"].map(|set| folder.path(set));
    let sets = parts.iter().cloned().zip(sets(ingest.known(), declared)?).collect();
    let (schema, report) = ingest.write(sets, |_| true)?;
    Ok((parts.map(|path| std::fs::read(path).unwrap()).to_vec(), schema, report))
}

fn sets(table: &Table, declared: &Data) -> Result<[Vec<usize>; 3], TableError> {
    let declared = declared.split.clone().unwrap_or_default();
    let Parts { train, validation, test } = split(table, &declared, 3)?;
    Ok([train, validation, test])
}

/// Numbers with gaps, levels, sentences, dates, numbers spoilt by a word, a column without values, a label.
fn rows(n: usize) -> String {
    let row = |row: usize| {
        let gap = if row.is_multiple_of(7) { String::new() } else { format!("{}.{}", row % 90, row % 8) };
        let label = if row.is_multiple_of(5) { "yes" } else { "no" };
        let level = ["red", "green", "\"dark, blue\""][row % 3];
        let spoilt = if row % 97 == 3 { "none".to_owned() } else { row.to_string() };
        format!(
            "p{row},{gap},{row},{level},\"the {row}. of\n  them\",2024-01-{:02},{spoilt},,{},{label}\n",
            row % 28 + 1,
            row % 11
        )
    };
    "id,x,n,c,t,d,s,e,g,y\n".to_owned() + &(0..n).map(row).collect::<String>()
}

fn with(rest: Value) -> Value {
    let mut declared = json!({ "target": "y", "split": { "validation": 0.2, "test": 0.2 } });
    declared.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    declared
}

#[test]
fn training_files_by_chunks_are_the_same() {
    let folder = Folder::temporary();
    let whole = rows(400);
    let halves = [
        &whole[..whole.find("p200").unwrap()],
        &format!("{}{}", &whole[..whole.find('\n').unwrap() + 1], &whole[whole.find("p200").unwrap()..]),
    ];
    let one = vec![folder.write("x.csv", &whole)];
    let two = vec![folder.write("x1.csv", halves[0]), folder.write("x2.csv", halves[1])];
    let all_of_them = read_files(&one, &ReadOptions::default()).unwrap();
    let parquet = folder.path("x.parquet");
    let file = std::fs::File::create(&parquet).unwrap();
    ParquetWriter::new(file).with_row_group_size(Some(70)).finish(&mut all_of_them.clone()).unwrap();
    let json = folder.path("x.jsonl");
    JsonWriter::new(std::fs::File::create(&json).unwrap())
        .with_json_format(JsonFormat::JsonLines)
        .finish(&mut all_of_them.clone())
        .unwrap();
    let arrow = folder.path("x.arrow");
    let mut batches = IpcWriter::new(std::fs::File::create(&arrow).unwrap())
        .batched(all_of_them.schema(), vec![Default::default(); 10])
        .unwrap();
    (0..400).step_by(90).for_each(|row| batches.write_batch(&all_of_them.slice(row, 90)).unwrap());
    batches.finish().unwrap();
    let spoilt = whole.replace(",yes\n", ",\n");
    let gaps = vec![folder.write("gaps.csv", &spoilt)];
    let declarations = [
        with(json!({})),
        with(json!({ "id": "id", "ignore": ["e"], "columns": { "n": "categorical", "c": "text" } })),
        with(json!({ "split": { "validation": 0.2, "test": 0.2, "stratify": true } })),
        with(json!({ "split": { "validation": 0.2, "test": 0.2, "group": "g" } })),
        with(json!({ "split": { "validation": 0.2, "test": 0.2, "time": "d" }, "weight": "n" })),
        with(json!({ "split": { "validation": 0.0, "test": 0.0 }, "null_values": ["none"] })),
        with(json!({ "target": "x", "missing_target": "drop" })),
    ];
    for paths in [&one, &two, &vec![parquet], &vec![json], &vec![arrow], &gaps] {
        for declared in &declarations {
            let mut declared = declared.clone();
            if paths == &gaps {
                declared.as_object_mut().unwrap().insert("missing_target".to_owned(), json!("drop"));
                declared.as_object_mut().unwrap().insert("target".to_owned(), json!("y"));
                declared.as_object_mut().unwrap().insert("task".to_owned(), json!("classification"));
            }
            let declared = data(declared);
            let small = ReadOptions { chunk_bytes: 500, ..ReadOptions::of(&declared).unwrap() };
            let once = at_once(&folder, paths, &declared, &ReadOptions::of(&declared).unwrap());
            let chunks = by_chunks(&folder, paths, &declared, &small);
            match (&once, &chunks) {
                (Ok(once), Ok(chunks)) => {
                    assert_eq!(once.1, chunks.1, "{paths:?}");
                    assert_eq!(once.2, chunks.2, "{paths:?}");
                    assert!(once.0 == chunks.0, "{paths:?} {declared:?}");
                }
                _ => assert_eq!(once.err(), chunks.err(), "{paths:?} {declared:?}"),
            }
        }
    }
}

/// Numbers of rows and of mistakes are those of all rows.
#[test]
fn mistakes_are_told_in_the_same_words() {
    let folder = Folder::temporary();
    let whole = rows(300);
    let path = [folder.write("x.csv", &whole)];
    let infinite = [folder.write("inf.csv", whole.replace(",3.3,", ",inf,"))];
    let broken = [folder.write("broken.csv", whole.replace("p250,", "p250,1,"))];
    let cases = [
        (&path, with(json!({ "columns": { "s": "numeric" } }))),
        (&path, with(json!({ "columns": { "d": "boolean" } }))),
        (&path, with(json!({ "target": "x" }))),
        (&path, with(json!({ "target": "z" }))),
        (&path, with(json!({ "weight": "x" }))),
        (&path, with(json!({ "split": { "time": "c" } }))),
        (&infinite, with(json!({}))),
        (&broken, with(json!({}))),
    ];
    for (path, declared) in cases {
        let declared = data(declared);
        let small = ReadOptions { chunk_bytes: 300, ..ReadOptions::of(&declared).unwrap() };
        let once = at_once(&folder, path, &declared, &ReadOptions::of(&declared).unwrap()).map(drop).expect_err("once");
        assert_eq!(by_chunks(&folder, path, &declared, &small).map(drop).expect_err("by chunks"), once);
    }
}

fn gathered(rows: &ConformFiles) -> Result<Table, TableError> {
    assert_eq!((rows.first_row(0), rows.first_row(rows.n_chunks())), (0, rows.n_rows()));
    let tables: Vec<Table> = (0..rows.n_chunks()).map(|chunk| rows.chunk(chunk, None)).collect::<Result<_, _>>()?;
    assert!(
        (0..rows.n_chunks()).all(|chunk| tables[chunk].n_rows() == rows.first_row(chunk + 1) - rows.first_row(chunk))
    );
    Table::concat(&tables, rows.schema())
}

#[test]
fn further_files_and_rows_to_predict_by_chunks_are_the_same() {
    let folder = Folder::temporary();
    let declared = data(json!({ "target": "y", "missing_target": "drop" }));
    let train = [folder.write("train.csv", rows(200))];
    let (train, _) = ingest(&read_files(&train, &ReadOptions::default()).unwrap(), &declared).unwrap();
    let schema = train.schema();
    let text = rows(260);
    let cases = [
        ("as they were", text.clone()),
        ("some without a target", text.replace(",yes\n", ",\n")),
        ("a label too many", text.replace("2024-01-15,154,,0,no", "2024-01-15,154,,0,who")),
        ("infinite", text.replace(",3.3,", ",inf,")),
        ("words where numbers were", text.replace(",88.0,", ",many,")),
        ("a column less", text.replace("id,x,n", "id,z,n")),
    ];
    for (name, text) in cases {
        let path = [folder.write("more.csv", text)];
        let options = ReadOptions::default().like(schema);
        let frame = read_files(&path, &options).unwrap();
        let open = || Files::open(&path, &ReadOptions { chunk_bytes: 700, ..options.clone() }).unwrap();
        let mut pairs = vec![(
            ingest_like(&frame, &declared, schema).map(|(table, _)| table),
            ConformFiles::like(open(), &declared, schema).and_then(|rows| gathered(&rows)),
        )];
        for policy in [TargetPolicy::Required, TargetPolicy::Optional] {
            pairs.push((
                conform(&frame, schema, policy).map(|bound| bound.table),
                ConformFiles::new(open(), schema, policy).and_then(|rows| gathered(&rows)),
            ));
        }
        for (once, chunks) in pairs {
            match (once, chunks) {
                (Ok(once), Ok(chunks)) => {
                    assert_eq!(once.schema(), chunks.schema(), "{name}");
                    assert!(once.frame().equals_missing(chunks.frame()), "{name}");
                }
                (once, chunks) => assert_eq!(once.map(drop).expect_err(name), chunks.map(drop).expect_err(name)),
            }
        }
    }
}

#[test]
fn stored_tables_are_read_by_pieces() {
    let folder = Folder::temporary();
    let n = 2 * PIECE_ROWS + 5;
    let text: String = (0..n).map(|row| format!("{row},{}\n", ["a", "b", ""][row % 3])).collect();
    let (table, _) = ingest(
        &read_files(&[folder.write("x.csv", format!("y,c\n{text}"))], &ReadOptions::default()).unwrap(),
        &data(json!({ "target": "y" })),
    )
    .unwrap();
    write_ipc(&table, &folder.path("x.arrow")).unwrap();
    let file = ArrowFile::open(&folder.path("x.arrow")).unwrap();
    assert_eq!((file.n_rows(), file.n_batches(), file.first_row(2)), (n, 3, 2 * PIECE_ROWS));
    assert!(file.is_cut_by(PIECE_ROWS) && !file.is_cut_by(PIECE_ROWS + 1));
    for (index, piece) in [(1, table.slice(PIECE_ROWS, PIECE_ROWS)), (2, table.slice(2 * PIECE_ROWS, n))] {
        assert!(file.table(index, table.schema(), None).unwrap().frame().equals_missing(piece.frame()));
        let columns = file.table(index, table.schema(), Some(&["c".to_owned()])).unwrap();
        assert!(columns.frame().equals_missing(&piece.frame().select(["c"]).unwrap()));
    }
}

/// Rows that go out piece by piece give the same file, however they are cut.
#[test]
fn output_does_not_depend_on_pieces() {
    let folder = Folder::temporary();
    let text = rows(50);
    let frame = read_files(&[folder.write("x.csv", text)], &ReadOptions::default()).unwrap();
    let (table, _) = ingest(&frame, &data(json!({ "target": "y" }))).unwrap();
    for name in ["x.parquet", "x.arrow", "x.jsonl", "out.csv"] {
        write_file(&table, &folder.path(name)).unwrap();
        let mut file = retune_table::OutputFile::create(&folder.path(&format!("pieces-{name}"))).unwrap();
        [(0, 7), (7, 0), (7, 30), (37, 13)].iter().for_each(|&(at, n)| file.push(&table.slice(at, n)).unwrap());
        assert!(!folder.path(&format!("pieces-{name}")).exists());
        file.finish().unwrap();
        let [once, pieces] =
            [name.to_owned(), format!("pieces-{name}")].map(|name| std::fs::read(folder.path(&name)).unwrap());
        assert!(once == pieces, "{name}");
    }
}
