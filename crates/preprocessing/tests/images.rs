//! Steps for images, decoding and resizing against Pillow's from `tests/reference/images.py`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::LazyLock;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use polars::prelude::{Column, DataFrame, DataType};
use retune_preprocessing::{PreprocessingStage, load};
use retune_spec::preprocessing::Preprocessing;
use retune_stage::{Field, Fit, FitContext, Kind, Role, RowChange, Rows, Schema, Stage, StageError, Table, Task};
use retune_testing::conformance::Subject;
use serde_json::{Value, json};

static CASES: LazyLock<Vec<Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("fixtures/images.json")).unwrap());

fn fit(steps: &Value, train: &Table) -> Result<Fit, StageError> {
    let stage = PreprocessingStage(Preprocessing { steps: serde_json::from_value(steps.clone()).unwrap() });
    stage.check(train.schema()).map_err(|errors| errors[0].clone())?;
    stage.fit(Rows::Table(train.clone()), &FitContext::plain(1))
}

fn table(name: &str, column: Column) -> Table {
    let frame = DataFrame::new(column.len(), vec![column]).unwrap();
    Table::new(frame, Schema { fields: vec![Field::feature(name, Kind::Image)], task: None }).unwrap()
}

fn images(files: &[Option<&[u8]>]) -> Table {
    table("image", Column::new("image".into(), files.to_vec()))
}

/// The file of a case.
fn file(name: &str) -> Vec<u8> {
    let case = CASES.iter().find(|case| case["name"] == name).unwrap_or_else(|| panic!("no case {name}"));
    base64(case["file"].as_str().unwrap())
}

fn base64(text: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text).unwrap()
}

/// The first row's pixels, and the columns' names.
fn pixels(rows: &Rows) -> (Vec<String>, Vec<f64>) {
    let table = rows.table().unwrap();
    let names: Vec<String> = table.schema().features().map(|field| field.name.clone()).collect();
    let values = names.iter().map(|name| table.numeric(name).unwrap()[0]).collect();
    (names, values)
}

