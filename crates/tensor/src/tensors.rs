//! Rows as named tensors.

use std::any::Any;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use indexmap::IndexMap;
use memmap2::Mmap;
use ndarray::Array2;
use retune_stage::{
    Design, Kind as ColumnKind, Role, Schema, StageError, Table, Target, Task, TensorRows, Ties, encoder_hint,
};
use tch::{Kind, Tensor};

use crate::{Result, TensorError, network, weights};

/// Named tensors on the processor whose first dimension counts rows:
///
/// | name | kind | shape | |
/// |---|---|---|---|
/// | `features` | 32-bit floats | [rows, features] | in the order of the schema's feature columns |
/// | `targets` | 64-bit integers or floats | [rows] | classes as indices of the task's labels, or values |
/// | `weights` | 64-bit floats | [rows] | sample weights, where there are any |
/// | `groups` | 64-bit integers | [rows] | each row's group as a number, where there are groups |
/// | `times` | 64-bit integers | [rows] | each row's place in time, equal for equal times, where there are times |
/// | `#row` | 64-bit integers | [rows] | each row's number in its source, where it is known |
///
/// There may be others, which are carried along.
pub struct Tensors {
    // A tensor may be sent to another thread, but not be used by two at once. Whoever reads takes a handle of its own out of the lock.
    tensors: Mutex<IndexMap<String, Tensor>>,
    n_rows: usize,
    schema: Schema,
}

impl Tensors {
    /// The name of the features.
    pub const FEATURES: &'static str = "features";
    /// The name of the targets.
    pub const TARGETS: &'static str = "targets";
    /// The name of the sample weights.
    pub const WEIGHTS: &'static str = "weights";
    /// The name of the groups.
    pub const GROUPS: &'static str = "groups";
    /// The name of the places in time.
    pub const TIMES: &'static str = "times";

    /// Tensors that fit a schema. Fails with every tensor that does not.
    pub fn new(tensors: IndexMap<String, Tensor>, schema: Schema) -> Result<Self> {
        let shapes = tensors.iter().map(|(name, tensor)| Ok((name.as_str(), tensor.f_kind()?, tensor.size())));
        let n_rows = check(&shapes.collect::<Result<Vec<_>>>()?, &schema, "the tensors")?;
        if let (Some(codes), Some(Task::Classification { labels })) = (tensors.get(Self::TARGETS), &schema.task)
            && n_rows > 0
        {
            let [low, high] = [codes.f_min()?, codes.f_max()?].map(|bound| bound.f_int64_value(&[]));
            let (low, high) = (low?, high?);
            if low < 0 || high >= labels.len() as i64 {
                let n_labels = labels.len();
                return Err(TensorError::data(format!(
                    "`targets` has classes from {low} to {high}, but there are {n_labels} labels"
                )));
            }
        }
        Ok(Self { tensors: Mutex::new(tensors), n_rows, schema })
    }

    /// The features, targets, weights, groups and times of a design whose columns are the schema's features.
    pub fn from_design(design: &Design, schema: &Schema) -> Result<Self> {
        let mut tensors = IndexMap::new();
        tensors.insert(Self::FEATURES.to_owned(), network::matrix(design.features.view())?);
        match &design.target {
            Some(Target::Classes { codes, .. }) => {
                let codes: Vec<i64> = codes.iter().map(|&code| i64::from(code)).collect();
                tensors.insert(Self::TARGETS.to_owned(), Tensor::f_from_slice(&codes)?);
            }
            Some(Target::Values(values)) => {
                tensors.insert(Self::TARGETS.to_owned(), Tensor::f_from_slice(values)?);
            }
            None => {}
        }
        if let Some(weights) = &design.weights {
            tensors.insert(Self::WEIGHTS.to_owned(), Tensor::f_from_slice(weights)?);
        }
        for (name, numbers) in [(Self::GROUPS, &design.ties.groups), (Self::TIMES, &design.ties.times)] {
            if let Some(numbers) = numbers {
                let numbers: Vec<i64> = numbers.iter().map(|&number| i64::from(number)).collect();
                tensors.insert(name.to_owned(), Tensor::f_from_slice(&numbers)?);
            }
        }
        let names: Vec<&str> = schema.features().map(|field| field.name.as_str()).collect();
        if names != design.names {
            return Err(TensorError::failed(format!(
                "the rows have the features {:?}, but the schema says {names:?}",
                design.names
            )));
        }
        Self::new(tensors, schema.clone())
    }

