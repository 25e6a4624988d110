"""Writes losses.lua: losses, distances and miners as pytorch-metric-learning computes them.

    python3 spec/golden/make_losses.py        (needs PyTorch and pytorch-metric-learning; the tests do not)

Where that library has no such loss (centre loss, prototypical, Barlow twins, powers of hinges), the paper's
formula is written out here in PyTorch. Cases are as in golden.lua (see make_golden.py); spec/losses_golden_spec.lua
evaluates their Lua side. Miners' lists are sorted rows of numbers from 1.
"""
import math
import os

import torch
import torch.nn.functional as F
import pytorch_metric_learning
from pytorch_metric_learning import distances, losses, miners, reducers
from pytorch_metric_learning.utils.loss_and_miner_utils import convert_to_weights

torch.manual_seed(11)
cases, mined = [], []


def numbers(t):
    return ",".join(str(int(x)) if x == int(x) and abs(x) < 1e15 else f"{x:.7g}"
                    for x in map(float, t.reshape(-1).tolist()))


tensors = {}  # by their text: many cases share labels and lists


def entry(t):
    kind = "int64" if t.dtype == torch.int64 else "float32"
    text = f'{{shape={{{",".join(map(str, t.shape))}}},dtype="{kind}",data={{{numbers(t.double())}}}}}'
    return f"t[{tensors.setdefault(text, len(tensors) + 1)}]"


def is_smooth(fn, made, weights, grads, eps=1e-2):
    """Whether finite differences of that step follow the gradients, as the specs will want it: not where a hinge
    lies between."""
    def total(values):
        out = fn(*values)
        outs = out if isinstance(out, (tuple, list)) else [out]
        return float(sum((torch.as_tensor(o).double().reshape(w.shape) * w).sum() for o, w in zip(outs, weights)))

    with torch.no_grad():
        for k, (m, g) in enumerate(zip(made, grads)):
            for i in range(m.numel() if g is not None else 0):
                sides = []
                for sign in (1, -1):
                    moved = m.detach().clone()
                    moved.view(-1)[i] += sign * eps
                    sides.append(total([moved if j == k else v.detach() for j, v in enumerate(made)]))
                numeric, exact = (sides[0] - sides[1]) / (2 * eps), float(g.reshape(-1)[i])
                if abs(numeric - exact) > 1e-2 * abs(numeric) + 5e-4 * max(float(w.abs().max()) for w in weights):
                    return False
    return True


def case(name, lua, fn, *inputs, smooth=True, tol=None):
    made = [i.clone().requires_grad_() if i.is_floating_point() else i for i in inputs]
    out = fn(*made)
    outs = list(out) if isinstance(out, (tuple, list)) else [out]
    outs = [o if isinstance(o, torch.Tensor) else torch.tensor(float(o)) for o in outs]
    outs = [o.reshape(()) if o.numel() == 1 and o.dim() == 1 and "none" not in lua else o for o in outs]
    weights = [torch.randn(o.shape) for o in outs]
    total = sum((o * w).sum() for o, w in zip(outs, weights) if o.requires_grad)
    grads = [torch.zeros_like(m) if m.is_floating_point() else None for m in made]
    if isinstance(total, torch.Tensor):
        total.backward()
        grads = [m.grad if m.grad is not None else g for m, g in zip(made, grads)]
    smooth = smooth and is_smooth(fn, made, weights, grads)
    text = [f'name="{name}"', f"lua=[[{lua}]]", f"smooth={str(smooth).lower()}"]
    if tol:
        text.append(f"tol={tol}")
    text.append("inputs={" + ",".join(entry(m.detach()) for m in made) + "}")
    text.append("outputs={" + ",".join(entry(o.detach()) for o in outs) + "}")
    text.append("weights={" + ",".join(entry(w) for w in weights) + "}")
    text.append("grads={" + ",".join("false" if g is None else entry(g) for g in grads) + "}")
    cases.append("{" + ",\n".join(text) + "}")


def miner(name, lua, fn, *inputs):
    lists = fn(*inputs)
    rows = sorted(zip(*[(t + 1).tolist() for t in lists])) if len(lists) == 3 else None
    parts = [rows] if rows is not None else [sorted(zip((lists[k] + 1).tolist(), (lists[k + 1] + 1).tolist()))
                                              for k in (0, 2)]
    text = ",".join('"' + ";".join(",".join(map(str, r)) for r in part) + '"' for part in parts)
    mined.append(f'{{name="{name}",lua=[[{lua}]],inputs={{' + ",".join(entry(i) for i in inputs)
                 + f"}},lists={{{text}}}}}")


