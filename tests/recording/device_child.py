"""Trains and measures on a device named on the command line, and prints what came of it as JSON.

``python -m tests.recording.device_child far FOLDER``; ``cpu`` and ``cuda`` serve as well.
"""

import json
import sys
from pathlib import Path

import torch

from fracsde.recording import Coordinates, Every, Full, RandomProjection
from fracsde.recording.torch import TorchLoss, record

STEPS, BATCH, EXAMPLES = 40, 8, 64
WAYS = {
    "projections": {"observe": RandomProjection(8, form="disjoint"), "gradients": True},
    "dense": {"observe": RandomProjection(8, form="orthonormal"), "gradients": True},
    "full": {"observe": Full()},
    "coordinates": {"observe": Coordinates([0, 5, 9])},
    "thinned": {
        "observe": RandomProjection(4, form="disjoint"),
        "scalars": False,
        "schedule": Every(3),
    },
}


def model_and_data(device):
    torch.manual_seed(0)
    layers = torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 2)
    model = torch.nn.Sequential(*layers)
    inputs, targets = torch.randn(EXAMPLES, 5), torch.randn(EXAMPLES, 2)
    return model.to(device), inputs.to(device), targets.to(device)


def squares(outputs, targets):
    return (outputs - targets).square().mean()


def train(device, folder, transfers, **how):
    """Return the transfers in the steps themselves, of a run that is recorded."""
    model, inputs, targets = model_and_data(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    moved = 0
    with record(model, optimizer, folder, dataset_size=EXAMPLES, **how):
        for step in range(STEPS):
            batch = slice(BATCH * (step % 8), BATCH * (step % 8) + BATCH)
            optimizer.zero_grad()
            squares(model(inputs[batch]), targets[batch]).backward()
            before = transfers[0]
            optimizer.step()
            moved += transfers[0] - before
    return moved


def at_a_point(device):
    """Return loss and gradient of the measured loss, in double precision of the host."""
    model, inputs, targets = model_and_data(device)
    loss = TorchLoss(model, squares, inputs, targets)
    w = loss.initial_parameters
    return {"loss": float(loss.loss(w)), "gradient": loss.gradient(w).tolist()}


def main(device, folder):
    transfers = [0]
    if device == "far":
        from tests.support import far_device

        far_device.register()
        transfers = far_device.transfers
    torch.set_num_threads(1)
    moved = {}
    for name, how in WAYS.items():
        moved[name] = train(device, Path(folder, name), transfers, **how)
    print(json.dumps({"moved": moved, "total": transfers[0], "point": at_a_point(device)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
