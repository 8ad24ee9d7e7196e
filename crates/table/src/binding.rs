//! Binding further rows to the columns of something fitted where not every row needs to be sound: bad ones are set aside, with a reason each.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use polars::prelude::*;
use rayon::prelude::*;
use retune_spec::Schema as Columns;
use retune_spec::batch::{BadRows, ExtraColumns, Handling, MissingColumns, RetypedColumns, UnseenLevels};
use retune_spec::schema::{Field, Kind, Role};

use crate::conform::{bind, check_missing};
use crate::error::{counted, listed};
use crate::ingest::row_numbers_from;
use crate::kinds::natural_kind;
use crate::{Files, Table, TableError, TargetPolicy};

/// A row that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Its number in its file, counted from 1.
    pub row: u32,
    /// The column that is to blame, where one is.
    pub column: Option<String>,
    /// What is wrong.
    pub reason: String,
}

/// Some rows of a file, bound.
pub struct Bound {
    /// The sound ones, in their order.
    pub table: Table,
    /// Columns of the same rows that nothing needs, where they are kept.
    pub extra: DataFrame,
    /// The others, in their order.
    pub bad: Vec<BadRow>,
}

/// Binds the rows of one source, part by part.
pub struct Binding<'a> {
    handling: Handling,
    /// The columns that come out, row numbers first.
    fields: Vec<Field>,
    extra: Vec<String>,
    input: &'a Columns,
    levels: &'a IndexMap<String, Vec<String>>,
}

impl<'a> Binding<'a> {
    /// Binds the columns of a source, of which `head` has the columns and no row, by their names. `levels` are the words of training rows by column.
    /// `has_target` says whether a target that is there is sound in all rows, and so is carried.
    ///
    /// Fails where a column is missing, too many, or of a type that no value of it could be read from, unless that is to be borne.
    pub fn new(
        head: &DataFrame,
        input: &'a Columns,
        levels: &'a IndexMap<String, Vec<String>>,
        handling: Handling,
        has_target: bool,
    ) -> Result<Self, TableError> {
        if handling.missing_columns == MissingColumns::Fail {
            check_missing(head, input, TargetPolicy::Optional)?;
        }
        let has = |name: &str| head.column(name).is_ok();
        let is_kept = |field: &&Field| match field.role {
            Role::RowNumber | Role::Feature => true,
            Role::Target => has_target && has(&field.name),
            _ => has(&field.name),
        };
        let fields: Vec<Field> = input.fields.iter().filter(is_kept).cloned().collect();
        let names = head.get_column_names().into_iter().map(|name| name.to_string());
        let extra: Vec<String> = names.filter(|name| name != Columns::ROW && input.field(name).is_none()).collect();
        if handling.extra_columns == ExtraColumns::Fail && !extra.is_empty() {
            let message = format!("{} that nothing needs: {}", counted(extra.len(), "column"), listed(&extra));
            return Err(TableError::new(message)
                .help("leave them out of the file, or let them pass: `extra_columns: ignore` or `keep`"));
        }
        let extra = if handling.extra_columns == ExtraColumns::Keep { extra } else { Vec::new() };
        let binding = Self { handling, fields, extra, input, levels };
        for field in binding.fields.iter().filter(|field| field.role == Role::Feature && has(&field.name)) {
            let column = head.column(&field.name)?;
            // What no row decides is the same for none.
            bind(column, field, input, head)?;
            if handling.retyped_columns == RetypedColumns::Fail {
                refuse_other_type(column, field)?;
            }
        }
        Ok(binding)
    }

    /// Whether a source's target, where it has one, is sound in all rows.
    pub fn has_target(files: &Files, input: &Columns) -> Result<bool, TableError> {
        let Some(field) = input.of_role(Role::Target).filter(|field| files.head().column(&field.name).is_ok()) else {
            return Ok(false);
        };
        let frame = files.columns(std::slice::from_ref(&field.name))?;
        Ok(bind(frame.column(&field.name)?, field, input, &frame).is_ok())
    }

    /// The columns of the source that are looked at.
    pub fn columns(&self) -> Vec<String> {
        self.fields.iter().map(|field| field.name.clone()).chain(self.extra.iter().cloned()).collect()
    }