# ---- batches: a is [8,5], b its labels; the others lack positives, or negatives, or both here and there ----
def batch(n=8, d=5):
    return torch.randn(n, d)


def batch_for(y):
    return batch() if len(y) == 8 else batch(len(y), 3)


mixed = torch.tensor([1, 2, 1, 3, 2, 2, 1, 4])   # 4 has no positive
blocks = torch.tensor([1, 1, 1, 2, 2, 2, 3, 3])
distinct = torch.tensor([1, 2, 3, 4, 5, 6, 7, 8])
single = torch.ones(8, dtype=torch.int64)
lone = torch.tensor([1, 1, 2, 3, 4, 5, 6, 7])    # one pair
forty = torch.arange(40) % 7 + 1                   # rows longer than a sweep's 32 lanes; in 3 dimensions
labellings = [("", mixed), (" of forty", forty), (" of blocks", blocks), (" without positives", distinct),
              (" without negatives", single), (" with one pair", lone)]

L2 = distances.LpDistance(normalize_embeddings=False)
UNIT = distances.LpDistance()
SQUARED = distances.LpDistance(normalize_embeddings=False, power=2)
L1 = distances.LpDistance(normalize_embeddings=False, p=1)
DOT = distances.DotProductSimilarity(normalize_embeddings=False)
COSINE = distances.CosineSimilarity()
SNR = distances.SNRDistance(normalize_embeddings=False)
MEAN, SUM = reducers.MeanReducer(), reducers.SumReducer()


def family(name, lua, loss, labels=labellings, **options):
    """The loss on every labelling; `lua` makes ours."""
    for label, y in labels:
        case(name + label, f"({lua})(a, b)", lambda x, y: loss(x, y), batch_for(y), y, **options)


# ---- distances ----
for text, d in [("L1{}", L1), ("L2{}", L2), ("L2{ normalize = true }", UNIT), ("SquaredL2{}", SQUARED),
                ("Cosine{}", COSINE), ("Dot{}", DOT), ("Dot{ normalize = true }", distances.DotProductSimilarity()),
                ("SNR{}", SNR), ("SNR{ normalize = true }", distances.SNRDistance())]:
    sign = (lambda m: 1 - m) if text[0] == "C" else (lambda m: -m) if text[0] == "D" else (lambda m: m)
    case("distance " + text, f"distances.{text}:matrix(a, b)", lambda a, b, d=d, s=sign: s(d(a, b)), batch(4, 6),
         batch(3, 6))
    case("paired distance " + text, f"distances.{text}(a, b)",
         lambda a, b, d=d, s=sign: s(d.pairwise_distance(d.maybe_normalize(a), d.maybe_normalize(b)))
         ** (2 if d is SQUARED else 1), batch(4, 6), batch(4, 6), tol=2e-5)
    case("distances among themselves " + text, f"distances.{text}:matrix(a):masked_fill(siamese.eye(5):gt(0), 0)",
         lambda a, d=d, s=sign: s(d(a, a)).masked_fill(torch.eye(5).bool(), 0), batch(5, 6))
case("distance weighted L1", "with(distances.WeightedL1{ features = 6 }, 'weight', c):matrix(a, b)",
     lambda a, b, w: ((a[:, None] - b).abs() * w.abs()).sum(-1), batch(4, 6), batch(3, 6), torch.randn(6))
case("paired distance weighted L1", "with(distances.WeightedL1{ features = 6 }, 'weight', c)(a, b)",
     lambda a, b, w: ((a - b).abs() * w.abs()).sum(-1), batch(4, 6), batch(4, 6), torch.randn(6))
for rank in [6, 3]:
    def mahalanobis(a, b, t):
        gap = a[:, None] - b
        return (gap @ (t.T @ t) * gap).sum(-1).sqrt()
    case(f"distance Mahalanobis of rank {rank}",
         f"with(distances.Mahalanobis{{ features = 6, rank = {rank} }}, 'transform', c):matrix(a, b)", mahalanobis,
         batch(4, 6), batch(3, 6), torch.randn(rank, 6))
    case(f"paired distance Mahalanobis of rank {rank}",
         f"with(distances.Mahalanobis{{ features = 6, rank = {rank} }}, 'transform', c)(a, b)",
         lambda a, b, t: mahalanobis(a, b, t).diagonal(), batch(4, 6), batch(4, 6), torch.randn(rank, 6))