    /// The features, target, weights, groups, times and row numbers of a table, groups and times as numbers; text that identifies rows stays behind.
    pub fn from_table(table: &Table) -> Result<Self, StageError> {
        let kept = [Role::Feature, Role::Target, Role::Weight, Role::RowNumber];
        let fields = table.schema().fields.iter().filter(|field| kept.contains(&field.role)).cloned().collect();
        let schema = Schema { fields, task: table.schema().task.clone() };
        let design = retune_stage::Rows::Table(table.clone()).design()?;
        if let Some(images) = &design.images {
            let message = format!("column `{}` is image, where numbers are needed", images.name());
            return Err(StageError::data(message).help(encoder_hint(ColumnKind::Image)));
        }
        let rows = Self::from_design(&design, &schema)?;
        if schema.of_role(Role::RowNumber).is_none() {
            return Ok(rows);
        }
        let numbers: Vec<i64> = table.numeric(Schema::ROW)?.into_iter().map(|number| number as i64).collect();
        let mut tensors = rows.tensors.into_inner().unwrap_or_else(PoisonError::into_inner);
        tensors.insert(Schema::ROW.to_owned(), Tensor::f_from_slice(&numbers).map_err(TensorError::from)?);
        Ok(Self::new(tensors, schema)?)
    }

