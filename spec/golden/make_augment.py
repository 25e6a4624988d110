"""Writes augment.lua: changes of small pictures as torchvision, Pillow and NumPy compute them.

    python3 spec/golden/make_augment.py        (needs torchvision, Pillow, NumPy; the tests do not)

A case is a name, the expression in Lua (of the picture x, and of y where there is another operand), what
comes out, and by how much it may differ: floats by `tol`; bytes by one level where torchvision cuts off
what the library rounds, or rounds twice what it rounds once.
"""
import os

import numpy as np
import PIL.Image
import PIL.ImageFilter
import torch
import torchvision
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

torch.manual_seed(11)
cases = []

RGB = torch.randint(0, 256, (3, 7, 9), dtype=torch.uint8)
GREY = torch.randint(0, 256, (1, 6, 5), dtype=torch.uint8)
# Smooth, so that a place that is a little off shows less than a wrong one; and with hues of all kinds.
WIDE = torch.nn.functional.interpolate(torch.rand(1, 3, 3, 4), size=(9, 12), mode="bicubic",
                                       align_corners=True)[0].clamp(0, 1)
STROKES = torch.zeros(1, 9, 11)
STROKES[0, 2:4, 1:9] = 0.75
STROKES[0, 2:8, 5] = 1
STROKES[0, 8, 0] = 0.5
pictures = {"rgb": RGB, "grey": GREY, "wide": WIDE, "strokes": STROKES, "one": torch.tensor([[[0.25]]]),
            "rgb_f": RGB.float() / 255, "grey_f": GREY.float() / 255, "wide_u": (WIDE * 255).to(torch.uint8),
            "strokes_u": (STROKES * 255).to(torch.uint8)}


def numbers(t):
    return ",".join(str(int(x)) if x == int(x) else f"{x:.6g}" for x in t.double().reshape(-1).tolist())


def entry(t):
    kind = "uint8" if t.dtype == torch.uint8 else "float32"
    shape = ",".join(map(str, t.shape))
    return f'{{shape={{{shape}}},dtype="{kind}",data={{{numbers(t)}}}}}'


def case(name, lua, fn, *names, tol=1e-5, extra=None, exact=False):
    """exact: bytes are only moved or compared, and must be the same."""
    for key in names:
        x = pictures[key]
        out = fn(x)
        atol = (0 if exact else 1) if out.dtype == torch.uint8 else tol
        text = [f'name="{name}, {key}"', f"lua=[[{lua}]]", f'x="{key}"', f"tol={atol}",
                f"out={entry(out.contiguous())}"]
        if extra is not None:
            text.append(f"y={entry(extra)}")
        cases.append("{" + ",\n".join(text) + "}")


BOTH = ("rgb", "rgb_f")

# ---- places ----
case("horizontal flip", "image.horizontal_flip(x)", F.horizontal_flip, *BOTH, exact=True)
case("vertical flip", "image.vertical_flip(x)", F.vertical_flip, *BOTH, exact=True)
case("crop", "image.crop(x, 3, 2, 4, 5)", lambda x: F.crop(x, 2, 1, 4, 5), *BOTH, exact=True)
case("crop beyond", "image.crop(x, 0, 5, 9, 7)", lambda x: F.crop(x, -1, 4, 9, 7), "rgb", exact=True)
for h, w in [(4, 4), (3, 6), (10, 4), (9, 13)]:
    case(f"center crop {h} {w}", f"image.center_crop(x, {{ {h}, {w} }})",
         lambda x, s=(h, w): F.center_crop(x, s), "rgb", exact=True)
for mode in ["constant", "edge", "reflect", "symmetric"]:
    case(f"pad {mode}", f'image.pad(x, {{ 3, 1, 2, 4 }}, {{ padding_mode = "{mode}" }})',
         lambda x, m=mode: F.pad(x, [3, 1, 2, 4], padding_mode=m), *BOTH, exact=True)
