use polars::prelude::*;
use retune_table::{ReadOptions, read_files};

use crate::{Folder, frame};

/// Bad files, with the words a user sees.
#[test]
fn bad_files_are_told_with_line_and_way_out() {
    let doubled = "inside a quoted field a quote is written twice: \"\"";
    let close = "close it; inside a quoted field a quote is written twice: \"\"";
    let cases: Vec<(&str, &[u8], &str, &str)> = vec![
        ("empty", b"", "x.csv is empty", ""),
        ("only blank lines", b"\n\n", "x.csv is empty", ""),
        ("header only", b"a,b\n", "x.csv has a header and no rows", ""),
        (
            "duplicate header",
            b"a,b,a\n1,2,3\n",
            "x.csv, line 1: columns 1 and 3 are both called `a`",
            "rename one of them in the header",
        ),
        (
            "name left empty",
            b",a\n0,1\n",
            "x.csv, line 1: column 1 has no name",
            "name it in the header (pandas leaves the name of its index empty: write with `index=False`)",
        ),
        (
            "ragged, short",
            b"a,b,c\n1,2,3\n4,5\n",
            "x.csv, line 3: 2 fields where the header has 3",
            "a field that holds the separator must be quoted",
        ),
        (
            "ragged, long",
            b"a,b\n1,2\n\n3,4,5\n",
            "x.csv, line 4: 3 fields where the header has 2",
            "a field that holds the separator must be quoted",
        ),
        (
            "ragged after quoted lines",
            b"a,b\n\"1\n1\",2\n3\n",
            "x.csv, line 4: 1 field where the header has 2",
            "a field that holds the separator must be quoted",
        ),
        (
            "unclosed quote",
            b"a,b\n1,2\n3,\"four\n5,6\n7,8\n",
            "x.csv, line 3: the quote that opens in column `b` is never closed",
            close,
        ),
        (
            "unclosed quote before others",
            b"a,b\n1,\"two\n3,\"four\"\n",
            "x.csv, line 2: the quote that opens in column `b` closes in line 3, in the middle of a field",
            "close it where its field ends; inside a quoted field a quote is written twice: \"\"",
        ),
        (
            "text after a quote",
            b"a,b\n1,\"two\" 2\n",
            "x.csv, line 2: column `b` goes on after its closing quote",
            doubled,
        ),
        (
            "quote in a plain field",
            b"a,b\n1,5\" pipe\n",
            "x.csv, line 2: column `b` has a quote in the middle of an unquoted field",
            "put the whole field in quotes and write the quote inside it twice: \"\"",
        ),
        ("semicolons", b"a;b\n1;2\n", "x.csv has a single column, `a;b`", "did you mean separator: ';'"),
        ("tabs", b"a\tb\n1\t2\n", "x.csv has a single column, `a\\tb`", "did you mean separator: \"\\t\""),
        ("bars", b"a|b\n1|2\n", "x.csv has a single column, `a|b`", "did you mean separator: '|'"),
        (
            "Latin-1",
            b"a,b\n1,caf\xe9\n",
            "x.csv, line 2: byte 0xe9 is not UTF-8",
            "convert the file, if it is Latin-1 so: iconv -f LATIN1 -t UTF-8 IN > OUT",
        ),
        (
            "Latin-1 header",
            b"caf\xe9,b\n1,2\n",
            "x.csv, line 1: byte 0xe9 is not UTF-8",
            "convert the file, if it is Latin-1 so: iconv -f LATIN1 -t UTF-8 IN > OUT",
        ),
        (
            "UTF-16",
            b"\xff\xfea\0,\0b\0",
            "x.csv is UTF-16, not UTF-8",
            "convert it: iconv -f UTF-16 -t UTF-8 x.csv > utf8.csv",
        ),
        ("gzip", b"\x1f\x8b\x08\0", "x.csv is gzip-compressed, not CSV", "decompress it first: `gunzip`"),
        ("zstd", b"\x28\xb5\x2f\xfd\0", "x.csv is zstd-compressed, not CSV", "decompress it first: `unzstd`"),
        (
            "zip",
            b"PK\x03\x04\0",
            "x.csv is a zip archive or an Excel workbook, not CSV",
            "unpack it, or save the sheet as CSV",
        ),
        ("parquet", b"PAR1\0", "x.csv is a Parquet file, not CSV", "name it `.parquet`, or say `format: parquet`"),
        ("arrow", b"ARROW1\0\0", "x.csv is an Arrow file, not CSV", "name it `.arrow`, or say `format: arrow`"),
        (
            "NUL",
            b"a,b\n1,2\n3,\0\n",
            "x.csv, line 3: column `b` holds a NUL byte",
            "the file is damaged, or is not text",
        ),
        (
            "old Mac",
            b"a,b\r1,2\r",
            "x.csv ends its lines with a lone carriage return",
            "convert it: tr '\\r' '\\n' < x.csv > lines.csv",
        ),
    ];
    for (case, bytes, message, help) in cases {
        let folder = Folder::temporary();
        let error = read_files(&[folder.write("x.csv", bytes)], &ReadOptions::default()).expect_err(case);
        assert_eq!(folder.words(&error), (message.to_owned(), help.to_owned()), "{case}");
    }
}

