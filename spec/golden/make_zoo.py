"""Writes zoo.lua: torchvision's networks, and two that it hasn't, as PyTorch computes them.

    python3 spec/golden/make_zoo.py        (needs PyTorch and torchvision; the tests do not)

`structures` has a checksum of all names and shapes of each network's state. `cases` are networks of few
layers or small width, with the outputs in evaluation and in training, and gradients, all of them float64's.
Weights are not stored: both sides fill them by one rule (`fill` and `rule` here, the same in
spec/zoo_spec.lua), exactly. `own` is how far PyTorch's float32 is off in training, where norms over few
values magnify rounding. Of the gradients the norm and the product with another filling are stored. Where
they are taken the norms keep inputs of ReLUs off 0, and PyTorch's own float32 agrees: see
tools/torchvision_parity.py.
"""
import math
import os

import torch
import torchvision
from torch import nn
from torchvision import models
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.models.vgg import make_layers

STRUCTURES = [
    "vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn", "resnet18",
    "resnet34", "resnet50", "resnet101", "resnet152", "googlenet", "inception_v3", "mobilenet_v2",
    "mobilenet_v3_small", "mobilenet_v3_large"]


def checksum(state):
    """FNV-1a, 32 bits, of "name shape" lines in order."""
    h = 0x811C9DC5
    text = "".join(f"{k} {','.join(map(str, v.shape))}\n" for k, v in state.items())
    for byte in text.encode():
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return h


def fill(shape, seed):
    """Values from -1 to 1, multiples of 1 / 1024."""
    n = math.prod(shape)
    i = torch.arange(n)
    k = (i + 7919 * seed) % 10007
    return (((k * k * 3 + k * 5 + 11 * seed) % 2003 - 1001) / 1024).reshape(shape)


def power_of_two(x):
    return 2.0 ** math.floor(math.log2(x))


def rule(name, shape, weight_dims, smooth):
    """Scale, offset, and whether every fourth value changes sign, by the tensor's role."""
    kind = name.rpartition(".")[2]
    if len(shape) > 1:
        return power_of_two(1.5 / math.sqrt(math.prod(shape[1:]))), 0, False
    if kind == "running_var":
        return 0.25, 1, False
    if weight_dims == 1 and kind == "weight":
        return (0.0625, 0.375, False) if smooth else (0.25, 1, False)
    if weight_dims == 1 and kind == "bias" and smooth:
        summed = any(part in name for part in ("bn2.", "bn3.", "downsample.1.", "shortcut.1."))
        return 0.125, 1.125, not summed
    return 0.25, 0, False


def set_state(net, smooth):
    state = net.state_dict()
    seed = 0
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        seed += 1
        sibling = state.get(name.rpartition(".")[0] + ".weight")
        scale, offset, flip = rule(name, tensor.shape, 0 if sibling is None else sibling.dim(), smooth)
        value = fill(tensor.shape, seed) * scale + offset
        if flip:
            value[1::4] *= -1
        with torch.no_grad():
            tensor.copy_(value)


def outputs_of(value):
    return list(value) if isinstance(value, tuple) else [value]


def numbers(values):
    return "{" + ",".join(f"{float(x):.8g}" for x in values) + "}"


def gradients(net, x):
    x = x.clone().requires_grad_()
    net.zero_grad()
    sum((y * fill(y.shape, 2000 + k).to(y)).sum() for k, y in enumerate(outputs_of(net.train()(x)))).backward()
    return {"input": x.grad, **{name: p.grad for name, p in net.named_parameters()}}


