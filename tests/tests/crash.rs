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

/// Kills one of the programs of a run at moments spread over it, and runs again.
fn kill_and_go_on(victim: Victim, seed: u64) {
    let (expected, duration) = &*UNDISTURBED;
    let mut random = Random(seed);
    let mut finished_early = 0;
    for moment in 0..MOMENTS {
        let place = Workplace::with(FOUR_STEPS);
        let after = duration.mul_f64((moment as f64 + random.next_unit()) / MOMENTS as f64);
        let mut run = start(&place);
        std::thread::sleep(after);
        let hosts: Vec<u32> = children(run.id()).into_iter().filter(|&child| is_host(child)).collect();
        match victim {
            Victim::Retune => run.kill().unwrap(),
            Victim::Host => hosts.iter().for_each(|&host| signal(host, "KILL")),
        }
        finished_early += usize::from(run.wait().unwrap().success());
        assert!(wait_for(Duration::from_secs(20), || !hosts.iter().any(|&host| is_host(host))), "retune-stage outlives retune, killed after {after:?}");
        place.ok(&["run", "p.yaml"]);
        assert_eq!(&place.results("people"), expected, "killed after {after:?}");
        assert_eq!(place.files("store/tmp").keys().collect::<Vec<_>>(), Vec::<&String>::new(), "killed after {after:?}");
        assert_eq!(place.files("store/work").keys().collect::<Vec<_>>(), Vec::<&String>::new(), "killed after {after:?}");
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
        std::thread::sleep(duration.mul_f64(random.next_unit()));
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
        let run = place.command(&["run", "p.yaml"]).process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let journal = || std::fs::read_dir(place.path("runs/people")).ok().and_then(|mut runs| std::fs::read_to_string(runs.next()?.ok()?.path().join("journal.jsonl")).ok());
        assert!(wait_for(Duration::from_secs(20), || journal().is_some_and(|journal| journal.contains("stage_started"))));
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
        assert_eq!(place.json("runs/people/latest/run.json")["status"], "interrupted");
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
    let journals: String = place.files("runs/people").iter().filter(|(name, _)| name.ends_with("journal.jsonl")).map(|(_, bytes)| String::from_utf8(bytes.clone()).unwrap()).collect();
    assert_eq!(journals.matches("stage_started").count(), 6, "{journals}");
}