#[test]
fn columns_hold_what_all_their_rows_say() {
    let cases = [
        ("1\n2\n", "i64"),
        ("1\n\n-2\n+3\n", "i64"),
        (" 1\n2 \n", "i64"),
        ("\"1\"\n\"\"\n", "i64"),
        ("1\nnan\n", "i64"),
        ("1\n2.5\n", "f64"),
        (".5\n1.\n1e-3\n-.5E+2\n+0.5\ninf\n-Infinity\n", "f64"),
        ("00501\n90210\n", "str"),
        ("0\n1\n", "i64"),
        ("0.5\n007\n", "f64"),
        ("12345678901234567890\n1\n", "str"),
        ("1\nx\n", "str"),
        ("1\nNA\n", "str"),
        ("true\nFalse\n", "bool"),
        ("true\n1\n", "str"),
        ("2024-02-29\n\n", "date"),
        ("2024-02-29\n2024-03-01T12:00\n", "datetime[μs]"),
        ("2024-02-30\n", "str"),
        ("1e\n", "str"),
        ("-\n", "str"),
        (".\n", "str"),
        ("1.2.3\n", "str"),
        ("1-2\n", "str"),
    ];
    for (rows, dtype) in cases {
        let frame = frame(&format!("k,a\n{}", rows.lines().map(|row| format!("1,{row}\n")).collect::<String>()));
        assert_eq!(frame.column("a").unwrap().dtype().to_string(), dtype, "{rows:?}");
    }
    // Far beyond any sample of the first rows.
    let late = frame(&format!("a\n{}x\n", "1\n".repeat(300_000)));
    assert_eq!((late.column("a").unwrap().dtype(), late.height()), (&DataType::String, 300_001));
}

#[test]
fn fields_are_read_as_they_are_written() {
    let frame = frame(
        "\u{feff}name , text,n,d\r\nx,\"a \"\"b\"\", c\",1,2024-01-02\r\n\"\",\" \n \",,2024-01-03T00:00:01\r\n  ,\"\"\"\",3,",
    );
    let expected = df!(
        "name" => [Some("x"), None, None],
        "text" => ["a \"b\", c", " \n ", "\""],
        "n" => [Some(1_i64), None, Some(3)],
    );
    assert!(frame.drop("d").unwrap().equals_missing(&expected.unwrap()), "{frame}");
    let times = frame.column("d").unwrap().to_physical_repr();
    assert_eq!(times.i64().unwrap().to_vec(), [Some(1_704_153_600_000_000), Some(1_704_240_001_000_000), None]);
}

#[test]
fn options_are_heeded() {
    let folder = Folder::temporary();
    let path = folder.write("x.csv", "a;b;c\n1;NA;01\n-;2;1\n");
    let options = ReadOptions {
        separator: b';',
        null_values: vec!["NA".into(), "-".into()],
        text: vec!["c".into()],
        ..ReadOptions::default()
    };
    let expected = df!("a" => [Some(1_i64), None], "b" => [None, Some(2_i64)], "c" => ["01", "1"]).unwrap();
    assert!(read_files(&[path], &options).unwrap().equals_missing(&expected));
}

#[test]
fn files_of_one_glob_are_one_table() {
    let folder = Folder::temporary();
    let paths = [folder.write("2.csv", "b,a\nx,3\n"), folder.write("1.csv", "a,b\n1,y\n2,\n")];
    let expected = df!("a" => [1_i64, 2, 3], "b" => [Some("y"), None, Some("x")]).unwrap();
    assert!(read_files(&paths, &ReadOptions::default()).unwrap().equals_missing(&expected));
    let other = folder.write("3.csv", "a,c\n1,2\n");
    let error = read_files(&[paths[1].clone(), other], &ReadOptions::default()).unwrap_err();
    let help = "files that are read together need the same columns";
    assert_eq!(folder.words(&error), ("3.csv has no column `b`, which 1.csv has".into(), help.into()));
}

/// Larger than a chunk, with quoted line ends across every cut.
#[test]
fn large_files_do_not_depend_on_how_they_are_cut() {
    let row = |at: usize| format!("{at},\"line\nof \"\"row\"\" {at},\",{}.5\r\n", at % 7);
    let n = 400_000;
    let text: String = std::iter::once("id,text,x\n".to_owned()).chain((0..n).map(row)).collect();
    assert!(text.len() > 12 << 20);
    let frame = frame(&text);
    assert_eq!(frame.height(), n);
    let ids = frame.column("id").unwrap().i64().unwrap();
    assert!(ids.iter().enumerate().all(|(at, id)| id == Some(at as i64)));
    let texts = frame.column("text").unwrap().str().unwrap();
    assert!(texts.iter().enumerate().all(|(at, text)| text == Some(&format!("line\nof \"row\" {at},"))));
    // A fault late in the file has its line.
    let folder = Folder::temporary();
    let path = folder.write("x.csv", format!("{text}1,2\n"));
    let error = read_files(&[path], &ReadOptions::default()).unwrap_err();
    assert_eq!(folder.words(&error).0, format!("x.csv, line {}: 2 fields where the header has 3", 2 * n + 2));
    // An unclosed quote early in the file is told where it opens, although every later chunk is cut wrongly.
    let path = folder.write("y.csv", text.replacen("\"line\nof \"\"row\"\" 9,\"", "\"line", 1));
    let error = read_files(&[path], &ReadOptions::default()).unwrap_err();
    assert_eq!(
        folder.words(&error).0,
        "y.csv, line 20: the quote that opens in column `text` closes in line 21, in the middle of a field"
    );
}