def chosen(names):
    """The input's, the first, the last and some between them."""
    names = list(names)
    step = max(1, len(names) // 14)
    return [names[0]] + names[1::step] + names[-2:]


def scale_of(key, exact):
    """The largest norm among the module's gradients: a bias's ahead of a norm is zero but for rounding."""
    return max(h.norm() for k, h in exact.items() if k.rpartition(".")[0] == key.rpartition(".")[0])


def smooth_gradients(net, shape):
    """An input's seed at which float32's gradients are as float64's, and those."""
    for seed in range(1000, 1040):
        x = 2 * fill(shape, seed)
        set_state(net.float(), True)
        single = gradients(net, x)
        set_state(net, True)
        exact = gradients(net.double(), x.double())
        net.float()
        if max(float((single[k] - g).norm() / scale_of(k, exact)) for k, g in exact.items()) < 3e-5:
            return seed, exact
    raise SystemExit("no seed at which PyTorch's own gradients agree")


def plain_values(net, x):
    """The output in evaluation, and those in training."""
    set_state(net, False)
    with torch.no_grad():
        return [net.eval()(x)] + outputs_of(net.train()(x))


def entry(name, lua, net, shape):
    seed, exact = smooth_gradients(net, shape)
    x = 2 * fill(shape, seed)
    evaluated, *trained = plain_values(net.double(), x.double())
    net.float()
    own = max(float((a - b).abs().max() / b.abs().max())
              for a, b in zip(plain_values(net, x), [evaluated] + trained))
    buffers = list(net.named_buffers())
    last = [(k, b) for k, b in buffers if not k.endswith("num_batches_tracked")][-2:]
    grads = []
    for key in dict.fromkeys(chosen(exact)):
        g = exact[key]
        measures = [g.norm(), (g * fill(g.shape, 3000)).sum(), scale_of(key, exact)]
        grads.append(f'{{"{key}",' + numbers(measures)[1:])
    after = ",".join(f'["{k}"]={numbers(b.reshape(-1)[:6])}' for k, b in last)
    print(f"{name}: {sum(p.numel() for p in net.parameters())} parameters, seed {seed}, "
          f"float32 off by {own:.1e}")
    return (f'{{name="{name}",lua=[[{lua}]],shape={{{",".join(map(str, shape))}}},seed={seed},\n'
            f'checksum={checksum(net.state_dict())},own={own:.1e},\nevaluated={numbers(evaluated.reshape(-1))},\n'
            f'trained={{{",".join(numbers(y.reshape(-1)) for y in trained)}}},\nbuffers={{{after}}},\n'
            f'gradients={{{",".join(grads)}}}}}')


class Embedding(nn.Module):
    """VGG's layers to an embedding, by the names of ours."""
    def __init__(self, features, channels, size):
        super().__init__()
        self.features, self.classifier = features, nn.Linear(channels, size)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class Block(nn.Module):
    """Of the thin ResNets, with either shortcut (He et al. 2016, section 4.2)."""
    def __init__(self, cin, width, stride, kind):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.changes, self.kind, self.more = stride != 1, kind, (width - cin) // 2
        if self.changes and kind == "B":
            self.shortcut = nn.Sequential(nn.Conv2d(cin, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        h = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        if self.changes and self.kind == "A":
            x = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more, self.more))
        elif self.changes:
            x = self.shortcut(x)
        return (h + x).relu()


class Thin(nn.Module):
    def __init__(self, depth, kind, classes):
        super().__init__()
        n = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        for i, (cin, width) in enumerate([(16, 16), (16, 32), (32, 64)]):
            blocks = [Block(cin if k == 0 else width, width, 2 if k == 0 and i else 1, kind) for k in range(n)]
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.bn1(self.conv1(x)).relu())))
        return self.linear(x.mean((2, 3)))