# ---- pairs ----
family("contrastive", "losses.Contrastive{ power = 1, pos_margin = 0.5, margin = 3 }",
       losses.ContrastiveLoss(0.5, 3, distance=L2))
family("contrastive mean", "losses.Contrastive{ power = 1, pos_margin = 0.5, margin = 3, reduction = 'mean' }",
       losses.ContrastiveLoss(0.5, 3, distance=L2, reducer=MEAN))
case("contrastive of unit vectors",
     "losses.Contrastive{ power = 1, distance = distances.L2{ normalize = true } }(a, b)",
     lambda x, y: losses.ContrastiveLoss()(x, y), batch(), mixed)
case("contrastive cosine", "losses.Contrastive{ power = 1, pos_margin = 0.1, margin = 0.9, distance = 'cosine' }(a, b)",
     lambda x, y: losses.ContrastiveLoss(0.9, 0.1, distance=COSINE)(x, y), batch(), mixed)
case("contrastive signal to noise", "losses.Contrastive{ power = 1, margin = 2, distance = 'snr' }(a, b)",
     lambda x, y: losses.ContrastiveLoss(0, 2, distance=SNR)(x, y), batch(), mixed)


def hadsell(x, y, pos=0.5, neg=3.0):
    d = L2(x, x)
    eq = y[:, None] == y[None]
    p, n = d[eq & ~torch.eye(len(y), dtype=torch.bool)], d[~eq]
    return F.relu(p - pos).square().mean() / 2 + F.relu(neg - n).square().mean() / 2


case("contrastive squared", "losses.Contrastive{ pos_margin = 0.5, margin = 3, reduction = 'mean' }(a, b)", hadsell,
     batch(), mixed)
case("contrastive of two sides", "losses.Contrastive{ pos_margin = 0.5, margin = 3 }(a, b, c)",
     lambda a, b, s: (s * F.relu((a - b).norm(dim=1) - 0.5) ** 2
                      + (1 - s) * F.relu(3 - (a - b).norm(dim=1)) ** 2).mean() / 2, batch(), batch(),
     torch.tensor([1, 0, 1, 0, 0, 1, 0, 1]))
case("contrastive of distances", "losses.Contrastive{ pos_margin = 0.4, neg_margin = 1.2, power = 1 }(a, b)",
     lambda d, s: (s * F.relu(d - 0.4) + (1 - s) * F.relu(1.2 - d)).mean(), torch.rand(8) * 2,
     torch.tensor([1, 0, 1, 0, 0, 1, 0, 1]))
family("lifted structure", "losses.LiftedStructure{ neg_margin = 1.5, pos_margin = 0.2 }",
       losses.LiftedStructureLoss(1.5, 0.2, distance=L2))
family("lifted structure sum", "losses.LiftedStructure{ reduction = 'sum', distance = 'cosine' }",
       losses.LiftedStructureLoss(0, 1, distance=COSINE, reducer=SUM), labels=labellings[:3])
family("multi-similarity", "losses.MultiSimilarity{}", losses.MultiSimilarityLoss(), tol=2e-5)
family("multi-similarity of distances", "losses.MultiSimilarity{ alpha = 1, beta = 3, base = 2, distance = 'l2' }",
       losses.MultiSimilarityLoss(1, 3, 2, distance=L2), labels=labellings[:3])
family("NT-Xent", "losses.NTXent{ temperature = 0.3 }", losses.NTXentLoss(0.3))
family("NT-Xent cold", "losses.NTXent{}", losses.NTXentLoss(0.0625), labels=labellings[:1], smooth=False, tol=5e-5)
family("NT-Xent of distances", "losses.NTXent{ temperature = 0.5, distance = 'l2' }",
       losses.NTXentLoss(0.5, distance=L2), labels=labellings[:3])
case("NT-Xent of two views", "losses.NTXent{ temperature = 0.5 }(a, b)",
     lambda a, b: losses.SelfSupervisedLoss(losses.NTXentLoss(0.5))(a, b), batch(), batch())
