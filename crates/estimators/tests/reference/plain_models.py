"""Naive Bayes, discriminants, baselines and nearest neighbours by scikit-learn, for tests/plain_models.rs. Writes tests/fixtures/plain_models.json."""

import json
import pathlib
import warnings

import numpy as np
import sklearn
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

warnings.simplefilter("ignore")
random = np.random.default_rng(23)


def normal(n_rows, n_features, n_classes):
    """Columns of different scale and location; labels that overlap."""
    codes = np.concatenate([np.arange(n_classes), random.integers(0, n_classes, n_rows - n_classes)])
    centers = random.normal(size=(n_classes, n_features))
    features = random.normal(size=(n_rows, n_features)) @ (np.eye(n_features) + 0.3 * random.normal(size=(n_features, n_features)))
    features = (features + centers[codes]) * 10.0 ** np.linspace(-1, 1, n_features) + np.linspace(-3, 5, n_features)
    return np.round(features, 6), codes


def counts(n_rows, n_features, n_classes):
    codes = random.integers(0, n_classes, n_rows)
    return random.poisson(random.gamma(0.7, 2.0, size=(n_classes, n_features))[codes]).astype(float), codes


def case(name, estimator, model, features, target, weights=None, repeats=None):
    """`repeats` are weights too, but the reference has no weights and is given the rows so many times."""
    if repeats is not None:
        model.fit(np.repeat(features, repeats, axis=0), np.repeat(target, repeats))
    elif weights is not None:
        model.fit(features, target, sample_weight=weights)
    else:
        model.fit(features, target)
    queries = np.round(features[:8] + 0.1 * random.normal(size=features[:8].shape) * features.std(axis=0), 6)
    if "multinomial" in name or "bernoulli" in name:
        queries = random.permuted(features[:8], axis=1)
    labels = hasattr(model, "classes_")
    weights = repeats if repeats is not None else weights
    return {
        "name": name,
        "estimator": estimator,
        "features": features.tolist(),
        "target": target.tolist(),
        "n_classes": int(target.max()) + 1 if labels else None,
        "weights": None if weights is None else weights.tolist(),
        "queries": queries.tolist(),
        "predictions": (model.predict_proba(queries) if labels else model.predict(queries)[:, None]).tolist(),
    }


def weights(n_rows):
    return np.round(random.uniform(0.1, 3.0, n_rows), 3)