#[test]
fn pixels_are_those_of_pillow() {
    for case in CASES.iter() {
        let name = case["name"].as_str().unwrap();
        let bytes = base64(case["file"].as_str().unwrap());
        let fit = fit(&json!([{"decode_image": case["step"]}]), &images(&[Some(&bytes)]))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let (names, ours) = pixels(&fit.train);
        let theirs: Vec<f64> = case["pixels"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
        assert_eq!(ours.len(), theirs.len(), "{name}");
        let most = case["most"].as_f64().unwrap();
        for ((column, ours), theirs) in names.iter().zip(ours).zip(theirs) {
            assert!((ours - theirs).abs() <= most, "{name}: {column} is {ours} against {theirs}");
        }
    }
}

#[test]
fn columns_are_called_after_channel_and_place() {
    let png = file("PNG {} rgb");
    let of = |step: Value| pixels(&fit(&json!([{"decode_image": step}]), &images(&[Some(&png)])).unwrap().train).0;
    let grey = of(json!({"size": [2, 3]}));
    assert_eq!(grey, ["image_r0c0", "image_r0c1", "image_r0c2", "image_r1c0", "image_r1c1", "image_r1c2"]);
    let colour = of(json!({"size": [1, 2], "mode": "rgb"}));
    assert_eq!(
        colour,
        [
            "image_red_r0c0",
            "image_red_r0c1",
            "image_green_r0c0",
            "image_green_r0c1",
            "image_blue_r0c0",
            "image_blue_r0c1"
        ]
    );
    let fit = fit(&json!([{"decode_image": {"size": [1, 2]}}]), &images(&[Some(&png)])).unwrap();
    let table = fit.train.table().unwrap();
    assert_eq!(table.column("image_r0c0").unwrap().dtype(), &DataType::UInt8);
    assert_eq!(table.schema().field("image_r0c0").unwrap().origin(), "image");
    assert_eq!(fit.report.learned[0].text, "decoded 1 column into 2 pixels");
}

#[test]
fn missing_images_give_missing_pixels() {
    let png = file("PNG {} grey");
    let rows = images(&[None, Some(&png)]);
    let fit = fit(&json!([{"decode_image": {}}, {"scale_pixels": {"columns": "image_*"}}]), &rows).unwrap();
    let values = fit.train.table().unwrap().numeric("image_r0c0").unwrap();
    assert!(values[0].is_nan() && (0.0..=1.0).contains(&values[1]), "{values:?}");
}

#[test]
fn bad_images_are_told_or_dropped() {
    let (png, jpeg, other) = (file("PNG {} grey"), file("JPEG {'quality': 95} rgb"), file("JPEG turned 1"));
    let cut = &png[..png.len() / 2];
    let half = &jpeg[..20];
    let unknown = "the bytes are no PNG, JPEG, WebP, GIF, BMP or TIFF image";
    let correct = "correct the files, or leave such rows out with `on_error: quarantine`";
    let give_size =
        "give the `size` that all images are brought to, or leave such rows out with `on_error: quarantine`";
    for (bad, step, reason, help) in [
        (&b"no image"[..], json!({}), Some(unknown.to_owned()), correct),
        (b"", json!({}), Some(unknown.to_owned()), correct),
        (cut, json!({}), None, correct),
        (half, json!({}), None, correct),
        (
            &other,
            json!({}),
            Some("the image has 16 x 24 pixels, where the first training image has 6 x 9".to_owned()),
            give_size,
        ),
        (
            &other,
            json!({"max_pixels": 100}),
            Some("the image has 16 x 24 pixels, more than `max_pixels: 100`".to_owned()),
            correct,
        ),
        (
            &other,
            json!({"max_bytes": png.len()}),
            Some(format!("the file is larger than `max_bytes: {}`", png.len())),
            correct,
        ),
    ] {
        let rows = images(&[Some(&png), Some(bad), None, Some(&png)]);
        let error = fit(&json!([{ "decode_image": step }]), &rows).err().unwrap();
        let start = "step 1 (decode_image): column `image` has no usable image in row 2: ";
        assert!(error.message.starts_with(start), "{error}");
        if let Some(reason) = reason {
            assert_eq!(&error.message[start.len()..], reason);
        }
        assert_eq!(error.help.as_deref(), Some(help));
        // Taken from the training rows, and only flagged when applied.
        let mut step = step;
        step["on_error"] = json!("drop");
        let dropped = fit(&json!([{ "decode_image": step }]), &rows).unwrap();
        let RowChange { dropped: n_dropped, quarantined, .. } = dropped.report.rows[0];
        assert_eq!((dropped.train.n_rows(), n_dropped, quarantined), (3, 1, 0), "{step}");
        assert!(dropped.report.tables.is_empty());
        step["on_error"] = json!("quarantine");
        let fit = fit(&json!([{ "decode_image": step }]), &rows).unwrap();
        let RowChange { dropped: n_dropped, quarantined, .. } = fit.report.rows[0];
        assert_eq!((fit.train.n_rows(), n_dropped, quarantined), (3, 0, 1), "{step}");
        let (name, table) = &fit.report.tables[0];
        let text = |column: &str| table.column(column).unwrap().str().unwrap().get(0).unwrap().to_owned();
        assert_eq!((name.as_str(), table.height()), ("quarantine", 1));
        assert_eq!(table.column("row").unwrap().u64().unwrap().get(0), Some(2));
        assert_eq!([text("step"), text("column")], ["decode_image", "image"]);
        assert_eq!(text("reason"), error.message[start.len()..]);
        let applied = fit.fitted.apply(Rows::Table(rows)).unwrap();
        let table = applied.table().unwrap();
        let flags: Vec<Option<&str>> = table.strings(Schema::FLAGS).unwrap().iter().collect();
        assert_eq!(flags, [None, Some("decode_image"), None, None], "{step}");
        let first = table.schema().features().next().unwrap().name.clone();
        assert!(table.numeric(&first).unwrap()[1].is_nan());
    }
}

#[test]
fn a_small_file_of_a_huge_image_takes_no_memory() {
    // The header of a PNG of 60,000 x 60,000 pixels and nothing else: decoding it would take 3.6 GB.
    let mut bomb = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = b"IHDR".to_vec();
    header.extend_from_slice(&60_000_u32.to_be_bytes());
    header.extend_from_slice(&60_000_u32.to_be_bytes());
    header.extend_from_slice(&[8, 0, 0, 0, 0]);
    bomb.extend_from_slice(&13_u32.to_be_bytes());
    bomb.extend_from_slice(&header);
    bomb.extend_from_slice(&crc32(&header).to_be_bytes());
    bomb.extend_from_slice(&0_u32.to_be_bytes());
    bomb.extend_from_slice(b"IDAT");
    let error = fit(&json!([{"decode_image": {"size": [8, 8]}}]), &images(&[Some(&bomb)])).err().unwrap();
    assert!(error.message.ends_with("the image has 60000 x 60000 pixels, more than `max_pixels: 50000000`"), "{error}");
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn paths_start_at_the_root_and_stay_within() {
    let folder = std::env::temp_dir().join(format!("retune-images-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("a")).unwrap();
    std::fs::write(folder.join("a/b.png"), file("PNG {} grey")).unwrap();
    let root = folder.to_str().unwrap();
    let rows = |path: &str| table("path", Column::new("path".into(), [path]));
    let decoded = |step: Value, path: &str| fit(&json!([{ "decode_image": step }]), &rows(path));
    assert_eq!(decoded(json!({ "root": root }), "a/b.png").unwrap().train.schema().features().count(), 54);
    assert_eq!(decoded(json!({}), &format!("{root}/a/b.png")).unwrap().train.schema().features().count(), 54);
    for path in ["../b.png", "/a/b.png"] {
        let error = decoded(json!({"root": root, "size": [2, 2]}), path).err().unwrap();
        assert!(error.message.ends_with(&format!("row 1: {path} is not within `root: {root}`")), "{error}");
    }
    // Nor may a link lead out.
    let outside = folder.with_extension("png");
    std::fs::copy(folder.join("a/b.png"), &outside).unwrap();
    std::os::unix::fs::symlink(&outside, folder.join("a/link.png")).unwrap();
    let error = decoded(json!({"root": root, "size": [2, 2]}), "a/link.png").err().unwrap();
    assert!(error.message.ends_with(&format!("a/link.png is not within `root: {root}`")), "{error}");
    std::fs::remove_file(outside).unwrap();
    let error = decoded(json!({"root": root, "size": [2, 2]}), "a/c.png").err().unwrap();
    assert!(error.message.contains("a/c.png: No such file"), "{error}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn channels_are_normalised_as_in_torchvision() {
    let png = file("PNG {} rgb");
    let rows = images(&[Some(&png), Some(&png)]);
    let (means, deviations) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    let prepare = json!([{"decode_image": {"mode": "rgb"}}, {"scale_pixels": {"columns": "image_*"}}]);
    let with = |step: Value| {
        let mut steps = prepare.as_array().unwrap().clone();
        steps.push(json!({ "normalize_channels": step }));
        fit(&json!(steps), &rows)
    };
    let (names, before) = pixels(&fit(&prepare, &rows).unwrap().train);
    let (_, given) = pixels(&with(json!({"columns": "image_*", "mean": means, "std": deviations})).unwrap().train);
    let (_, learned) = pixels(&with(json!({"columns": "image_*"})).unwrap().train);
    for (channel, colour) in ["red", "green", "blue"].into_iter().enumerate() {
        let of = |values: &[f64]| -> Vec<f64> {
            let here = names.iter().zip(values).filter(|(name, _)| name.contains(colour));
            here.map(|(_, value)| *value).collect()
        };
        for (before, after) in of(&before).iter().zip(of(&given)) {
            assert!(((before - means[channel]) / deviations[channel] - after).abs() < 1e-12);
        }
        let learned = of(&learned);
        let mean = learned.iter().sum::<f64>() / learned.len() as f64;
        let variance = learned.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / learned.len() as f64;
        assert!(mean.abs() < 1e-12 && (variance - 1.0).abs() < 1e-12, "{mean} {variance}");
    }
    for (step, message) in [
        (json!({"columns": "image_*", "mean": [0.5]}), "`mean` has 1 number, and the pixels are of 3 channels"),
        (json!({"columns": "image_*", "std": [0.5, 0.0, 1.0]}), "`std` has 0, by which nothing can be divided"),
    ] {
        assert_eq!(with(step).err().unwrap().message, format!("step 3 (normalize_channels): {message}"));
    }
}

#[test]
fn steps_conform() {
    let files: Vec<Vec<u8>> = (1..=8).map(|turn| file(&format!("JPEG turned {turn}"))).collect();
    let columns = vec![
        Column::new("image".into(), (0..24).map(|row| Some(files[row % 8].as_slice())).collect::<Vec<_>>()),
        Column::new("label".into(), (0..24).map(|row| ["a", "b"][row % 2]).collect::<Vec<_>>()),
    ];
    let target = Field { role: Role::Target, ..Field::feature("label", Kind::Categorical) };
    let task = Some(Task::Classification { labels: vec!["a".to_owned(), "b".to_owned()] });
    let schema = Schema { fields: vec![Field::feature("image", Kind::Image), target], task };
    let rows = Table::new(DataFrame::new(24, columns).unwrap(), schema).unwrap();
    for steps in [
        json!([{"decode_image": {"mode": "rgb", "size": [4, 5], "fit": "pad", "on_error": "drop"}}, {"normalize_channels": {"columns": "image_*"}}]),
        json!([{"decode_image": {"size": [3, 3]}}, {"scale_pixels": {"columns": "image_*"}}, {"normalize_channels": {"columns": "image_*", "mean": [0.5]}}]),
    ] {
        let stage = PreprocessingStage(Preprocessing { steps: serde_json::from_value(steps.clone()).unwrap() });
        Subject {
            name: steps.to_string(),
            stage: &stage,
            load: &|dir| Ok(Box::new(load(dir)?)),
            rows: rows.clone(),
            in_order: false,
            own_training_rows: false,
            takes_weights: None,
        }
        .conform();
    }
}

#[test]
fn sizes_are_refused_that_no_table_holds() {
    for (size, message) in [
        (json!([0, 4]), "step 1 (decode_image): `size` has a side of 0 pixels"),
        (
            json!([1000, 1000]),
            "step 1 (decode_image): images of 1000 x 1000 pixels in column `image` would become 1000000 columns, more than 100000",
        ),
    ] {
        let error = fit(&json!([{"decode_image": {"size": size}}]), &images(&[None])).err().unwrap();
        assert_eq!(error.message, message);
    }
}