    /// Reads a safetensors file, memory-mapped: names, kinds and shapes are checked before anything is copied. The file must not change meanwhile.
    pub fn load(path: &Path, schema: &Schema) -> Result<Self> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let unreadable = |error: std::io::Error| TensorError::failed(format!("{name} cannot be read: {error}"));
        let file = File::open(path).map_err(unreadable)?;
        // SAFETY: files of the store are never written again once they have their name, and the map ends with this function.
        let bytes = unsafe { Mmap::map(&file) }.map_err(unreadable)?;
        let stored = weights::parse(&bytes, &name)?;
        let mut views = stored.tensors();
        views.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        let shape = |(key, view): &(String, safetensors::tensor::TensorView)| {
            let unknown = || {
                TensorError::failed(format!(
                    "{name}: tensor `{key}` is of a kind that is not known, {:?}",
                    view.dtype()
                ))
            };
            Ok((
                key.clone(),
                weights::kind(view.dtype()).ok_or_else(unknown)?,
                view.shape().iter().map(|&n| n as i64).collect::<Vec<_>>(),
            ))
        };
        let shapes = views.iter().map(shape).collect::<Result<Vec<_>>>()?;
        let borrowed: Vec<_> = shapes.iter().map(|(key, kind, size)| (key.as_str(), *kind, size.clone())).collect();
        check(&borrowed, schema, &name)?;
        let tensors =
            views.iter().map(|(key, view)| Ok((key.clone(), weights::tensor(view)?))).collect::<Result<_>>()?;
        Self::new(tensors, schema.clone())
    }

    /// A handle to a tensor.
    pub fn get(&self, name: &str) -> Option<Tensor> {
        self.lock().get(name).map(Tensor::shallow_clone)
    }

    /// Each row's number in its source, where it is known.
    pub fn row_numbers(&self) -> Result<Option<Vec<i64>>> {
        self.get(Schema::ROW).map(|numbers| values(&numbers)).transpose()
    }

    /// A tensor of numbers that count something, where it is there.
    fn numbers(&self, name: &str) -> Result<Option<Vec<u32>>> {
        let Some(tensor) = self.get(name) else { return Ok(None) };
        let number = |number: i64| {
            u32::try_from(number)
                .map_err(|_| TensorError::data(format!("`{name}` holds {number}, expected 0 to {}", u32::MAX)))
        };
        values::<i64>(&tensor)?.into_iter().map(number).collect::<Result<_>>().map(Some)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, IndexMap<String, Tensor>> {
        self.tensors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TensorRows for Tensors {
    fn n_rows(&self) -> usize {
        self.n_rows
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn take(&self, indices: &[usize]) -> Result<Arc<dyn TensorRows>, StageError> {
        let indices: Vec<i64> = indices.iter().map(|&row| row as i64).collect();
        let take = || {
            let indices = Tensor::f_from_slice(&indices)?;
            let rows = self
                .lock()
                .iter()
                .map(|(name, tensor)| Ok((name.clone(), tensor.f_index_select(0, &indices)?)))
                .collect::<Result<_>>()?;
            Self::new(rows, self.schema.clone())
        };
        Ok(Arc::new(take()?))
    }

    fn design(&self) -> Result<Design, StageError> {
        let features =
            self.get(Self::FEATURES).ok_or_else(|| StageError::data("the rows have no tensor `features`"))?;
        let wide: Vec<f64> = values::<f32>(&features)?.into_iter().map(f64::from).collect();
        let names: Vec<String> = self.schema.features().map(|field| field.name.clone()).collect();
        let features = Array2::from_shape_vec((self.n_rows, names.len()), wide)
            .map_err(|error| StageError::failed(error.to_string()))?;
        let target = match (self.get(Self::TARGETS), &self.schema.task) {
            (Some(codes), Some(Task::Classification { labels })) => {
                let codes = values::<i64>(&codes)?.into_iter().map(|code| code as u32).collect();
                Some(Target::Classes { codes, n_classes: labels.len() })
            }
            (Some(targets), _) => Some(Target::Values(values(&targets)?)),
            (None, _) => None,
        };
        let weights = self.get(Self::WEIGHTS).map(|weights| values(&weights)).transpose()?;
        let ties = Ties { groups: self.numbers(Self::GROUPS)?, times: self.numbers(Self::TIMES)? };
        Ok(Design { features, names, target, weights, ties, ..Design::default() })
    }

    fn save(&self, path: &Path) -> Result<(), StageError> {
        let handles: Vec<(String, Tensor)> =
            self.lock().iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        let bytes = weights::to_bytes(handles.iter().map(|(name, tensor)| (name.as_str(), tensor)))?;
        Ok(std::fs::write(path, bytes)?)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Checks tensors, given by name, kind and size, against what the schema says of them, and returns the number of rows. One error names all mistakes.
fn check(tensors: &[(&str, Kind, Vec<i64>)], schema: &Schema, place: &str) -> Result<usize> {
    let find = |name: &str| tensors.iter().find(|(key, ..)| *key == name);
    let Some(n_rows) = find(Tensors::FEATURES).or(tensors.first()).and_then(|(_, _, size)| size.first().copied())
    else {
        return Err(TensorError::failed(format!("{place}: there is no tensor with rows")));
    };
    let target_kind = if schema.task == Some(Task::Regression) { Kind::Double } else { Kind::Int64 };
    let known = [
        (Tensors::FEATURES, Kind::Float, vec![n_rows, schema.features().count() as i64]),
        (Tensors::TARGETS, target_kind, vec![n_rows]),
        (Tensors::WEIGHTS, Kind::Double, vec![n_rows]),
        (Tensors::GROUPS, Kind::Int64, vec![n_rows]),
        (Tensors::TIMES, Kind::Int64, vec![n_rows]),
        (Schema::ROW, Kind::Int64, vec![n_rows]),
    ];
    let mut mistakes = Vec::new();
    for (name, kind, size) in tensors {
        match known.iter().find(|(key, ..)| key == name) {
            Some((_, expected_kind, expected)) if (expected_kind, expected) != (kind, size) => {
                mistakes.push(format!("`{name}` is {kind:?} {size:?}, expected {expected_kind:?} {expected:?}"));
            }
            None if size.first() != Some(&n_rows) => {
                mistakes.push(format!("`{name}` is {size:?}, expected {n_rows} rows"));
            }
            _ => {}
        }
    }
    if schema.features().count() > 0 && find(Tensors::FEATURES).is_none() {
        mistakes.push(format!("`{}` is missing", Tensors::FEATURES));
    }
    if mistakes.is_empty() {
        Ok(n_rows as usize)
    } else {
        Err(TensorError::failed(format!("{place}: {}", mistakes.join("; "))))
    }
}

fn values<T: tch::kind::Element + Clone + Default>(tensor: &Tensor) -> Result<Vec<T>> {
    let tensor = tensor.f_contiguous()?;
    let mut values = vec![T::default(); tensor.numel()];
    tensor.f_copy_data(&mut values, tensor.numel())?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use ndarray::array;
    use retune_stage::Field;

    use super::*;

    fn schema(task: Task) -> Schema {
        let target = Field { name: "y".into(), role: Role::Target, kind: ColumnKind::Categorical, source: None };
        let fields = vec![Field::feature("a", ColumnKind::Numeric), Field::feature("b", ColumnKind::Numeric), target];
        Schema { fields, task: Some(task) }
    }

    fn classes() -> (Design, Schema) {
        let target = Some(Target::Classes { codes: vec![0, 1, 1], n_classes: 2 });
        let features = array![[1.0, 2.5], [3.0, -4.0], [0.0, 8.0]];
        let names = vec!["a".into(), "b".into()];
        let ties = Ties { groups: Some(vec![0, 1, 0]), times: Some(vec![2, 0, 1]) };
        let design = Design { features, names, target, weights: Some(vec![1.0, 0.1, 3.0]), ties, ..Design::default() };
        (design, schema(Task::Classification { labels: vec!["no".into(), "yes".into()] }))
    }

    fn same(left: &Design, right: &Design) {
        assert_eq!(
            (&left.features, &left.names, &left.target, &left.weights, &left.ties),
            (&right.features, &right.names, &right.target, &right.weights, &right.ties)
        );
    }

    #[test]
    fn rows_go_through_memory_and_through_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.safetensors");
        let (design, schema) = classes();
        let values =
            Design { target: Some(Target::Values(vec![0.1, 1e9 + 0.5, -3.0])), weights: None, ..design.clone() };
        // As files were written before groups and times were kept.
        let untied = Design { ties: Ties::default(), ..design.clone() };
        for (design, schema) in [(design, schema.clone()), (values, self::schema(Task::Regression)), (untied, schema)] {
            let rows = Tensors::from_design(&design, &schema).unwrap();
            same(&rows.design().unwrap(), &design);
            same(&rows.take(&[2, 0, 2]).unwrap().design().unwrap(), &design.take(&[2, 0, 2]));
            rows.save(&path).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let loaded = Tensors::load(&path, &schema).unwrap();
            same(&loaded.design().unwrap(), &design);
            loaded.save(&path).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn a_table_keeps_its_row_numbers_and_leaves_text_behind() {
        let columns = [
            ("name", ["p", "q"].into()),
            ("house", ["x", "y"].into()),
            ("when", [2.5, 1.5].into()),
            ("a", [1.0, 2.0].into()),
            ("b", [0.5, 0.25].into()),
            ("y", ["yes", "no"].into()),
        ];
        let table = retune_testing::table(columns)
            .role("name", Role::Id)
            .role("house", Role::Group)
            .role("when", Role::Time)
            .target("y")
            .build();
        let rows = Tensors::from_table(&table).unwrap();
        let names: Vec<&str> = rows.schema().fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["#row", "a", "b", "y"]);
        same(&rows.design().unwrap(), &retune_stage::Rows::Table(table).design().unwrap());
        let ties = Ties { groups: Some(vec![0, 1]), times: Some(vec![1, 0]) };
        assert_eq!(rows.design().unwrap().ties, ties);
        let taken = rows.take(&[1]).unwrap();
        let taken = taken.as_any().downcast_ref::<Tensors>().unwrap();
        assert_eq!(taken.row_numbers().unwrap().unwrap(), [2]);
    }

    #[test]
    fn threads_may_read_at_once() {
        let (design, schema) = classes();
        let rows: Arc<dyn TensorRows> = Arc::new(Tensors::from_design(&design, &schema).unwrap());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..50).for_each(|_| same(&rows.take(&[1]).unwrap().design().unwrap(), &design.take(&[1])));
                });
            }
        });
    }

    #[test]
    fn tensors_that_do_not_fit_are_named() {
        let (_, schema) = classes();
        let floats = |size: &[i64]| Tensor::zeros(size, (Kind::Float, tch::Device::Cpu));
        let check = |tensors: Vec<(&str, Tensor)>, expected: &str| {
            let tensors = tensors.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect();
            assert_eq!(Tensors::new(tensors, schema.clone()).err().unwrap().to_string(), expected);
        };
        check(vec![("features", floats(&[3, 1]))], "the tensors: `features` is Float [3, 1], expected Float [3, 2]");
        check(
            vec![("features", floats(&[3, 2])), ("targets", floats(&[2])), ("images", floats(&[4, 1]))],
            "the tensors: `targets` is Float [2], expected Int64 [3]; `images` is [4, 1], expected 3 rows",
        );
        check(vec![("weights", Tensor::from_slice(&[1.0]))], "the tensors: `features` is missing");
        check(
            vec![("features", floats(&[2, 2])), ("targets", Tensor::from_slice(&[0i64, 2]))],
            "`targets` has classes from 0 to 2, but there are 2 labels",
        );
        check(
            vec![("features", floats(&[2, 2])), ("groups", floats(&[2])), ("times", Tensor::from_slice(&[0i64]))],
            "the tensors: `groups` is Float [2], expected Int64 [2]; `times` is Int64 [1], expected Int64 [2]",
        );
        check(vec![], "the tensors: there is no tensor with rows");
    }

    #[test]
    fn damaged_files_are_refused() {
        let (design, schema) = classes();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("damaged.safetensors");
        Tensors::from_design(&design, &schema).unwrap().save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
        let error = Tensors::load(&path, &schema).err().unwrap().to_string();
        assert!(error.contains("is not a whole safetensors file"), "{error}");
        std::fs::remove_file(&path).unwrap();
        let error = Tensors::load(&path, &schema).err().unwrap().to_string();
        assert!(error.contains("cannot be read"), "{error}");
    }
}