two, three = normal(60, 4, 2), normal(80, 5, 3)
few, many = counts(50, 6, 2), counts(60, 8, 4)
values = np.round(100 + 10 * random.normal(size=60), 3)
collinear = np.column_stack([three[0][:, :3], three[0][:, 0] + three[0][:, 1], np.full(80, 7.0)])
repeats = random.integers(1, 4, 80)
discriminant = LinearDiscriminantAnalysis
cases = [
    case("gaussian, two labels", {"gaussian_naive_bayes": {}}, GaussianNB(), *two),
    case("gaussian, three labels, weights", {"gaussian_naive_bayes": {}}, GaussianNB(), *three, weights(80)),
    case("gaussian, smoothed", {"gaussian_naive_bayes": {"variance_smoothing": 0.1}}, GaussianNB(var_smoothing=0.1), *three),
    case("multinomial, two labels", {"multinomial_naive_bayes": {}}, MultinomialNB(), *few),
    case("multinomial, four labels, weights", {"multinomial_naive_bayes": {"alpha": 0.3}}, MultinomialNB(alpha=0.3), *many, weights(60)),
    case("multinomial, equal priors", {"multinomial_naive_bayes": {"fit_prior": False}}, MultinomialNB(fit_prior=False), *many),
    case("multinomial, nothing added", {"multinomial_naive_bayes": {"alpha": 0.0}}, MultinomialNB(alpha=0.0, force_alpha=False), *many),
    case("bernoulli, two labels", {"bernoulli_naive_bayes": {}}, BernoulliNB(), *few),
    case("bernoulli, four labels, weights", {"bernoulli_naive_bayes": {"alpha": 0.5, "threshold": 1.0}}, BernoulliNB(alpha=0.5, binarize=1.0), *many, weights(60)),
    case("bernoulli, equal priors", {"bernoulli_naive_bayes": {"fit_prior": False}}, BernoulliNB(fit_prior=False), *many),
    # Less would be lost in scikit-learn's rounding: it takes shares from 1.
    case("bernoulli, little added", {"bernoulli_naive_bayes": {"alpha": 0.001}}, BernoulliNB(alpha=0.001), *many),
    case("linear discriminant, two labels", {"linear_discriminant": {}}, discriminant(), *two),
    case("linear discriminant, three labels", {"linear_discriminant": {}}, discriminant(), *three),
    case("linear discriminant, weights", {"linear_discriminant": {}}, discriminant(), *three, repeats=repeats),
    case("linear discriminant, collinear columns", {"linear_discriminant": {}}, discriminant(), collinear, three[1]),
    case("linear discriminant, share", {"linear_discriminant": {"shrinkage": 0.3}}, discriminant(solver="lsqr", shrinkage=0.3), *three),
    case("linear discriminant, share, eigen", {"linear_discriminant": {"shrinkage": 0.7}}, discriminant(solver="eigen", shrinkage=0.7), *two),
    case("linear discriminant, share, weights", {"linear_discriminant": {"shrinkage": 0.2}}, discriminant(solver="lsqr", shrinkage=0.2), *three, repeats=repeats),
    case("linear discriminant, share of nothing", {"linear_discriminant": {"shrinkage": 0.0}}, discriminant(solver="lsqr", shrinkage=0.0), *three),
    case("linear discriminant, Ledoit-Wolf", {"linear_discriminant": {"shrinkage": "auto"}}, discriminant(solver="lsqr", shrinkage="auto"), *three),
    case("linear discriminant, Ledoit-Wolf, eigen", {"linear_discriminant": {"shrinkage": "auto"}}, discriminant(solver="eigen", shrinkage="auto"), *two),
    case("linear discriminant, Ledoit-Wolf, more columns than rows", {"linear_discriminant": {"shrinkage": "auto"}}, discriminant(solver="lsqr", shrinkage="auto"), *normal(12, 20, 2)),
    case("quadratic discriminant, two labels", {"quadratic_discriminant": {}}, QuadraticDiscriminantAnalysis(), *two),
    case("quadratic discriminant, regularized", {"quadratic_discriminant": {"regularization": 0.2}}, QuadraticDiscriminantAnalysis(reg_param=0.2), *three),
    case("quadratic discriminant, weights", {"quadratic_discriminant": {}}, QuadraticDiscriminantAnalysis(), *three, repeats=repeats),
    case("baseline", {"baseline": {}}, DummyClassifier(strategy="most_frequent"), *three),
    case("baseline, majority, weights", {"baseline": {"strategy": "majority"}}, DummyClassifier(strategy="most_frequent"), *three, weights(80)),
    case("baseline, prior, weights", {"baseline": {"strategy": "prior"}}, DummyClassifier(strategy="prior"), *three, weights(80)),
    case("baseline, mean", {"baseline": {}}, DummyRegressor(), two[0], values),
    case("baseline, mean, weights", {"baseline": {"strategy": "mean"}}, DummyRegressor(), two[0], values, weights(60)),
    case("baseline, median", {"baseline": {"strategy": "median"}}, DummyRegressor(strategy="median"), two[0], values),
    case("baseline, median, weights", {"baseline": {"strategy": "median"}}, DummyRegressor(strategy="median"), two[0], values, weights(60)),
]
plane = np.round(random.normal(size=(1500, 2)), 4)
space = np.round(random.normal(size=(200, 24)), 4)
space[11] = 0.0
for place, features in [("plane", plane), ("space", space)]:
    codes = np.digitize(features[:, 0] + features[:, 1] + 0.5 * random.normal(size=len(features)), [-1.0, 1.0])
    targets = np.round(features[:, 0] * 3 + random.normal(size=len(features)), 3)
    for distance in ["euclidean", "manhattan", "cosine"]:
        for weight in ["uniform", "distance"]:
            ours = {"k_nearest_neighbors": {"neighbors": 7, "weights": weight, "distance": distance}}
            theirs = {"n_neighbors": 7, "weights": weight, "metric": distance}
            cases.append(case(f"neighbors, {place}, {distance}, {weight}, labels", ours, KNeighborsClassifier(**theirs), features, codes))
            if weight == "distance":
                cases.append(case(f"neighbors, {place}, {distance}, {weight}, values", ours, KNeighborsRegressor(**theirs), features, targets))
for one in cases:
    # The rows of the neighbours are the same in many cases.
    if one["name"].startswith("neighbors"):
        one["features"] = one["name"].split(", ")[1]
fixture = {"scikit-learn": sklearn.__version__, "plane": plane.tolist(), "space": space.tolist(), "cases": cases}
path = pathlib.Path(__file__).parents[1] / "fixtures" / "plain_models.json"
path.write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
