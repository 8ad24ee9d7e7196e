"""From printed to handwritten digits in PyTorch, beside pipelines/digits_transfer.yaml: one line of JSON for each seed and way of training.

Run: digits_transfer.py PRINTED HANDWRITTEN ROWS [--recipe plain|best] [--seeds 1 2 3] [--on test|validation] [--threads 1]
     digits_transfer.py rows HANDWRITTEN SEED     prints such ROWS: ten of each digit to train, 900 to validate, 797 to test

PRINTED and HANDWRITTEN are the parquet files of data/; ROWS is a CSV of `row` and `part` (train, validation or test) for the handwritten ones. `{seed}` in its
path stands for the seed. Only the training rows are learned from, for a fixed number of epochs: nothing stops early and no epoch is chosen. Some forty variants
were compared by their accuracy on validation rows (`--on validation`) before `best` was set. Each seed draws its rows anew, so validation rows of one seed are test
rows of another; and variants of the pipeline's own recipe, which shares its augmentations and epochs, were compared on test rows of one draw. Accuracies of `best` are
therefore optimistic, here and in the pipeline: a clean figure needs one test set that no choice has seen.

The ways: `nothing` trains a new network; `base` is the network pre-trained on printed digits; `linear_probe` trains its last layer; `full` trains all of it; `lp_ft`
(Kumar et al. 2022) trains the last layer and then all of it. `plain` neither augments nor smooths; `best` does both, and its pre-training makes printed digits fill the
picture and be as coarse as the handwritten ones.
"""

import argparse
import copy
import io
import json
import math
import time
from pathlib import Path

import pandas
import torch
from PIL import Image
from small_resnet import SmallResNet
from torch import nn
from torch.nn import functional

SIZE, CLASSES = 32, 10

# Angles in degrees, translations as shares of the picture.
TUNING = {"rotate": 15, "translate": 0.1, "scale": (0.85, 1.15), "shear": 10}
# A printed digit is some 23 pixels high, a handwritten one fills the picture.
FILLING = {"rotate": 15, "translate": 0.06, "scale": (1.1, 1.6), "shear": 15}
RECIPES = {
    "plain": {
        "blocks": 1,
        "coarse": None,
        "pretrain": {"epochs": 3, "rate": 2e-3, "batch": 64},
        "nothing": {"epochs": 60, "rate": 2e-3, "batch": 32},
        "probe": {"epochs": 100, "rate": 3e-3, "batch": 32},
        "tune": {"epochs": 60, "rate": 2e-3, "batch": 32},
    },
    "best": {
        "blocks": 1,
        # Printed digits are drawn at this size and scaled back; as they are enlarged by a third afterwards, that comes to the 8 pixels of the handwritten ones.
        "coarse": 11,
        "pretrain": {"epochs": 8, "rate": 2e-3, "batch": 64, "augment": FILLING},
        "nothing": {"epochs": 240, "rate": 2e-3, "batch": 16, "augment": TUNING, "smoothing": 0.1},
        "probe": {"epochs": 100, "rate": 1e-2, "batch": 32},
        "tune": {"epochs": 240, "rate": 2e-3, "batch": 16, "augment": TUNING, "smoothing": 0.1},
    },
}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("printed", type=Path)
    arguments.add_argument("handwritten", type=Path)
    arguments.add_argument("rows")
    arguments.add_argument("--recipe", choices=RECIPES, default="plain")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments.add_argument("--on", choices=["test", "validation"], default="test")
    arguments.add_argument("--threads", type=int, default=1)
    arguments = arguments.parse_args()
    if str(arguments.printed) == "rows":
        print_rows(arguments.handwritten, int(arguments.rows))
        return
    torch.set_num_threads(arguments.threads)
    recipe = RECIPES[arguments.recipe]
    printed, handwritten = read(arguments.printed, recipe["coarse"]), read(arguments.handwritten)
    # One scale for all, that of the printed digits.
    mean, deviation = printed[0].mean(), printed[0].std()
    printed, handwritten = (((images - mean) / deviation, labels) for images, labels in (printed, handwritten))
    # What lies outside of a picture is black.
    black = (-mean / deviation).item()
    for seed in arguments.seeds:
        rows = pandas.read_csv(arguments.rows.replace("{seed}", str(seed)))
        train, held_out = (select(handwritten, rows.row[rows.part == part]) for part in ("train", arguments.on))
        for way, seconds, model in ways(recipe, printed, train, seed, black):
            result = {"seed": seed, "recipe": arguments.recipe, "way": way, f"{arguments.on}_accuracy": accuracy(model, held_out), "seconds": seconds}
            print(json.dumps(result), flush=True)


