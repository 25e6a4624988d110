"""Writes recurrent.lua: recurrent networks as PyTorch computes them: outputs, last states, all gradients.

    python3 spec/golden/make_recurrent.py        (needs PyTorch; the tests do not)

A case has the layer's options, its parameters, the input, the states it begins with (or none) and the
sequences' lengths (or none). The gradients are those of the sum of outputs and last states times fixed
weights; spec/recurrent_spec.lua does the same.
"""
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from cases import entry, write

torch.manual_seed(13)
cases = []


def run(net, x, states, lengths, batch_first):
    if lengths is None:
        return net(x, states)
    packed = pack_padded_sequence(x, lengths, batch_first=batch_first, enforce_sorted=False)
    y, last = net(packed, states)
    steps = x.shape[1 if batch_first else 0]
    return pad_packed_sequence(y, batch_first=batch_first, total_length=steps)[0], last


def named(tensors):
    return "{" + ",".join(f"{k}={entry(t.detach())}" for k, t in tensors.items()) + "}"


def case(name, kind, steps, n, begin=False, lengths=None, **options):
    net = getattr(torch.nn, kind)(2, 3, **options)
    for p in net.parameters():
        torch.nn.init.normal_(p, 0, 0.7)
    batch_first, runs = options.get("batch_first", False), len(net._all_weights)
    shape = (steps, 2) if n is None else (n, steps, 2) if batch_first else (steps, n, 2)
    state = (runs, 3) if n is None else (runs, n, 3)
    x = torch.randn(shape, requires_grad=True)
    if lengths is not None:
        with torch.no_grad():  # what lies beyond an end must not matter
            for i, length in enumerate(lengths):
                (x[i] if batch_first else x[:, i])[length:] = 1e6
    h = torch.randn(state, requires_grad=True)
    c = torch.randn(state, requires_grad=True)
    states = ((h, c) if kind == "LSTM" else h) if begin else None
    y, last = run(net, x, states, lengths, batch_first)
    outputs = dict(y=y, **(dict(h=last[0], c=last[1]) if kind == "LSTM" else dict(h=last)))
    weights = {k: torch.randn(t.shape) for k, t in outputs.items()}
    sum((outputs[k] * weights[k]).sum() for k in outputs).backward()
    grads = {"x": x.grad, **{k: p.grad for k, p in net.named_parameters()}}
    inputs = {"x": x}
    for key, t in (("h", h), ("c", c)) if kind == "LSTM" else (("h", h),):
        if begin:
            inputs[key], grads["first_" + key] = t, t.grad
    lua = ", ".join(f"{k} = " + (f"'{v}'" if isinstance(v, str) else str(v).lower()) for k, v in options.items())
    text = [f'name="{name}"', f'kind="{kind}"',
            f"options={{input_size=2, hidden_size=3{', ' + lua if lua else ''}}}",
            "parameters=" + named(dict(net.named_parameters())), "inputs=" + named(inputs),
            "outputs=" + named(outputs), "weights=" + named(weights), "grads=" + named(grads)]
    if lengths is not None:
        text.append("lengths={" + ",".join(map(str, lengths)) + "}")
    cases.append("{" + ",\n".join(text) + "}")


for title, kind, more in [("RNN", "RNN", {}), ("RNN relu", "RNN", {"nonlinearity": "relu"}), ("LSTM", "LSTM", {}),
                          ("GRU", "GRU", {})]:
    case(title, kind, 4, 2, **more)
    case(title + " that goes on", kind, 3, 2, begin=True, bias=False, **more)
    case(title + " both ways with lengths", kind, 5, 3, begin=True, lengths=[3, 5, 1], bidirectional=True,
         **more)
for title, kind in [("RNN", "RNN"), ("LSTM", "LSTM"), ("GRU", "GRU")]:
    case(title + " of two layers", kind, 4, 2, num_layers=2)
    case(title + " of two layers, both ways, batch first", kind, 4, 3, begin=True, lengths=[4, 2, 3], num_layers=2,
         bidirectional=True, batch_first=True)
    case(title + " of one sequence", kind, 3, None, begin=True, bidirectional=True)
    case(title + " batch first", kind, 4, 2, batch_first=True)

write("recurrent", cases=cases)
