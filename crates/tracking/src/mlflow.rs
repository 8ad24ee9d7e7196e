//! A run at an MLflow server, by its REST API (`/api/2.0/mlflow`, the same in MLflow 1 to 3).

use std::collections::HashSet;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use attohttpc::RequestBuilder;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use retune_pipeline::RunStatus;
use retune_spec::Document;
use serde_json::{Value, json};

use crate::record::{self, Point};

/// How long one answer may take, and how long the end of a run waits for the last one.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a server takes at once.
const PARAMETERS_AT_ONCE: usize = 100;
const METRICS_AT_ONCE: usize = 1000;
const TAGS_AT_ONCE: usize = 100;

/// What fits in: characters of a name, of a parameter (6000 since MLflow 2.8, but 500 before) and of a tag.
const NAME_LENGTH: usize = 250;
const PARAMETER_LENGTH: usize = 500;
const TAG_LENGTH: usize = 5000;

/// A run that is logged by a thread of its own, so that a server that is slow or away delays no stage.
pub struct Mlflow {
    server: String,
    end: Sender<End>,
    logged: Receiver<Result<(), String>>,
}

/// What is known at the beginning.
struct Beginning {
    experiment: String,
    name: String,
    tags: Vec<(String, String)>,
    parameters: Vec<(String, String)>,
}

/// What is known at the end.
struct End {
    status: RunStatus,
    points: Vec<Point>,
    tags: Vec<(String, String)>,
}

impl Mlflow {
    /// Begins to log a run.
    pub fn begin(server: &str, document: &Document, source: &Path, folder: &Path) -> Self {
        let beginning = Beginning {
            experiment: document.pipeline.name.clone(),
            name: record::name_of(folder),
            tags: record::first_tags(source, folder),
            parameters: record::parameters(document),
        };
        let (end, ended) = channel();
        let (log, logged) = channel();
        let client = Client::new(server);
        std::thread::spawn(move || {
            // Whoever waited may have given up.
            let _ = log.send(client.log(beginning, &ended));
        });
        Self { server: server.to_owned(), end, logged }
    }

    /// Logs what came out. Says what is wrong where the server did not take all of it in good time.
    pub fn finish(self, status: RunStatus, points: Vec<Point>, tags: Vec<(String, String)>) -> Result<(), String> {
        // A thread that met an error listens no more; its error waits to be read.
        let _ = self.end.send(End { status, points, tags });
        let error = match self.logged.recv_timeout(PATIENCE) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => format!("it did not take everything within {} s", PATIENCE.as_secs()),
        };
        Err(format!(
            "the run is not, or not wholly, logged to MLflow at {}: {error}; the run's folder has all of it",
            self.server
        ))
    }
}

struct Client {
    root: String,
    authorization: Option<String>,
}

