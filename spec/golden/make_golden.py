"""Writes golden.lua: operations with inputs, outputs and gradients as PyTorch computes them.

    python3 spec/golden/make_golden.py        (needs PyTorch; the tests do not)
"""
import math

import torch
import torch.nn.functional as F

from cases import case, cases, numbers, positive, write

torch.manual_seed(7)


def labels(n, classes):
    return torch.randint(1, classes + 1, (n,))


# ---- elementwise ----
for name, fn in [("exp", torch.exp), ("sin", torch.sin), ("cos", torch.cos), ("tanh", torch.tanh),
                 ("sigmoid", torch.sigmoid), ("erf", torch.erf), ("expm1", torch.expm1),
                 ("softplus", F.softplus), ("neg", torch.neg), ("square", torch.square),
                 ("gelu", F.gelu)]:
    case(name, f"a:{name}()", fn, (3, 5))
for name, fn in [("abs", torch.abs), ("relu", torch.relu), ("sign", torch.sign),
                 ("floor", torch.floor), ("ceil", torch.ceil), ("round", torch.round)]:
    case(name, f"a:{name}()", fn, (3, 5))
for name, fn in [("log", torch.log), ("sqrt", torch.sqrt), ("log1p", torch.log1p),
                 ("reciprocal", torch.reciprocal)]:
    case(name, f"a:{name}()", fn, positive(3, 5))
case("gelu tanh", 'a:gelu{ approximate = "tanh" }', lambda a: F.gelu(a, approximate="tanh"), (3, 5))
case("leaky_relu", "a:leaky_relu(0.2)", lambda a: F.leaky_relu(a, 0.2), (3, 5))
case("clamp", "a:clamp(-0.5, 0.7)", lambda a: a.clamp(-0.5, 0.7), (3, 5))
case("clamp one side", "a:clamp(nil, 0.1)", lambda a: a.clamp(max=0.1), (3, 5), smooth=False)
case("pow number", "a ^ 3", lambda a: a ** 3, (3, 5))
case("pow negative", "a:pow(-1.5)", lambda a: a ** -1.5, positive(3, 5))
case("extremes of exp", "a:exp()", torch.exp, torch.tensor([-200., -103., -88., 0., 88., 89., 200.]),
     smooth=False)
case("extremes of log", "a:log()", torch.log,
     torch.tensor([0., 1e-40, 1e-38, 1., 3e38, math.inf, -1.]), smooth=False)
case("extremes of tanh", "a:tanh()", torch.tanh,
     torch.tensor([-math.inf, -50., -1e-6, 0., 0.6, 0.63, 50.]))
case("extremes of sigmoid", "a:sigmoid()", torch.sigmoid,
     torch.tensor([-math.inf, -100., -50., 0., 50., math.inf]))
for name, lua, fn in [("add", "a + b", torch.add), ("sub", "a - b", torch.sub),
                      ("mul", "a * b", torch.mul)]:
    case(name, lua, fn, (3, 4), (3, 4))
    case(name + " broadcast", lua, fn, (2, 3, 1), (4,))
    case(name + " scalar tensor", lua, fn, (2, 3), ())
case("div", "a / b", torch.div, (2, 3, 4), positive(3, 1))
case("pow tensors", "a ^ b", torch.pow, positive(3, 4), (4,))
case("maximum", "a:maximum(b)", torch.maximum, (3, 4), (4,))
case("minimum", "a:minimum(b)", torch.minimum, (3, 4), (3, 1))
case("remainder", "a % b", torch.remainder, (3, 4), positive(4) * torch.tensor([1., -1., 1., -1.]))
case("number left", "2 - a * 3", lambda a: 2 - a * 3, (4,))
case("number divided", "1 / a", lambda a: 1 / a, positive(4))
case("where", "siamese.where(a:gt(0), a, b)", lambda a, b: torch.where(a > 0, a, b), (3, 4), (4,))
case("masked_fill", "a:masked_fill(a:lt(0), -1)", lambda a: a.masked_fill(a < 0, -1), (3, 4))
for name in ["eq", "ne", "lt", "le", "gt", "ge"]:
    case(name, f"a:{name}(b)", getattr(torch, name), torch.tensor([[1., 2.], [3., 4.]]),
         torch.tensor([2., 2.]))