case("pad fill", "image.pad(x, { 2, 1 }, { fill = { 9, 8, 7 } })", lambda x: F.pad(x, [2, 1], fill=[9, 8, 7]),
     "rgb", exact=True)
case("pad far, reflected again and again", 'image.pad(x, 15, { padding_mode = "reflect" })',
     lambda x: torch.from_numpy(np.pad(x.numpy(), ((0, 0), (15, 15), (15, 15)), mode="reflect")), "grey", exact=True)
case("pad far, symmetric again and again", 'image.pad(x, 15, { padding_mode = "symmetric" })',
     lambda x: torch.from_numpy(np.pad(x.numpy(), ((0, 0), (15, 15), (15, 15)), mode="symmetric")), "grey", exact=True)
case("pad by less than nothing", "image.pad(x, { -1, -2, 3, 0 })", lambda x: F.pad(x, [-1, -2, 3, 0]), "rgb", exact=True)

# ---- sizes ----
for mode in ["bilinear", "bicubic"]:
    for antialias in [True, False]:
        for h, w in [(5, 6), (13, 17), (4, 20)]:
            case(f"resize {mode} {antialias} {h} {w}",
                 f'augment.Resize{{ size = {{ {h}, {w} }}, interpolation = "{mode}", '
                 f"antialias = {str(antialias).lower()} }}(x)",
                 lambda x, s=(h, w), m=mode, a=antialias: F.resize(x, s, interpolation=m, antialias=a),
                 *(("wide", "wide_u") if (h, w) == (5, 6) else ("wide",)))
for mode in ["nearest", "nearest-exact"]:
    for h, w in [(5, 6), (13, 17)]:
        case(f"resize {mode} {h} {w}", f'augment.Resize{{ size = {{ {h}, {w} }}, interpolation = "{mode}" }}(x)',
             lambda x, s=(h, w), m=mode: F.resize(x, s, interpolation=m), "wide_u", exact=True)
case("resize the shorter side", "augment.Resize{ size = 6 }(x)", lambda x: F.resize(x, [6]), "wide")
case("resize within a longer side", "augment.Resize{ size = 6, max_size = 7 }(x)",
     lambda x: F.resize(x, [6], max_size=7), "wide")
case("resize the longer side", "augment.Resize{ max_size = 10 }(x)", lambda x: F.resize(x, None, max_size=10),
     "wide")
case("resized crop", "image.resized_crop(x, 3, 2, 6, 9, { 4, 7 })",
     lambda x: F.resized_crop(x, 2, 1, 6, 9, [4, 7]), "wide", "wide_u")

# ---- warps: without fill, which torchvision mixes with the edge's pixels a second time ----
WARPS = [("turned", "angle = 25", dict(angle=25.)),
         ("moved", "translate = { 2, -1 }", dict(translate=[2, -1])),
         ("scaled", "scale = 1.4", dict(scale=1.4)),
         ("sheared", "shear = { 12, -7 }", dict(shear=[12., -7.])),
         ("all", "angle = -40, translate = { -1, 2 }, scale = 0.8, shear = { 5, 9 }",
          dict(angle=-40., translate=[-1, 2], scale=0.8, shear=[5., 9.])),
         ("centred", "angle = 30, center = { 3, 4 }", dict(angle=30., center=[3., 4.]))]
for name, lua, args in WARPS:
    full = dict(dict(angle=0., translate=[0, 0], scale=1., shear=[0., 0.]), **args)
    for mode in ["nearest", "bilinear"]:
        case(f"affine {name} {mode}", f'image.affine(x, {{ {lua}, interpolation = "{mode}" }})',
             lambda x, f=full, m=mode: F.affine(x, interpolation=m, **f), "wide", tol=2e-5)
case("affine bytes", 'image.affine(x, { angle = 25, scale = 0.7, interpolation = "bilinear" })',
     lambda x: F.affine(x, angle=25., translate=[0, 0], scale=0.7, shear=[0., 0.], interpolation="bilinear"),
     "wide_u")
