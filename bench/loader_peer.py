"""PyTorch's half of the loader benchmark (bench/loader.lua): pictures a second out of a folder.

    loader_peer.py FOLDER SIZE CHANNELS WORKERS

Decodes, resizes and batches (128) all pictures below FOLDER as torchvision's users do, in the process and with
worker processes, and prints `workers0 RATE` and `workersN RATE`: the best of three epochs.
"""
import os
import sys
import time

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2


class Pictures(Dataset):
    def __init__(self, folder, size, channels):
        self.paths = sorted(os.path.join(where, name) for where, _, names in os.walk(folder) for name in names
                            if name.endswith((".png", ".jpg", ".pgm")))
        self.mode = "L" if channels == 1 else "RGB"
        self.transform = v2.Compose([v2.ToImage(), v2.Resize((size, size), antialias=True),
                                     v2.ToDtype(torch.float32, scale=True)])

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        with Image.open(self.paths[i]) as picture:
            return self.transform(picture.convert(self.mode))


def rate(pictures, workers):
    best = 0
    loader = DataLoader(pictures, batch_size=128, shuffle=True, num_workers=workers,
                        persistent_workers=workers > 0)
    for _ in range(3):
        start, n = time.perf_counter(), 0
        for batch in loader:
            n += batch.shape[0]
        best = max(best, n / (time.perf_counter() - start))
    return best


def main():
    folder, size, channels, workers = sys.argv[1], *map(int, sys.argv[2:5])
    torch.set_num_threads(workers)
    pictures = Pictures(folder, size, channels)
    print("workers0", rate(pictures, 0))
    print("workersN", rate(pictures, workers), flush=True)


if __name__ == "__main__":
    main()