case("integer arithmetic", "(a * 3 - b) % 5 + a // b", lambda a, b: (a * 3 - b) % 5 + a // b,
     torch.tensor([7, -7, 0, 12]), torch.tensor([2, 2, 3, -5]))
case("integer division is float", "a / b", torch.div, torch.tensor([7, -7]), torch.tensor([2, 4]))

# ---- reductions ----
dims = [("all", "", ()), ("first", "1", (0,)), ("last", "-1", (2,)), ("outer", "{1, 3}", (0, 2))]
for label, lua, dim in dims:
    for name in ["sum", "mean", "logsumexp", "amax", "amin"]:
        args = dim or (0, 1, 2)
        case(f"{name} {label}", f"a:{name}({lua})",
             lambda a, n=name, d=args: getattr(torch, n)(a, dim=d), (2, 3, 4))
    for name in ["var", "std"]:
        args = dim or (0, 1, 2)
        case(f"{name} {label}", f"a:{name}({lua})", lambda a, n=name, d=args: getattr(torch, n)(a, dim=d),
             (2, 3, 4))
case("sum keepdim", "a:sum({1, 3}, true)", lambda a: a.sum((0, 2), keepdim=True), (2, 3, 4))
case("var biased keepdim", "a:var(2, { unbiased = false, keepdim = true })",
     lambda a: a.var(1, unbiased=False, keepdim=True), (2, 3, 4))
for p, text in [(1, "1"), (2, "2"), (3, "3"), (math.inf, "1/0")]:
    case(f"norm {text}", f"a:norm({text}, 2)", lambda a, p=p: a.norm(p, 1), (2, 5), smooth=p != 1)
case("prod", "a:prod(2)", lambda a: a.prod(1), (2, 3))
case("max dim", "a:max(2)", lambda a: tuple(a.max(1)), (2, 5), outputs_from_one=(1,))
case("min dim keepdim", "a:min(1, true)", lambda a: tuple(a.min(0, keepdim=True)), (4, 3),
     outputs_from_one=(1,))
case("max all", "a:max()", torch.max, (2, 5))
case("argmax", "a:argmax(3)", lambda a: a.argmax(2), (2, 3, 4), outputs_from_one=(0,))
case("argmin all", "a:argmin()", torch.argmin, (2, 5), outputs_from_one=(0,))
case("max of integers", "a:max()", torch.max, torch.tensor([3, 9, -2]))
case("sum of integers", "a:sum()", torch.sum, torch.tensor([3, 9, -2]))
case("softmax", "a:softmax(2)", lambda a: a.softmax(1), (3, 5))
case("softmax first", "a:softmax(1)", lambda a: a.softmax(0), (3, 5))
case("log_softmax", "a:log_softmax(-1)", lambda a: a.log_softmax(-1), (2, 3, 4))
case("cumsum", "a:cumsum(2)", lambda a: a.cumsum(1), (2, 4))
case("sort", "a:sort(2, true)", lambda a: tuple(a.sort(1, descending=True)), (2, 6),
     outputs_from_one=(1,))
case("topk", "a:topk(3)", lambda a: tuple(a.topk(3)), (2, 6), outputs_from_one=(1,))

# ---- products ----
for name, a, b in [("matrices", (3, 4), (4, 5)), ("vectors", (4,), (4,)), ("vector matrix", (4,), (4, 3)),
                   ("matrix vector", (3, 4), (4,)), ("batched", (2, 3, 4), (2, 4, 5)),
                   ("broadcast batches", (2, 1, 3, 4), (5, 4, 2)), ("shared right", (2, 3, 4), (4, 2)),
                   ("batched vector", (2, 3, 4), (4,))]:
    case("matmul " + name, "a:matmul(b)", torch.matmul, a, b)
case("matmul transposed", "a:t():matmul(b:t())", lambda a, b: a.t() @ b.t(), (4, 3), (5, 4))
case("linear", "F.linear(a, b, c)", F.linear, (2, 3, 4), (5, 4), (5,))
case("linear without bias", "F.linear(a, b)", F.linear, (1, 4), (5, 4))