case("InfoNCE of two views", "losses.InfoNCE{ temperature = 0.5 }(a, b)",
     lambda a, b: F.cross_entropy(F.normalize(a) @ F.normalize(b).T / 0.5, torch.arange(8)), batch(), batch())
family("InfoNCE", "losses.InfoNCE{ temperature = 0.2 }", losses.NTXentLoss(0.2), labels=labellings[:3], tol=2e-5)
family("supervised contrastive", "losses.SupCon{ temperature = 0.3 }", losses.SupConLoss(0.3))
family("supervised contrastive mean", "losses.SupCon{ temperature = 0.3, reduction = 'mean' }",
       losses.SupConLoss(0.3, reducer=MEAN), labels=labellings[:3])
family("circle", "losses.Circle{}", losses.CircleLoss(), smooth=False, tol=5e-5)
family("circle gentle", "losses.Circle{ m = 0.25, gamma = 2 }", losses.CircleLoss(0.25, 2), smooth=False)
family("angular", "losses.Angular{}", lambda x, y, f=losses.AngularLoss(): f(F.normalize(x), y))
family("angular narrow", "losses.Angular{ alpha = 30, reduction = 'sum' }",
       lambda x, y, f=losses.AngularLoss(30, reducer=SUM): f(F.normalize(x), y), labels=labellings[:3])
family("N-pairs", "losses.NPairs{}", losses.NPairsLoss(distance=DOT))
family("N-pairs cosine", "losses.NPairs{ distance = 'cosine' }", losses.NPairsLoss(distance=COSINE),
       labels=labellings[:3])

# ---- triplets ----
family("triplet", "losses.Triplet{ margin = 0.7 }", losses.TripletMarginLoss(0.7, distance=L2))
family("triplet mean", "losses.Triplet{ margin = 0.7, reduction = 'mean' }",
       losses.TripletMarginLoss(0.7, distance=L2, reducer=MEAN), labels=labellings[:3])
family("triplet swapped", "losses.Triplet{ margin = 0.7, swap = true }",
       losses.TripletMarginLoss(0.7, swap=True, distance=L2))
family("triplet soft", "losses.Triplet{ soft = true }",
       losses.TripletMarginLoss(0, smooth_loss=True, distance=L2))
family("triplet soft swapped", "losses.Triplet{ soft = true, margin = 0.3, swap = true }",
       losses.TripletMarginLoss(0.3, swap=True, smooth_loss=True, distance=L2), labels=labellings[:3])
for kind in ["hard", "semihard"]:
    m = miners.TripletMarginMiner(0.9, kind, distance=L2)
    family("triplet " + kind, f"losses.Triplet{{ margin = 0.9, triplets = '{kind}' }}",
           lambda x, y, m=m: losses.TripletMarginLoss(0.9, distance=L2)(x, y, m(x, y)), smooth=False)
case("triplet cosine", "losses.Triplet{ margin = 0.2, distance = 'cosine' }(a, b)",
     lambda x, y: losses.TripletMarginLoss(0.2, distance=COSINE)(x, y), batch(), mixed)
case("triplet squared", "losses.Triplet{ margin = 0.2, distance = 'squared_l2' }(a, b)",
     lambda x, y: losses.TripletMarginLoss(0.2, distance=SQUARED)(x, y), batch(), mixed)
case("triplet taxicab", "losses.Triplet{ margin = 0.2, p = 1 }(a, b)",
     lambda x, y: losses.TripletMarginLoss(0.2, distance=L1)(x, y), batch(), mixed, smooth=False)
case("triplet rows soft", "losses.Triplet{ margin = 0.2, soft = true }(a, b, c)",
     lambda a, p, n: F.softplus((a - p).norm(dim=1) - (a - n).norm(dim=1) + 0.2).mean(), batch(), batch(), batch())
case("triplet rows cosine", "losses.Triplet{ margin = 0.2, distance = 'cosine' }(a, b, c)",
     lambda a, p, n: F.relu(F.cosine_similarity(a, n) - F.cosine_similarity(a, p) + 0.2).mean(), batch(), batch(),
     batch())
