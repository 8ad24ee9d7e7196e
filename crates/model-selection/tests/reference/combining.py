"""Calibration, thresholds, voting and stacking by scikit-learn 1.9.1: writes ../fixtures/combining.json.

Trials are stand-ins whose predictions are columns of X, so that scikit-learn's meta-estimators see given out-of-fold predictions.
"""

import json
from pathlib import Path

import numpy as np
from scipy.optimize import brentq, root
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, StackingRegressor, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import TunedThresholdClassifierCV

LEAST_PROBABILITY = 1e-6


class Said(ClassifierMixin, BaseEstimator):
    """Says the columns from `first` to `last`."""

    def __init__(self, first, last):
        self.first, self.last = first, last

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        return self

    def said(self, X):
        return np.asarray(X)[:, self.first : self.last]

    def predict(self, X):
        return self.classes_[self.said(X).argmax(axis=1)]


class Probable(Said):
    def predict_proba(self, X):
        return self.said(X)


class Scored(Said):
    def decision_function(self, X):
        said = self.said(X)
        return said[:, 1] if said.shape[1] == 2 else said


class LogProbable(Said):
    """The columns that a stack sees."""

    def decision_function(self, X):
        logs = np.log(np.maximum(self.said(X), LEAST_PROBABILITY))
        return logs[:, 1] - logs[:, 0] if logs.shape[1] == 2 else logs


class Valued(RegressorMixin, BaseEstimator):
    def __init__(self, column):
        self.column = column

    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict(self, X):
        return np.asarray(X)[:, self.column]


def drawn(rng, n_rows, n_classes, sharpness):
    codes = rng.integers(0, n_classes, n_rows)
    logits = rng.normal(size=(n_rows, n_classes)) + sharpness * np.eye(n_classes)[codes]
    return codes, softmax(2.0 * logits, axis=1)


def polished(scores, positive, weights):
    """Platt's a and b where the gradient is zero, beyond the tolerance at which scikit-learn stops."""
    n_positive, n_negative = weights[positive].sum(), weights[~positive].sum()
    target = np.where(positive, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))

    def gradient(ab):
        gap = weights * (target - expit(-(ab[0] * scores + ab[1])))
        return [gap @ scores, gap.sum()]

    def jacobian(ab):
        p = expit(-(ab[0] * scores + ab[1]))
        c = weights * p * (1 - p)
        return [[c @ scores**2, c @ scores], [c @ scores, c.sum()]]

    found = root(gradient, [-1.0 / scores.std(), 0.0], jac=jacobian, tol=1e-15)
    return found.x.tolist()


def inverse_temperature(logits, codes, weights):
    def slope(beta):
        return weights @ ((softmax(beta * logits, axis=1) * logits).sum(axis=1) - logits[np.arange(len(codes)), codes])

    return brentq(slope, 1e-4, 1e4, xtol=1e-15, rtol=1e-14)


def calibration(rng):
    cases = []
    for n_classes, scored, weighted in [(2, False, False), (2, True, True), (3, False, True), (3, True, False)]:
        codes, said = drawn(rng, 80, n_classes, 1.0)
        said[:6] = said[6:12]
        if scored:
            margin = rng.normal(size=80) * 25 + 20 * (2 * codes - 1)
            said = np.column_stack([-margin, margin]) if n_classes == 2 else 3 * np.log(said)
        weights = rng.integers(0, 4, 80).astype(float) if weighted else None
        fresh = rng.permutation(said)[:10] * (1.5 if scored else 1.0)
        of_rows = np.ones(80) if weights is None else weights
        case = {
            "scored": scored,
            "codes": codes.tolist(),
            "n_classes": n_classes,
            "said": said.tolist(),
            "weights": None if weights is None else weights.tolist(),
            "fresh": fresh.tolist(),
        }
        said_by = (Scored if scored else Probable)(0, n_classes).fit(said, codes)
        for word, method in [("platt", "sigmoid"), ("isotonic", "isotonic"), ("temperature", "temperature")]:
            model = CalibratedClassifierCV(FrozenEstimator(said_by), method=method).fit(said, codes, sample_weight=weights)
            case[word] = {"probabilities": model.predict_proba(fresh).tolist()}
        first = 1 if n_classes == 2 else 0
        curves = [polished(said[:, label], codes == label, of_rows) for label in range(first, n_classes)]
        case["platt"]["curves"] = curves
        logits = said if scored else np.log(said + 1e-12)
        case["temperature"]["inverse"] = inverse_temperature(logits, codes, of_rows)
        cases.append(case)
    return cases


