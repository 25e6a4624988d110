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

# ---- normalisation of single images and pixels ----
LAST = "F.max_pool2d(a, { kernel_size = 1 })"  # a, in the other order of memory
for x, groups in [((2, 6, 4, 5), 3), ((2, 6, 4, 5), 1), ((3, 4), 2), ((2, 4, 7), 4), ((1, 40, 3, 2), 8)]:
    name = f"group_norm {groups} of {len(x)}-D"
    case(name, f"F.group_norm(a, {groups}, b, c)",
         lambda a, b, c, g=groups: F.group_norm(a, g, b, c), x, (x[1],), (x[1],))
case("group_norm plain", "F.group_norm(a, 2)", lambda a: F.group_norm(a, 2), (2, 4, 3, 3))
case("group_norm eps", "F.group_norm(a, 2, b, nil, 0.5)", lambda a, b: F.group_norm(a, 2, b, None, 0.5),
     (2, 4, 3, 3), (4,))
case("group_norm far from 0", "F.group_norm(a, 3, b, c)", lambda a, b, c: F.group_norm(a, 3, b, c),
     torch.randn(2, 6, 8, 9) + 100, (6,), (6,), smooth=False, tol=2e-4)
case("group_norm of an image", f"F.group_norm({LAST}, 3, b, c)", lambda a, b, c: F.group_norm(a, 3, b, c),
     (2, 6, 4, 5), (6,), (6,))
case("instance_norm", "F.instance_norm(a, nil, nil, b, c)",
     lambda a, b, c: F.instance_norm(a, None, None, b, c), (2, 3, 4, 5), (3,), (3,))
case("instance_norm 3-D plain", "F.instance_norm(a)", F.instance_norm, (2, 3, 6))
imean, ivar = torch.randn(3), positive(3)
case("instance_norm by running statistics",
     "F.instance_norm(a, d:detach(), e:detach(), b, c, { use_input_stats = false })",
     lambda a, b, c, d, e: F.instance_norm(a, d.detach(), e.detach(), b, c, use_input_stats=False),
     (2, 3, 4, 5), (3,), (3,), imean, ivar)
for size, x in [(5, (2, 7, 3, 4)), (4, (2, 7, 5)), (1, (1, 3, 2, 2)), (2, (2, 9, 2, 2)), (15, (1, 4, 3, 3))]:
    case(f"local_response_norm {size}", f"F.local_response_norm(a, {size}, 0.5, 0.75, 1.5)",
         lambda a, s=size: F.local_response_norm(a, s, 0.5, 0.75, 1.5), x)
case("local_response_norm of AlexNet", f"F.local_response_norm({LAST}, 5)",
     lambda a: F.local_response_norm(a, 5), (2, 8, 3, 3))


# ---- pooling heads ----
def gem(x, p, eps=1e-6):
    return x.clamp(min=eps).pow(p).mean((2, 3), keepdim=True).pow(1 / p)


case("gem", "F.gem(a, b)", gem, positive(2, 5, 4, 3), torch.tensor([3.]))
case("gem negative and small", "F.gem(a, b, 0.1)", lambda a, b: gem(a, b, 0.1), (2, 3, 4, 3),
     torch.tensor([2.3]), smooth=False)
case("gem of an image", f"F.gem({LAST}, b)", gem, positive(1, 40, 6, 5), torch.tensor([1.7]))
case("adaptive_max_pool2d", "F.adaptive_max_pool2d(a, { 3, 2 })", lambda a: F.adaptive_max_pool2d(a, (3, 2)),
     (2, 2, 7, 5), smooth=False)
case("adaptive_max_pool2d global", "F.adaptive_max_pool2d(a, 1)", lambda a: F.adaptive_max_pool2d(a, 1),
     (2, 3, 4, 5), smooth=False)
case("adaptive_max_pool2d larger", f"F.adaptive_max_pool2d({LAST}, {{ 5, 7 }})",
     lambda a: F.adaptive_max_pool2d(a, (5, 7)), (2, 3, 4, 5), smooth=False)
case("adaptive_max_pool2d ties and NaN", "F.adaptive_max_pool2d(a, 1)", lambda a: F.adaptive_max_pool2d(a, 1),
     torch.tensor([1., 2., 2., 0., 3., 7., math.nan, -1.]).reshape(1, 2, 2, 2), smooth=False)

# ---- padding ----
for mode in ["constant", "reflect", "replicate", "circular"]:
    for x, pad in [((2, 3, 4, 5), (1, 2, 3, 0)), ((2, 3, 5), (2, 2)), ((1, 2, 3, 4), (-1, 2, 0, -1))]:
        text = ", ".join(map(str, pad))
        for order in ["a", LAST] if len(x) == 4 else ["a"]:
            case(f"pad {mode} {text}" + (" of an image" if order != "a" else ""),
                 f'F.pad({order}, {{ {text} }}, "{mode}")', lambda a, p=pad, m=mode: F.pad(a, p, m), x,
                 smooth=False)
case("pad value", "F.pad(a, { 1, 0, 0, 2, 1, 1 }, 'constant', 2.5)",
     lambda a: F.pad(a, (1, 0, 0, 2, 1, 1), "constant", 2.5), (2, 3, 2))
case("pad integers", "F.pad(a, { 1, 2 }, 'constant', -3)", lambda a: F.pad(a, (1, 2), "constant", -3),
     torch.tensor([[4, 5], [6, 7]]))