for label, y in labellings[:4]:
    case("batch hard of squares" + label, "losses.BatchHardTriplet{ margin = 0.7, distance = 'squared_l2' }(a, b)",
         lambda x, y: losses.TripletMarginLoss(0.7, distance=SQUARED, reducer=MEAN)(
             x, y, miners.BatchHardMiner(distance=SQUARED)(x, y)), batch_for(y), y, smooth=False)


def margin_with(beta, classes, **options):
    m = losses.MarginLoss(learn_beta=True, num_classes=classes, **options)
    del m.beta
    m.beta = beta
    return m


for label, y in labellings:
    case("margin" + label, "with(losses.Margin{ nu = 0.1 }, 'beta', c)(a, b)",
         lambda x, y, beta: margin_with(beta, None, nu=0.1)(x, y), batch_for(y), y, torch.tensor([1.15]))
    case("margin of classes" + label, "with(losses.Margin{ nu = 0.1, num_classes = 8 }, 'beta', c)(a, b)",
         lambda x, y, beta: margin_with(beta, 8, nu=0.1)(x, y - 1), batch_for(y), y, torch.rand(8) * 0.4 + 1)
case("margin of lengths", "losses.Margin{ learn_beta = false, margin = 0.5, beta = 2, distance = 'l2' }(a, b)",
     lambda x, y: losses.MarginLoss(0.5, beta=2, distance=L2)(x, y), batch(), mixed)

# ---- lists: what miners chose, and repetitions ----
with torch.no_grad():
    sample = batch()
    pairs = miners.MultiSimilarityMiner(0.1)(sample, mixed)
    triplets = miners.TripletMarginMiner(0.5, distance=L2)(sample, mixed)
repeated = tuple(torch.cat([t, t[:2]]) for t in triplets)
short = tuple(t[:5] for t in triplets)
nothing = tuple(t[:0] for t in triplets)
no_negatives = (pairs[0], pairs[1], pairs[2][:0], pairs[3][:0])
lists = [("pairs", pairs), ("triplets", triplets), ("repeated triplets", repeated), ("five triplets", short),
         ("no triplets", nothing), ("pairs without negatives", no_negatives)]
listed = [
    ("contrastive", "Contrastive{ power = 1, margin = 3 }", losses.ContrastiveLoss(0, 3, distance=L2), {}),
    ("lifted structure", "LiftedStructure{}", losses.LiftedStructureLoss(distance=L2), {}),
    ("multi-similarity", "MultiSimilarity{}", losses.MultiSimilarityLoss(), {"tol": 2e-5}),
    ("NT-Xent", "NTXent{ temperature = 0.3 }", losses.NTXentLoss(0.3), {}),
    ("supervised contrastive", "SupCon{ temperature = 0.3 }", losses.SupConLoss(0.3), {}),
    ("circle", "Circle{ m = 0.25, gamma = 2 }", losses.CircleLoss(0.25, 2), {"smooth": False}),
    ("N-pairs", "NPairs{}", losses.NPairsLoss(distance=DOT), {}),
    ("triplet", "Triplet{ margin = 0.7 }", losses.TripletMarginLoss(0.7, distance=L2), {}),
    ("triplet swapped", "Triplet{ margin = 0.7, swap = true }",
     losses.TripletMarginLoss(0.7, swap=True, distance=L2), {}),
    ("margin", "Margin{ learn_beta = false }", losses.MarginLoss(), {}),
    ("angular", "Angular{}", lambda x, y, i, f=losses.AngularLoss(): f(F.normalize(x), y, i), {}),
]
for name, lua, loss, options in listed:
    for label, chosen in lists:
        names = "cdef"[:len(chosen)]
        case(f"{name} of {label}", f"losses.{lua}(a, b, {{ {', '.join(names)} }})",
             lambda x, y, *i, f=loss: f(x, y, tuple(t - 1 for t in i)), sample, mixed, *[t + 1 for t in chosen],
             **options)

# ---- classes ----
def with_weight(loss, rows):
    del loss.W
    loss.cast_types = lambda *_: None
    loss.W = rows.t()
    return loss


def with_proxies(loss, rows):
    del loss.proxies
    loss.cast_types = lambda *_: None
    loss.proxies = rows
    return loss