def print_rows(path, seed):
    labels = pandas.read_parquet(path, columns=["label"]).label
    train = labels.groupby(labels).sample(10, random_state=seed).index
    others = labels.drop(train).sample(frac=1, random_state=seed).index
    parts = {"train": train, "validation": others[:-797], "test": others[-797:]}
    rows = pandas.concat([pandas.DataFrame({"row": rows, "part": part}) for part, rows in parts.items()])
    print(rows.sort_values("row").to_csv(index=False), end="")


def read(path, coarse=None):
    """The images from 0 to 1, [rows, 1, 32, 32], and their labels."""
    table = pandas.read_parquet(path)
    images = torch.stack([picture(data, coarse) for data in table.image])
    return images.float().div(255).unsqueeze(1), torch.tensor(table.label.to_numpy())


def picture(data, coarse):
    image = Image.open(io.BytesIO(data)).convert("L")
    if coarse:
        image = image.resize((coarse, coarse), Image.Resampling.BILINEAR)
    image = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).reshape(SIZE, SIZE)


def select(examples, rows):
    rows = torch.tensor(rows.to_numpy())
    return examples[0][rows], examples[1][rows]


def ways(recipe, printed, train, seed, black):
    """Each way of training: its name, the seconds that it took without those of pre-training, and the model."""
    def timed(work, *others):
        start = time.perf_counter()
        model = work(*others)
        return time.perf_counter() - start, model

    def new():
        torch.manual_seed(seed)
        return SmallResNet(CLASSES, 1, recipe["blocks"])

    yield "nothing", *timed(lambda: fit(new(), train, seed, black, **recipe["nothing"]))
    seconds, base = timed(lambda: fit(new(), printed, seed, black, **recipe["pretrain"]))
    yield "base", seconds, base
    seconds, probe = timed(lambda: linear_probe(copy.deepcopy(base), train, seed, black, **recipe["probe"]))
    yield "linear_probe", seconds, probe
    yield "full", *timed(lambda: fit(copy.deepcopy(base), train, seed, black, **recipe["tune"]))
    again, model = timed(lambda: fit(copy.deepcopy(probe), train, seed, black, **recipe["tune"]))
    yield "lp_ft", seconds + again, model


def linear_probe(model, examples, seed, black, **options):
    """Trains the last layer on the features of the layers before it, which are computed once."""
    images, labels = examples
    with torch.no_grad():
        features = model.eval().features(images)
    fit(model.fc, (features, labels), seed, black, **options)
    return model


def fit(model, examples, seed, black, epochs, rate, batch, augment=None, smoothing=0.0):
    """AdamW with decay 0.01; the rate falls along a cosine over all steps."""
    inputs, labels = examples
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * math.ceil(len(inputs) / batch))
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs), generator=generator).split(batch):
            x = inputs[rows] if augment is None else moved(inputs[rows], generator, black, **augment)
            loss = nn.functional.cross_entropy(model(x), labels[rows], label_smoothing=smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model


def moved(images, generator, black, rotate, translate, scale, shear):
    """Each image turned, moved, scaled and sheared by its own uniform random numbers."""
    def uniform(least, greatest):
        return torch.rand(len(images), generator=generator) * (greatest - least) + least

    angle, slant = uniform(-rotate, rotate).deg2rad(), uniform(-shear, shear).deg2rad().tan()
    size = uniform(*scale)
    # The corners of a picture are at -1 and 1.
    right, down = 2 * uniform(-translate, translate), 2 * uniform(-translate, translate)
    cos, sin = angle.cos() / size, angle.sin() / size
    # Where each pixel comes from: out of the new picture into the old one.
    first = torch.stack([cos, slant * cos - sin, right], 1)
    second = torch.stack([sin, slant * sin + cos, down], 1)
    grid = functional.affine_grid(torch.stack([first, second], 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images - black, grid, align_corners=False) + black


def accuracy(model, examples):
    images, labels = examples
    with torch.no_grad():
        predictions = torch.cat([model.eval()(part).argmax(1) for part in images.split(256)])
    return (predictions == labels).double().mean().item()


if __name__ == "__main__":
    main()
