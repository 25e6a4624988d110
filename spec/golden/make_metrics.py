"""Writes metrics.lua: evaluation and calibration as scikit-learn, SciPy and pytorch-metric-learning see them.

    python3 spec/golden/make_metrics.py

Needs scikit-learn, SciPy, PyTorch and pytorch-metric-learning; the tests do not. What none of these has (the
protocol of folds, expected calibration error) is written down here from its definition in NumPy.
"""
import os
import warnings

import numpy as np
import torch
from pytorch_metric_learning.utils.accuracy_calculator import (
    mean_average_precision, precision_at_k, r_precision)
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.calibration import _sigmoid_calibration, calibration_curve
from sklearn.cluster import KMeans
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import (average_precision_score, brier_score_loss, normalized_mutual_info_score,
                             precision_recall_curve, roc_auc_score, roc_curve)

FARS = [1e-1, 1e-2, 1e-3, 1e-4]
rng = np.random.default_rng(5)
warnings.filterwarnings("ignore")


def lua(value):
    """A Python value as Lua source; floats to 12 places."""
    if isinstance(value, dict):
        return "{" + ",\n".join(f"{k}={lua(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "{" + ",".join(lua(v) for v in value) + "}"
    if isinstance(value, np.ndarray):
        return lua(value.tolist())
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, str):
        return f'"{value}"'
    if np.isnan(value):
        return "0/0"
    return repr(round(float(value), 12))


def pairs(n, share, spread, digits):
    """Distances, same ones smaller; `digits` makes ties."""
    same = (rng.random(n) < share).astype(int)
    d = np.round(np.abs(rng.normal(1 + spread * (1 - same), 0.5)), digits)
    return d.astype(np.float32).astype(np.float64), same


def equal_error(d, same):
    fpr, tpr, _ = roc_curve(same, -d, drop_intermediate=False)
    return brentq(lambda x: 1 - x - interp1d(fpr, tpr)(x), 0, 1, xtol=1e-14)


def verification(d, same, curve):
    fpr, tpr, thresholds = roc_curve(same, -d, drop_intermediate=False)
    out = {"distances": np.round(d, 6), "same": same, "auc": roc_auc_score(same, -d),
           "average_precision": average_precision_score(same, -d),
           "tar": [tpr[fpr <= far].max() for far in FARS], "far": FARS,
           "reached": [fpr[fpr <= far].max() for far in FARS]}
    if curve:
        out |= {"tpr": tpr, "fpr": fpr, "thresholds": -thresholds[1:], "equal_error_rate": equal_error(d, same)}
        precision, recall, _ = precision_recall_curve(same, -d)
        out |= {"precision": precision[::-1], "recall": recall[::-1]}
    return out


def best_threshold(d, same):
    """Between the distance with the most right answers, the first of equals, and the next larger one."""
    values = np.unique(d)
    right = [np.sum((d <= v) == same) for v in values]
    best = int(np.argmax(right))
    return values[best] if best + 1 == len(values) else (values[best] + values[best + 1]) / 2


def rate_threshold(d, same, far):
    values = np.unique(d)
    rates = np.array([np.mean(d[same == 0] <= v) for v in values])
    fits = np.nonzero(rates <= far)[0]
    if len(fits) == 0:
        return np.nextafter(np.float32(values[0]), np.float32(-np.inf))
    last = fits[-1]
    return values[last] if last + 1 == len(values) else (values[last] + values[last + 1]) / 2


def folds(d, same, fold, far):
    """Huang et al. 2007: for each fold the threshold of all others."""
    accuracies, thresholds, tars, fars = [], [], [], []
    for f in range(1, fold.max() + 1):
        inside = fold == f
        t = best_threshold(d[~inside], same[~inside])
        thresholds.append(t)
        accuracies.append(np.mean((d[inside] <= t) == same[inside]))
        t = rate_threshold(d[~inside], same[~inside], far)
        tars.append(np.mean(d[inside & (same == 1)] <= t))
        fars.append(np.mean(d[inside & (same == 0)] <= t))
    error = [np.std(v, ddof=1) / np.sqrt(len(v)) for v in (accuracies, tars)]
    return {"distances": np.round(d, 6), "same": same, "fold": fold, "far": far, "accuracies": accuracies,
            "thresholds": thresholds, "accuracy": np.mean(accuracies), "standard_error": error[0],
            "tar": np.mean(tars), "tar_standard_error": error[1], "reached": np.mean(fars)}