SIZES = "num_classes = 6, embedding_size = 5"
six = torch.tensor([1, 2, 1, 3, 2, 6, 1, 4])
for name, lua, make, options in [
        ("normalised softmax", "NormalizedSoftmax", lambda: losses.NormalizedSoftmaxLoss(6, 5), {"tol": 2e-5}),
        ("ArcFace", "ArcFace", lambda: losses.ArcFaceLoss(6, 5, margin=math.degrees(0.5)), {"tol": 1e-4}),
        ("ArcFace wide", "ArcFace margin = 1.4, scale = 4",
         lambda: losses.ArcFaceLoss(6, 5, margin=math.degrees(1.4), scale=4), {"tol": 2e-5}),
        ("CosFace", "CosFace", lambda: losses.CosFaceLoss(6, 5), {"tol": 1e-4}),
        ("CosFace small", "CosFace margin = 0.1, scale = 4", lambda: losses.CosFaceLoss(6, 5, margin=0.1, scale=4),
         {}),
        ("SphereFace", "SphereFace", lambda: losses.SphereFaceLoss(6, 5), {"tol": 2e-5}),
        ("SphereFace of 2", "SphereFace margin = 2, scale = 0.5",
         lambda: losses.SphereFaceLoss(6, 5, margin=2, scale=0.5), {"tol": 2e-5})]:
    kind, _, more = lua.partition(" ")
    more = SIZES + (", " + more if more else "")
    smooth = "ArcFace" not in name and "CosFace" not in name or "wide" in name or "small" in name
    case(name, f"with(losses.{kind}{{ {more} }}, 'weight', c)(a, b)",
         lambda x, y, w, make=make: with_weight(make(), w)(x, y - 1), batch(), six, batch(6), smooth=smooth,
         **options)
    case(name + " with triplets", f"with(losses.{kind}{{ {more} }}, 'weight', c)(a, b, {{ d, e, f }})",
         lambda x, y, w, *i, make=make: with_weight(make(), w)(x, y - 1, tuple(t - 1 for t in i)), batch(), six,
         batch(6), *[t + 1 for t in short], smooth=False, **options)
case("softmax", f"with(with(losses.Softmax{{ {SIZES} }}, 'weight', c), 'bias', d)(a, b)",
     lambda x, y, w, bias: F.cross_entropy(F.linear(x, w, bias), y - 1), batch(), six, batch(6), torch.randn(6))
case("softmax none", f"with(losses.Softmax{{ {SIZES}, bias = false, reduction = 'none' }}, 'weight', c)(a, b)",
     lambda x, y, w: F.cross_entropy(F.linear(x, w), y - 1, reduction="none"), batch(), six, batch(6))
for scale in [1, 9]:
    case(f"proxy-NCA scaled by {scale}",
         f"with(losses.ProxyNCA{{ {SIZES}, temperature = {1 / scale!r} }}, 'proxies', c)(a, b)",
         lambda x, y, p, s=scale: with_proxies(losses.ProxyNCALoss(6, 5, softmax_scale=s), p)(x, y - 1), batch(), six,
         batch(6), tol=2e-5)
    case(f"proxy-NCA scaled by {scale} with triplets",
         f"with(losses.ProxyNCA{{ {SIZES}, temperature = {1 / scale!r} }}, 'proxies', c)(a, b, {{ d, e, f }})",
         lambda x, y, p, *i, s=scale: (
             convert_to_weights(tuple(t - 1 for t in i), y - 1, torch.float32)
             * F.cross_entropy(-torch.cdist(F.normalize(x), F.normalize(p)) ** 2 * s, y - 1, reduction="none")).mean(),
         batch(), six, batch(6), *[t + 1 for t in short], smooth=False, tol=2e-5)
for options, lua, smooth in [({}, "", False), ({"margin": 0.2, "alpha": 3}, ", margin = 0.2, alpha = 3", True)]:
    case("proxy-anchor" + lua, f"with(losses.ProxyAnchor{{ {SIZES}{lua} }}, 'proxies', c)(a, b)",
         lambda x, y, p, o=options: with_proxies(losses.ProxyAnchorLoss(6, 5, **o), p)(x, y - 1), batch(), six, batch(6),
         smooth=smooth, tol=5e-5)
    case("proxy-anchor with triplets" + lua,
         f"with(losses.ProxyAnchor{{ {SIZES}{lua} }}, 'proxies', c)(a, b, {{ d, e, f }})",
         lambda x, y, p, *i, o=options: with_proxies(losses.ProxyAnchorLoss(6, 5, **o), p)(
             x, y - 1, tuple(t - 1 for t in i)), batch(), six, batch(6), *[t + 1 for t in short], smooth=smooth, tol=5e-5)
