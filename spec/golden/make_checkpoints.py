"""Writes checkpoints/: one object as torch.save writes it in every way it can, and its tensors as the
safetensors package writes them.

    python3 spec/golden/make_checkpoints.py        (needs PyTorch and safetensors; the tests do not)

kinds_zip2.pth ... kinds_zip5.pth   today's archive, with pickle protocols 2 to 5
kinds_big.pth                       the same, as a big-endian machine would have written it
kinds_stream2.pth, kinds_stream4.pth  the stream of before PyTorch 1.6
kinds.safetensors                   its tensors, dense, in their own dtypes
"""
import collections
import io
import os
import sys
import zipfile

import numpy
import torch
from safetensors.torch import save_file

torch.manual_seed(11)
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "checkpoints")


def tensors():
    """Every dtype, and every way that a tensor can lie in its storage."""
    base = torch.randn(4, 6)
    whole = torch.tensor([[-7, 0, 100], [3, -128, 127]])
    return collections.OrderedDict([
        ("float32", torch.randn(2, 3)),
        ("float64", torch.tensor([0.1, -3.0, 1e-300, 1e300], dtype=torch.float64)),
        ("float16", torch.tensor([1.0, -2.0, 6e-8, 65504.0, float("inf")], dtype=torch.float16)),
        ("bfloat16", torch.tensor([1.0, -3.0, 3.3895e38], dtype=torch.bfloat16)),
        ("int64", whole * 2**40), ("int32", whole.to(torch.int32)), ("int16", whole.to(torch.int16)),
        ("int8", whole.to(torch.int8)), ("uint8", torch.tensor([0, 255], dtype=torch.uint8)),
        ("bool", torch.tensor([True, False, True])),
        ("scalar", torch.tensor(2.5)), ("empty", torch.zeros(0, 3)),
        ("base", base), ("transposed", base.t()), ("narrow", base[1:3, 2:5]), ("every_second", base[:, ::2]),
        ("expanded", torch.tensor([[1.0], [2.0]]).expand(2, 3)),
        ("parameter", torch.nn.Parameter(torch.randn(3))),
        ("channels_last", torch.randn(2, 3, 2, 2).to(memory_format=torch.channels_last)),
    ])


def module_state():
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01, betas=(0.8, 0.99))
    net(torch.randn(2, 1, 4, 4)).sum().backward()
    optimizer.step()
    return net.state_dict(), optimizer.state_dict()


def checkpoint():
    model, optimizer = module_state()
    shared = [1, 2]
    return {
        "tensors": tensors(), "model": model, "optimizer": optimizer,
        "epoch": 12, "lr": 0.1, "name": "r\u00e9sum\u00e9", "none": None, "yes": True, "no": False,
        "integers": [0, 255, 256, 65535, 65536, -1, 2**31 - 1, -2**31, 2**40, -2**40, 2**63 - 1, -2**63],
        "large": [2**70, -2**70], "floats": [0.0, -0.5, 1e300, float("inf")], "tuple": (1, "two", (3.0,)),
        "list": [None, True, [], {}, ()], "bytes": b"\x00\xffa", "long": "x" * 300,
        "size": torch.Size([2, 3]), "set": {5}, "dtype": torch.float32, "device": torch.device("cuda", 1),
        "twice": [shared, shared], 3: "integer key", 1.5: "float key", False: "boolean key",
        "pairs": collections.OrderedDict([("z", 1), ("a", 2)]),
    }


def big_endian(path, source):
    """Turns the numbers of an archive around."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        storages = {}

        class Reader(torch.serialization.pickle.Unpickler):
            def persistent_load(self, pid):
                storages[pid[2]] = torch._utils._element_size(pid[1].dtype)
                return torch.storage.TypedStorage(wrap_storage=torch.UntypedStorage(pid[4] * 8),
                                                  dtype=pid[1].dtype, _internal=True)

        name = [n for n in old.namelist() if n.endswith("/data.pkl")][0]
        Reader(io.BytesIO(old.read(name))).load()
        for info in old.infolist():
            data, part = old.read(info), info.filename.split("/", 1)[1]
            if part == "byteorder":
                data = b"big"
            elif part.startswith("data/"):
                size = storages[part[5:]]
                data = numpy.frombuffer(data, numpy.uint8).reshape(-1, size)[:, ::-1].tobytes()
            new.writestr(zipfile.ZipInfo(info.filename), data)


def main():
    os.makedirs(HERE, exist_ok=True)
    assert sys.byteorder == "little"
    what = checkpoint()
    for protocol in 2, 3, 4, 5:
        torch.save(what, f"{HERE}/kinds_zip{protocol}.pth", pickle_protocol=protocol)
    for protocol in 2, 4:
        torch.save(what, f"{HERE}/kinds_stream{protocol}.pth", pickle_protocol=protocol,
                   _use_new_zipfile_serialization=False)
    big_endian(f"{HERE}/kinds_big.pth", f"{HERE}/kinds_zip2.pth")
    dense = {name: t.detach().clone(memory_format=torch.contiguous_format)
             for name, t in what["tensors"].items()}
    save_file({**dense, **{f"model.{k}": v for k, v in what["model"].items()}},
              f"{HERE}/kinds.safetensors", metadata={"made by": "safetensors", "n": "1"})


if __name__ == "__main__":
    main()
