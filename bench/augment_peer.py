"""torchvision's half of the augmentation benchmark (bench/augment.lua), driven by lines on standard input.

    data DTYPE N C H W          the pictures, random
    run NAME WAY THREADS SECONDS   answers seconds per picture
    version | quit

WAY: "each" draws for every picture by itself, as a loader does; "batch" draws once for all of the batch.
Each request is answered by one line, `ok VALUE` or `error TEXT`.
"""
import sys
import time

import torch
import torchvision
from torchvision.transforms import v2

torch.manual_seed(0)


def jitter():
    return v2.ColorJitter(0.4, 0.4, 0.4, 0.1)


def make(name, size):
    crop = size * 7 // 8
    return {
        "affine": lambda: v2.RandomAffine(15, translate=(0.1, 0.1), scale=(0.9, 1.1), shear=5,
                                          interpolation=v2.InterpolationMode.BILINEAR),
        "affine nearest": lambda: v2.RandomAffine(15, translate=(0.1, 0.1), scale=(0.9, 1.1)),
        "perspective": lambda: v2.RandomPerspective(p=1),
        "elastic": lambda: v2.ElasticTransform(alpha=40., sigma=4.),
        "flip": lambda: v2.RandomHorizontalFlip(p=1),
        "crop": lambda: v2.RandomCrop(crop, padding=4),
        "resized crop": lambda: v2.RandomResizedCrop(crop, antialias=True),
        "resize": lambda: v2.Resize((crop, crop), antialias=True),
        "brightness": lambda: v2.ColorJitter(brightness=0.4),
        "contrast": lambda: v2.ColorJitter(contrast=0.4),
        "hue": lambda: v2.ColorJitter(hue=0.1),
        "jitter": jitter,
        "grey": lambda: v2.RandomGrayscale(p=1),
        "invert": lambda: v2.RandomInvert(p=1),
        "noise": lambda: v2.GaussianNoise(sigma=0.1),
        "blur 5": lambda: v2.GaussianBlur(5),
        "blur 23": lambda: v2.GaussianBlur(23),
        "erasing": lambda: v2.RandomErasing(p=1),
        "normalize": lambda: v2.Compose([v2.ToDtype(torch.float32, scale=True),
                                         v2.Normalize([0.5], [0.25])]),
        "drawings": lambda: v2.Compose([
            v2.RandomAffine(10, translate=(0.05, 0.05), scale=(0.8, 1.2), shear=10,
                            interpolation=v2.InterpolationMode.BILINEAR),
            v2.GaussianNoise(sigma=0.05)]),
        "contrastive": lambda: v2.Compose([
            v2.RandomResizedCrop(crop, scale=(0.2, 1), antialias=True), v2.RandomHorizontalFlip(),
            v2.RandomApply([jitter()], p=0.8), v2.RandomGrayscale(p=0.2),
            v2.RandomApply([v2.GaussianBlur(23 if size > 150 else 5)], p=0.5),
            v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.25])]),
    }[name]()


class Peer:
    def data(self, dtype, n, c, h, w):
        x = torch.rand(int(n), int(c), int(h), int(w))
        self.x = (x * 255).to(torch.uint8) if dtype == "uint8" else x
        return "there"

    def run(self, *words):
        name, (way, threads, seconds) = " ".join(words[:-3]), words[-3:]
        torch.set_num_threads(int(threads))
        transform = make(name, self.x.shape[-1])

        def step():
            if way == "batch":
                return transform(self.x)
            return torch.stack([transform(x) for x in self.x])

        step()
        start, count = time.perf_counter(), 0
        while count == 0 or time.perf_counter() - start < float(seconds):
            step()
            count += 1
        return (time.perf_counter() - start) / count / len(self.x)

    def version(self):
        return f"torchvision {torchvision.__version__}, torch {torch.__version__}"


def main():
    peer = Peer()
    for line in sys.stdin:
        words = line.split()
        if words[0] == "quit":
            break
        try:
            with torch.no_grad():
                print("ok", getattr(peer, words[0])(*words[1:]), flush=True)
        except Exception as e:  # answered, and the peer goes on
            print("error", type(e).__name__, str(e).replace("\n", " "), flush=True)


main()
