"""Writes training.lua: schedules and averages of weights as PyTorch computes them.

    python3 spec/golden/make_training.py        (needs PyTorch; the tests do not)

A schedule is its expression in Lua and in Python, and the rates (and momenta) of two groups at each step;
an average is a network's states in the order in which it saw them, and what came of them.
"""
import os
import warnings

import torch
import torch.optim.lr_scheduler as lr
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn, update_bn

warnings.filterwarnings("ignore")
torch.manual_seed(3)
STEPS = 26
METRICS = [1, 0.9, 0.95, 0.9, 0.91, 0.5, 0.5, 0.5, 0.49999, 0.5, 0.6, 0.4, 0.41, 0.42, 0.43, 0.44, float("nan"),
           0.45, 0.39, 0.39, 0.39, 0.39, 0.39, 0.39, 0.39, 0.39]

# (Lua, Python): `opt` and S are there in both.
SCHEDULES = [
    ("S.LambdaLR(opt, { lr_lambda = function(n) return 0.95 ^ n end })", "S.LambdaLR(opt, lambda n: 0.95 ** n)"),
    ("S.LambdaLR(opt, { lr_lambda = { function(n) return 0.9 ^ n end, function(n) return 1 / (1 + n) end } })",
     "S.LambdaLR(opt, [lambda n: 0.9 ** n, lambda n: 1 / (1 + n)])"),
    ("S.StepLR(opt, { step_size = 4 })", "S.StepLR(opt, 4)"),
    ("S.StepLR(opt, { step_size = 1, gamma = 0.7 })", "S.StepLR(opt, 1, 0.7)"),
    ("S.MultiStepLR(opt, { milestones = { 3, 7, 7, 20 }, gamma = 0.5 })", "S.MultiStepLR(opt, [3, 7, 7, 20], 0.5)"),
    ("S.ConstantLR(opt)", "S.ConstantLR(opt)"),
    ("S.ConstantLR(opt, { factor = 0.25, total_iters = 3 })", "S.ConstantLR(opt, 0.25, 3)"),
    ("S.LinearLR(opt)", "S.LinearLR(opt)"),
    ("S.LinearLR(opt, { start_factor = 0.01, end_factor = 0.8, total_iters = 10 })", "S.LinearLR(opt, 0.01, 0.8, 10)"),
    ("S.ExponentialLR(opt, { gamma = 0.9 })", "S.ExponentialLR(opt, 0.9)"),
    ("S.PolynomialLR(opt, { total_iters = 9, power = 2 })", "S.PolynomialLR(opt, 9, 2)"),
    ("S.CosineAnnealingLR(opt, { T_max = 10 })", "S.CosineAnnealingLR(opt, 10)"),
    ("S.CosineAnnealingLR(opt, { T_max = 25, eta_min = 1e-3 })", "S.CosineAnnealingLR(opt, 25, 1e-3)"),
    ("S.CosineAnnealingWarmRestarts(opt, { T_0 = 5 })", "S.CosineAnnealingWarmRestarts(opt, 5)"),
    ("S.CosineAnnealingWarmRestarts(opt, { T_0 = 3, T_mult = 2, eta_min = 1e-4 })",
     "S.CosineAnnealingWarmRestarts(opt, 3, 2, 1e-4)"),
    ("S.OneCycleLR(opt, { max_lr = 0.3, total_steps = 26 })", "S.OneCycleLR(opt, 0.3, 26)"),
    ("S.OneCycleLR(opt, { max_lr = { 0.3, 0.5 }, epochs = 13, steps_per_epoch = 2, three_phase = true, "
     "anneal_strategy = \"linear\", pct_start = 0.4 })",
     "S.OneCycleLR(opt, [0.3, 0.5], epochs=13, steps_per_epoch=2, three_phase=True, anneal_strategy='linear', "
     "pct_start=0.4)"),
    ("S.OneCycleLR(opt, { max_lr = 0.3, total_steps = 30, cycle_momentum = false, div_factor = 10, "
     "final_div_factor = 100 })",
     "S.OneCycleLR(opt, 0.3, 30, cycle_momentum=False, div_factor=10, final_div_factor=100)"),
    ("S.SWALR(opt, { swa_lr = 0.05 })", "SWALR(opt, 0.05)"),
    ("S.SWALR(opt, { swa_lr = { 0.05, 0.01 }, anneal_epochs = 5, anneal_strategy = \"linear\" })",
     "SWALR(opt, [0.05, 0.01], 5, 'linear')"),
    ("S.SWALR(opt, { swa_lr = 0.05, anneal_epochs = 0 })", "SWALR(opt, 0.05, 0)"),
    ("S.SequentialLR(opt, { schedulers = { S.LinearLR(opt, { start_factor = 0.1, total_iters = 5 }), "
     "S.CosineAnnealingLR(opt, { T_max = 20 }) }, milestones = { 5 } })",
     "S.SequentialLR(opt, [S.LinearLR(opt, 0.1, total_iters=5), S.CosineAnnealingLR(opt, 20)], [5])"),
    ("S.SequentialLR(opt, { schedulers = { S.ConstantLR(opt, { factor = 0.1, total_iters = 4 }), "
     "S.ExponentialLR(opt, { gamma = 0.9 }), S.StepLR(opt, { step_size = 3 }) }, milestones = { 4, 12 } })",
     "S.SequentialLR(opt, [S.ConstantLR(opt, 0.1, 4), S.ExponentialLR(opt, 0.9), S.StepLR(opt, 3)], [4, 12])"),
    ("S.SequentialLR(opt, { schedulers = { S.PolynomialLR(opt, { total_iters = 6 }), "
     "S.CosineAnnealingWarmRestarts(opt, { T_0 = 4 }), S.MultiStepLR(opt, { milestones = { 2, 5 } }) }, "
     "milestones = { 3, 15 } })",
     "S.SequentialLR(opt, [S.PolynomialLR(opt, 6), S.CosineAnnealingWarmRestarts(opt, 4), "
     "S.MultiStepLR(opt, [2, 5])], [3, 15])"),
    ("S.ChainedScheduler{ S.LinearLR(opt, { start_factor = 0.1, total_iters = 5 }), "
     "S.ExponentialLR(opt, { gamma = 0.9 }) }",
     "S.ChainedScheduler([S.LinearLR(opt, 0.1, total_iters=5), S.ExponentialLR(opt, 0.9)])"),
    ("S.ChainedScheduler{ S.CosineAnnealingLR(opt, { T_max = 12 }), S.StepLR(opt, { step_size = 5, gamma = 0.5 }) }",
     "S.ChainedScheduler([S.CosineAnnealingLR(opt, 12), S.StepLR(opt, 5, 0.5)])"),
    ("S.ReduceLROnPlateau(opt, { patience = 2 })", "S.ReduceLROnPlateau(opt, patience=2)"),
    ("S.ReduceLROnPlateau(opt, { mode = \"max\", patience = 0, factor = 0.5, threshold_mode = \"abs\", "
     "threshold = 0.2, cooldown = 2, min_lr = { 0.01, 0.001 } })",
     "S.ReduceLROnPlateau(opt, 'max', 0.5, 0, 0.2, 'abs', 2, [0.01, 0.001])"),
    ("S.ReduceLROnPlateau(opt, { patience = 1, factor = 0.1, eps = 1e-3 })",
     "S.ReduceLROnPlateau(opt, patience=1, eps=1e-3)"),
]


