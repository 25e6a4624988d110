"""What siamese.onnx exports against ONNX Runtime: all networks, layers and operations.

    python3 tools/onnx_check.py [--cases "resnet18;LayerNorm"] [--limit 1e-4] [--lua COMMAND]

needs onnx, onnxruntime, numpy and safetensors, which no test does. For each case tools/onnx_check.lua exports
a randomly started module, with batch-norm statistics that are not those of the start, and writes inputs of a
batch of one and of three with what the module gives for them. Each file goes through onnx.checker (with shape
inference) and ONNX Runtime; a line says how far the outputs are from ours, relative to the largest of each.
The exit status says whether all were within the limit.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime
from safetensors.numpy import load_file


def difference(got, want):
    """The largest difference relative to the largest value; whole numbers must be equal."""
    if got.shape != want.shape or got.dtype != want.dtype:
        return float("inf")
    if want.dtype != numpy.float32:
        return float((got != want).any())
    largest = max(float(numpy.abs(want).max()), 1e-30)
    return float(numpy.abs(got - want).max()) / largest


def check(name, lua, folder):
    """Nodes of the graph, and the largest difference for each size of the batch."""
    subprocess.run([*lua, "tools/onnx_check.lua", name, folder], check=True)
    path = os.path.join(folder, "model.onnx")
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    values = load_file(os.path.join(folder, "values.safetensors"))
    worst = {}
    for n in (1, 3):
        outputs = session.run(None, {"input": values[f"input.{n}"]})
        wanted = [values[f"output.{n}.{k}"] for k in range(len(outputs))]
        assert f"output.{n}.{len(outputs)}" not in values, "too few outputs"
        worst[n] = max(difference(got, want) for got, want in zip(outputs, wanted))
    return len(model.graph.node), os.path.getsize(path), worst


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", default="")
    parser.add_argument("--limit", type=float, default=1e-4)
    parser.add_argument("--lua", default="lua5.4")
    options = parser.parse_args()
    lua = options.lua.split()
    onnxruntime.set_default_logger_severity(3)
    listed = subprocess.run([*lua, "tools/onnx_check.lua", "list"], check=True, capture_output=True, text=True)
    names = options.cases.split(";") if options.cases else listed.stdout.split("\n")[:-1]
    failed = []
    print(f"{'case':44} {'nodes':>5} {'MB':>7} {'batch 1':>8} {'batch 3':>8}")
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            try:
                nodes, size, worst = check(name, lua, folder)
            except Exception as error:  # a case that fails is told of, and the others go on
                failed.append(name)
                print(f"{name:44} {str(error)[:400]}")
                continue
        if not max(worst.values()) <= options.limit:
            failed.append(name)
        print(f"{name:44} {nodes:5} {size / 1e6:7.1f} {worst[1]:8.1e} {worst[3]:8.1e}", flush=True)
    print(f"{len(names) - len(failed)} of {len(names)} within {options.limit:g}")
    if failed:
        sys.exit("not within: " + ", ".join(failed))


if __name__ == "__main__":
    main()
