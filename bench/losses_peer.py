"""pytorch-metric-learning's half of bench/losses.lua: prints name, tab, milliseconds for each loss.

    python3 bench/losses_peer.py BATCH SIZE CLASSES RUNS
"""
import sys
import time

import torch
import torch.nn.functional as F
from pytorch_metric_learning import distances, losses, miners

batch, size, classes, runs = map(int, sys.argv[1:])
torch.set_num_threads(1)
torch.manual_seed(1)
labels = torch.arange(batch) % classes


def mined(loss, miner):
    return lambda x, y: loss(x, y, miner(x, y))


def softmax():
    head = torch.nn.Linear(size, classes)
    return lambda x, y: F.cross_entropy(head(x), y)


def centre():
    centers = torch.nn.Parameter(torch.randn(classes, size))
    return lambda x, y: (x - centers[y]).square().sum(1).mean() / 2


def prototypical(x, y, shots=4):
    x, y = x.view(-1, classes, size), y.view(-1, classes)
    queries = x[shots:].reshape(-1, size)
    return F.cross_entropy(-torch.cdist(queries, x[:shots].mean(0)) ** 2, y[shots:].reshape(-1))


def barlow(a, b):
    norm = torch.nn.BatchNorm1d(size, affine=False)
    c = norm(a).T @ norm(b) / batch
    diagonal = torch.eye(size)
    return ((c - diagonal).square() * (diagonal + 0.005 * (1 - diagonal))).sum()


vicreg = losses.VICRegLoss()
cases = [
    ("contrastive", losses.ContrastiveLoss()),
    ("triplet", losses.TripletMarginLoss()),
    ("triplet, soft", losses.TripletMarginLoss(smooth_loss=True)),
    ("triplet, swap", losses.TripletMarginLoss(swap=True)),
    ("triplet, semihard", mined(losses.TripletMarginLoss(0.2), miners.TripletMarginMiner(0.2, "semihard"))),
    ("triplet, batch hard", mined(losses.TripletMarginLoss(), miners.BatchHardMiner())),
    ("lifted structure", losses.LiftedStructureLoss()),
    ("N-pairs", losses.NPairsLoss(distance=distances.DotProductSimilarity(normalize_embeddings=False))),
    ("multi-similarity", losses.MultiSimilarityLoss()),
    ("multi-similarity, mined", mined(losses.MultiSimilarityLoss(), miners.MultiSimilarityMiner())),
    ("NT-Xent", losses.NTXentLoss()),
    ("supervised contrastive", losses.SupConLoss()),
    ("angular", losses.AngularLoss()),
    ("circle", losses.CircleLoss()),
    ("margin", losses.MarginLoss(learn_beta=True)),
    ("margin, distance weighted", mined(losses.MarginLoss(learn_beta=True), miners.DistanceWeightedMiner())),
    ("softmax", softmax()),
    ("normalised softmax", losses.NormalizedSoftmaxLoss(classes, size)),
    ("ArcFace", losses.ArcFaceLoss(classes, size)),
    ("ArcFace, 10000 classes", losses.ArcFaceLoss(10000, size)),
    ("CosFace", losses.CosFaceLoss(classes, size)),
    ("SphereFace", losses.SphereFaceLoss(classes, size)),
    ("proxy-NCA++", losses.ProxyNCALoss(classes, size, softmax_scale=9)),
    ("proxy-anchor", losses.ProxyAnchorLoss(classes, size)),
    ("proxy-anchor, 10000 classes", losses.ProxyAnchorLoss(10000, size)),
    ("centre", centre()),
    ("prototypical", prototypical),
    ("Barlow twins", barlow),
    ("VICReg", lambda a, b: vicreg(a, ref_emb=b)),
    ("cross-batch memory, contrastive", losses.CrossBatchMemory(losses.ContrastiveLoss(), size, memory_size=4096)),
]
for name, loss in cases:
    x = torch.randn(batch, size, requires_grad=True)
    other = torch.randn(batch, size, requires_grad=True) if name in ("Barlow twins", "VICReg") else labels
    times, began = [], time.process_time()
    for run in range(runs + 5):
        if run > 5 and time.process_time() - began > 10:
            break
        start = time.process_time()
        loss(x, other).backward()
        times.append(time.process_time() - start)
        x.grad = None
        if isinstance(loss, torch.nn.Module):
            loss.zero_grad()
    print(f"{name}\t{1000 * sorted(times[5:])[len(times[5:]) // 2]:.4f}", flush=True)