for reduction, fn in [("mean", torch.mean), ("sum", torch.sum), ("none", lambda x: x)]:
    case(f"centre {reduction}", f"with(losses.Center{{ {SIZES}, reduction = '{reduction}' }}, 'centers', c)(a, b)",
         lambda x, y, c, fn=fn: fn((x - c[y - 1]).square().sum(1) / 2), batch(), six, batch(6))

# ---- episodes, views ----
def prototypical(queries, labels, support, support_labels, distance=lambda q, p: torch.cdist(q, p) ** 2):
    classes = support_labels.unique()
    means = torch.stack([support[support_labels == c].mean(0) for c in classes])
    wanted = (labels[:, None] == classes).float().argmax(1)
    return F.cross_entropy(-distance(queries, means), wanted)


case("prototypical", "losses.Prototypical{ shots = 2 }(a, b)",
     lambda x, y: prototypical(x[[2, 5]], y[[2, 5]], x[[0, 1, 3, 4, 6, 7]], y[[0, 1, 3, 4, 6, 7]]), batch(), blocks)
case("prototypical of lists", "losses.Prototypical{}(a, b, { { 1, 2, 4 }, { 3, 5, 6 } })",
     lambda x, y: prototypical(x[[2, 4, 5]], y[[2, 4, 5]], x[[0, 1, 3]], y[[0, 1, 3]]), batch(), blocks)
case("prototypical of references", "losses.Prototypical{ distance = 'l2' }(a, b, nil, c, d)",
     lambda q, y, s, sy: prototypical(q, y, s, sy, torch.cdist), batch(3), torch.tensor([7, 9, 7]), batch(4),
     torch.tensor([9, 7, 9, 3]))


def barlow(a, b, weight=0.005):
    norm = torch.nn.BatchNorm1d(a.shape[1], affine=False)
    c = norm(a).T @ norm(b) / len(a)
    off = c - torch.diag(c.diagonal())
    return (c.diagonal() - 1).square().sum() + weight * off.square().sum()


case("Barlow twins", "losses.BarlowTwins{}(a, b)", barlow, batch(), batch())
case("Barlow twins lambda", "losses.BarlowTwins{ lambda = 0.5 }(a, b)", lambda a, b: barlow(a, b, 0.5), batch(), batch())
case("VICReg", "losses.VICReg{}(a, b)", lambda a, b: losses.VICRegLoss()(a, ref_emb=b), batch(), batch(), tol=2e-5)
case("VICReg small", "losses.VICReg{ invariance = 1, variance = 2, covariance = 3 }(a, b)",
     lambda a, b: losses.VICRegLoss(1, 2, 3)(a, ref_emb=b), batch() * 0.3, batch() * 0.3, tol=2e-5)

# ---- around others ----
for name, lua, loss in [("contrastive", "Contrastive{ power = 1, margin = 3 }", losses.ContrastiveLoss(0, 3, distance=L2)),
                        ("triplet", "Triplet{ margin = 0.7 }", losses.TripletMarginLoss(0.7, distance=L2)),
                        ("multi-similarity", "MultiSimilarity{}", losses.MultiSimilarityLoss()),
                        ("NT-Xent", "NTXent{ temperature = 0.3 }", losses.NTXentLoss(0.3)),
                        ("supervised contrastive", "SupCon{ temperature = 0.3 }", losses.SupConLoss(0.3)),
                        ("margin", "Margin{ learn_beta = false }", losses.MarginLoss()),
                        ("circle", "Circle{ m = 0.25, gamma = 2 }", losses.CircleLoss(0.25, 2))]:
    def remember(*args, loss=loss):
        memory, xs, ys = losses.CrossBatchMemory(loss, 5, memory_size=10), args[:4], args[4:]
        with torch.no_grad():
            values = [memory(x, y) for x, y in zip(xs[:3], ys[:3])]
        return values + [memory(xs[3], ys[3])]
    case("cross-batch memory around " + name,
         f"remember(losses.CrossBatchMemory{{ loss = losses.{lua}, embedding_size = 5, memory_size = 10 }}, "
         "{ a, b, c, d }, { e, f, g, h })", remember, *[batch(4) for _ in range(4)], torch.tensor([1, 2, 1, 3]),
         torch.tensor([2, 4, 3, 4]), torch.tensor([1, 1, 2, 5]), torch.tensor([3, 3, 1, 2]), smooth=False, tol=2e-5)
