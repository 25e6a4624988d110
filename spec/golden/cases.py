"""What the makers of golden files share: a list of cases, and how a tensor is written in Lua.

A case is a name, the expression in Lua, the same in Python, and the inputs' shapes (or tensors). The
gradients are those of the sum of the outputs times fixed weights; spec/golden_spec.lua evaluates the
Lua side of each case and compares.
"""
import math
import os

import torch

cases = []


def numbers(t):
    def one(x):
        x = float(x)
        if math.isnan(x):
            return "0/0"
        if math.isinf(x):
            return "1/0" if x > 0 else "-1/0"
        return str(int(x)) if x == int(x) and abs(x) < 1e15 else f"{x:.8g}"
    return ",".join(one(x) for x in t.reshape(-1).tolist())


def entry(t):
    kind = "int64" if t.dtype == torch.int64 else "uint8" if t.dtype == torch.bool else "float32"
    shape = ",".join(map(str, t.shape))
    return f'{{shape={{{shape}}},dtype="{kind}",data={{{numbers(t.to(torch.float64))}}}}}'


def case(name, lua, fn, *inputs, outputs_from_one=(), smooth=True, tol=None):
    """outputs_from_one: numbers of integer outputs that are indices (PyTorch's count from 0).
    smooth: False where an input lies so near a kink that finite differences step over it."""
    made = []
    for i in inputs:
        t = i if isinstance(i, torch.Tensor) else torch.randn(i)
        made.append(t.clone().requires_grad_() if t.is_floating_point() else t)
    out = fn(*made)
    outs = list(out) if isinstance(out, (tuple, list)) else [out]
    weights = [torch.randn(o.shape) if o.is_floating_point() else None for o in outs]
    loss = sum((o * w).sum() for o, w in zip(outs, weights) if w is not None and o.requires_grad)
    grads = [None] * len(made)
    if isinstance(loss, torch.Tensor):
        loss.backward()
        grads = [m.grad if m.is_floating_point() else None for m in made]
    outs = [o + 1 if k in outputs_from_one else o for k, o in enumerate(outs)]
    text = [f'name="{name}"', f"lua=[[{lua}]]", f"smooth={str(smooth).lower()}"]
    if tol:
        text.append(f"tol={tol}")
    text.append("inputs={" + ",".join(entry(m.detach()) for m in made) + "}")
    text.append("outputs={" + ",".join(entry(o.detach()) for o in outs) + "}")
    text.append("weights={" + ",".join("false" if w is None else entry(w) for w in weights) + "}")
    text.append("grads={" + ",".join("false" if g is None else entry(g) for g in grads) + "}")
    cases.append("{" + ",\n".join(text) + "}")


def positive(*shape):
    return torch.rand(shape) + 0.2


def write(name, **lists):
    """Writes name.lua beside this file: a table of lists of Lua expressions."""
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, name + ".lua"), "w") as f:
        f.write(f"-- Made by make_{name}.py with PyTorch " + torch.__version__.split("+")[0] + ".\n")
        f.write("return {\n" + ",\n".join(f"{key}={{\n" + ",\n".join(items) + "}"
                                          for key, items in lists.items()) + "}\n")
    print({key: len(items) for key, items in lists.items()})