    /// Binds the rows of a frame, of which the first has the number `first_row`, counted from 0.
    pub fn bind(&self, frame: &DataFrame, first_row: usize) -> Result<Bound, TableError> {
        let mut frame = frame.clone();
        if frame.column(Columns::ROW).is_err() {
            let height = frame.height();
            let mut columns = vec![row_numbers_from(first_row, height)];
            columns.extend(frame.columns().iter().cloned());
            frame = DataFrame::new(height, columns)?;
        }
        let numbers = frame.column(Columns::ROW)?.cast(&DataType::UInt32)?.u32()?.clone();
        let mut bound = self.bind_all(&frame);
        let mut bad: BTreeMap<usize, (Option<&str>, String)> = BTreeMap::new();
        for (field, column) in self.fields.iter().zip(&bound) {
            if let Err(error) = column {
                if self.handling.bad_rows == BadRows::Fail || field.role != Role::Feature {
                    return Err(error.clone());
                }
                for (row, reason) in self.bad_rows_of(field, &frame, 0..frame.height()) {
                    bad.entry(row).or_insert((Some(&field.name), reason));
                }
            }
        }
        for (row, field, word) in self.unseen(&bound, &numbers)? {
            let reason = format!("`{word}` is in no training row");
            bad.entry(row).or_insert((Some(&field.name), reason));
        }
        let bad_rows = bad.into_iter().map(|(row, (column, reason))| BadRow {
            row: numbers.get(row).unwrap_or_default(),
            column: column.map(str::to_owned),
            reason,
        });
        let bad_rows: Vec<BadRow> = bad_rows.collect();
        if !bad_rows.is_empty() {
            let is_bad: PlHashSet<u32> = bad_rows.iter().map(|bad| bad.row).collect();
            let sound = numbers.iter().map(|number| number.is_some_and(|number| !is_bad.contains(&number)));
            frame = frame.filter(&sound.collect::<BooleanChunked>())?;
            bound = self.bind_all(&frame);
        }
        let columns = bound.into_iter().collect::<Result<Vec<Column>, TableError>>()?;
        let schema = Columns { fields: self.fields.clone(), task: self.input.task.clone() };
        let table = Table::new(DataFrame::new(frame.height(), columns)?, schema)?;
        let extra = self.extra.iter().map(|name| Ok(frame.column(name)?.clone())).collect::<PolarsResult<Vec<_>>>()?;
        Ok(Bound { table, extra: DataFrame::new(frame.height(), extra)?, bad: bad_rows })
    }

    fn bind_all(&self, frame: &DataFrame) -> Vec<Result<Column, TableError>> {
        let of = |field: &Field| match frame.column(&field.name) {
            Ok(column) => bind(column, field, self.input, frame),
            // A column that is missing and may be.
            Err(_) => bind(
                &Column::full_null(field.name.as_str().into(), frame.height(), &DataType::Null),
                field,
                self.input,
                frame,
            ),
        };
        self.fields.par_iter().map(of).collect()
    }

    /// The rows of a range that cannot be bound, each with its own reason: halves are looked at until single rows are left.
    fn bad_rows_of(&self, field: &Field, frame: &DataFrame, rows: std::ops::Range<usize>) -> Vec<(usize, String)> {
        let part = frame.slice(rows.start as i64, rows.len());
        let bound = part
            .column(&field.name)
            .map_err(TableError::from)
            .and_then(|column| bind(column, field, self.input, &part));
        let Err(error) = bound else { return Vec::new() };
        if rows.len() <= 1 {
            return vec![(rows.start, error.message)];
        }
        let middle = rows.start + rows.len() / 2;
        let mut bad = self.bad_rows_of(field, frame, rows.start..middle);
        bad.extend(self.bad_rows_of(field, frame, middle..rows.end));
        bad
    }

    /// The values that no training row had, where they are not to be borne.
    fn unseen<'b>(
        &'b self,
        bound: &[Result<Column, TableError>],
        numbers: &UInt32Chunked,
    ) -> Result<Vec<(usize, &'b Field, String)>, TableError> {
        let mut unseen = Vec::new();
        if self.handling.unseen_levels == UnseenLevels::Accept {
            return Ok(unseen);
        }
        for (field, column) in self.fields.iter().zip(bound) {
            let (Ok(column), Some(levels)) = (column, self.levels.get(&field.name)) else { continue };
            if field.kind != Kind::Categorical || field.role != Role::Feature {
                continue;
            }
            let known: PlHashSet<&str> = levels.iter().map(String::as_str).collect();
            for (row, word) in column.str()?.iter().enumerate() {
                let Some(word) = word.filter(|word| !known.contains(word)) else { continue };
                if self.handling.unseen_levels == UnseenLevels::Fail {
                    let number = numbers.get(row).unwrap_or_default();
                    let name = &field.name;
                    return Err(TableError::new(format!(
                        "column `{name}` has `{word}` in row {number}, which no training row has"
                    ))
                    .help(
                        "set such rows aside, `unseen_levels: quarantine`, or let the steps deal with them: `accept`",
                    ));
                }
                unseen.push((row, field, word.to_owned()));
            }
        }
        Ok(unseen)
    }
}