def lua(value):
    if isinstance(value, (list, tuple)):
        return "{" + ",".join(lua(v) for v in value) + "}"
    if isinstance(value, torch.Tensor):
        return lua(value.detach().double().reshape(-1).tolist())
    if value != value:
        return "0/0"
    return repr(value)


def optimizers():
    def groups():
        return [{"params": [torch.zeros(1, requires_grad=True)], "lr": 0.1},
                {"params": [torch.zeros(1, requires_grad=True)], "lr": 0.02}]
    return [torch.optim.SGD(groups(), lr=1, momentum=0.9), torch.optim.Adam(groups(), lr=1)]


def run(source, opt):
    schedule = eval(source, {"S": lr, "SWALR": SWALR, "opt": opt})
    rates, momenta = [], []
    for step in range(STEPS):
        rates.append([group["lr"] for group in opt.param_groups])
        momenta.append([group["momentum"] if "momentum" in group else group["betas"][0]
                        for group in opt.param_groups])
        opt.step()
        if step + 1 < STEPS:
            schedule.step(*([METRICS[step]] if "Plateau" in source else []))
    return rates, momenta


def schedules():
    entries = []
    for in_lua, in_python in SCHEDULES:
        rates, momenta = run(in_python, optimizers()[0])
        parts = [f"lua=[[{in_lua}]]", "rates=" + lua(rates)]
        if "OneCycle" in in_python and "cycle_momentum=False" not in in_python:
            parts += ["momenta=" + lua(momenta), "betas=" + lua(run(in_python, optimizers()[1])[1])]
        entries.append("{" + ",\n".join(parts) + "}")
    return entries


def network():
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.ReLU(),
                               torch.nn.Linear(4, 2))


def state(net):
    return "{" + ",".join(f'["{k}"]={lua(v)}' for k, v in net.state_dict().items()) + "}"


def averages():
    net = network()
    made = {"ema": AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.8)), "swa": AveragedModel(net),
            "ema_buffers": AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)}
    opt = torch.optim.SGD(net.parameters(), lr=0.3)
    states = []
    for _ in range(5):
        opt.zero_grad()
        net(torch.randn(8, 3)).square().mean().backward()
        opt.step()
        states.append(state(net))
        for average in made.values():
            average.update_parameters(net)
    results = [f"{name}={state(average.module)}" for name, average in made.items()]
    batches = [torch.randn(6, 3) for _ in range(4)]
    update_bn(batches, made["swa"].module)
    return (["states={" + ",\n".join(states) + "}"] + results
            + ["batches=" + lua([b.tolist() for b in batches]), "measured=" + state(made["swa"].module)])


path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "training.lua")
with open(path, "w") as file:
    file.write(f"-- Made by make_training.py with PyTorch {torch.__version__.split('+')[0]}.\nreturn {{\n")
    file.write("metrics=" + lua([float(m) for m in METRICS]) + ",\nschedules={\n" + ",\n".join(schedules()) + "},\n")
    file.write("averages={\n" + ",\n".join(averages()) + "}}\n")
print(os.path.getsize(path), "bytes")
