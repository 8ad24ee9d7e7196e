//! Runs logged to an MLflow server and to TensorBoard's event files, as `tracking` of a pipeline says.
//!
//! [`Tracker`] listens to a run as whoever shows its progress does. What it logs it reads from the run's folder, so that nothing is logged that is not there too; what
//! cannot be logged is a warning and takes nothing from the run.

mod event_file;
mod mlflow;
mod record;

use std::path::{Path, PathBuf};

use retune_pipeline::{Event, Listener, RunStatus, TRACKING};
use retune_protocol::Level;
use retune_spec::Document;

use crate::mlflow::Mlflow;

/// Logs a run where its pipeline says, and passes everything on to whoever shows it.
pub struct Tracker<'a> {
    shown: Box<dyn Listener + 'a>,
    document: &'a Document,
    source: &'a Path,
    run: Option<Logged>,
}

/// A run that began and has not ended.
struct Logged {
    folder: PathBuf,
    mlflow: Option<Mlflow>,
}

impl<'a> Tracker<'a> {
    /// For a run of a document, which was read from the file `source`.
    pub fn new(document: &'a Document, source: &'a Path, shown: Box<dyn Listener + 'a>) -> Self {
        Self { shown, document, source, run: None }
    }

    fn begin(&mut self, folder: &Path) {
        let Some(tracking) = &self.document.pipeline.tracking else { return };
        let mlflow = tracking.mlflow.as_ref().map(|server| Mlflow::begin(server, self.document, self.source, folder));
        self.run = Some(Logged { folder: folder.to_owned(), mlflow });
    }

    /// Logs what the run left, at most once.
    fn finish(&mut self, status: RunStatus) {
        let Some(Logged { folder, mlflow }) = self.run.take() else { return };
        let (points, mut warnings) = record::points(&folder);
        let tags = record::tags(&folder);
        let tracking = self.document.pipeline.tracking.as_ref();
        if let Some(root) = tracking.and_then(|tracking| tracking.tensorboard.as_ref()) {
            let target = Path::new(root).join(&self.document.pipeline.name).join(record::name_of(&folder));
            if let Err(error) = event_file::write(&target, &points) {
                warnings.push(format!("TensorBoard's events are not in {}: {error}", target.display()));
            }
        }
        if let Some(mlflow) = mlflow {
            warnings.extend(mlflow.finish(status, points, tags).err());
        }
        for text in warnings {
            self.shown.hear(&Event::Message { stage: TRACKING.to_owned(), level: Level::Warning, text });
        }
    }
}

impl Listener for Tracker<'_> {
    fn hear(&mut self, event: &Event) {
        match event {
            Event::RunStarted { folder, .. } => self.begin(folder),
            // Before the others hear of it, for whom it is the last word.
            Event::RunFinished { status, .. } => self.finish(*status),
            _ => {}
        }
        self.shown.hear(event);
    }
}

impl Drop for Tracker<'_> {
    /// A run that broke off, as where the disk is full, said nothing at its end.
    fn drop(&mut self) {
        self.finish(RunStatus::Failed);
    }
}
