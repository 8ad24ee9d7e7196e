//! Networks for images and their tuning, as a user runs them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use retune_tests::{Workplace, bmp, children, is_host, signal, wait_for};

/// The project's folder `data` or `crates`.
fn of_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}

/// A network on scans of digits, and the same tuned further.
fn pipeline(base: &str, network: &str) -> String {
    format!(
        "version: 1
name: digits
seed: 3
data:
  path: {}
  target: label
  task: classification
  columns: {{ image: image }}
  split: {{ validation: 0.4, test: 0.3, stratify: true }}
stages:
  - id: base
    uses: fine-tuning
    with:
      base: {{ network: {base}, input: {{ mode: grey, size: [12, 12] }} }}
      network: {{ learning_rate: 0.01, layer_decay: 1.0, batch_size: 64, epochs: 4, early_stopping: {{ patience: 0 }}, {network} }}
      guard: {{ metric: accuracy }}
  - id: tuned
    uses: fine-tuning
    with:
      base: base
      network: {{ strategy: lp_ft, learning_rate: 0.002, epochs: 2, batch_size: 64 }}
      guard: {{ metric: accuracy, max_drop: 0.05 }}
",
        of_project("data/handwritten_digits.parquet").display()
    )
}

fn workplace(pipeline: &str) -> Workplace {
    let place = Workplace::new();
    place.write("p.yaml", pipeline);
    place
}

fn accuracies(place: &Workplace) -> Vec<f64> {
    let metrics = place.json("runs/digits/latest/metrics.json");
    let models = metrics["results"][0]["models"].as_array().unwrap().clone();
    models.iter().map(|model| model["scores"]["accuracy"]["value"].as_f64().unwrap()).collect()
}

const SMALL: &str = "{ small_resnet: { width: 4 } }";
const AUGMENT: &str =
    "augment: [{ affine: { degrees: 8, translate: [0.05, 0.05] } }, { mixup: { alpha: 0.2 } }], average: ema";

#[test]
fn a_network_learns_images_is_tuned_and_predicts_files() {
    let place = workplace(&pipeline(SMALL, AUGMENT));
    place.ok(&["run", "p.yaml"]);
    let accuracies = accuracies(&place);
    assert!(accuracies[0] > 0.5 && accuracies[1] > 0.6, "{accuracies:?}");
    let data = of_project("data/handwritten_digits.parquet").display().to_string();
    place.ok(&["predict", "runs/digits/latest/model", "--input", &data, "--output", "said.csv"]);
    let said = place.text("said.csv");
    assert_eq!(said.lines().count(), 1798);
    assert!(said.lines().next().unwrap().contains("probability_7"), "{said:.200}");
    place.ok(&["evaluate", "runs/digits/latest/model", "--input", &data]);
    // Nothing runs twice.
    place.ok(&["run", "p.yaml"]);
    let (ran, cached) = place.ran_and_cached("digits");
    assert_eq!((ran.len(), cached.len()), (0, 4), "{ran:?} {cached:?}");
}

#[test]
fn an_image_that_changes_behind_its_path_is_seen() {
    let base = "{ network: { small_resnet: { width: 4 } }, input: { mode: grey, size: [8, 8], root: scans } }";
    let place = workplace(&format!(
        "version: 1
name: digits
data: {{ path: scans.csv, target: label, columns: {{ image: image }} }}
stages:
  - id: base
    uses: fine-tuning
    with: {{ base: {base}, network: {{ epochs: 1 }} }}
"
    ));
    let mut rows = "image,label\n".to_owned();
    for row in 0..60_u8 {
        place.write(&format!("scans/{row}.bmp"), bmp(row * 4));
        rows += &format!("{row}.bmp,{}\n", if row < 30 { "dark" } else { "light" });
    }
    place.write("scans.csv", rows);
    place.ok(&["run", "p.yaml"]);
    place.ok(&["run", "p.yaml"]);
    assert_eq!(place.ran_and_cached("digits").0.len(), 0);
    place.write("scans/3.bmp", bmp(200));
    assert!(place.ok(&["why", "p.yaml", "base"]).contains("images"));
    place.ok(&["run", "p.yaml"]);
    assert_eq!(place.ran_and_cached("digits").0, ["base", "evaluate base"]);
}