case("affine with fill", 'image.affine(x, { angle = 33, scale = 0.7, fill = { 10, 100, 200 } })',
     lambda x: F.affine(x, angle=33., translate=[0, 0], scale=0.7, shear=[0., 0.], fill=[10., 100., 200.]),
     "wide_u", exact=True)
for angle in [17, 90, 180, -90, 450]:
    case(f"rotate {angle}", f'image.rotate(x, {angle}, {{ interpolation = "bilinear" }})',
         lambda x, a=angle: F.rotate(x, a, interpolation="bilinear"), "wide", tol=2e-5)
    case(f"rotate {angle} expanded", f'image.rotate(x, {angle}, {{ interpolation = "bilinear", expand = true }})',
         lambda x, a=angle: F.rotate(x, a, interpolation="bilinear", expand=True), "wide", tol=2e-5)
case("rotate about a point", 'image.rotate(x, 20, { center = { 2, 3 }, interpolation = "bilinear" })',
     lambda x: F.rotate(x, 20, center=[2, 3], interpolation="bilinear"), "wide", tol=2e-5)
FROM, TO = [[0, 0], [11, 0], [11, 8], [0, 8]], [[1, 2], [9, 1], [10, 7], [2, 8]]


def points(list_):
    return "{ " + ", ".join(f"{{ {x + 1}, {y + 1} }}" for x, y in list_) + " }"


for mode in ["nearest", "bilinear"]:
    case(f"perspective {mode}", f'image.perspective(x, {points(FROM)}, {points(TO)}, {{ interpolation = "{mode}" }})',
         lambda x, m=mode: F.perspective(x, FROM, TO, interpolation=m), "wide", tol=5e-5)
FIELD = (torch.rand(9, 12, 2) - 0.5) * 0.6
for mode in ["nearest", "bilinear"]:
    case(f"elastic {mode}", f'image.elastic(x, y, {{ interpolation = "{mode}" }})',
         lambda x, m=mode: F.elastic(x, FIELD[None], interpolation=m), "wide", extra=FIELD, tol=2e-5)

# ---- colours ----
for factor in [0, 0.4, 1, 1.7]:
    case(f"brightness {factor}", f"image.adjust_brightness(x, {factor})",
         lambda x, f=factor: F.adjust_brightness(x, f), *BOTH)
    case(f"contrast {factor}", f"image.adjust_contrast(x, {factor})",
         lambda x, f=factor: F.adjust_contrast(x, f), *BOTH, "grey", "grey_f")
    case(f"saturation {factor}", f"image.adjust_saturation(x, {factor})",
         lambda x, f=factor: F.adjust_saturation(x, f), *BOTH, "grey")
for factor in [-0.5, -0.2, 0, 0.1, 0.37, 0.5]:
    case(f"hue {factor}", f"image.adjust_hue(x, {factor})", lambda x, f=factor: F.adjust_hue(x, f),
         *BOTH, "wide")
case("hue of grey", "image.adjust_hue(x, 0.3)", lambda x: F.adjust_hue(x, 0.3), "grey", exact=True)
for gamma, gain in [(0.5, 1), (2.2, 1), (0.8, 1.5), (0, 1)]:
    case(f"gamma {gamma} {gain}", f"image.adjust_gamma(x, {gamma}, {gain})",
         lambda x, a=gamma, b=gain: F.adjust_gamma(x, a, b), *BOTH)
case("grey", "image.rgb_to_grayscale(x)", F.rgb_to_grayscale, *BOTH)
case("grey of three channels", "image.rgb_to_grayscale(x, 3)", lambda x: F.rgb_to_grayscale(x, 3), *BOTH, "grey")
case("invert", "image.invert(x)", F.invert, *BOTH, exact=True)
case("normalize", "image.normalize(x, { 0.485, 0.456, 0.406 }, { 0.229, 0.224, 0.225 })",
     lambda x: F.normalize(x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), "rgb_f")
