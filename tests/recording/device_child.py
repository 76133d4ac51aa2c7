"""Trains and measures on a device named on the command line, and prints what came of it as JSON.

``python -m tests.recording.device_child far FOLDER``; ``cpu`` and ``cuda`` serve as well.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

import fracsde as fs
from fracsde.errors import RecordError
from fracsde.recording import Coordinates, Every, Full, RandomProjection
from fracsde.recording.torch import record, rows
from tests.recording import measuring

STEPS, BATCH, EXAMPLES, SKIPPED = 40, 8, 64, 7
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
    "scaled": {
        "observe": RandomProjection(8, form="orthonormal"),
        "gradients": True,
        "scaled": True,
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


def train(device, folder, transfers, *, scaled=False, **how):
    """Return the transfers in the steps themselves, of a run that is recorded.

    One that is scaled has its learning rate on the device, changes it and its losses in place,
    unscales inside a step that autocast is on in, and skips one.
    """
    model, inputs, targets = model_and_data(device)
    rate = torch.tensor(0.1).to(device) if scaled else 0.1
    fused = {"fused": True} if scaled else {}
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, **fused)
    scaler = torch.amp.GradScaler(device, init_scale=1024.0, growth_interval=8, enabled=scaled)
    rounding = torch.autocast(device, dtype=torch.bfloat16, enabled=scaled)
    moved = 0
    with record(model, optimizer, folder, dataset_size=EXAMPLES, **how) as recorder:
        for step in range(STEPS):
            batch = slice(BATCH * (step % 8), BATCH * (step % 8) + BATCH)
            optimizer.zero_grad()
            loss = squares(model(inputs[batch]), targets[batch])
            recorder.note_loss(loss)
            scaler.scale(loss * torch.inf if scaled and step == SKIPPED else loss).backward()
            loss.detach().add_(1.0)
            before = transfers[0]
            with rounding:
                scaler.step(optimizer)
            moved += transfers[0] - before
            if scaled:
                scaler.update()
                rate.mul_(0.9)
    return moved


def went_on(device, folder):
    """Return whether a model in the state that was recorded last may go on, and another not."""
    model, _, _ = model_and_data(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    last = np.float32(fs.open_run(folder).trajectory().values[0, -1])
    torch.nn.utils.vector_to_parameters(torch.tensor(last).to(device), model.parameters())
    with record(model, optimizer, folder, dataset_size=EXAMPLES, resume=True, **WAYS["full"]):
        pass
    model[0].bias.data += 1.0
    try:
        record(model, optimizer, folder, dataset_size=EXAMPLES, resume=True, **WAYS["full"])
    except RecordError:
        return True
    return False


def refusals(far_device):
    """Return what the device does not refuse, of what an accelerator would."""
    here, there = torch.ones(3), torch.ones(3).to("far")
    model = torch.nn.Linear(3, 2).to("far")
    random = torch.Generator().manual_seed(0)
    careless = {
        "numbers that are read in place": there.numpy,
        "an array of it": lambda: np.asarray(there),
        "a tensor of the host beside it": lambda: there + here,
        "data of the host": lambda: model(torch.ones(5, 3)),
        "a tensor made without a device": lambda: there @ torch.zeros(3),
        "a generator of the host": lambda: there.normal_(generator=random),
        "double precision": there.double,
        "doubles of the host": lambda: torch.tensor(np.ones(3)).to("far"),
        "double precision by default": lambda: torch.zeros(3, device="far"),
    }
    kept = []
    torch.set_default_dtype(torch.float64)
    for name, call in careless.items():
        try:
            call()
        except (RuntimeError, TypeError):
            continue
        kept.append(name)
    torch.set_default_dtype(torch.float32)
    return kept


def main(device, folder):
    transfers, said = [0], {}
    if device in ("far", "refusals"):
        from tests.support import far_device

        far_device.register(doubles=False)
        transfers = far_device.transfers
    torch.set_num_threads(1)
    if device == "refusals":
        print(json.dumps({"kept": refusals(far_device)}))
        return
    rows._SECONDS = float("inf")  # none is fetched inside a step, however slow steps are
    moved = {}
    for name, how in WAYS.items():
        moved[name] = train(device, Path(folder, name), transfers, **how)
    said |= {"moved": moved, "total": transfers[0]}
    said["went on"] = went_on(device, Path(folder, "full"))
    arrays, said["asked"] = measuring.measured(device, transfers)
    said["findings"] = measuring.examined(device)
    if device == "far":
        far_device.register_doubles()
    arrays |= {f"closure: {key}": value for key, value in measuring.closed(device).items()}
    np.savez(Path(folder, "measured.npz"), **arrays)
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