# ---- picking and joining ----
idx = torch.tensor([3, 1, 3])
case("index_select", "a:index_select(2, b)", lambda a, b: a.index_select(1, b - 1), (2, 4), idx)
gi = torch.tensor([[1, 2, 2], [3, 1, 1]])
case("gather", "a:gather(1, b)", lambda a, b: a.gather(0, b - 1), (3, 3), gi)
case("scatter_add", "a:scatter_add(1, b, c)", lambda a, b, c: a.scatter_add(0, b - 1, c), (3, 3), gi,
     (2, 3))
case("cat", "siamese.cat({ a, b }, 2)", lambda a, b: torch.cat([a, b], 1), (2, 3), (2, 1))
case("stack", "siamese.stack({ a, b }, -1)", lambda a, b: torch.stack([a, b], -1), (2, 3), (2, 3))
case("one_hot", "siamese.one_hot(a, 4)", lambda a: F.one_hot(a - 1, 4).float(), torch.tensor([2, 4, 1]))

# ---- layers ----
conv = [("3x3", (2, 3, 6, 7), (4, 3, 3, 3), {}), ("padded", (1, 2, 5, 5), (3, 2, 3, 3), {"padding": 1}),
        ("stride", (2, 2, 7, 8), (3, 2, 3, 3), {"stride": 2, "padding": 1}),
        ("dilation", (1, 2, 8, 8), (2, 2, 3, 3), {"dilation": 2}),
        ("groups", (2, 4, 5, 5), (6, 2, 3, 3), {"groups": 2, "padding": 1}),
        ("depthwise", (2, 4, 6, 6), (4, 1, 3, 3), {"groups": 4, "padding": 1}),
        ("1x1", (2, 5, 4, 4), (3, 5, 1, 1), {}), ("stride 3", (1, 1, 9, 9), (2, 1, 4, 4), {"stride": 3})]
for name, x, w, o in conv:
    lua = ", ".join(f"{k} = {v}" for k, v in o.items())
    case("conv2d " + name, f"F.conv2d(a, b, c, {{ {lua} }})",
         lambda a, b, c, o=o: F.conv2d(a, b, c, **o), x, w, (w[0],), tol=2e-5)
case("conv2d uneven", "F.conv2d(a, b, nil, { stride = {1, 2}, padding = {0, 2}, dilation = {2, 1} })",
     lambda a, b: F.conv2d(a, b, None, stride=(1, 2), padding=(0, 2), dilation=(2, 1)), (2, 2, 7, 6),
     (3, 2, 3, 2), tol=2e-5)
case("conv2d relu", "F.conv2d(a, b, c, { activation = 'relu' })", lambda a, b, c: F.conv2d(a, b, c).relu(),
     (2, 2, 5, 5), (3, 2, 3, 3), (3,), tol=2e-5)
pools = [("2x2", (2, 2, 6, 6), {"kernel_size": 2}), ("odd", (1, 2, 7, 5), {"kernel_size": 2}),
         ("ceil", (1, 2, 7, 5), {"kernel_size": 2, "ceil_mode": True}),
         ("3x3", (1, 2, 8, 7), {"kernel_size": 3, "stride": 2, "padding": 1})]
for name, x, o in pools:
    lua = ", ".join(f"{k} = {str(v).lower()}" for k, v in o.items())
    case("max_pool2d " + name, f"F.max_pool2d(a, {{ {lua} }})", lambda a, o=o: F.max_pool2d(a, **o), x,
         smooth=o["kernel_size"] == 3)
    case("avg_pool2d " + name, f"F.avg_pool2d(a, {{ {lua} }})", lambda a, o=o: F.avg_pool2d(a, **o), x)
case("max_pool2d dilation", "F.max_pool2d(a, { kernel_size = 3, stride = 1, dilation = 2 })",
     lambda a: F.max_pool2d(a, 3, 1, dilation=2), (1, 2, 7, 7))
