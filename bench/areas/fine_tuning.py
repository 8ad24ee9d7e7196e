"""Training steps, image loading, cached features of a frozen network, and transfer from printed to handwritten digits.

Steps are of the same networks, batches and optimisers on the same threads; PyTorch runs eagerly, with its fused optimiser, and compiled. "start" is from the start of the
process to the end of its first step. The digits are the same rows for both: three choices of 100 labelled scans, tested on the same 797.
"""

import json
import os
import subprocess

from measure import OURS, Case, Command

PEER = {"LD_LIBRARY_PATH": None}
CORES = len(os.sched_getaffinity(0))
STEPS = {
    "mlp": "a step of a 64-128-10 perceptron, 256 rows, Adam",
    "small_resnet": "a step of small_resnet, 64 images of 32 px, AdamW",
    "resnet18": "a step of resnet18, 16 images of 224 px, SGD",
    "start": "from start to the end of the first step of resnet18",
}
WAYS = {"PyTorch eager": "eager", "PyTorch eager, fused": "fused", "torch.compile": "compiled"}
CHOICES = (1, 2, 3)
WAYS_OF_TRANSFER = {"from nothing": "nothing", "linear probe": "linear_probe", "full": "full", "lp_ft": "lp_ft"}


def cases(place):
    build = ["cargo", "build", "--release", "--quiet", "-p", "retune-images", "-p", "retune-tensor", "--examples"]
    subprocess.run(build, cwd=place.root, check=True)
    for case, name in STEPS.items():
        yield steps(place, case, name)
    yield probe(place)
    yield loading(place)
    for recipe in ("plain", "best"):
        yield transfer(place, recipe)


def steps(place, case, name):
    ours, script = place.retune.parent / "examples" / "training_steps", place.peers / "training_steps.py"
    ways = {label: way for label, way in WAYS.items() if case != "start" or way == "eager"}
    programs = {OURS: lambda repeat: Command([ours, case, CORES], place.work)}
    programs |= {label: lambda repeat, way=way: Command([place.python, script, case, way, CORES], place.work, PEER) for label, way in ways.items()}

    def check(repeat, printed):
        results = {program: last(text) for program, text in printed.items()}
        own = results[OURS]["seconds_per_step"]
        return {
            program: {"ms a step": 1e3 * result["seconds_per_step"], "MiB at most": result["peak_rss"] / 2**20}
            | ({} if program == OURS else {"times ours": result["seconds_per_step"] / own})
            for program, result in results.items()
        }

    return Case(name, programs, check, 3, warm_up=False)


def probe(place):
    ours, script = place.retune.parent / "examples" / "training_steps", place.peers / "training_steps.py"
    programs = {
        OURS: lambda repeat: Command([ours, "linear_probe", CORES], place.work),
        "PyTorch eager, the backbone in each epoch": lambda repeat: Command([place.python, script, "linear_probe", "eager", CORES], place.work, PEER),
    }

    def check(repeat, printed):
        seconds = {program: last(text)["further_epoch"] for program, text in printed.items()}
        return {program: {"s of a further epoch": own, "times ours": own / seconds[OURS]} for program, own in seconds.items()}

    return Case("linear probe of a frozen resnet18, 256 images of 96 px", programs, check, 3, warm_up=False)


def loading(place):
    folder = place.work / "jpegs"
    folder.mkdir()
    subprocess.run([place.python, place.peers / "image_loading_data.py", "960", str(folder)], env=plain(), check=True)
    ours, script = place.retune.parent / "examples" / "image_loading", place.peers / "image_loading.py"
    programs = {
        OURS: lambda repeat: Command([ours, folder, CORES, 3], place.work),
        "torchvision, two workers": lambda repeat: Command([place.python, script, folder, 2, 3], place.work, PEER),
    }

    def check(repeat, printed):
        speeds = {program: last(text)["images_per_second"] for program, text in printed.items()}
        return {program: {"images/s": own, "ours / its": speeds[OURS] / own} for program, own in speeds.items()}

    return Case("JPEGs of 500 px to 224 px, cut and flipped", programs, check, 5, warm_up=False)