impl Client {
    fn new(server: &str) -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let basic = || {
            let [user, password] = ["MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"].map(variable);
            let credentials = format!("{}:{}", user?, password.unwrap_or_default());
            Some(format!("Basic {}", BASE64_STANDARD.encode(credentials)))
        };
        Self {
            root: format!("{}/api/2.0/mlflow", server.trim_end_matches('/')),
            authorization: variable("MLFLOW_TRACKING_TOKEN").map(|token| format!("Bearer {token}")).or_else(basic),
        }
    }

    fn log(&self, beginning: Beginning, ended: &Receiver<End>) -> Result<(), String> {
        let experiment = self.experiment(&beginning.experiment)?;
        let run = self.post(
            "runs/create",
            &json!({
                "experiment_id": experiment,
                "run_name": beginning.name,
                "start_time": milliseconds(),
                "tags": pairs(beginning.tags, TAG_LENGTH),
            }),
        )?;
        let run = run["run"]["info"]["run_id"].as_str().ok_or("it gave the run no id")?.to_owned();
        let parameters = self.log_batches(
            &run,
            "params",
            &pairs(parameter_names(beginning.parameters), PARAMETER_LENGTH),
            PARAMETERS_AT_ONCE,
        );
        // Nobody says how it ended where the program is stopped at once.
        let Ok(end) = ended.recv() else { return Ok(()) };
        let now = milliseconds();
        let metrics: Vec<Value> = end
            .points
            .iter()
            .map(|point| json!({ "key": allowed(&point.name, true), "value": point.value, "step": point.step, "timestamp": now }))
            .collect();
        let metrics = self.log_batches(&run, "metrics", &metrics, METRICS_AT_ONCE);
        let tags = self.log_batches(&run, "tags", &pairs(end.tags, TAG_LENGTH), TAGS_AT_ONCE);
        let status = match end.status {
            RunStatus::Done => "FINISHED",
            RunStatus::Failed => "FAILED",
            RunStatus::Interrupted => "KILLED",
        };
        let closed = self.post("runs/update", &json!({ "run_id": run, "status": status, "end_time": now }));
        parameters.and(metrics).and(tags).and(closed.map(|_| ()))
    }

    /// The id of an experiment, which is made where there is none of that name.
    fn experiment(&self, name: &str) -> Result<String, String> {
        let id =
            |answer: &Value| answer.pointer("/experiment/experiment_id").and_then(Value::as_str).map(str::to_owned);
        if let Some(id) = self.get_experiment(name)?.as_ref().and_then(id) {
            return Ok(id);
        }
        let made = self.post("experiments/create", &json!({ "name": name }));
        let made = made.as_ref().map(|answer| answer["experiment_id"].as_str().map(str::to_owned));
        match made {
            Ok(Some(id)) => Ok(id),
            Ok(None) => Err("it gave the experiment no id".to_owned()),
            // Another run of the pipeline may have made it a moment ago.
            Err(error) => self.get_experiment(name)?.as_ref().and_then(id).ok_or_else(|| error.clone()),
        }
    }

    fn get_experiment(&self, name: &str) -> Result<Option<Value>, String> {
        let address = format!("{}/experiments/get-by-name", self.root);
        let (status, answer) = self.ask(attohttpc::get(address).param("experiment_name", name))?;
        match status {
            404 if answer["error_code"] == "RESOURCE_DOES_NOT_EXIST" => Ok(None),
            _ => checked(status, answer).map(Some),
        }
    }

    fn post(&self, method: &str, body: &Value) -> Result<Value, String> {
        let request = attohttpc::post(format!("{}/{method}", self.root));
        let (status, answer) = self.ask(request.json(body).map_err(|error| error.to_string())?)?;
        checked(status, answer)
    }

    /// The status and the JSON of an answer; null where it is none.
    fn ask<B: attohttpc::body::Body>(&self, request: RequestBuilder<B>) -> Result<(u16, Value), String> {
        let mut request = request.timeout(PATIENCE).connect_timeout(PATIENCE);
        if let Some(authorization) = &self.authorization {
            request = request.try_header("Authorization", authorization).map_err(|error| error.to_string())?;
        }
        let response = request.send().map_err(|error| error.to_string())?;
        Ok((response.status().as_u16(), response.json().unwrap_or_default()))
    }

    fn log_batches(&self, run: &str, what: &str, items: &[Value], at_once: usize) -> Result<(), String> {
        items
            .chunks(at_once)
            .try_for_each(|chunk| self.post("runs/log-batch", &json!({ "run_id": run, what: chunk })).map(|_| ()))
    }
}

fn checked(status: u16, answer: Value) -> Result<Value, String> {
    let reason = answer["message"].as_str().map_or_else(String::new, |message| format!(" ({message})"));
    match status {
        200..=299 => Ok(answer),
        401 | 403 => Err(format!(
            "it refuses to be written to{reason}; set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )),
        404 if reason.is_empty() => {
            Err("there is a server, but no MLflow; check the address in `tracking: mlflow`".to_owned())
        }
        _ => Err(format!("it answers with status {status}{reason}")),
    }
}

fn milliseconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

fn pairs(pairs: Vec<(String, String)>, longest: usize) -> Vec<Value> {
    pairs.into_iter().map(|(key, value)| json!({ "key": allowed(&key, true), "value": cut(&value, longest) })).collect()
}

/// Names for parameters, each once: what is written in a pipeline may hold any character and be of any length.
fn parameter_names(parameters: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut seen = HashSet::new();
    let mut named = |(key, value): (String, String)| {
        let mut name = allowed(&key, false);
        let mut number = 1;
        while !seen.insert(name.clone()) {
            number += 1;
            let base: String = allowed(&key, false).chars().take(NAME_LENGTH - 10).collect();
            name = format!("{base}-{number}");
        }
        (name, value)
    };
    parameters.into_iter().map(&mut named).collect()
}

/// A name of the characters that MLflow takes; a slash makes groups of metrics, but would be a path in a parameter.
fn allowed(name: &str, slashes: bool) -> String {
    let letter = |c: char| if c.is_alphanumeric() || "_.- :".contains(c) || slashes && c == '/' { c } else { '_' };
    name.chars().map(letter).take(NAME_LENGTH).collect()
}

fn cut(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest - 1).chain(std::iter::once('…')).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn names_are_allowed_short_and_each_there_once() {
        let long = "x".repeat(400);
        let names =
            ["a.b", "a/b", "a\"b", "größe", "x\u{2192}y", &long, &long].map(|name| (name.to_owned(), String::new()));
        let named: Vec<String> = parameter_names(names.to_vec()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(named[..5], ["a.b", "a_b", "a_b-2", "größe", "x_y"]);
        assert_eq!((named[5].len(), named[6].as_str()), (250, format!("{}-2", "x".repeat(240)).as_str()));
        assert_eq!(allowed("tuned/test_f1", true), "tuned/test_f1");
    }

    #[test]
    fn long_values_are_cut_and_say_so() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("äöüß", 3), "äö…");
    }
}