case("avg_pool2d without padding",
     "F.avg_pool2d(a, { kernel_size = 3, stride = 2, padding = 1, count_include_pad = false })",
     lambda a: F.avg_pool2d(a, 3, 2, 1, count_include_pad=False), (1, 2, 7, 7))
case("adaptive_avg_pool2d", "F.adaptive_avg_pool2d(a, {3, 2})", lambda a: F.adaptive_avg_pool2d(a, (3, 2)),
     (2, 2, 7, 5))
case("adaptive_avg_pool2d global", "F.adaptive_avg_pool2d(a, 1)", lambda a: F.adaptive_avg_pool2d(a, 1),
     (2, 3, 4, 5))
case("batch_norm training", "F.batch_norm(a, nil, nil, b, c, { training = true })",
     lambda a, b, c: F.batch_norm(a, None, None, b, c, training=True), (3, 2, 4, 5), (2,), (2,))
case("batch_norm training relu", "F.batch_norm(a, nil, nil, b, c, { training = true, activation = 'relu' })",
     lambda a, b, c: F.batch_norm(a, None, None, b, c, training=True).relu(), (3, 2, 4, 5), (2,), (2,))
case("batch_norm 2-D", "F.batch_norm(a, nil, nil, nil, nil, { training = true })",
     lambda a: F.batch_norm(a, None, None, training=True), (6, 3))
mean, var = torch.randn(2), positive(2)
case("batch_norm evaluation", "F.batch_norm(a, d:detach(), e:detach(), b, c)",
     lambda a, b, c, d, e: F.batch_norm(a, d.detach(), e.detach(), b, c), (3, 2, 4, 5), (2,), (2,), mean,
     var)
case("layer_norm", "F.layer_norm(a, { 3, 4 }, b, c)", lambda a, b, c: F.layer_norm(a, (3, 4), b, c),
     (2, 3, 4), (3, 4), (3, 4))
case("layer_norm plain", "F.layer_norm(a, 4)", lambda a: F.layer_norm(a, (4,)), (2, 3, 4))
case("normalize", "F.normalize(a, 2)", lambda a: F.normalize(a, dim=1), (3, 5))
case("normalize first", "F.normalize(a, 1)", lambda a: F.normalize(a, dim=0), (3, 5))

# ---- distances and losses ----
for p, text in [(1, "1"), (2, "2"), (3, "3")]:
    case(f"pairwise_distance {text}", f"F.pairwise_distance(a, b, {{ p = {text} }})",
         lambda a, b, p=p: F.pairwise_distance(a, b, p), (4, 5), (4, 5))
case("cosine_similarity", "F.cosine_similarity(a, b)", lambda a, b: F.cosine_similarity(a, b), (4, 5),
     (4, 5))
case("cdist", "F.cdist(a, b)", torch.cdist, (3, 5), (4, 5))
case("cdist squared", "F.cdist(a, b, { squared = true })", lambda a, b: torch.cdist(a, b) ** 2, (3, 5),
     (4, 5))
same = torch.tensor([1, 0, 1, 0, 0])
for r in ["mean", "sum", "none"]:
    red = {"mean": torch.mean, "sum": torch.sum, "none": lambda x: x}[r]
    case(f"contrastive {r}", f'F.contrastive_loss(a, b, {{ margin = 1.2, reduction = "{r}" }})',
         lambda d, s, red=red: red(0.5 * (s * d ** 2 + (1 - s) * F.relu(1.2 - d) ** 2)), positive(5) * 2,
         same)
    case(f"bce {r}", f'F.binary_cross_entropy_with_logits(a, b, {{ reduction = "{r}", pos_weight = 2 }})',
         lambda x, s, r=r: F.binary_cross_entropy_with_logits(
             x, s.float(), reduction=r, pos_weight=torch.tensor(2.)), (5,), same)
    case(f"cross_entropy {r}", f'F.cross_entropy(a, b, {{ reduction = "{r}", label_smoothing = 0.1 }})',
         lambda x, y, r=r: F.cross_entropy(x, y - 1, reduction=r, label_smoothing=0.1), (4, 6),
         labels(4, 6))
    case(f"mse {r}", f'F.mse_loss(a, b:detach(), {{ reduction = "{r}" }})',
         lambda a, b, r=r: F.mse_loss(a, b.detach(), reduction=r), (3, 4), (3, 4))
    case(f"triplet {r}", f'siamese.losses.Triplet{{ reduction = "{r}" }}(a, b, c)',
         lambda a, p, n, r=r: F.triplet_margin_loss(a, p, n, reduction=r), (4, 5), (4, 5), (4, 5))