case("to floats", 'image.to_dtype(x, "float32", true)', lambda x: F.to_dtype(x, torch.float32, scale=True), "rgb", exact=True)
case("to floats, unscaled", 'image.to_dtype(x, "float32")', lambda x: F.to_dtype(x, torch.float32), "rgb")
case("to bytes", 'image.to_dtype(x, "uint8", true)', lambda x: F.to_dtype(x, torch.uint8, scale=True), "wide")
case("a chain", "augment.Compose{ augment.ToDtype{ dtype = 'float32', scale = true },"
     " augment.ColorJitter{ brightness = { 1.2, 1.2 } }, augment.RandomGamma{ gamma = 0.7, p = 1 },"
     " augment.Normalize{ mean = 0.5, std = 0.25 } }(x)",
     v2.Compose([v2.ToDtype(torch.float32, scale=True), lambda x: F.adjust_brightness(x, 1.2),
                 lambda x: F.adjust_gamma(x, 0.7), v2.Normalize([0.5], [0.25])]), "rgb")
case("erase", "image.erase(x, 3, 2, 4, 5, { 1, 2, 3 })",
     lambda x: F.erase(x, 2, 1, 4, 5, torch.tensor([1, 2, 3])[:, None, None]), "rgb", exact=True)

# ---- windows ----
for size, sigma in [((3, 3), (0.8, 0.8)), ((5, 3), (1.5, 0.6)), ((7, 11), (2.0, 4.0)), ((1, 5), (1.0, 1.0))]:
    case(f"blur {size} {sigma}",
         f"image.gaussian_blur(x, {{ {size[0]}, {size[1]} }}, {{ {sigma[0]}, {sigma[1]} }})",
         lambda x, s=size, g=sigma: F.gaussian_blur(x, list(s), list(g)), "wide", "wide_u")
case("blur with a default sigma", "image.gaussian_blur(x, 5)", lambda x: F.gaussian_blur(x, [5, 5]), "wide")


def wide_blur(x, taps, sigma):
    d = np.arange(taps) - taps // 2
    k = np.exp(-0.5 * (d / sigma) ** 2)
    k /= k.sum()
    y = np.pad(x.double().numpy(), ((0, 0), (taps // 2,) * 2, (taps // 2,) * 2), mode="reflect")
    y = np.apply_along_axis(lambda r: np.convolve(r, k, "valid"), 2, y)
    return torch.from_numpy(np.apply_along_axis(lambda r: np.convolve(r, k, "valid"), 1, y)).float()


case("blur wider than the picture", "image.gaussian_blur(x, 41, 6)", lambda x: wide_blur(x, 41, 6), "grey_f",
     "wide")


def ranked(x, filter_):
    return torch.from_numpy(np.array(PIL.Image.fromarray(x[0].numpy()).filter(filter_)))[None]


for size in [3, 5]:
    case(f"dilate {size}", f"image.dilate(x, {size})", lambda x, s=size: ranked(x, PIL.ImageFilter.MaxFilter(s)),
         "strokes_u", "grey", exact=True)
    case(f"erode {size}", f"image.erode(x, {size})", lambda x, s=size: ranked(x, PIL.ImageFilter.MinFilter(s)),
         "strokes_u", "grey", exact=True)

here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "augment.lua"), "w") as f:
    f.write("-- Made by make_augment.py with torchvision " + torchvision.__version__.split("+")[0]
            + ", Pillow " + PIL.__version__ + " and NumPy " + np.__version__ + ".\n")
    f.write("return {\npictures={\n" + ",\n".join(f"{k}={entry(v)}" for k, v in pictures.items()))
    f.write("},\ncases={\n" + ",\n".join(cases) + "}}\n")
print(len(cases), "cases")
