"""PyTorch's half of the benchmark: the networks of networks.lua, driven by lines on standard input.

    load NAME BATCH C H W THREADS MODE     MODE: eager, channels_last, compile, compile_channels_last
    train SECONDS | infer SECONDS          repeats for about that long; answers seconds per step
    layer THREADS MODE KIND NUMBER...      one layer, as layers.lua lists them
    forward SECONDS | backward SECONDS     the same for that layer
    memory                                 answers the process's peak memory in bytes
    quit

Each request is answered by one line, `ok VALUE` or `error TEXT`. A training step is what its user would
write: one concatenated 2N pass, contrastive loss, backward, SGD with momentum.
"""
import sys
import time
import resource

import torch
from torch import nn
import torch.nn.functional as F


def cnr(cin, cout, k, stride=1, padding=0, groups=1, act=nn.ReLU):
    return nn.Sequential(
        nn.Conv2d(cin, cout, k, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(cout), act(inplace=True))


def conv4():
    layers, cin = [], 1
    for _ in range(4):
        layers += [cnr(cin, 64, 3, 1, 1), nn.MaxPool2d(2)]
        cin = 64
    return nn.Sequential(*layers, nn.Flatten())


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(inplace=True), nn.Linear(120, 84))


def koch():
    return nn.Sequential(
        nn.Conv2d(1, 64, 10), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 7), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(128, 128, 4), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(128, 256, 4), nn.ReLU(inplace=True), nn.Flatten(),
        nn.Linear(9216, 4096), nn.Sigmoid())


def vgg11():
    layers, cin = [], 3
    for c in [64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"]:
        if c == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(cin, c, 3, padding=1), nn.ReLU(inplace=True)]
            cin = c
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Residual(nn.Module):
    def __init__(self, body, shortcut):
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x):
        y = self.body(x)
        y += self.shortcut(x)
        return F.relu(y, inplace=True)


def shortcut(cin, cout, stride):
    if cin == cout and stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))


def basic(cin, cout, stride):
    body = nn.Sequential(cnr(cin, cout, 3, stride, 1),
                         nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout))
    return Residual(body, shortcut(cin, cout, stride)), cout


def bottleneck(cin, width, stride):
    body = nn.Sequential(cnr(cin, width, 1), cnr(width, width, 3, stride, 1),
                         nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width))
    return Residual(body, shortcut(cin, 4 * width, stride)), 4 * width


def resnet(block, depths):
    layers, cin = [cnr(3, 64, 7, 2, 3), nn.MaxPool2d(3, 2, 1)], 64
    for stage, depth in enumerate(depths):
        for i in range(depth):
            made, cin = block(cin, 64 << stage, 2 if i == 0 and stage else 1)
            layers.append(made)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def resnet18():
    return resnet(basic, [2, 2, 2, 2])


def resnet50():
    return resnet(bottleneck, [3, 4, 6, 3])


class Inverted(nn.Module):
    def __init__(self, cin, cout, stride, expand):
        super().__init__()
        hidden = cin * expand
        layers = [cnr(cin, hidden, 1, act=nn.ReLU6)] if expand != 1 else []
        self.body = nn.Sequential(
            *layers, cnr(hidden, hidden, 3, stride, 1, hidden, act=nn.ReLU6),
            nn.Conv2d(hidden, cout, 1, bias=False), nn.BatchNorm2d(cout))
        self.residual = stride == 1 and cin == cout

    def forward(self, x):
        return x + self.body(x) if self.residual else self.body(x)


def mobilenet_v2():
    layers, cin = [cnr(3, 32, 3, 2, 1, act=nn.ReLU6)], 32
    for expand, cout, count, stride in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
                                        (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
        for i in range(count):
            layers.append(Inverted(cin, cout, stride if i == 0 else 1, expand))
            cin = cout
    return nn.Sequential(*layers, cnr(cin, 1280, 1, act=nn.ReLU6), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten())


class Inception(nn.Module):
    def __init__(self, cin, b1, b2a, b2, b3a, b3, b4):
        super().__init__()
        self.branches = nn.ModuleList([
            cnr(cin, b1, 1),
            nn.Sequential(cnr(cin, b2a, 1), cnr(b2a, b2, 3, 1, 1)),
            nn.Sequential(cnr(cin, b3a, 1), cnr(b3a, b3, 3, 1, 1)),
            nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), cnr(cin, b4, 1))])

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