class MobileNetV1(nn.Module):
    """Howard et al. 2017, Table 1, by the names of ours."""
    def __init__(self, alpha, size):
        super().__init__()

        def cnr(cin, cout, kernel, stride, groups=1):
            return [nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False),
                    nn.BatchNorm2d(cout), nn.ReLU()]
        cin = int(32 * alpha)
        layers = [nn.Sequential(*cnr(3, cin, 3, 2))]
        for cout, stride in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + 5 * [(512, 1)] + [
                (1024, 2), (1024, 1)]:
            cout = int(cout * alpha)
            layers.append(nn.Sequential(*cnr(cin, cin, 3, stride, cin), *cnr(cin, cout, 1, 1)))
            cin = cout
        self.features, self.classifier = nn.Sequential(*layers), nn.Linear(cin, size)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def structure(name):
    options = {"aux_logits": True, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("meta"):
        net = getattr(models, name)(weights=None, **options)
    return f"{name}={checksum(net.state_dict())}"


PLAIN = {"dropout": 0.0}
HEADS = {"aux_logits": True, "init_weights": False, "transform_input": True, **PLAIN}
entries = [
    entry("ResNet of basic blocks", "models.ResNet{ block = models.BasicBlock, layers = { 1, 2, 1, 1 }, "
          "num_classes = 5 }", ResNet(BasicBlock, [1, 2, 1, 1], num_classes=5), (3, 3, 41, 35)),
    entry("ResNet of bottlenecks", "models.ResNet{ block = models.Bottleneck, layers = { 2, 1, 1, 1 }, "
          "num_classes = 5 }", ResNet(Bottleneck, [2, 1, 1, 1], num_classes=5), (3, 3, 41, 35)),
    entry("VGG", "models.VGG{ layers = { 16, \"M\", 24, 24, \"M\" }, embedding = 5 }",
          Embedding(make_layers([16, "M", 24, 24, "M"]), 24, 5), (3, 3, 17, 14)),
    entry("VGG with batch norm", "models.VGG{ layers = { 16, \"M\", 24, 24, \"M\" }, batch_norm = true, "
          "embedding = 5 }", Embedding(make_layers([16, "M", 24, 24, "M"], True), 24, 5), (3, 3, 17, 14)),
    entry("GoogLeNet with its auxiliary heads", "models.googlenet{ num_classes = 5, aux_logits = true, "
          "transform_input = true, dropout = 0, dropout_aux = 0 }",
          models.googlenet(num_classes=5, dropout_aux=0.0, **HEADS), (6, 3, 49, 42)),
    entry("Inception v3", "models.inception_v3{ num_classes = 5, transform_input = true, dropout = 0 }",
          models.inception_v3(num_classes=5, **{**HEADS, "aux_logits": False}), (6, 3, 107, 91)),
    entry("MobileNet v1, a quarter as wide", "models.mobilenet_v1{ width_mult = 0.25, embedding = 5 }",
          MobileNetV1(0.25, 5), (4, 3, 70, 64)),
    entry("MobileNet v2, a third as wide", "models.mobilenet_v2{ width_mult = 0.35, num_classes = 5, "
          "dropout = 0 }", models.mobilenet_v2(num_classes=5, width_mult=0.35, **PLAIN), (4, 3, 70, 64)),
    entry("MobileNet v3 small, half as wide", "models.mobilenet_v3_small{ width_mult = 0.5, num_classes = 5, "
          "dropout = 0 }", models.mobilenet_v3_small(num_classes=5, width_mult=0.5, **PLAIN), (4, 3, 70, 64)),
    entry("MobileNet v3 large, half as wide", "models.mobilenet_v3_large{ width_mult = 0.5, num_classes = 5, "
          "dropout = 0 }", models.mobilenet_v3_large(num_classes=5, width_mult=0.5, **PLAIN), (4, 3, 70, 64)),
    entry("ResNet-20 with shortcuts A", "models.resnet20{ num_classes = 5 }", Thin(20, "A", 5), (3, 3, 17, 14)),
    entry("ResNet-32 with shortcuts B", "models.resnet32{ num_classes = 5, shortcut = \"B\" }",
          Thin(32, "B", 5), (3, 3, 17, 14)),
]
here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "zoo.lua"), "w") as f:
    f.write(f"-- Made by make_zoo.py with PyTorch {torch.__version__.split('+')[0]} and torchvision "
            f"{torchvision.__version__.split('+')[0]}.\n")
    f.write("return { structures = { " + ", ".join(map(structure, STRUCTURES)) + " }, cases = {\n")
    f.write(",\n".join(entries) + "} }\n")
