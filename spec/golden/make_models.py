"""Writes models.lua: whole networks as PyTorch computes them, with gradients of all parameters.

    python3 spec/golden/make_models.py        (needs PyTorch; the tests do not)

Weights and inputs are not stored: both sides fill them by one rule (`filled` here, `fill` in
spec/models_spec.lua), whole multiples of a power of two, exact in float32. Of each gradient the norm, the
sum and its product with another such filling are stored.
"""
import os

import torch
from torch import nn

MASK = (1 << 31) - 1


def filled(shape, seed, scale):
    """Element i of tensor `seed` from -1 to 1, times `scale` (a power of two): a linear congruence."""
    n = 1
    for s in shape:
        n *= s
    x = (seed * 7919 + 12345) & MASK
    out = []
    for _ in range(n):
        x = (x * 1103515245 + 12345) & MASK
        out.append(((x >> 12) % 1024 - 512) / 512 * scale)
    return torch.tensor(out).reshape(shape)


def conv4(width, size, embedding):
    layers, cin = [], 1
    for _ in range(4):
        layers += [nn.Conv2d(cin, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
        cin = width
    layers.append(nn.Flatten())
    if embedding:
        layers.append(nn.Linear(width * (size // 16) ** 2, embedding))
    return nn.Sequential(*layers)


def lenet5():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84))


def koch(a, b, c, d, features):
    return nn.Sequential(
        nn.Conv2d(1, a, 10), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(a, b, 7), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(b, c, 4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(c, d, 4), nn.ReLU(), nn.Flatten(),
        nn.Linear(d * 36, features), nn.Sigmoid())


def power_of_two(x):
    p = 1.0
    while p > x:
        p /= 2
    return p


def numbers(t):
    return "{" + ",".join(f"{float(x):.8g}" for x in t.detach().reshape(-1)) + "}"


def measures(t, seed):
    t = t.detach()
    return numbers(torch.stack([t.norm(), t.sum(), (t * filled(t.shape, seed, 1.0)).sum()]))


def entry(name, lua, net, shape):
    scales = []
    with torch.no_grad():
        for seed, (key, p) in enumerate(net.named_parameters(), 1):
            norm = p.dim() == 1 and isinstance(net[int(key.split(".")[0])], nn.BatchNorm2d)
            fan_in = p[0].numel() if p.dim() > 1 else 16
            scale = power_of_two(2 / fan_in ** 0.5)
            p.copy_(filled(p.shape, seed, scale))
            if norm and key.endswith("weight"):
                p.add_(1)
            scales.append(f'{{"{key}",{scale!r},{1 if norm and key.endswith("weight") else 0}}}')
    x = filled(shape, 1000, 1.0).requires_grad_()
    net.train()
    y = net(x)
    (y * filled(y.shape, 2000, 1.0)).sum().backward()
    grads = [measures(p.grad, 3000 + i) for i, p in enumerate(net.parameters(), 1)]
    buffers = [f'["{k}"]={numbers(b)}' for k, b in net.named_buffers()]
    net.eval()
    with torch.no_grad():
        z = net(x)
    return (f'{{name="{name}",lua=[[{lua}]],input={{{",".join(map(str, shape))}}},\n'
            f'weights={{{",".join(scales)}}},\n'
            f'keys={{{",".join(chr(34) + k + chr(34) for k in net.state_dict())}}},\n'
            f'shape={{{",".join(map(str, y.shape))}}},\ntrained={measures(y, 4000)},\n'
            f'evaluated={measures(z, 4000)},\nfirst={numbers(z[0, :8])},\n'
            f'input_grad={measures(x.grad, 5000)},\n'
            f'grads={{{",".join(grads)}}},\nbuffers={{{",".join(buffers)}}}}}')


torch.set_num_threads(2)
entries = [
    entry("conv4-64", "models.conv4{}", conv4(64, 28, None), (3, 1, 28, 28)),
    entry("conv4 with an embedding", "models.conv4{ width = 8, size = 33, embedding = 5 }",
          conv4(8, 33, 5), (2, 1, 33, 33)),
    entry("LeNet-5", "models.lenet5{}", lenet5(), (4, 1, 28, 28)),
    entry("Koch's network, smaller", "models.koch{ filters = { 4, 6, 8, 10 }, features = 16 }",
          koch(4, 6, 8, 10, 16), (2, 1, 105, 105)),
]
here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "models.lua"), "w") as f:
    f.write("-- Made by make_models.py with PyTorch " + torch.__version__.split("+")[0] + ".\n")
    f.write("return {\n" + ",\n".join(entries) + "}\n")
print(len(entries), "networks")
