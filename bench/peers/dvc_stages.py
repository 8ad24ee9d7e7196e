"""The flow in four steps for DVC: python dvc_stages.py prepare|features|model|tuned (dvc.yaml says what each reads and writes)."""

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from debian_packages import features
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score


def prepare():
    table = pd.read_csv("rows.csv")
    flow = features(seed=0)[0]
    train = table["split"] == "train"
    fitted = flow.fit_transform(table[train], table["section"][train])
    x = np.empty((len(table), fitted.shape[1]))
    x[train], x[~train] = fitted, flow.transform(table[~train])
    np.savez("prepared.npz", x=x, y=table["section"].to_numpy(str), split=table["split"].to_numpy(str))


def select():
    data = np.load("prepared.npz")
    flow, train = features(seed=0)[1:], data["split"] == "train"
    flow.fit(data["x"][train], data["y"][train])
    np.savez("features.npz", x=flow.transform(data["x"]), y=data["y"], split=data["split"])


def model():
    data = np.load("features.npz")
    train = data["split"] == "train"
    fitted = LogisticRegression(C=0.1, max_iter=500).fit(data["x"][train], data["y"][train])
    Path("model.pkl").write_bytes(pickle.dumps(fitted))


def tuned():
    data = np.load("features.npz")
    train, test = data["split"] == "train", data["split"] == "test"
    base = pickle.loads(Path("model.pkl").read_bytes())
    fitted = base.set_params(warm_start=True, C=0.2).fit(data["x"][train], data["y"][train])
    Path("tuned.pkl").write_bytes(pickle.dumps(fitted))
    score = f1_score(data["y"][test], fitted.predict(data["x"][test]), average="macro")
    Path("metrics.json").write_text(json.dumps({"f1_macro": score}))


if __name__ == "__main__":
    {"prepare": prepare, "features": select, "model": model, "tuned": tuned}[sys.argv[1]]()
