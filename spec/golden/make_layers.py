"""Writes layers.lua: the layers beyond those of golden.lua, as PyTorch computes them.

    python3 spec/golden/make_layers.py        (needs PyTorch; the tests do not)
"""
import math

import torch
import torch.nn.functional as F

from cases import case, cases, positive, write

torch.manual_seed(11)

# ---- activations ----
for name, fn in [("relu6", F.relu6), ("hardswish", F.hardswish), ("hardsigmoid", F.hardsigmoid),
                 ("silu", F.silu), ("elu", F.elu)]:
    case(name, f"a:{name}()", fn, torch.randn(3, 7) * 3)
    case(name + " where it bends", f"a:{name}()", fn,
         torch.tensor([-math.inf, -200., -6., -3., -1e-7, 0., 1e-7, 3., 6., 100.]), smooth=False)
    case(name + " of an image", f"F.{name}(F.max_pool2d(a, {{ kernel_size = 1 }}))", fn, (2, 3, 4, 5),
         smooth=False)
case("elu alpha", "F.elu(a, 0.3)", lambda a: F.elu(a, 0.3), (3, 5))
case("softplus beta", "F.softplus(a, 2, 1.5)", lambda a: F.softplus(a, 2, 1.5), torch.randn(3, 5) * 2)
case("log1p of small and large", "a:log1p()", torch.log1p,
     torch.tensor([-1., -0.99, -1e-3, -1e-8, 0., 1e-10, 1e-4, 0.5, 3., 1e10, math.inf]), smooth=False)
case("expm1 of small and large", "a:expm1()", torch.expm1,
     torch.tensor([-math.inf, -100., -1.01, -0.99, -1e-8, 0., 1e-20, 1e-3, 0.99, 1.01, 80., 89.]),
     smooth=False)
case("prelu one", "a:prelu(b)", F.prelu, (3, 5), torch.tensor([0.25]))
case("prelu channels", "F.prelu(a, b)", F.prelu, (2, 3, 4, 5), (3,), smooth=False)
case("prelu channels last", "F.prelu(F.max_pool2d(a, { kernel_size = 1 }), b)", F.prelu, (2, 3, 4, 5), (3,), smooth=False)
case("prelu features", "F.prelu(a, b)", F.prelu, (4, 3), (3,))

write("layers", cases=cases)