case("cross-batch memory with a miner",
     "remember(losses.CrossBatchMemory{ loss = losses.Contrastive{ power = 1, margin = 3 }, embedding_size = 5, "
     "memory_size = 10, miner = miners.PairMargin{ pos_margin = 1, neg_margin = 4 } }, { a, b }, { c, d })",
     lambda a, b, c, d, m=losses.CrossBatchMemory(losses.ContrastiveLoss(0, 3, distance=L2), 5, memory_size=10,
                                                  miner=miners.PairMarginMiner(1, 4, distance=L2)):
     [m(a.detach(), c), m(b, d)], batch(4), batch(4), torch.tensor([1, 2, 1, 3]), torch.tensor([2, 3, 3, 4]),
     smooth=False)
case("weighted sum", "losses.MultipleLosses{ losses = { losses.Triplet{ margin = 0.7 }, losses.NTXent{ temperature = 0.3 } },"
     " weights = { 0.5, 2 } }(a, b)",
     lambda x, y: 0.5 * losses.TripletMarginLoss(0.7, distance=L2)(x, y) + 2 * losses.NTXentLoss(0.3)(x, y), batch(), mixed)

# ---- miners ----
many = torch.tensor([1, 2, 1, 3, 2, 2, 1, 4, 3, 1, 2, 3])
for label, y, n in [("", many, 12), (" without positives", distinct, 8), (" without negatives", single, 8)]:
    for p, q in [("easy", "semihard"), ("hard", "hard"), ("semihard", "hard"), ("hard", "semihard"), ("easy", "easy"),
                 ("all", "hard"), ("easy", "all"), ("all", "all")]:
        miner(f"batch {p}-{q}{label}", f"miners.BatchEasyHard{{ pos_strategy = '{p}', neg_strategy = '{q}' }}",
              miners.BatchEasyHardMiner(p, q, distance=L2), batch(n), y)
    miner("batch hard" + label, "miners.BatchHard{}", miners.BatchHardMiner(distance=L2), batch(n), y)
    for kind in ["all", "hard", "semihard", "easy"]:
        miner(f"{kind} triplets{label}", f"miners.TripletMargin{{ margin = 0.5, type_of_triplets = '{kind}' }}",
              miners.TripletMarginMiner(0.5, kind, distance=L2), batch(n), y)
    miner("multi-similarity" + label, "miners.MultiSimilarity{}", miners.MultiSimilarityMiner(), batch(n), y)
    miner("multi-similarity of distances" + label, "miners.MultiSimilarity{ distance = 'l2' }",
          miners.MultiSimilarityMiner(distance=L2), batch(n), y)
    miner("pair margin" + label, "miners.PairMargin{ pos_margin = 2, neg_margin = 3 }",
          miners.PairMarginMiner(2, 3, distance=L2), batch(n), y)
    miner("angular" + label, "miners.Angular{ angle = 35 }",
          lambda x, y: miners.AngularMiner(35)(F.normalize(x), y), batch(n), y)
miner("batch hard cosine", "miners.BatchHard{ distance = 'cosine' }", miners.BatchHardMiner(distance=COSINE), batch(12), many)
miner("batch easy-semihard in ranges",
      "miners.BatchEasyHard{ allowed_pos_range = { 1, 3 }, allowed_neg_range = { 2, 4 } }",
      miners.BatchEasyHardMiner(allowed_pos_range=(1, 3), allowed_neg_range=(2, 4), distance=L2), batch(12), many)

here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "losses.lua"), "w") as f:
    f.write(f"-- Made by make_losses.py with PyTorch {torch.__version__.split('+')[0]} and pytorch-metric-learning "
            f"{pytorch_metric_learning.__version__}.\n")
    f.write("local t={\n" + ",\n".join(tensors) + "}\n")
    f.write("return {\ncases={\n" + ",\n".join(cases) + "},\nmined={\n" + ",\n".join(mined) + "}}\n")
print(len(cases), "cases,", sum("smooth=true" in c for c in cases), "smooth,", len(mined), "miners")
