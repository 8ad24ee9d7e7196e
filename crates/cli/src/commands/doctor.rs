//! `retune doctor`: what is there and what is missing.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use retune_pipeline::{LIBTORCH, Project, host_program, run_job_within};
use retune_protocol::{Device, Failure, HostReport, Job, Library, Request, VERSION};
use serde::Serialize;
use serde_json::json;

use crate::Outcome;
use crate::arguments::Doctor;
use crate::exit::Exit;
use crate::output::{self, ERROR, GOOD, STRONG, WARNING};

/// How long the host may say nothing: loading libtorch from a cold disk takes a while.
const PATIENCE: Duration = Duration::from_secs(60);

/// Less free disk or memory than this is worth a word.
const LITTLE: u64 = 1 << 30;

/// One thing that was looked at.
#[derive(Serialize)]
struct Check {
    name: &'static str,
    status: Status,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// As it should be.
    Ok,
    /// Runs go on, but somebody may want to know.
    Note,
    /// Runs will fail.
    Missing,
}

impl Check {
    fn new(name: &'static str, status: Status, found: impl Into<String>) -> Self {
        Self { name, status, found: found.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Looks at everything that a run needs.
pub fn doctor(arguments: &Doctor) -> Outcome {
    let project = Project::here(arguments.out.clone())?;
    let mut checks = vec![this_program()];
    let (host, report) = host(&project);
    checks.push(host);
    checks.extend(libraries(report.as_ref()));
    checks.push(gpu(report.as_ref()));
    checks.push(folder("store", &project.store, "RETUNE_STORE names another place", true));
    checks.push(folder("runs", &project.runs, "`--out DIR` names another place", false));
    checks.push(processor());
    checks.push(memory());
    let missing = checks.iter().filter(|check| check.status == Status::Missing).count();
    if arguments.json {
        output::print(&format!("{:#}\n", json!({ "healthy": missing == 0, "checks": checks })));
    } else {
        checks.iter().for_each(show);
        output::line(&match missing {
            0 => "everything that a run needs is there".to_owned(),
            1 => "one thing is missing".to_owned(),
            n => format!("{n} things are missing"),
        });
    }
    Ok(if missing == 0 { Exit::Done } else { Exit::StageFailed })
}

fn show(check: &Check) {
    let (style, word) = match check.status {
        Status::Ok => (GOOD, "ok"),
        Status::Note => (WARNING, "note"),
        Status::Missing => (ERROR, "missing"),
    };
    let indented = |text: &str| text.replace('\n', "\n                         ");
    output::line(&format!(
        "{style}{word:>8}{style:#}  {STRONG}{:13}{STRONG:#}  {}",
        check.name,
        indented(&check.found)
    ));
    for help in check.help.iter().flat_map(|help| help.lines()) {
        output::line(&format!("{:25}{STRONG}help{STRONG:#}: {help}", ""));
    }
}

fn this_program() -> Check {
    let mut found = format!("{} for {} on {}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS);
    if let Ok(path) = std::env::current_exe() {
        let _ = write!(found, ", {}", path.display());
    }
    Check::new("retune", Status::Ok, found)
}

/// Starts the host and asks it. What it says, where it says something.
fn host(project: &Project) -> (Check, Option<HostReport>) {
    let asked = host_program().and_then(|program| Ok((ask(project)?, program)));
    let missing = |failure: Failure| {
        let check = Check::new("retune-stage", Status::Missing, failure.message);
        check.help(failure.help.unwrap_or_else(|| "install both programs again with `just install`".to_owned()))
    };
    match asked {
        Err(failure) => (missing(failure), None),
        Ok((report, program)) => {
            let found = format!("{}, {}", report.version, program.display());
            let check = if report.version == env!("CARGO_PKG_VERSION") {
                Check::new("retune-stage", Status::Ok, found)
            } else {
                Check::new("retune-stage", Status::Missing, format!("{found}: not the version of `retune`"))
                    .help("install both programs of one version with `just install`")
            };
            (check, Some(report))
        }
    }
}

fn ask(project: &Project) -> Result<HostReport, Failure> {
    let request = Request {
        version: VERSION,
        id: 1,
        store: project.store.clone(),
        threads: cores(),
        device: Device::Cpu,
        job: Job::Doctor,
    };
    let report = run_job_within(Some(PATIENCE), &request, |_| ())?;
    serde_json::from_value(report)
        .map_err(|error| Failure::failed(format!("it says what `retune` does not know: {error}")))
}

fn libraries(report: Option<&HostReport>) -> [Check; 2] {
    let unknown = |name| Check::new(name, Status::Note, "not asked, since `retune-stage` does not run");
    let loaded = |name, library: &Library| {
        let place = library.path.as_ref().map_or_else(String::new, |path| format!(", {}", path.display()));
        Check::new(name, Status::Ok, format!("{}{place}", library.version))
    };
    let Some(report) = report else { return ["libtorch", "lightgbm"].map(unknown) };
    let libtorch = loaded("libtorch", &report.libtorch);
    let libtorch = if report.libtorch.version == LIBTORCH {
        libtorch
    } else {
        Check {
            status: Status::Missing,
            found: format!("{}: retune was built for {LIBTORCH}", libtorch.found),
            ..libtorch
        }
        .help("take the other library out of LD_LIBRARY_PATH, or build again with `just install`")
    };
    [libtorch, loaded("lightgbm", &report.lightgbm)]
}

fn gpu(report: Option<&HostReport>) -> Check {
    let drivers = cards();
    let named = drivers.join(", ");
    match report {
        None => Check::new("gpu", Status::Note, "not asked, since `retune-stage` does not run"),
        Some(HostReport { devices, .. }) if *devices > 0 => {
            let names: Vec<String> = (0..*devices).map(|number| format!("cuda:{number}")).collect();
            let cards = if named.is_empty() { named } else { format!(" ({named})") };
            Check::new("gpu", Status::Ok, format!("{}{cards}; `--device {}` uses it", names.join(", "), names[0]))
        }
        Some(HostReport { cuda: false, .. }) if !drivers.is_empty() => {
            Check::new("gpu", Status::Note, format!("{named}, but this libtorch was built without CUDA"))
                .help("`just setup cuda`, then `just install`")
        }
        Some(_) if !drivers.is_empty() => {
            Check::new("gpu", Status::Note, format!("{named}, but libtorch cannot use it"))
                .help("see whether `nvidia-smi` works; its driver may be older than CUDA needs")
        }
        Some(_) => Check::new("gpu", Status::Ok, "none; networks are trained on the processor"),
    }
}

/// The models of NVIDIA's cards, as the driver names them.
fn cards() -> Vec<String> {
    let folders = fs::read_dir("/proc/driver/nvidia/gpus").into_iter().flatten().flatten();
    let model = |folder: fs::DirEntry| {
        let text = fs::read_to_string(folder.path().join("information")).ok()?;
        Some(text.lines().find_map(|line| line.strip_prefix("Model:"))?.trim().to_owned())
    };
    folders.filter_map(model).collect()
}

/// A folder that runs write to, or the one in which it will be made.
fn folder(name: &'static str, path: &Path, other_place: &str, measured: bool) -> Check {
    let Some(there) = path.ancestors().find(|folder| folder.exists()) else {
        return Check::new(name, Status::Missing, format!("{}: no such place", path.display())).help(other_place);
    };
    let mut found = path.display().to_string();
    if there != path {
        found.push_str(", which the first run makes");
    } else if measured {
        let _ = write!(found, " of {}", bytes(size_of(path)));
    }
    // Under no name, so that nothing stays behind.
    let written = tempfile::tempfile_in(there).and_then(|mut file| file.write_all(b"written by retune doctor"));
    if let Err(error) = written {
        return Check::new(name, Status::Missing, format!("{found}: cannot be written to: {error}"))
            .help(format!("make it yours to write to; {other_place}"));
    }
    let Ok(system) = rustix::fs::statvfs(there) else { return Check::new(name, Status::Ok, found) };
    let free = system.f_bavail * system.f_frsize;
    let _ = write!(found, "; {} free", bytes(free));
    if free < LITTLE {
        return Check::new(name, Status::Note, found).help(format!("little is free: make room; {other_place}"));
    }
    Check::new(name, Status::Ok, found)
}

/// The bytes of all files below a folder.
fn size_of(folder: &Path) -> u64 {
    let (mut sum, mut folders) = (0, vec![PathBuf::from(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => sum += metadata.len(),
                Err(_) => {}
            }
        }
    }
    sum
}

fn processor() -> Check {
    let cores = cores();
    let what = if cores == 1 { "1 core" } else { &format!("{cores} cores") };
    Check::new(
        "processor",
        Status::Ok,
        format!("{what}; a stage has {cores} threads where the pipeline does not say `threads`"),
    )
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn memory() -> Check {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = |key: &str| -> Option<u64> {
        let kibibytes = text.lines().find_map(|line| line.strip_prefix(key))?.trim().strip_suffix("kB")?.trim();
        Some(kibibytes.parse::<u64>().ok()? * 1024)
    };
    let (Some(total), Some(available)) = (line("MemTotal:"), line("MemAvailable:")) else {
        return Check::new("memory", Status::Note, "this system does not say how much there is");
    };
    let mut found = format!("{}, {} of it free", bytes(total), bytes(available));
    let limit = limit_of_group().filter(|limit| *limit < total);
    if let Some(limit) = limit {
        let _ = write!(found, "; this session may use {}", bytes(limit));
    }
    if available.min(limit.unwrap_or(u64::MAX)) < LITTLE {
        return Check::new("memory", Status::Note, found)
            .help("little is free: fewer `threads`, fewer rows at a time, or other programs closed");
    }
    Check::new("memory", Status::Ok, found)
}

/// What a control group, such as a container's, allows.
fn limit_of_group() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let root = Path::new("/sys/fs/cgroup");
    let files = [root.join(own).join("memory.max"), root.join("memory.max"), root.join("memory/memory.limit_in_bytes")];
    files.iter().find_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
}

/// Bytes for people: `450 kB`, `1.2 GB`.
fn bytes(n: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    let mut size = n as f64 / 1000.0;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < units.len() {
        size /= 1000.0;
        unit += 1;
    }
    if size < 10.0 { format!("{size:.1} {}", units[unit]) } else { format!("{size:.0} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_in_two_or_three_digits() {
        for (n, expected) in [
            (0, "0.0 kB"),
            (9_949, "9.9 kB"),
            (450_000, "450 kB"),
            (1_250_000_000, "1.2 GB"),
            (5_000_000_000_000_000, "5000 TB"),
        ] {
            assert_eq!(bytes(n), expected);
        }
    }
}
