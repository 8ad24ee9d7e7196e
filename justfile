# Recipes of retune; `just` alone lists them. `./scripts/just` runs this file where `just` is not installed.

set shell := ["bash", "-euo", "pipefail", "-c"]

xdg := env("XDG_CACHE_HOME", "")
cache := if xdg == "" { env("HOME") / ".cache/retune" } else { xdg / "retune" }

# Which libtorch to build with: that of `just setup cuda` once it is there; `just kind=cpu test` goes back.
kind := if path_exists(cache / "libtorch-2.13.0-cuda") == "true" { "cuda" } else { "cpu" }

export LIBTORCH := env("LIBTORCH", cache / if kind == "cuda" { "libtorch-2.13.0-cuda/torch" } else { "libtorch-2.13.0-cpu" })
export RETUNE_LIGHTGBM := env("RETUNE_LIGHTGBM", cache / "lightgbm-4.7.0")
export LD_LIBRARY_PATH := trim_end_match(LIBTORCH / "lib:" + RETUNE_LIGHTGBM / "lib:" + env("LD_LIBRARY_PATH", ""), ":")
export CARGO_TARGET_DIR := env("CARGO_TARGET_DIR", justfile_directory() / "target")

programs := CARGO_TARGET_DIR / "release"
retune := programs / "retune"

# List the recipes
default:
    @"{{ just_executable() }}" --justfile "{{ justfile() }}" --list --unsorted

# Fetch libtorch and LightGBM into the cache folder (KIND: cpu or cuda)
setup KIND=kind:
    @# What is there already is seen without starting Python.
    @[[ {{ KIND }} == {{ kind }} && -e $LIBTORCH/lib/libtorch_cpu.so && -e $RETUNE_LIGHTGBM/lib/lib_lightgbm.so ]] || python3 scripts/fetch.py {{ KIND }}

# Build `retune` and `retune-stage`
build: setup
    cargo build --release --workspace

# Run pipelines/debian_packages.yaml
demo: build
    "{{ retune }}" run pipelines/debian_packages.yaml

# Install `retune` and `retune-stage` side by side, and beside their folder `share/` with completions and man pages
install INTO=(env("HOME") / ".local/bin"): build
    install -Dt "{{ INTO }}" "{{ retune }}" "{{ retune }}-stage"
    @# Installed programs must find their libraries by themselves.
    @! env -u LD_LIBRARY_PATH ldd "{{ INTO }}/retune-stage" | grep 'not found'
    @# Where each shell looks, under the same prefix.
    @"{{ retune }}" completions bash | install -Dm644 /dev/stdin "{{ INTO }}/../share/bash-completion/completions/retune"
    @"{{ retune }}" completions zsh | install -Dm644 /dev/stdin "{{ INTO }}/../share/zsh/site-functions/_retune"
    @"{{ retune }}" completions fish | install -Dm644 /dev/stdin "{{ INTO }}/../share/fish/vendor_completions.d/retune.fish"
    @"{{ retune }}" man "{{ INTO }}/../share/man/man1" > /dev/null
    @echo 'next: retune doctor'

# Everything that must hold: lint, all tests, generated files up to date, the pipelines
test: lint build && stale pipelines
    cargo test --release --workspace

# Formatting, and clippy with warnings as errors
lint: setup
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets -- -D warnings

# Run the pipelines that come with retune
pipelines: build
    "{{ retune }}" run pipelines/breast_cancer.yaml
    "{{ retune }}" run pipelines/diabetes.yaml
    "{{ retune }}" run pipelines/handwritten_digits.yaml
    "{{ retune }}" run pipelines/debian_transfer.yaml
    "{{ retune }}" run pipelines/debian_packages.yaml

# Write schema/pipeline.json and docs/language.md from the pipeline language
schema: build
    mkdir -p schema docs
    "{{ retune }}" schema > schema/pipeline.json
    "{{ retune }}" schema --reference > docs/language.md

# Fail if schema/pipeline.json or docs/language.md is out of date
stale: build
    @diff -u schema/pipeline.json <("{{ retune }}" schema) || { echo 'schema/pipeline.json is out of date; run: just schema' >&2; exit 1; }
    @diff -u docs/language.md <("{{ retune }}" schema --reference) || { echo 'docs/language.md is out of date; run: just schema' >&2; exit 1; }

# Compare with the peers and update docs/benchmarks.md (AREA: all if none is given)
bench *AREA: build
    python3 bench/run.py {{ AREA }}

# Make the tests' expected numbers again, with the peers that `just bench` installs
references:
    for script in crates/*/tests/reference/*.py; do "{{ cache }}/bench-venv/bin/python" "$script"; done

# Checks that need more than `just test`: a browser, Python, outside servers, kept in the cache folder
integration: integration-reports integration-tracking integration-editor

# Check the reports of the pipelines in headless Chromium (Debian's; npm's playwright-core and axe-core)
integration-reports: build pipelines
    scripts/browser.sh "{{ cache }}/browser"
    "{{ retune }}" compare debian_packages debian_transfer --html "{{ cache }}/browser/compared/compared.html"
    node scripts/check_reports.mjs "{{ cache }}/browser" "{{ cache }}/browser/screenshots" runs/*/latest/report.html "{{ cache }}/browser/compared/compared.html"

# Test tracking with a real MLflow server and TensorBoard's own reader (PyPI, in the cache folder)
integration-tracking: build
    python3 scripts/integration/tracking.py "{{ retune }}"

# Test the schema with the YAML language server that editors use (npm, in the cache folder)
integration-editor: stale
    python3 scripts/integration/editor.py

# Kill a run of PIPELINE KILLS times at random moments and check that it ends with the same bits
kill-test PIPELINE="pipelines/debian_packages.yaml" KILLS="20": build
    python3 scripts/kill_test.py "{{ retune }}" "{{ PIPELINE }}" "{{ KILLS }}"
