"""Networks of torchvision against ours: weights, outputs, gradients.

    python3 tools/torchvision_parity.py [--networks resnet18,vgg11] [--limit 1e-4] [--seed 1]
                                        [--lua COMMAND] [--folder WHERE]

needs PyTorch, torchvision and safetensors, which no test does. For each network it makes a randomly started
model of torchvision's, with random batch-norm statistics, and writes its state dict, a batch, and what
comes of it: the outputs in evaluation, the outputs of one training step (dropout off) and the statistics
afterwards; and, of a second model, all gradients. tools/torchvision_parity.lua loads the weights strictly
into ours, does the same and prints the largest error of each kind: of values relative to the largest of a
tensor, of gradients by their norms. The exit status says whether all were below the limit.

Gradients jump where an input of a ReLU passes 0 or the largest of a window changes: of a million inputs
one lies so near that rounding decides, and PyTorch's own float32 gradients then differ from its float64
ones by up to a hundredth. So they are measured against float64's, with norms that keep most inputs three
deviations away from where gradients jump, and at the first seed at which PyTorch's float32 comes within a
third of the limit. Where ours alone has jumped, which is as likely, the next seeds are tried.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import torch
import torchvision
from safetensors.torch import save_file

NETWORKS = ["vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn",
            "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "googlenet", "inception_v3",
            "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"]
# What gradients are compared of, where it isn't the whole: the auxiliary head of Inception v3 takes pictures
# of 299 x 299, too many values for none to lie near a jump. It is compared by itself.
PARTS = {"inception_v3": ["inception_v3:headless", "inception_v3:AuxLogits"]}
# [N,C,H,W] of the batch.
SHAPES = {"inception_v3": (6, 3, 299, 299), "inception_v3:headless": (6, 3, 107, 91),
          "inception_v3:AuxLogits": (6, 768, 19, 17)}
SHAPE = (4, 3, 65, 58)
SEEDS = 40


def make(part):
    name, _, rest = part.partition(":")
    options = {"dropout": 0.0}
    if name.startswith("resnet"):
        options = {}
    if name in ("googlenet", "inception_v3"):
        options.update(aux_logits=rest != "headless", init_weights=True, transform_input=True)
    if name == "googlenet":
        options["dropout_aux"] = 0.0
    net = getattr(torchvision.models, name)(weights=None, **options)
    return net.AuxLogits if rest == "AuxLogits" else net


def randomise_statistics(net, generator):
    """And norms' weights, small at the end of a bottleneck as training leaves them: fifty of them at 1
    magnify float32's rounding, PyTorch's own as well, to 7e-4 of the result."""
    for name, module in net.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            scale = 0.25 if name.endswith("bn3") else 1.0
            for tensor, low, high in [(module.running_mean, -0.1, 0.1), (module.running_var, 0.8, 1.2),
                                      (module.weight, 0.8 * scale, 1.2 * scale), (module.bias, -0.1, 0.1)]:
                tensor.data.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)


def avoid_jumps(net, generator):
    """Norms that put what they give three deviations off 0, most of it above."""
    for name, module in net.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            summed = name.endswith(("bn2", "bn3", "downsample.1"))  # a residual's sum stays above
            below = (torch.rand(module.bias.shape, generator=generator) < 0.25) & (not summed)
            scale = torch.rand(module.weight.shape, generator=generator) * 0.2 + 0.3
            module.weight.data.copy_(scale)
            module.bias.data.copy_(torch.where(below, -3 * scale, 3 * scale))


def outputs_of(value):
    return list(value) if isinstance(value, tuple) else [value]


def own(tensors):
    return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}


def values(net, x):
    """Outputs in evaluation and in training, and the statistics, which move, afterwards; by name."""
    found = {"input": x}
    with torch.no_grad():
        found["evaluated"] = net.eval()(x)
        for k, y in enumerate(outputs_of(net.train()(x))):
            found[f"trained.{k}"] = y
    for name, b in net.named_buffers():
        found["buffer." + name] = b.float()
    return own(found)


def gradients(net, x, weights):
    """Gradients of the training outputs' weighted sum, by the input and all parameters."""
    x = x.clone().requires_grad_()
    net.zero_grad()
    sum((y * w.to(y)).sum() for y, w in zip(outputs_of(net.train()(x)), weights)).backward()
    found = {"gradient." + name: p.grad for name, p in net.named_parameters()}
    return own({"gradient.input": x.grad, **found})


def owner(name):
    return name.rpartition(".")[0]


def distance(found, exact):
    """The largest distance of a gradient, relative to the largest norm among its module's."""
    scales = {}
    for name, g in exact.items():
        scales[owner(name)] = max(scales.get(owner(name), 0), g.norm().item())
    return max((found[name] - g).norm().item() / scales[owner(name)] for name, g in exact.items())


def smooth_gradients(name, seed):
    """The model, what goes in, float64's gradients, and how near to them float32's are."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    net = make(name)
    avoid_jumps(net, generator)
    x = torch.randn(SHAPES.get(name, SHAPE), generator=generator)
    with torch.no_grad():
        weights = [torch.randn(y.shape, generator=generator) for y in outputs_of(net.train()(x))]
    state = own(net.state_dict())
    single = gradients(net, x, weights)
    exact = gradients(net.double(), x.double(), weights)
    given = {"input": x, **{f"weights.{k}": w for k, w in enumerate(weights)}}
    return state, given, exact, distance(single, exact)


def write_values(name, folder, seed):
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    net = make(name)
    randomise_statistics(net, generator)
    x = torch.randn(SHAPES.get(name, SHAPE), generator=generator)
    save_file(own(net.state_dict()), os.path.join(folder, "weights.safetensors"))
    save_file(values(net, x), os.path.join(folder, "values.safetensors"))


def run_ours(what, name, folder, options):
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    build = os.path.join(root, os.environ.get("BUILD", "build"))
    command = options.lua.split() + [os.path.join(root, "tools/torchvision_parity.lua"), what, name, folder]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={
        **os.environ, "LUA_PATH": f"{root}/lua/?.lua;{root}/lua/?/init.lua;;", "LUA_CPATH": f"{build}/?.so;;"})
    if answer.returncode:
        sys.exit(f"{name}: ours failed")
    text, _, largest = answer.stdout.strip().rpartition(" ")
    print(text, end="  ", flush=True)
    return float(largest)


def compare_gradients(name, folder, options):
    """Ours against float64's at a seed where float32's came near."""
    tries = 3
    for seed in range(options.seed, options.seed + SEEDS):
        state, given, exact, peer = smooth_gradients(name, seed)
        if peer > options.limit / 3:
            continue
        save_file(state, os.path.join(folder, "weights.safetensors"))
        save_file({**given, **{n: g.float() for n, g in exact.items()}},
                  os.path.join(folder, "gradients.safetensors"))
        error = run_ours("gradients", name, folder, options)
        print(f"(PyTorch's {peer:.1e}, seed {seed})", end="  ", flush=True)
        tries -= 1
        if error <= options.limit or tries == 0:
            return error
    sys.exit(f"{name}: no seed at which PyTorch's own gradients agree")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--folder")
    parser.add_argument("--lua", default="lua5.4")
    parser.add_argument("--limit", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory(prefix="parity", dir=options.folder) as folder:
        for name in options.networks.split(","):
            write_values(name, folder, options.seed)
            error = run_ours("values", name, folder, options)
            for part in PARTS.get(name, [name]):
                error = max(error, compare_gradients(part, folder, options))
            print("" if error <= options.limit else "TOO FAR")
            good = good and error <= options.limit
    sys.exit(0 if good else 1)


main()
