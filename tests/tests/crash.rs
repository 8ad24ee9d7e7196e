//! Killed at any moment: the next run goes on from there and ends with the bits of one that was left alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use retune_tests::{FOUR_STEPS, Random, Workplace, children, is_host, signal, signal_group, wait_for};

/// The moments at which each of the two programs is killed.
const MOMENTS: usize = 10;

/// Lines of the journal of an undisturbed run: its begin and end, and those of six stages.
const LINES: usize = 14;

/// What a run that nobody disturbed leaves, and how long it took.
static UNDISTURBED: LazyLock<(BTreeMap<String, Vec<u8>>, Duration)> = LazyLock::new(|| {
    let place = Workplace::with(FOUR_STEPS);
    let begun = Instant::now();
    place.ok(&["run", "p.yaml"]);
    (place.results("people"), begun.elapsed())
});

#[derive(Clone, Copy)]
enum Victim {
    Retune,
    Host,
}

fn start(place: &Workplace) -> Child {
    place.command(&["run", "p.yaml"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Lines in the journal of the newest run that began.
fn lines(place: &Workplace) -> usize {
    let journal = place.newest("people").map(|run| place.path(run.join("journal.jsonl")));
    journal.and_then(|journal| std::fs::read_to_string(journal).ok()).map_or(0, |journal| journal.lines().count())
}

/// Waits for so many lines in the journal of a run, and a little more, however fast the machine is.
fn wait_until(moment: f64, place: &Workplace, run: &mut Child, duration: Duration) {
    let reached = moment as usize;
    wait_for(Duration::from_secs(60), || lines(place) >= reached || run.try_wait().unwrap().is_some());
    std::thread::sleep(duration.mul_f64(moment.fract() / LINES as f64));
}

/// Kills one of the programs of a run at moments spread over it, and runs again.
fn kill_and_go_on(victim: Victim, seed: u64) {
    let (expected, duration) = &*UNDISTURBED;
    let mut random = Random(seed);
    let mut finished_early = 0;
    for moment in 0..MOMENTS {
        let place = Workplace::with(FOUR_STEPS);
        let after = (moment as f64 + random.next_unit()) * (LINES - 1) as f64 / MOMENTS as f64;
        let mut run = start(&place);
        wait_until(after, &place, &mut run, *duration);
        let hosts: Vec<u32> = children(run.id()).into_iter().filter(|&child| is_host(child)).collect();
        match victim {
            Victim::Retune => run.kill().unwrap(),
            Victim::Host => hosts.iter().for_each(|&host| signal(host, "KILL")),
        }
        finished_early += usize::from(run.wait().unwrap().success());
        assert!(
            wait_for(Duration::from_secs(20), || !hosts.iter().any(|&host| is_host(host))),
            "retune-stage outlives retune, killed at line {after:.2}"
        );
        place.ok(&["run", "p.yaml"]);
        assert_eq!(&place.results("people"), expected, "killed at line {after:.2}");
        assert_eq!(
            place.files("store/tmp").keys().collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "killed at line {after:.2}"
        );
        assert_eq!(
            place.files("store/work").keys().collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "killed at line {after:.2}"
        );
    }
    assert!(finished_early < MOMENTS / 2, "{finished_early} of {MOMENTS} runs were over before they were killed");
}

#[test]
fn retune_killed_at_random_moments() {
    kill_and_go_on(Victim::Retune, 1);
}

#[test]
fn retune_stage_killed_at_random_moments() {
    kill_and_go_on(Victim::Host, 2);
}

#[test]
fn one_run_killed_again_and_again() {
    let (expected, duration) = &*UNDISTURBED;
    let place = Workplace::with(FOUR_STEPS);
    let mut random = Random(3);
    for _ in 0..6 {
        let mut run = start(&place);
        // What is in the store is told, too, so that later runs get further.
        wait_until(random.next_unit() * (LINES - 1) as f64, &place, &mut run, *duration);
        run.kill().unwrap();
        run.wait().unwrap();
    }
    place.ok(&["run", "p.yaml"]);
    assert_eq!(&place.results("people"), expected);
}

#[test]
fn a_signal_stops_a_run_that_goes_on_later() {
    let (expected, _) = &*UNDISTURBED;
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let place = Workplace::with(FOUR_STEPS);
        let run = place
            .command(&["run", "p.yaml"])
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The run and its first stage began.
        assert!(wait_for(Duration::from_secs(20), || lines(&place) >= 2));
        let hosts = children(run.id());
        match name {
            // From a terminal the host hears it, too.
            "INT" => signal_group(run.id(), name),
            _ => signal(run.id(), name),
        }
        let output = retune_tests::Output::of(&run.wait_with_output().unwrap(), &place.path(""));
        assert_eq!(output.code, code, "{}", output.stderr);
        assert!(output.stderr.ends_with("stopped; `retune run` goes on from here\n"), "{}", output.stderr);
        assert!(!hosts.iter().any(|&host| is_host(host)));
        assert_eq!(place.newest_run("people")["status"], "interrupted");
        assert!(!place.path("runs/people/latest").exists(), "{name}");
        place.ok(&["run", "p.yaml"]);
        assert_eq!(&place.results("people"), expected);
    }
}

#[test]
fn two_runs_of_one_pipeline_share_the_work() {
    let (expected, _) = &*UNDISTURBED;
    let place = Workplace::with(FOUR_STEPS);
    let runs: Vec<Child> = (0..2).map(|_| start(&place)).collect();
    for mut run in runs {
        assert!(run.wait().unwrap().success());
    }
    assert_eq!(&place.results("people"), expected);
    // Each stage was computed once, by one of them.
    let journals: String = place
        .files("runs/people")
        .iter()
        .filter(|(name, _)| name.ends_with("journal.jsonl"))
        .map(|(_, bytes)| String::from_utf8(bytes.clone()).unwrap())
        .collect();
    assert_eq!(journals.matches("stage_started").count(), 6, "{journals}");
}

#[test]
fn what_killed_runs_left_is_removed_even_where_everything_is_done() {
    let place = Workplace::with(FOUR_STEPS);
    place.ok(&["run", "p.yaml"]);
    let key = place.json("runs/people/latest/run.json")["stages"][3]["key"].as_str().unwrap().to_owned();
    place.write(&format!("store/work/{key}/trials.jsonl"), "{}");
    place.write("store/tmp/.retune-tmp-1-0-0/part", "x");
    place.ok(&["run", "p.yaml"]);
    assert_eq!(place.ran_and_cached("people").0, Vec::<String>::new());
    assert!(place.files("store/work").is_empty() && place.files("store/tmp").is_empty());
}
