"""How good the best of some trials is with Optuna, on the functions of crates/model-selection/examples/sampler_quality.rs: python sampler_quality.py [SEEDS] [TRIALS]

Prints the median over seeds for each function and sampler as JSON.
"""

import json
import statistics
import sys
import warnings

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import CmaEsSampler, QMCSampler, RandomSampler, TPESampler

SAMPLERS = {
    "random": lambda seed: RandomSampler(seed=seed),
    "sobol": lambda seed: QMCSampler(qmc_type="sobol", scramble=True, seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed, multivariate=False),
    "multivariate_tpe": lambda seed: TPESampler(seed=seed, multivariate=True),
    "cma_es": lambda seed: CmaEsSampler(seed=seed),
}

HEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
WIDTHS = np.array([
    [10, 3, 17, 3.5, 1.7, 8],
    [0.05, 10, 17, 0.1, 8, 14],
    [3, 3.5, 1.7, 10, 17, 8],
    [17, 8, 0.05, 10, 0.1, 14],
])
PLACES = np.array([
    [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
    [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
    [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
    [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
])


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def ackley(x):
    return 20 + np.e - 20 * np.exp(-0.2 * np.sqrt((x**2).mean())) - np.exp(np.cos(2 * np.pi * x).mean())


def branin(x):
    curve = x[1] - 5.1 / (4 * np.pi**2) * x[0] ** 2 + 5 / np.pi * x[0] - 6
    return curve**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x[0]) + 10


def griewank(x):
    return 1 + (x**2).sum() / 4000 - np.cos(x / np.sqrt(np.arange(1, len(x) + 1))).prod()


def levy(x):
    w = 1 + (x - 1) / 4
    between = ((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2)).sum()
    return np.sin(np.pi * w[0]) ** 2 + between + (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2)


def learner(values):
    worse, rate, depth = {"linear": (0.3, -1, 4), "rbf": (0.0, -2.5, 7), "polynomial": (0.1, -3.5, 12)}[values["kernel"]]
    rate = np.log10(values["learning_rate"]) - rate
    depth = (values["depth"] - depth) / 5
    return 0.1 + worse + 0.2 * rate**2 + 0.1 * depth**2 + 0.1 * abs(rate * depth) + 0.05 * (values["dropout"] - 0.3) ** 2


def line(function, low, high, n):
    return {f"x{at}": FloatDistribution(low, high) for at in range(n)}, of_numbers(function)


def of_numbers(function):
    return lambda values: function(np.array([values[f"x{at}"] for at in range(len(values))]))


# Ranges whose middle would be the best place are moved by a quarter of their width.
PROBLEMS = {
    "sphere 5d": line(lambda x: (x**2).sum(), -2.56, 7.68, 5),
    "rosenbrock 2d": line(rosenbrock, -5, 10, 2),
    "rosenbrock 5d": line(rosenbrock, -5, 10, 5),
    "ackley 5d": line(ackley, -16.384, 49.152, 5),
    "rastrigin 5d": line(lambda x: (10 + x**2 - 10 * np.cos(2 * np.pi * x)).sum(), -2.56, 7.68, 5),
    "branin": ({"x0": FloatDistribution(-5, 10), "x1": FloatDistribution(0, 15)}, of_numbers(branin)),
    "hartmann 6d": line(lambda x: -(HEIGHTS * np.exp(-(WIDTHS * (x - PLACES) ** 2).sum(axis=1))).sum(), 0, 1, 6),
    "griewank 5d": line(griewank, -300, 900, 5),
    "levy 5d": line(levy, -10, 10, 5),
    "styblinski-tang 5d": line(lambda x: 0.5 * (x**4 - 16 * x**2 + 5 * x).sum(), -5, 5, 5),
    "learner": (
        {
            "kernel": CategoricalDistribution(["linear", "rbf", "polynomial"]),
            "learning_rate": FloatDistribution(1e-5, 1, log=True),
            "depth": IntDistribution(1, 20),
            "dropout": FloatDistribution(0, 0.9),
        },
        learner,
    ),
}


def best_of(spaces, function, sampler, trials):
    study = optuna.create_study(sampler=sampler)
    for _ in range(trials):
        trial = study.ask(spaces)
        study.tell(trial, function(trial.params))
    return study.best_value


def main(seeds=20, trials=50):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    medians = {
        name: {
            sampler: statistics.median(best_of(spaces, function, make(seed), trials) for seed in range(seeds))
            for sampler, make in SAMPLERS.items()
        }
        for name, (spaces, function) in PROBLEMS.items()
    }
    print(json.dumps({"seeds": seeds, "trials": trials, "medians": medians}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
