"""What the samplers' tests expect, from Optuna and `cmaes`: python samplers.py writes ../fixtures/samplers.json."""

import json
import pathlib
import statistics

import numpy as np
from cmaes import CMA
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters
from optuna.samplers._tpe.sampler import default_weights
from scipy.stats import qmc


def parzen(n, seed):
    """The densities of Optuna's estimator over a choice, whole numbers and a range, and over the range alone."""
    rng = np.random.default_rng(seed)
    spaces = {"choice": CategoricalDistribution(["a", "b", "c"]), "int": IntDistribution(1, 500), "uniform": FloatDistribution(-2, 3)}

    def draw(size):
        # No number twice: whose bell is how wide among equals is not defined.
        numbers = rng.choice(np.arange(1, 501), size, replace=False)
        return {"choice": rng.integers(0, 3, size), "int": numbers, "uniform": rng.uniform(-2, 3, size)}

    def density(names):
        parameters = _ParzenEstimatorParameters(1.0, True, False, default_weights, True)
        pick = lambda drawn: {name: drawn[name].astype(float) for name in names}
        estimator = _ParzenEstimator(pick(observed), {name: spaces[name] for name in names}, parameters)
        return estimator.log_pdf(pick(asked)).tolist()

    def points(drawn):
        return np.column_stack(list(drawn.values())).tolist()

    observed, asked = draw(n), draw(5)
    return {"observed": points(observed), "asked": points(asked), "together": density(list(spaces)), "range": density(["uniform"])}


def sphere(x):
    return ((x - 0.3) ** 2).sum()


def rosenbrock(x):
    x = 4 * x - 2
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def evolution(n):
    """What some generations make of the distribution."""
    cma = CMA(mean=np.full(n, 0.5), sigma=1 / 6, seed=n)
    generations = []
    for _ in range(4):
        points = [cma.ask() for _ in range(cma.population_size)]
        scores = [-rosenbrock(point) for point in points]
        cma.tell([(point, -score) for point, score in zip(points, scores)])
        generations.append({
            "points": [point.tolist() for point in points],
            "scores": scores,
            "mean": cma._mean.tolist(),
            "sigma": cma._sigma,
            "covariance": cma._C.tolist(),
        })
    return generations


def evaluations(function, n, goal=1e-8):
    """The median number of evaluations until a value is as small as the goal."""

    def one(seed):
        cma = CMA(mean=np.full(n, 0.5), sigma=1 / 6, bounds=np.tile([0.0, 1.0], (n, 1)), seed=seed)
        count = 0
        while True:
            told = []
            for _ in range(cma.population_size):
                point = cma.ask()
                told.append((point, function(point)))
                count += 1
                if told[-1][1] <= goal:
                    return count
            cma.tell(told)
            # Rosenbrock's function has a second valley from which it does not come back.
            if cma.should_stop() or count > 20_000:
                return 20_000

    return statistics.median(one(seed) for seed in range(21))


def discrepancy():
    points = np.random.default_rng(0).random((6, 3))
    return {"points": points.tolist(), "centred": qmc.discrepancy(points, method="CD")}


if __name__ == "__main__":
    fixtures = {
        "parzen": [parzen(n, seed) for seed, n in enumerate([1, 2, 7, 40])],
        "evolution": [evolution(n) for n in (2, 3, 6)],
        "evaluations": {"sphere": evaluations(sphere, 5), "rosenbrock": evaluations(rosenbrock, 4)},
        "discrepancy": discrepancy(),
    }
    path = pathlib.Path(__file__).parent.parent / "fixtures" / "samplers.json"
    path.write_text(json.dumps(fixtures, indent=1) + "\n")