case("triplet swap", "siamese.losses.Triplet{ swap = true, margin = 2 }(a, b, c)",
     lambda a, p, n: F.triplet_margin_loss(a, p, n, margin=2, swap=True), (4, 5), (4, 5), (4, 5))


def batch_hard(x, y, margin=None, squared=False):
    d = ((x[:, None] - x[None]) ** 2).sum(-1)
    d = d if squared else (d + 1e-16).sqrt()
    eq = y[:, None] == y[None]
    pos = eq & ~torch.eye(len(y), dtype=torch.bool)
    valid = pos.any(1) & (~eq).any(1)
    hp = torch.where(pos, d, torch.tensor(-1.)).max(1)[0]
    hn = torch.where(~eq, d, torch.tensor(1e9)).min(1)[0]
    losses = F.softplus(hp - hn) if margin is None else F.relu(hp - hn + margin)
    return losses[valid].mean()


yl = torch.tensor([1, 2, 1, 3, 2, 2, 1])
case("batch hard", "F.batch_hard_triplet_loss(a, b, { margin = 0.5 })",
     lambda x, y: batch_hard(x, y, 0.5), (7, 4), yl)
case("batch hard soft", "F.batch_hard_triplet_loss(a, b, { soft = true })",
     lambda x, y: batch_hard(x, y), (7, 4), yl)
case("batch hard squared", "F.batch_hard_triplet_loss(a, b, { margin = 1, squared = true })",
     lambda x, y: batch_hard(x, y, 1., True), (7, 4), yl)


def nt_xent(x, y, t=0.5):
    z = F.normalize(x, dim=1)
    s = z @ z.t() / t
    eq = y[:, None] == y[None]
    pos = eq & ~torch.eye(len(y), dtype=torch.bool)
    neg = torch.logsumexp(s.masked_fill(eq, -1e9), 1, keepdim=True)
    return F.softplus(neg - s)[pos].mean()


case("nt_xent", "siamese.losses.NTXent{ temperature = 0.5 }(a, b)", nt_xent, (7, 4), yl)

# ---- optimisers: a few steps on one parameter, whose gradient is a fixed function of it ----
steps = []


def optimiser(name, lua, make):
    w = torch.tensor([-0.9, -0.6, -0.2, 0.15, 0.4, 0.8, 1.1]).requires_grad_()
    o = make([w])
    for k in range(5):
        o.zero_grad()
        (w ** 2 * torch.arange(1., 8.) / 4 + w * (k - 2)).sum().backward()
        o.step()
    steps.append(f'{{name="{name}",lua=[[{lua}]],data={{{numbers(w.detach())}}}}}')


optimiser("SGD", "optim.SGD(p, { lr = 0.1 })", lambda p: torch.optim.SGD(p, 0.1))
optimiser("SGD momentum", "optim.SGD(p, { lr = 0.1, momentum = 0.9, dampening = 0.3, weight_decay = 0.1 })",
          lambda p: torch.optim.SGD(p, 0.1, 0.9, 0.3, 0.1))
optimiser("SGD nesterov", "optim.SGD(p, { lr = 0.1, momentum = 0.9, nesterov = true })",
          lambda p: torch.optim.SGD(p, 0.1, 0.9, nesterov=True))
optimiser("Adam", "optim.Adam(p, { lr = 0.05, weight_decay = 0.1 })",
          lambda p: torch.optim.Adam(p, 0.05, weight_decay=0.1))
optimiser("AdamW", "optim.AdamW(p, { lr = 0.05, betas = { 0.8, 0.95 } })",
          lambda p: torch.optim.AdamW(p, 0.05, (0.8, 0.95)))

write("golden", cases=cases, steps=steps)