def threshold(rng):
    cases = []
    for metric in ["f1", "balanced_accuracy", "accuracy", "matthews_corrcoef"]:
        codes = (rng.random(60) < 0.3).astype(int)
        second = np.round(expit(rng.normal(size=60) - 1.5 + 1.5 * codes), 2)
        said = np.column_stack([1 - second, second])
        distinct = np.unique(second)
        middles = (distinct[1:] + distinct[:-1]) / 2
        tried = np.unique(np.concatenate([[0.5], middles]))
        model = TunedThresholdClassifierCV(
            Probable(0, 2).fit(said, codes), scoring=metric, thresholds=tried, cv="prefit", refit=False, store_cv_results=True
        ).fit(said, codes)
        scores = model.cv_results_["scores"]
        best = tried[scores >= scores.max() - 1e-12]
        cases.append({
            "metric": {"matthews_corrcoef": "mcc"}.get(metric, metric),
            "codes": codes.tolist(),
            "said": said.tolist(),
            "score": model.best_score_,
            "threshold": best[np.argmin(np.abs(best - 0.5))],
        })
    return cases


def ensembles(rng):
    cases = []
    for n_classes, l2 in [(2, 1.0), (3, 0.1)]:
        codes, _ = drawn(rng, 60, n_classes, 1.0)
        trials = []
        for sharpness in [0.3, 0.6, 0.5]:
            logits = rng.normal(size=(60, n_classes)) + sharpness * np.eye(n_classes)[codes]
            trials.append(softmax(2.0 * logits, axis=1))
        trials[1][0] = np.eye(n_classes)[codes[0]]
        X = np.hstack(trials)
        spans = [(n_classes * trial, n_classes * (trial + 1)) for trial in range(3)]
        vote = VotingClassifier([(str(span), Probable(*span)) for span in spans], voting="soft").fit(X, codes)
        final = LogisticRegression(C=1 / l2, tol=1e-12, max_iter=100_000)
        stack = StackingClassifier(
            [(str(span), LogProbable(*span).fit(X, codes)) for span in spans],
            final_estimator=final, cv="prefit", stack_method="decision_function",
        ).fit(X, codes)
        cases.append({
            "codes": codes.tolist(), "n_classes": n_classes, "l2": l2, "said": [said.tolist() for said in trials],
            "vote": vote.predict_proba(X).tolist(), "stack": stack.predict_proba(X).tolist(),
        })
    truth = rng.normal(size=40)
    X = np.column_stack([truth + rng.normal(size=40), 2 * truth + 0.5 * rng.normal(size=40) + 3])
    stack = StackingRegressor([(str(c), Valued(c).fit(X, truth)) for c in [0, 1]], final_estimator=Ridge(alpha=2.0), cv="prefit").fit(X, truth)
    values = {"truth": truth.tolist(), "said": X.T.tolist(), "l2": 2.0, "stack": stack.predict(X).tolist()}
    return cases, values


def main():
    rng = np.random.default_rng(7)
    fixture = {"calibration": calibration(rng), "threshold": threshold(rng)}
    labels, values = ensembles(rng)
    fixture |= {"ensembles": labels, "values": values}
    path = Path(__file__).parent.parent / "fixtures" / "combining.json"
    path.write_text(json.dumps(fixture, indent=None) + "\n")


if __name__ == "__main__":
    main()