def googlenet():
    def pool(k):
        return nn.MaxPool2d(k, 2, ceil_mode=True)
    return nn.Sequential(
        cnr(3, 64, 7, 2, 3), pool(3), cnr(64, 64, 1), cnr(64, 192, 3, 1, 1), pool(3),
        Inception(192, 64, 96, 128, 16, 32, 32), Inception(256, 128, 128, 192, 32, 96, 64), pool(3),
        Inception(480, 192, 96, 208, 16, 48, 64), Inception(512, 160, 112, 224, 24, 64, 64),
        Inception(512, 128, 128, 256, 24, 64, 64), Inception(512, 112, 144, 288, 32, 64, 64),
        Inception(528, 256, 160, 320, 32, 128, 128), pool(2),
        Inception(832, 256, 160, 320, 32, 128, 128), Inception(832, 384, 192, 384, 48, 128, 128),
        nn.AdaptiveAvgPool2d(1), nn.Flatten())


def memory_format(mode):
    return torch.channels_last if mode.endswith("channels_last") else torch.contiguous_format


def conv2d(cin, size, cout, k, stride, padding, groups):
    return nn.Conv2d(cin, cout, k, stride, padding, groups=groups, bias=False)


def max_pool2d(c, size, k, stride, padding):
    return nn.MaxPool2d(k, stride, padding)


def avg_pool2d(c, size, k, stride, padding):
    return nn.AvgPool2d(k, stride, padding)


def batch_norm2d(c, size):
    return nn.BatchNorm2d(c)


def linear(cin, cout):
    return nn.Linear(cin, cout)


class Bench:
    def load(self, name, batch, c, h, w, threads, mode):
        torch.set_num_threads(int(threads))
        torch.manual_seed(0)
        n = int(batch)
        self.net = globals()[name]()
        form = memory_format(mode)
        self.net = self.net.to(memory_format=form)
        shape = (n, int(c), int(h), int(w))
        self.a = torch.randn(shape).to(memory_format=form)
        self.b = torch.randn(shape).to(memory_format=form)
        self.same = (torch.arange(n) % 2).float()
        self.sgd = torch.optim.SGD(self.net.parameters(), lr=1e-4, momentum=0.9)
        if mode.startswith("compile"):
            self.net = torch.compile(self.net)
        self.step()
        self.embed()
        return 1

    def step(self):
        self.net.train()
        e = self.net(torch.cat([self.a, self.b]))
        d = F.pairwise_distance(*e.chunk(2))
        loss = (self.same * d ** 2 + (1 - self.same) * F.relu(1 - d) ** 2).mean() / 2
        self.sgd.zero_grad()
        loss.backward()
        self.sgd.step()

    def embed(self):
        self.net.eval()
        with torch.no_grad():
            self.net(self.a)

    def layer(self, threads, mode, kind, batch, *numbers):
        torch.set_num_threads(int(threads))
        torch.manual_seed(0)
        numbers = [int(word) for word in numbers]
        form = memory_format(mode)
        shape = [int(batch), numbers[0]] + [numbers[1]] * (0 if kind == "linear" else 2)
        self.net = globals()[kind](*numbers)
        self.x = torch.randn(shape)
        if len(shape) == 4:
            self.net, self.x = self.net.to(memory_format=form), self.x.to(memory_format=form)
        self.x.requires_grad_(shape[1] > 3)  # a network's first layer needs no gradient of its input
        self.gradient = torch.randn_like(self.net(self.x))
        return 1

    def layer_forward(self):
        with torch.no_grad():
            self.net(self.x)

    def forward(self, seconds):
        return self.repeat(self.layer_forward, seconds)

    def backward(self, seconds):
        best, start = float("inf"), time.perf_counter()
        while time.perf_counter() - start < float(seconds):
            self.net.zero_grad()
            self.x.grad = None
            y = self.net(self.x)
            before = time.perf_counter()
            y.backward(self.gradient)
            best = min(best, time.perf_counter() - before)
        return best

    def repeat(self, work, seconds):
        work()
        start, count = time.perf_counter(), 0
        while count == 0 or time.perf_counter() - start < float(seconds):
            work()
            count += 1
        return (time.perf_counter() - start) / count

    def train(self, seconds):
        return self.repeat(self.step, seconds)

    def infer(self, seconds):
        return self.repeat(self.embed, seconds)

    def memory(self):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main():
    bench = Bench()
    for line in sys.stdin:
        words = line.split()
        if words[0] == "quit":
            break
        try:
            print("ok", getattr(bench, words[0])(*words[1:]), flush=True)
        except Exception as error:  # the runner prints it and goes on with the next mode
            print("error", type(error).__name__, str(error).split("\n")[0], flush=True)


main()