def transfer(place, recipe):
    """Each repeat is another choice of 100 labelled rows."""
    folder = place.work / f"digits-{recipe}"
    folder.mkdir()
    subprocess.run([place.python, place.peers / "digits_split.py", str(place.root / "data"), str(folder)], env=plain(), check=True)
    printed_digits = place.root / "data" / "printed_digits.parquet"

    def ours(repeat):
        choice = CHOICES[repeat]
        (folder / "pipeline.yaml").write_text(json.dumps(pipeline(recipe, choice, folder, printed_digits)))
        argv = [place.retune, "run", "pipeline.yaml", "--progress", "none", "--out", "runs"]
        return Command(argv, folder, {"RETUNE_STORE": folder / f"store-{choice}"})

    def theirs(repeat):
        choice = CHOICES[repeat]
        script = place.peers / "digits_transfer.py"
        rows = folder / f"rows_{choice}.csv"
        argv = [place.python, script, printed_digits, place.root / "data" / "handwritten_digits.parquet", rows, "--recipe", recipe, "--seeds", choice, "--threads", CORES]
        return Command(argv, place.peers, PEER)

    def check(repeat, printed):
        results = json.loads((folder / "runs" / "digits" / "latest" / "metrics.json").read_text())["results"]
        own = {model["id"]: model["scores"]["accuracy"]["value"] for result in results for model in result["models"]}
        theirs = {}
        for line in printed["PyTorch"].splitlines():
            result = json.loads(line)
            theirs[result["way"]] = result["test_accuracy"]
        names = {word: name for name, word in WAYS_OF_TRANSFER.items()}
        named = lambda scores: {names[way]: score for way, score in scores.items() if way in names}
        return {OURS: named(own), "PyTorch": named(theirs)}

    return Case(f"printed to handwritten digits, {recipe}", {OURS: ours, "PyTorch": theirs}, check, len(CHOICES), warm_up=False)


def pipeline(recipe, choice, folder, printed_digits):
    base = {"network": "small_resnet", "input": {"mode": "grey", "size": [32, 32], "mean": 0.1441, "std": 0.3182}}
    # Validation rows are looked at after the last epoch, as in PyTorch's script.
    plain_training = {"layer_decay": 1.0, "early_stopping": {"patience": 0, "every": 1000}, "optimizer": "adamw", "weight_decay": 0.01, "learning_rate": 2e-3}
    tuning = {**plain_training, "batch_size": 32, "epochs": 60}
    pretraining = {**plain_training, "batch_size": 64, "epochs": 3}
    probing = {**tuning, "strategy": "linear_probe", "epochs": 100, "learning_rate": 3e-3}
    if recipe == "best":
        moved = {"affine": {"degrees": 15, "translate": [0.1, 0.1], "scale": [0.85, 1.15], "shear": 10}}
        filling = {"affine": {"degrees": 15, "translate": [0.06, 0.06], "scale": [1.1, 1.6], "shear": 15}}
        tuning |= {"epochs": 240, "batch_size": 16, "augment": [moved], "label_smoothing": 0.1}
        pretraining |= {"epochs": 8, "augment": [{"resize": {"to": [11, 11]}}, {"resize": {}}, filling]}
        probing |= {"learning_rate": 1e-2, "batch_size": 32}
    probe = {"probe_epochs": 100, "probe_learning_rate": probing["learning_rate"]}

    def stage(name, base, network, **more):
        return {"id": name, "uses": "fine-tuning", **more, "with": {"base": base, "network": network, "guard": {"metric": "accuracy"}}}

    printed = stage("printed", base, pretraining)
    printed["with"]["rows"] = "printed"
    stages = [
        printed,
        stage("nothing", base, tuning, inputs="data"),
        stage("linear_probe", "printed", {**probing, "augment": []}),
        stage("full", "printed", tuning),
        stage("lp_ft", "printed", {**tuning, "strategy": {"lp_ft": probe}}),
    ]
    data = {
        "path": str(folder / f"handwritten_{choice}.parquet"), "target": "label", "task": "classification", "columns": {"image": "image"},
        "split": {"column": "split"}, "sets": {"printed": str(printed_digits)},
    }
    return {"version": 1, "name": "digits", "seed": choice, "data": data, "stages": stages}


def last(text):
    return json.loads(text.strip().splitlines()[-1])


def plain():
    return {name: value for name, value in os.environ.items() if name not in PEER}
