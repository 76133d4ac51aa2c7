"""An ordinary PyTorch script with three more lines, and what becomes of its record.

Run ``python docs/start/pytorch_run.py [folder]``; the folder receives the run, the report and the
figure of the tutorial.
"""

import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "pytorch-run")
folder.mkdir(exist_ok=True)
torch.set_num_threads(1)

# --8<-- [training]
from fracsde.recording.torch import record  # 1

images, labels = load_digits(return_X_y=True)
path = folder / "run"
data = TensorDataset(torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels))


def train(seed, steps=4000):
    torch.manual_seed(seed)
    model = torch.nn.Linear(64, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.6, weight_decay=0.1)
    draws = RandomSampler(data, replacement=True, num_samples=32 * steps)
    loader = DataLoader(data, batch_size=32, sampler=draws)
    recorder = record(  # 2
        model, optimizer, path, chain=seed, loader=loader, gradients=True
    )
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
    recorder.close()  # 3
    return model


# --8<-- [questions]
from fracsde.recording.torch import examine

print(examine(torch.nn.Linear(64, 10), cross_entropy, *data[:64]))

# --8<-- [run]
for seed in range(6):
    model = train(seed)

# --8<-- [curvature]
from scipy.optimize import minimize

from fracsde import estimators
from fracsde.recording.torch import TorchLoss

decayed = TorchLoss(model, cross_entropy, *data.tensors, weight_decay=0.1, dtype=torch.float64)
found = minimize(decayed.loss_and_gradient, decayed.initial_parameters, jac=True, tol=1e-9)
loss = TorchLoss(model, cross_entropy, *data.tensors, dtype=torch.float64)
H = loss.hessian(found.x)
C = estimators.gradient_noise(loss, found.x).matrix

# --8<-- [report]
import fracsde as fs

report = fs.compare_run(path, hessian=H, gradient_noise=C, tolerance=0.2)
print(report)
report.save(folder / "report")

# --8<-- [closure]
at = fs.examine_minimum(decayed, found.x)
closure = fs.gaussian_closure(at, learning_rate=0.6, batch_size=32, draws=96, rtol=1e-2)
print(fs.compare_run(path, theory=closure, tolerance=0.2, assumptions=False))

# --8<-- [figure]
report.plot().savefig(folder / "ratios.png", dpi=140)
