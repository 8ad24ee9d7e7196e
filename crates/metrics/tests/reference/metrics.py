"""Scores by scikit-learn, for tests/scikit_learn.rs. Writes tests/fixtures/metrics.json."""

import json
import pathlib
import warnings

import numpy as np
import sklearn
from sklearn import metrics

warnings.simplefilter("ignore")
random = np.random.default_rng(7)


def labels_and_probabilities(n_rows, n_classes, sharpness, levels=None, absent_truth=(), never_predicted=()):
    truth = random.integers(0, n_classes, n_rows)
    for label in absent_truth:
        truth[truth == label] = (label + 1) % n_classes
    scores = random.normal(size=(n_rows, n_classes)) + sharpness * np.eye(n_classes)[truth]
    scores[:, list(never_predicted)] -= 50.0
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    if levels:
        # Rounding down makes ties between rows and between labels, and probabilities of exactly 0 and 1.
        probabilities = np.floor(probabilities * levels) / levels
        probabilities[:, 0] = 1.0 - probabilities[:, 1:].sum(axis=1)
    return truth, probabilities


def classification(name, truth, probabilities):
    n_classes = probabilities.shape[1]
    labels = np.arange(n_classes)
    predicted = probabilities.argmax(axis=1)
    macro = {"average": "macro", "zero_division": 0}
    for_area = probabilities[:, 1] if n_classes == 2 else probabilities
    area = (
        metrics.roc_auc_score(truth, for_area, labels=labels, multi_class="ovr", average="macro")
        if len(np.unique(truth)) == n_classes
        else None
    )
    return {
        "name": name,
        "truth": truth.tolist(),
        "n_classes": n_classes,
        "probabilities": probabilities.tolist(),
        "confusion": metrics.confusion_matrix(truth, predicted, labels=labels).tolist(),
        "scores": {
            "accuracy": metrics.accuracy_score(truth, predicted),
            "balanced_accuracy": metrics.balanced_accuracy_score(truth, predicted),
            "f1_macro": metrics.f1_score(truth, predicted, **macro),
            "f1_micro": metrics.f1_score(truth, predicted, average="micro"),
            "f1_weighted": metrics.f1_score(truth, predicted, average="weighted", zero_division=0),
            "precision_macro": metrics.precision_score(truth, predicted, **macro),
            "recall_macro": metrics.recall_score(truth, predicted, **macro),
            "roc_auc": area,
            "log_loss": metrics.log_loss(truth, probabilities, labels=labels),
            "brier": metrics.brier_score_loss(truth, probabilities, labels=labels),
            "mcc": metrics.matthews_corrcoef(truth, predicted),
        },
    }


def regression(name, truth, predicted):
    return {
        "name": name,
        "truth": truth.tolist(),
        "predicted": predicted.tolist(),
        "scores": {
            "rmse": metrics.root_mean_squared_error(truth, predicted),
            "mae": metrics.mean_absolute_error(truth, predicted),
            "r2": metrics.r2_score(truth, predicted),
        },
    }


values = random.normal(1e6, 3.0, 40)
cases = {
    "scikit-learn": sklearn.__version__,
    "classification": [
        classification("two labels", *labels_and_probabilities(60, 2, 1.0)),
        classification("two labels, ties", *labels_and_probabilities(60, 2, 0.7, levels=4)),
        classification("five labels", *labels_and_probabilities(80, 5, 1.5)),
        classification("four labels, ties", *labels_and_probabilities(60, 4, 1.0, levels=5)),
        classification("a label that is never predicted", *labels_and_probabilities(50, 4, 1.0, never_predicted=[2])),
        classification("a label without rows", *labels_and_probabilities(50, 4, 0.5, absent_truth=[1])),
        classification(
            "a label without rows that is never predicted",
            *labels_and_probabilities(50, 4, 0.5, absent_truth=[3], never_predicted=[3]),
        ),
        classification("one label only is predicted", *labels_and_probabilities(20, 2, 0.0, never_predicted=[1])),
        classification("certain and wrong", np.array([0, 1, 1]), np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])),
    ],
    "regression": [
        regression("far from zero", values, values + random.normal(0.0, 1.0, 40)),
        regression("worse than the mean", random.normal(size=30), random.normal(size=30)),
        regression("constant truth, exact", np.full(5, 0.1), np.full(5, 0.1)),
        regression("constant truth, not exact", np.full(5, 0.1), np.linspace(0.0, 1.0, 5)),
    ],
}
path = pathlib.Path(__file__).parents[1] / "fixtures" / "metrics.json"
path.write_text(json.dumps(cases, indent=None, separators=(",", ":")) + "\n")
