//! A store that cannot be written to: a clear error, nothing lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

use retune_tests::{FOUR_STEPS, Workplace, assert_has, program, skip};

#[test]
fn a_store_below_a_file_is_an_error() {
    let place = Workplace::with(FOUR_STEPS);
    place.write("file", "");
    let mut command = place.command(&["run", "p.yaml"]);
    command.env("RETUNE_STORE", place.path("file/store"));
    let run = place.finish(command);
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (
            5,
            "error: cannot write to file/store/objects: not a directory; choose another folder (`RETUNE_STORE` for the store, `--out` for results)\n"
        )
    );
    place.ok(&["run", "p.yaml"]);
}

#[test]
fn results_that_cannot_be_written_leave_the_stages_done() {
    let place = Workplace::with(FOUR_STEPS);
    place.write("file", "");
    let error = place.fails(5, &["run", "p.yaml", "--out", "file/runs"]);
    assert_has(&error, &["error: cannot write to file/runs/people: not a directory; choose another folder"]);
    place.ok(&["run", "p.yaml"]);
}

/// Runs a script as root of namespaces of its own, where it may mount; `None` where that is not allowed.
fn with_mounts(place: &Workplace, script: &str) -> Option<String> {
    let works = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "tmpfs"]).arg(place.path("")).output();
    if !works.is_ok_and(|output| output.status.success()) {
        skip("mounting in a namespace of its own is not allowed here");
        return None;
    }
    std::fs::create_dir_all(place.store()).unwrap();
    let mut command = place.command(&[]);
    let environment: Vec<_> =
        command.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
    command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", script]).current_dir(place.path("")).env("RETUNE", program("retune"));
    for (name, value) in environment {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let output = place.finish(command);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    Some(output.stdout)
}

#[test]
fn a_full_disk_is_an_error_and_nothing_is_lost() {
    let expected = Workplace::with(FOUR_STEPS);
    expected.ok(&["run", "p.yaml"]);
    // Too small for anything, for the rows, for the later stages.
    for kilobytes in [24, 64, 128] {
        let place = Workplace::with(FOUR_STEPS);
        let script = format!(
            "mount -t tmpfs -o size={kilobytes}k tmpfs \"$RETUNE_STORE\" || exit 1
            \"$RETUNE\" run p.yaml 2>&1; echo \"first: $?\"
            mount -o remount,size=64m tmpfs \"$RETUNE_STORE\" || exit 1
            \"$RETUNE\" run p.yaml; echo \"second: $?\""
        );
        let Some(said) = with_mounts(&place, &script) else { return };
        let (first, second) = said.split_once("first: ").unwrap();
        assert_has(
            first,
            &[
                "no space left on the device that holds store/",
                "free some, or write to another disk (`RETUNE_STORE` for the store, `--out` for results)",
            ],
        );
        assert!(second.starts_with("5\n") && second.ends_with("second: 0\n"), "{kilobytes} KiB: {said}");
        // The disk may have filled up after a stage was recorded and before that was told.
        let done = first.lines().filter(|line| line.trim_start().starts_with("done  ")).count();
        let cached = second.rsplit_once(" of 6 stages cached").unwrap().0.rsplit_once(' ').unwrap().1;
        assert!(cached.parse::<usize>().unwrap() >= done, "{done} done, {cached} cached");
        assert_eq!(place.results("people"), expected.results("people"), "{kilobytes} KiB");
    }
}

#[test]
fn a_store_that_became_read_only_is_an_error() {
    let place = Workplace::with(FOUR_STEPS);
    let script = "\"$RETUNE\" run p.yaml --until prepare >/dev/null 2>&1 || exit 1
        mount --bind \"$RETUNE_STORE\" \"$RETUNE_STORE\" && mount -o remount,bind,ro \"$RETUNE_STORE\" || exit 1
        \"$RETUNE\" run p.yaml 2>&1; echo \"code: $?\"";
    let Some(said) = with_mounts(&place, script) else { return };
    assert_has(
        &said,
        &[
            "cannot write to store/",
            ": read-only file system; choose another folder (`RETUNE_STORE` for the store",
            "code: 5\n",
        ],
    );
    place.ok(&["run", "p.yaml"]);
    assert_eq!(place.ran_and_cached("people").1, ["data", "prepare"]);
}
