"""Scores by scikit-learn, for tests/scikit_learn.rs. Writes tests/fixtures/metrics.json."""

import json
import pathlib
import warnings

import numpy as np
import sklearn
from scipy import stats
from sklearn import metrics
from sklearn.calibration import calibration_curve
from sklearn.preprocessing import label_binarize

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


def expected_calibration_error(truth, probabilities, bins):
    """Equation 3 of Guo et al. (2017)."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    of_bin = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)
    error = 0.0
    for rows in (of_bin == number for number in range(bins)):
        if rows.any():
            error += abs(right[rows].mean() - confidence[rows].mean()) * rows.mean()
    return error


def defined(compute):
    """`None` where scikit-learn warns that a score is not defined, or gives up."""
    try:
        value = compute()
    except ValueError:
        return None
    return None if np.isnan(value) else value


def with_settings(word, settings, value):
    return {"metric": {word: settings}, "value": value}


def classification(name, truth, probabilities):
    n_classes = probabilities.shape[1]
    labels = np.arange(n_classes)
    predicted = probabilities.argmax(axis=1)
    all_present = len(np.unique(truth)) == n_classes
    for_area = probabilities[:, 1] if n_classes == 2 else probabilities

    def area(multi_class, average):
        # One label against the rest needs rows of it and of others; pairs are those of the labels that occur.
        if not (all_present or (multi_class == "ovo" and len(np.unique(truth)) > 1 and n_classes > 2)):
            return None
        return metrics.roc_auc_score(truth, for_area, labels=labels, multi_class=multi_class, average=average)

    def average_precision():
        # With a label that has no row scikit-learn counts 0 and warns.
        binary = label_binarize(truth, classes=labels) if n_classes > 2 else truth
        return metrics.average_precision_score(binary, for_area) if all_present else None

    def kappa(weights):
        return defined(lambda: metrics.cohen_kappa_score(truth, predicted, labels=labels, weights=weights))

    def top(k):
        return metrics.top_k_accuracy_score(truth, for_area, k=k, labels=labels) if k < n_classes else None

    scores = {
        "accuracy": metrics.accuracy_score(truth, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, predicted),
        "mcc": metrics.matthews_corrcoef(truth, predicted),
        "cohen_kappa": kappa(None),
        "cohen_kappa_linear": kappa("linear"),
        "cohen_kappa_quadratic": kappa("quadratic"),
        "roc_auc": area("ovr", "macro"),
        "roc_auc_ovr": area("ovr", "macro"),
        "roc_auc_ovr_weighted": area("ovr", "weighted"),
        "roc_auc_ovo": area("ovo", "macro"),
        "roc_auc_ovo_weighted": area("ovo", "weighted"),
        "average_precision": average_precision(),
        "top_k_accuracy": top(2),
        "log_loss": metrics.log_loss(truth, probabilities, labels=labels),
        "brier": metrics.brier_score_loss(truth, probabilities, labels=labels),
        "expected_calibration_error": expected_calibration_error(truth, probabilities, 15),
    }
    for word in ["precision", "recall", "f1"]:
        score = getattr(metrics, f"{word}_score")
        for average in ["macro", "micro", "weighted"]:
            scores[f"{word}_{average}"] = score(truth, predicted, average=average, zero_division=0)
        if n_classes == 2:
            scores[word] = score(truth, predicted, zero_division=0)
    with_other_settings = [with_settings("top_k_accuracy", {"k": k}, top(k)) for k in (1, 3)]
    with_other_settings.append(
        with_settings("expected_calibration_error", {"bins": 4}, expected_calibration_error(truth, probabilities, 4))
    )
    if n_classes == 2:
        f_beta = {beta: metrics.fbeta_score(truth, predicted, beta=beta, zero_division=0) for beta in (2, 0.5)}
        scores["f_beta"] = f_beta[2]
        with_other_settings.append(with_settings("f_beta", {"beta": 0.5}, f_beta[0.5]))
    return {
        "name": name,
        "truth": truth.tolist(),
        "n_classes": n_classes,
        "probabilities": probabilities.tolist(),
        "confusion": metrics.confusion_matrix(truth, predicted, labels=labels).tolist(),
        "scores": scores,
        "with_settings": with_other_settings,
    }


def regression(name, truth, predicted):
    return {
        "name": name,
        "truth": truth.tolist(),
        "predicted": predicted.tolist(),
        "scores": {
            "rmse": metrics.root_mean_squared_error(truth, predicted),
            "mse": metrics.mean_squared_error(truth, predicted),
            "mae": metrics.mean_absolute_error(truth, predicted),
            "median_ae": metrics.median_absolute_error(truth, predicted),
            "mape": metrics.mean_absolute_percentage_error(truth, predicted),
            "rmsle": defined(lambda: metrics.root_mean_squared_log_error(truth, predicted)),
            "r2": metrics.r2_score(truth, predicted),
            "explained_variance": metrics.explained_variance_score(truth, predicted),
            "pinball": metrics.mean_pinball_loss(truth, predicted),
            "poisson_deviance": defined(lambda: metrics.mean_poisson_deviance(truth, predicted)),
            "gamma_deviance": defined(lambda: metrics.mean_gamma_deviance(truth, predicted)),
            "spearman": defined(lambda: stats.spearmanr(truth, predicted).statistic),
        },
        "with_settings": [
            with_settings("pinball", {"alpha": alpha}, metrics.mean_pinball_loss(truth, predicted, alpha=alpha))
            for alpha in (0.1, 0.9)
        ],
    }


def curves(name, positive, scores):
    roc = metrics.roc_curve(positive, scores)
    precision_recall = metrics.precision_recall_curve(positive, scores)
    in_bins = {
        f"{strategy} {n_bins}": [
            part.tolist() for part in calibration_curve(positive, scores, n_bins=n_bins, strategy=strategy)
        ]
        for strategy in ("uniform", "quantile")
        for n_bins in (1, 5, 10)
    }
    return {
        "name": name,
        "positive": positive.tolist(),
        "scores": scores.tolist(),
        # The first threshold is infinite, which JSON cannot say.
        "roc": [part.tolist() for part in (*roc[:2], roc[2][1:])],
        "precision_recall": [part.tolist() for part in precision_recall],
        "calibration": in_bins,
    }


def mcnemar(only_a, only_b):
    p_value = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return {"only_a": only_a, "only_b": only_b, "p_value": p_value}


def corrected_t_test(a, b, test_share):
    differences = b - a
    n = len(differences)
    t = differences.mean() / np.sqrt(differences.var(ddof=1) * (1 / n + test_share))
    return {
        "a": a.tolist(),
        "b": b.tolist(),
        "test_share": test_share,
        "t": t,
        "p_value": 2 * stats.t.sf(abs(t), n - 1),
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
        regression("positive", random.gamma(2.0, size=41), random.gamma(2.0, size=41)),
        regression("counts", random.poisson(1.5, 50).astype(float), random.gamma(2.0, size=50)),
        regression("ties", random.integers(0, 4, 40).astype(float), random.integers(0, 3, 40).astype(float)),
        regression("constant error", np.arange(8.0), np.arange(8.0) + 0.3),
    ],
    "curves": [
        curves("distinct", random.random(60) < 0.4, random.random(60)),
        curves("ties", random.random(80) < 0.6, random.integers(0, 11, 80) / 10),
        curves("well separated", np.arange(40) > 20, np.linspace(0.0, 1.0, 40)),
    ],
    "mcnemar": [mcnemar(*pair) for pair in [(0, 0), (1, 0), (5, 5), (4, 5), (3, 17), (40, 12), (500, 620), (0, 200)]],
    "corrected_t_test": [
        corrected_t_test(random.normal(0.8, 0.02, 10), random.normal(0.8, 0.02, 10), 1 / 9),
        corrected_t_test(random.normal(0.8, 0.01, 10), random.normal(0.9, 0.01, 10), 1 / 9),
        corrected_t_test(random.normal(0.8, 0.02, 100), random.normal(0.81, 0.02, 100), 0.25),
        corrected_t_test(np.array([0.5, 0.6]), np.array([0.7, 0.65]), 1.0),
    ],
}
path = pathlib.Path(__file__).parents[1] / "fixtures" / "metrics.json"
path.write_text(json.dumps(cases, indent=None, separators=(",", ":")) + "\n")