#[test]
fn images_of_another_set_are_rehearsed_as_changed_as_the_rest() {
    let sets = format!("  sets: {{ printed: {} }}\nstages:", of_project("data/printed_digits.parquet").display());
    let network = format!("{AUGMENT}, rehearsal: {{ set: printed }}");
    let place = workplace(&pipeline(SMALL, &network).replace("stages:", &sets));
    place.ok(&["run", "p.yaml"]);
    assert!(accuracies(&place)[0] > 0.5, "{:?}", accuracies(&place));
}

#[test]
fn a_training_that_was_killed_goes_on_and_ends_with_the_same_bits() {
    let long = pipeline(SMALL, AUGMENT).replace("epochs: 4", "epochs: 12");
    let undisturbed = workplace(&long);
    undisturbed.ok(&["run", "p.yaml"]);
    for how in ["KILL", "INT", "TERM"] {
        let place = workplace(&long);
        let mut run = place.command(&["run", "p.yaml"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let training = || {
            place.path("store/work").exists() && place.files("store/work").keys().any(|name| name.contains("training"))
        };
        // The first training is kept when it is asked to stop, or when it ends.
        wait_for(Duration::from_secs(20), || training() || how != "KILL" && lines(&place) >= 3);
        std::thread::sleep(Duration::from_millis(700));
        let hosts: Vec<u32> = children(run.id()).into_iter().filter(|&child| is_host(child)).collect();
        if how == "KILL" {
            hosts.iter().for_each(|&host| signal(host, how));
        } else {
            signal(run.id(), how);
        }
        run.wait().unwrap();
        place.ok(&["run", "p.yaml"]);
        assert_eq!(place.results("digits"), undisturbed.results("digits"), "{how}");
    }
}

fn lines(place: &Workplace) -> usize {
    let journal = place.newest("digits").map(|run| place.path(run.join("journal.jsonl")));
    journal.and_then(|journal| std::fs::read_to_string(journal).ok()).map_or(0, |journal| journal.lines().count())
}

#[test]
fn what_is_wrong_with_a_base_is_named_with_the_way_out() {
    let fixture = |name: &str| of_project(&format!("crates/weights/tests/fixtures/{name}")).display().to_string();
    for (base, expected, code) in [
        (
            format!("{{ network: resnet18, weights: {} }}", fixture("evil.pt")),
            "which could run code; nothing was run",
            4,
        ),
        (format!("{{ network: resnet18, weights: {} }}", fixture("module.pt")), "does not fit the network", 4),
        ("{ network: resnet18, weights: nowhere.pt }".to_owned(), "no file `nowhere.pt`", 4),
        ("{ network: resnet81 }".to_owned(), "resnet18", 3),
        ("{ network: resnet18, fresh: [fc] }".to_owned(), "`weights` names none", 3),
        ("{ network: resnet18, input: { mode: grey, std: [0, 1] } }".to_owned(), "images have 1 channel", 3),
        ("{ network: vgg11, input: { mode: grey, size: [16, 16] } }".to_owned(), "are too small for the layer", 5),
    ] {
        let text = pipeline(SMALL, "clip_norm: 1.0");
        let old = text.lines().find(|line| line.contains("base: { network")).unwrap().to_owned();
        let place = workplace(&text.replace(&old, &format!("      base: {base}")));
        let output = place.run(&["run", "p.yaml"]);
        assert_eq!(output.code, code, "{base}\n{}", output.stderr);
        assert!(output.stderr.contains(expected), "{base}\n{}", output.stderr);
    }
}

#[test]
fn settings_of_a_tuning_that_do_not_fit_are_named() {
    for (network, expected, code) in [
        ("freeze: [layer9]", "the network has no block `layer9`", 4),
        ("rehearsal: { set: printed }", "there is no set `printed` in `data.sets`", 3),
        ("strategy: { gradual_unfreeze: { evry: 2 } }", "every", 3),
        ("augment: [{ mixup: {} }, { mixup: {} }]", "a second `mixup`", 3),
        (
            "surgery: [{ replace: { block: fc, with: [{ linear: 7 }] } }]",
            "the network has 7 outputs, and the rows have 10 labels",
            4,
        ),
        ("surgery: [{ remove: { block: layer9 } }]", "did you mean `layer", 4),
    ] {
        let place = workplace(&pipeline(SMALL, network));
        let output = place.run(&["run", "p.yaml"]);
        assert_eq!(output.code, code, "{network}\n{}", output.stderr);
        assert!(output.stderr.contains(expected), "{network}\n{}", output.stderr);
    }
}
