//! Where runs are logged besides their own folder.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Servers and folders that runs are logged to, besides the run's own folder. It changes no result and is part of no cache key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tracking {
    /// An MLflow server, such as `http://localhost:5000`. Each run of the pipeline is a run of the experiment with the pipeline's name. Who asks is told by
    /// MLflow's environment variables: `MLFLOW_TRACKING_TOKEN`, or `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`. A server that does not answer is a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^https?://[^\s/@]+(/[^\s@]*)?$"),
        extend("patternErrorMessage" = "must be the address of a server, such as `http://localhost:5000`; names and passwords come from the environment")
    )]
    pub mlflow: Option<String>,
    /// A folder for TensorBoard's event files: those of a run lie in `NAME/TIME` below it. Relative paths start at the current folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub tensorboard: Option<String>,
}
