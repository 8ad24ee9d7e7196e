//! Training rows whose images cannot be used.

use std::collections::HashSet;

use polars::prelude::{DataFrame, df};
use retune_estimators::{FittedModel, Model};
use retune_spec::images::{ImageInput, OnBadImage};
use retune_stage::{Design, Result, RowChange, StageReport};
use retune_tensor::Pictures;

/// How a model's network sees images, where it does.
pub fn image_input(model: &Model) -> Option<ImageInput> {
    model.members().iter().find_map(|member| match member.fitted.as_ref() {
        FittedModel::Network(network) => network.image_input().cloned(),
        _ => None,
    })
}

/// The rows without those whose images cannot be used, where these are not an error; the report says which they are.
pub fn sorted_out(
    rows: Design,
    input: Option<&ImageInput>,
    threads: usize,
    report: &mut StageReport,
) -> Result<Design> {
    let (Some(images), Some(input)) = (&rows.images, input) else { return Ok(rows) };
    if input.on_error == OnBadImage::Fail {
        return Ok(rows);
    }
    let bad = Pictures::new(images, &rows.row_numbers, input, &[], threads)?.bad();
    if bad.is_empty() {
        return Ok(rows);
    }
    let mut change = RowChange::none("images", rows.n_rows());
    match input.on_error {
        OnBadImage::Quarantine => {
            change.quarantined = bad.len();
            report.tables.push(("quarantine".to_owned(), quarantine(&rows, images.name(), &bad)?));
        }
        _ => change.dropped = bad.len(),
    }
    report.rows.push(change);
    let bad: HashSet<usize> = bad.into_iter().map(|(row, _)| row).collect();
    let kept: Vec<usize> = (0..rows.n_rows()).filter(|row| !bad.contains(row)).collect();
    Ok(rows.take(&kept))
}

fn quarantine(rows: &Design, column: &str, bad: &[(usize, String)]) -> Result<DataFrame> {
    Ok(df!(
        "row" => bad.iter().map(|(row, _)| rows.row_number(*row)).collect::<Vec<u64>>(),
        "step" => vec!["images"; bad.len()],
        "column" => vec![column; bad.len()],
        "reason" => bad.iter().map(|(_, reason)| reason.as_str()).collect::<Vec<&str>>(),
    )?)
}