/// A column whose values would have to be read as something else.
fn refuse_other_type(column: &Column, field: &Field) -> Result<(), TableError> {
    let found = natural_kind(column)?;
    // Words are told from text by their values, and images may be paths.
    let is_same = found == field.kind
        || found == Kind::Categorical && matches!(field.kind, Kind::Text | Kind::Image | Kind::Audio)
        || found == Kind::Image && field.kind == Kind::Audio;
    if is_same {
        return Ok(());
    }
    let (found, needed) = (found.word(), field.kind.word());
    Err(TableError::new(format!("column `{}` is {found} in the file and was {needed} in training", field.name))
        .help("write it as it was, or let its values be converted: `retyped_columns: convert`"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn input() -> Columns {
        let field = |name: &str, role, kind| Field { name: name.to_owned(), role, kind, source: None };
        Columns {
            fields: vec![
                field(Columns::ROW, Role::RowNumber, Kind::Numeric),
                field("id", Role::Id, Kind::Categorical),
                field("size", Role::Feature, Kind::Numeric),
                field("colour", Role::Feature, Kind::Categorical),
            ],
            task: None,
        }
    }

    fn levels() -> IndexMap<String, Vec<String>> {
        IndexMap::from([("colour".to_owned(), vec!["blue".to_owned(), "red".to_owned()])])
    }

    fn rows() -> DataFrame {
        df!(
            "note" => ["a", "b", "c", "d", "e", "f"],
            "colour" => [Some("red"), Some("blue"), Some("green"), None, Some("red"), Some("grey")],
            "size" => ["1", "two", "3.5", "4", "", "inf"],
            "id" => ["p", "q", "r", "s", "t", "u"],
        )
        .unwrap()
    }

    fn bound(handling: Handling) -> Result<Bound, TableError> {
        let (input, levels, rows) = (input(), levels(), rows());
        Binding::new(&rows.head(Some(0)), &input, &levels, handling, false)?.bind(&rows, 100)
    }

    fn set_aside(bound: &Bound) -> Vec<(u32, &str, &str)> {
        bound.bad.iter().map(|bad| (bad.row, bad.column.as_deref().unwrap(), bad.reason.as_str())).collect()
    }

    #[test]
    fn bad_rows_are_set_aside_with_their_reasons() {
        let sound = bound(Handling::default()).unwrap();
        assert_eq!(
            set_aside(&sound),
            [
                (102, "size", "column `size` must be numeric, but holds `two` in row 102"),
                (106, "size", "column `size` is infinite in row 106"),
            ]
        );
        let sizes: Vec<Option<f64>> = sound.table.column("size").unwrap().f64().unwrap().iter().collect();
        assert_eq!(sizes, [Some(1.0), Some(3.5), Some(4.0), None]);
        assert_eq!(sound.table.row_numbers(), [101, 103, 104, 105]);
        assert_eq!(sound.extra.width(), 0);
    }

    #[test]
    fn unseen_words_are_borne_set_aside_or_refused() {
        let handling = |unseen_levels| Handling { unseen_levels, ..Handling::default() };
        let aside = bound(handling(UnseenLevels::Quarantine)).unwrap();
        let rows: Vec<u32> = aside.bad.iter().map(|bad| bad.row).collect();
        assert_eq!(rows, [102, 103, 106]);
        assert_eq!(aside.bad[1].reason, "`green` is in no training row");
        let error = bound(handling(UnseenLevels::Fail)).err().unwrap();
        assert_eq!(error.message, "column `colour` has `green` in row 103, which no training row has");
    }

    #[test]
    fn each_policy_does_what_it_says() {
        let refused = |handling: Handling| bound(handling).err().unwrap().message;
        let fail = Handling { bad_rows: BadRows::Fail, ..Handling::default() };
        assert_eq!(refused(fail), "column `size` must be numeric, but holds `two` in row 102");
        let fail = Handling { extra_columns: ExtraColumns::Fail, ..Handling::default() };
        assert_eq!(refused(fail), "1 column that nothing needs: `note`");
        let fail = Handling { retyped_columns: RetypedColumns::Fail, ..Handling::default() };
        assert_eq!(refused(fail), "column `size` is categorical in the file and was numeric in training");
        let keep = bound(Handling { extra_columns: ExtraColumns::Keep, ..Handling::default() }).unwrap();
        let notes: Vec<&str> = keep.extra.column("note").unwrap().str().unwrap().iter().flatten().collect();
        assert_eq!(notes, ["a", "c", "d", "e"]);

        let (input, levels) = (input(), levels());
        let lacking = rows().drop("size").unwrap();
        let binding = |handling| Binding::new(&lacking.head(Some(0)), &input, &levels, handling, false);
        assert_eq!(binding(Handling::default()).err().unwrap().message, "the rows lack 1 column: `size`");
        let null = Handling { missing_columns: MissingColumns::Null, ..Handling::default() };
        let bound = binding(null).unwrap().bind(&lacking, 0).unwrap();
        assert_eq!((bound.table.column("size").unwrap().null_count(), bound.bad.len()), (6, 0));
    }

    #[test]
    fn a_column_of_which_no_value_could_be_read_fails_as_a_whole() {
        let (input, levels) = (input(), levels());
        let dates = Column::new("size".into(), [1, 2, 3, 4, 5, 6]).cast(&DataType::Date).unwrap();
        let mut rows = rows();
        rows.with_column(dates).unwrap();
        let error = Binding::new(&rows.head(Some(0)), &input, &levels, Handling::default(), false).err().unwrap();
        assert_eq!(error.message, "column `size` is datetime, where numeric is needed");
    }
}
