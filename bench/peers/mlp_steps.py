"""Measures 1000 steps of Adam on a network of 64, 128 and 10 units in batches of 256, as crates/tensor/examples/mlp_steps.rs does, and prints the seconds as JSON.

Run: mlp_steps.py {pytorch,scikit-learn} [THREADS]

PyTorch runs eagerly with its fused optimiser and gathers each batch from shuffled rows; scikit-learn's MLPClassifier takes the same batches by partial_fit.
"""

import json
import os
import sys
import time

PEER, THREADS = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(THREADS)

import numpy

ROWS, FEATURES, HIDDEN, LABELS, BATCH, EPOCHS = 25_600, 64, 128, 10, 256, 10

features = numpy.sin(numpy.arange(ROWS * FEATURES, dtype=numpy.float64)).reshape(ROWS, FEATURES).astype(numpy.float32)
labels = numpy.arange(ROWS) % LABELS


def orders():
    generator = numpy.random.default_rng(1)
    for _ in range(EPOCHS):
        yield generator.permutation(ROWS)


def pytorch():
    import torch

    torch.manual_seed(1)
    torch.set_num_threads(THREADS)
    x, y = torch.from_numpy(features), torch.from_numpy(labels)
    model = torch.nn.Sequential(torch.nn.Linear(FEATURES, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, LABELS))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def epoch(order):
        for batch in torch.from_numpy(order).split(BATCH):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x[batch]), y[batch])
            loss.backward()
            optimizer.step()
            # The mean loss of an epoch is part of what a training reports.
            loss.item()

    return epoch


def scikit_learn():
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier((HIDDEN,), alpha=0.0, batch_size=BATCH, learning_rate_init=1e-3, random_state=1)
    classes = numpy.arange(LABELS)

    def epoch(order):
        for start in range(0, ROWS, BATCH):
            batch = order[start:start + BATCH]
            model.partial_fit(features[batch], labels[batch], classes=classes)

    return epoch


epoch = {"pytorch": pytorch, "scikit-learn": scikit_learn}[PEER]()
epoch(numpy.arange(ROWS))
start = time.perf_counter()
for order in orders():
    epoch(order)
print(json.dumps({"seconds": time.perf_counter() - start}))