for mode, option in [("reflect", "padding = { 1, 2 }"), ("replicate", "padding = 'same', dilation = 2"),
                     ("circular", "padding = { 2, 1 }, stride = 2")]:
    module = {"reflect": dict(padding=(1, 2)), "replicate": dict(padding="same", dilation=2),
              "circular": dict(padding=(2, 1), stride=2)}[mode]

    def padded_conv(a, w, m=mode, o=module):
        conv = torch.nn.Conv2d(2, 3, 3, padding_mode=m, bias=False, **o)
        return torch.func.functional_call(conv, {"weight": w}, (a,))
    case(f"Conv2d {mode}",
         "(function() local conv = nn.Conv2d{ in_channels = 2, out_channels = 3, kernel_size = 3, bias = false, "
         f"padding_mode = '{mode}', {option} }} conv.weight = b return conv(a) end)()", padded_conv,
         (2, 2, 7, 6), (3, 2, 3, 3), tol=2e-5)

# ---- sequences ----
conv1d = [("plain", (2, 3, 9), (4, 3, 3), {}), ("padded", (1, 2, 5), (3, 2, 3), {"padding": 2}),
          ("stride", (2, 2, 11), (3, 2, 4), {"stride": 3, "padding": 1}), ("dilation", (1, 2, 8), (2, 2, 3),
          {"dilation": 2}), ("groups", (2, 4, 6), (6, 2, 3), {"groups": 2}),
          ("depthwise", (2, 16, 12), (16, 1, 3), {"groups": 16, "padding": 1}), ("1", (2, 5, 4), (3, 5, 1), {})]
for name, x, w, o in conv1d:
    lua = ", ".join(f"{k} = {v}" for k, v in o.items())
    case("conv1d " + name, f"F.conv1d(a, b, c, {{ {lua} }})", lambda a, b, c, o=o: F.conv1d(a, b, c, **o), x, w,
         (w[0],), tol=2e-5)
case("conv1d same", "F.conv1d(a, b, nil, { padding = 'same', dilation = 2 })",
     lambda a, b: F.conv1d(a, b, padding="same", dilation=2), (2, 3, 9), (4, 3, 5), tol=2e-5)
case("max_pool1d", "F.max_pool1d(a, { kernel_size = 3, stride = 2, padding = 1 })",
     lambda a: F.max_pool1d(a, 3, 2, 1), (2, 3, 10), smooth=False)
case("max_pool1d dilation", "F.max_pool1d(a, { kernel_size = 3, stride = 2, dilation = 2, ceil_mode = true })",
     lambda a: F.max_pool1d(a, 3, 2, dilation=2, ceil_mode=True), (2, 3, 10), smooth=False)
case("avg_pool1d", "F.avg_pool1d(a, { kernel_size = 3, padding = 1, ceil_mode = true, "
     "count_include_pad = false })", lambda a: F.avg_pool1d(a, 3, None, 1, True, False), (2, 3, 10))
case("adaptive_avg_pool1d", "F.adaptive_avg_pool1d(a, 3)", lambda a: F.adaptive_avg_pool1d(a, 3), (2, 3, 10))
case("adaptive_max_pool1d", "F.adaptive_max_pool1d(a, 3)", lambda a: F.adaptive_max_pool1d(a, 3), (2, 3, 10),
     smooth=False)

# ---- transposed convolution ----
turned = [("plain", (2, 3, 4, 5), (3, 4, 3, 3), {}), ("stride", (2, 3, 4, 3), (3, 2, 4, 4),
          {"stride": 2, "padding": 1}), ("output padding", (1, 2, 4, 5), (2, 3, 3, 3),
          {"stride": 2, "padding": 1, "output_padding": 1}), ("groups", (2, 4, 3, 5), (4, 3, 3, 2),
          {"groups": 2, "stride": 3}), ("dilation", (1, 2, 4, 4), (2, 3, 3, 3), {"dilation": 2, "padding": 1}),
          ("1x1", (2, 5, 3, 3), (5, 4, 1, 1), {}), ("depthwise", (1, 4, 5, 5), (4, 1, 3, 3), {"groups": 4}),
          ("behind", (1, 2, 3, 4), (2, 3, 3, 3), {"dilation": 4, "output_padding": 3, "stride": 2})]
for name, x, w, o in turned:
    lua = ", ".join(f"{k} = {v}" for k, v in o.items())
    case("conv_transpose2d " + name, f"F.conv_transpose2d(a, b, c, {{ {lua} }})",
         lambda a, b, c, o=o: F.conv_transpose2d(a, b, c, **o), x, w, (w[1] * o.get("groups", 1),), tol=2e-5)
case("conv_transpose2d uneven", "F.conv_transpose2d(a, b, nil, { stride = { 1, 2 }, padding = { 0, 2 }, "
     "dilation = { 2, 1 }, output_padding = { 0, 1 } })",
     lambda a, b: F.conv_transpose2d(a, b, None, (1, 2), (0, 2), (0, 1), 1, (2, 1)), (2, 2, 4, 6), (2, 3, 3, 4),
     tol=2e-5)

# ---- embedding ----
words = torch.tensor([[1, 3, 3], [5, 1, 2]])
case("embedding", "F.embedding(a, b)", lambda a, b: F.embedding(a - 1, b), words, (5, 4))
case("embedding padding", "F.embedding(a, b, 3)", lambda a, b: F.embedding(a - 1, b, padding_idx=2), words, (5, 4),
     smooth=False)
case("embedding padding from the end", "F.embedding(a, b, -5)",
     lambda a, b: F.embedding(a - 1, b, padding_idx=-5), words, (5, 4), smooth=False)

write("layers", cases=cases)
