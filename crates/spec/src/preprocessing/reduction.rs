//! Steps that replace many columns by fewer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AutoWord, five, one};
use crate::columns::Selector;

/// Replaces columns by their projections `svd_1`, `svd_2`, ... on the leading right singular vectors, without centring, as scikit-learn's `TruncatedSVD`.
/// Works on the sparse output of `tf_idf`. Up to 1,024 columns that are not sparse are decomposed exactly; else by the randomised range finder of
/// Halko et al. (2011).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TruncatedSvd {
    /// The columns replaced.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// The number of components.
    #[serde(default = "svd_components")]
    #[schemars(range(min = 1, max = 10_000))]
    pub components: usize,
    /// Power iterations of the range finder; more of them bring it closer to the exact decomposition.
    #[serde(default = "five")]
    #[schemars(range(min = 0, max = 100))]
    pub iterations: usize,
    /// What the new columns are called: `PREFIX_1`, `PREFIX_2`, ...
    #[serde(default = "svd_prefix")]
    pub prefix: String,
}

fn svd_components() -> usize {
    64
}

fn svd_prefix() -> String {
    "svd".to_owned()
}

/// Replaces columns by their principal components `pca_1`, `pca_2`, ... (scikit-learn's `PCA`; signs as its `svd_flip`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pca {
    /// The columns replaced.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// A number of components (1 or more), or the share of variance to keep (below 1; `solver: exact` only).
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub components: f64,
    /// How the components are found.
    #[serde(default)]
    pub solver: PcaSolver,
    /// Power iterations of `solver: randomized`. Without it scikit-learn's choice: 7 where the components are fewer than a tenth of the rows and of the
    /// columns, else 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub iterations: Option<usize>,
    /// Divide each component by its standard deviation.
    #[serde(default)]
    pub whiten: bool,
    /// What the new columns are called: `PREFIX_1`, `PREFIX_2`, ...
    #[serde(default = "pca_prefix")]
    pub prefix: String,
}

/// How `pca` finds components.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PcaSolver {
    /// All of them, from the covariance of the columns, which is summed in one pass over rows that may be more than memory holds; by a singular value
    /// decomposition where there are fewer rows than columns.
    #[default]
    Exact,
    /// The leading ones, by the randomised range finder of Halko et al. (2011): for thousands of columns of which few components are wanted.
    Randomized,
}

fn pca_prefix() -> String {
    "pca".to_owned()
}

/// Replaces columns by principal components `pca_1`, `pca_2`, ... that are learned batch by batch, each batch changing those of the batches before it
/// (scikit-learn's `IncrementalPCA`; Ross et al. 2008). An approximation that depends on the order of the rows; it needs memory for one batch only, where `pca`
/// needs the covariance of all columns: for rows and columns that are both too many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IncrementalPca {
    /// The columns replaced.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// The number of components; at most the rows of the first batch.
    #[schemars(range(min = 1, max = 10_000))]
    pub components: usize,
    /// The rows of a batch; 5 for each column where nothing is said. The last batch takes what is left where that would be fewer rows than components.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub batch_size: Option<usize>,
    /// Divide each component by its standard deviation.
    #[serde(default)]
    pub whiten: bool,
    /// What the new columns are called: `PREFIX_1`, `PREFIX_2`, ...
    #[serde(default = "pca_prefix")]
    pub prefix: String,
}

/// Replaces columns by their products `random_1`, `random_2`, ... with random directions, which keeps the distances between rows nearly as they were
/// (Johnson and Lindenstrauss 1984; scikit-learn's `GaussianRandomProjection` and `SparseRandomProjection`). Learns nothing but the number of columns and
/// rows. Works on the sparse output of `tf_idf`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandomProjection {
    /// The columns replaced.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// What the directions are drawn from.
    #[serde(default)]
    pub method: ProjectionMethod,
    /// The number of components, or `auto`: as many as keep every distance within `eps`.
    #[serde(default)]
    pub components: Components,
    /// How far distances may be off, as a share of them, with `components: auto`.
    #[serde(default = "projection_eps")]
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub eps: f64,
    /// The share of entries that are not zero with `method: sparse`; 1 / sqrt(columns) where nothing is said (Li, Hastie and Church 2006).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1), extend("exclusiveMinimum" = 0.0))]
    pub density: Option<f64>,
    /// What the new columns are called: `PREFIX_1`, `PREFIX_2`, ...
    #[serde(default = "random_prefix")]
    pub prefix: String,
}

/// What `random_projection` draws its directions from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProjectionMethod {
    /// Normal numbers.
    #[default]
    Gaussian,
    /// Mostly zeros, the others equal but for their signs: faster, and less to store.
    Sparse,
}

/// A number of components.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Components {
    /// So many.
    Number(#[schemars(range(min = 1, max = 10_000))] usize),
    /// As many as it takes.
    Auto(AutoWord),
}

impl Default for Components {
    fn default() -> Self {
        Self::Auto(AutoWord::Auto)
    }
}

fn projection_eps() -> f64 {
    0.1
}

fn random_prefix() -> String {
    "random".to_owned()
}

/// Replaces columns by the coordinates `diffusion_1`, `diffusion_2`, ... of a diffusion map (Coifman and Lafon 2006): rows are close where a random walk
/// that prefers short ways soon leads from one to the other, so that it follows curved shapes. Rows that it did not learn from are placed by the Nystrom
/// extension, each by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiffusionMap {
    /// The columns replaced; scale them before.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// The number of coordinates.
    #[serde(default = "diffusion_components")]
    #[schemars(range(min = 1, max = 1000))]
    pub components: usize,
    /// Steps of the random walk: the more, the coarser the shapes that count.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub steps: usize,
    /// The width w of the kernel exp(-distance^2 / w); the median of the squared distances where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub width: Option<f64>,
    /// How far the density of the rows is divided out: 0 not at all, 1 leaves the shape alone.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1))]
    pub alpha: f64,
    /// The training rows that the map is learned from, drawn by the seed where there are more. Time grows with their cube, memory with their square.
    #[serde(default = "diffusion_rows")]
    #[schemars(range(min = 2, max = 20_000))]
    pub max_rows: usize,
    /// What the new columns are called: `PREFIX_1`, `PREFIX_2`, ...
    #[serde(default = "diffusion_prefix")]
    pub prefix: String,
}

fn diffusion_components() -> usize {
    2
}

fn diffusion_rows() -> usize {
    2000
}

fn diffusion_prefix() -> String {
    "diffusion".to_owned()
}

/// Replaces columns by the directions `lda_1`, `lda_2`, ... that separate the target's labels best: linear discriminant analysis (scikit-learn's
/// `LinearDiscriminantAnalysis(solver="svd").transform`, up to signs). For classification only; at most as many directions as there are labels, less one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lda {
    /// The columns replaced.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// The number of directions; all where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub components: Option<usize>,
    /// Directions in which the standardised rows of one label deviate by less than this are left out.
    #[serde(default = "lda_tolerance")]
    #[schemars(range(min = 0, max = 1))]
    pub tolerance: f64,
    /// What the new columns are called: `PREFIX_1`, `PREFIX_2`, ...
    #[serde(default = "lda_prefix")]
    pub prefix: String,
}

fn lda_tolerance() -> f64 {
    1e-4
}

fn lda_prefix() -> String {
    "lda".to_owned()
}