def retrieval(n, classes, distance, references=None):
    labels = rng.integers(1, classes + 1, n)
    centres = rng.normal(size=(classes, 5))
    x = np.round(centres[labels - 1] + rng.normal(size=(n, 5)) * 0.9, 3).astype(np.float32)
    y, other = (x, labels)
    if references:
        other = rng.integers(1, classes + 1, references)
        y = np.round(centres[other - 1] + rng.normal(size=(references, 5)) * 0.9, 3).astype(np.float32)
    a, b = x.astype(np.float64), y.astype(np.float64)
    if distance == "cosine":
        d = 1 - (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T
    else:
        d = np.linalg.norm(a[:, None] - b[None], ord=1 if distance == "l1" else 2, axis=2)
    if not references:
        np.fill_diagonal(d, np.inf)
    order = np.argsort(d, axis=1, kind="stable")[:, :len(y) - (0 if references else 1)]
    count = np.array([np.sum(other == label) - (0 if references else 1) for label in labels])
    keep = count > 0
    knn = torch.tensor(other[order][keep])
    mine = torch.tensor(labels[keep])[:, None]
    unique, counts = np.unique(other, return_counts=True)
    lookup = (torch.tensor(unique)[:, None], torch.tensor(counts))
    same = (not references, lookup, False, False, torch.eq)
    right = other[order][keep] == labels[keep][:, None]
    out = {"distance": distance, "x": x.astype(np.float64), "labels": labels,
           "queries": int(keep.sum()), "left_out": int((~keep).sum()),
           "precision_at_1": precision_at_k(knn, mine, 1, False, False, torch.eq),
           "r_precision": r_precision(knn, mine, *same), "map_at_r": mean_average_precision(knn, mine, *same, True),
           "recall": [np.mean(right[:, :k].any(axis=1)) for k in (1, 2, 4, 8)]}
    if references:
        out |= {"y": y.astype(np.float64), "other": other}
    return out


def clusters(n, k, d):
    centres = rng.normal(size=(k, d)) * 2
    x = np.round(centres[rng.integers(0, k, n)] + rng.normal(size=(n, d)), 3).astype(np.float32).astype(np.float64)
    start = x[rng.permutation(n)[:k]]
    found = KMeans(k, init=start, n_init=1, algorithm="lloyd", tol=1e-4, max_iter=100).fit(x)
    return {"x": x, "start": start, "members": found.labels_ + 1, "centres": found.cluster_centers_,
            "inertia": found.inertia_, "iterations": int(found.n_iter_)}


def information(n, a, b):
    x, y = rng.integers(1, a + 1, n), rng.integers(1, b + 1, n)
    y = np.where(rng.random(n) < 0.5, np.minimum(x, b), y)
    return {"a": x, "b": y, "nmi": normalized_mutual_info_score(x, y)}


def calibration(d, same):
    # Platt's A and B are those of 1 / (1 + exp(A f + B)).
    a, b = _sigmoid_calibration(d, same.astype(np.float64))
    grid = np.round(np.linspace(d.min() - 0.5, d.max() + 0.5, 41), 6)
    isotonic = IsotonicRegression(increasing=False, out_of_bounds="clip").fit(d, same)
    p = np.round(1 / (1 + np.exp(a * d + b)), 6)
    out = {"distances": np.round(d, 6), "same": same, "a": a, "b": b, "grid": grid,
           "platt": 1 / (1 + np.exp(a * grid + b)), "isotonic": isotonic.predict(grid), "probabilities": p,
           "brier": brier_score_loss(same, p), "bins": {}}
    for strategy in "uniform", "quantile":
        observed, predicted = calibration_curve(same, p, n_bins=10, strategy=strategy)
        edges = np.linspace(0, 1, 11) if strategy == "uniform" else np.percentile(p, np.linspace(0, 100, 11))
        count = np.bincount(np.searchsorted(edges[1:-1], p), minlength=10)
        count = count[count > 0]
        gaps = np.abs(observed - predicted)
        out["bins"][strategy] = {"observed": observed, "predicted": predicted, "count": count,
                                 "expected": float(np.sum(count * gaps) / len(p)), "maximum": float(gaps.max())}
    return out


def main():
    d, same = pairs(60, 0.5, 0.6, 1)
    cases = [verification(d, same, True), verification(*pairs(40, 0.3, 1, 4), True),
             verification(*pairs(400, 0.2, 0.8, 2), False), verification(*pairs(300, 0.5, 9, 3), False),
             verification(*pairs(300, 0.05, 0.1, 1), False)]
    folded = [folds(*pairs(120, 0.5, 0.8, 3), np.repeat(np.arange(1, 11), 12), 0.1),
              folds(*pairs(90, 0.4, 0.8, 1), rng.integers(1, 4, 90), 0.05)]
    found = [retrieval(60, 8, "l2"), retrieval(50, 20, "cosine"), retrieval(40, 5, "l1"),
             retrieval(30, 6, "l2", 45)]
    made = {"verification": cases, "folds": folded, "retrieval": found,
            "clusters": [clusters(80, 5, 3), clusters(60, 12, 2)],
            "information": [information(50, 5, 5), information(80, 3, 9), information(20, 20, 1)],
            "calibration": [calibration(*pairs(200, 0.5, 0.8, 2)), calibration(*pairs(150, 0.2, 0.3, 1))]}
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "metrics.lua")
    with open(path, "w") as file:
        file.write("-- Made by make_metrics.py with scikit-learn, SciPy and pytorch-metric-learning.\nreturn ")
        file.write(lua(made) + "\n")
    print(os.path.getsize(path), "bytes")


main()
