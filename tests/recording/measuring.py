"""What is measured of torch models on one device, as arrays by name, for another to be compared."""

from contextlib import contextmanager

import numpy as np
import torch

import fracsde as fs
from fracsde import estimators
from fracsde.networks import train_to_minimum
from fracsde.recording.torch import TorchLoss, examine, tensors

nn, F = torch.nn, torch.nn.functional
ROWS = 23


class Cube(torch.autograd.Function):
    """An operation that torch.func does not know how to map."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, slope):
        return 3.0 * ctx.saved_tensors[0] ** 2 * slope


class Cubic(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(4, 3)

    def forward(self, x):
        return Cube.apply(self.line(x))


class Spread(nn.Module):
    """A model on two devices, whose examples it sends from one to the other."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 3), nn.Linear(3, 3)

    def forward(self, x):
        return self.two(torch.tanh(self.one(x)).to(self.two.weight.device)).to(x.device)


class Mixed(nn.Module):
    """A model in two precisions."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 3).bfloat16(), nn.Linear(3, 3)

    def forward(self, x):
        return self.two(torch.tanh(self.one(x.to(self.one.weight.dtype))).to(x.dtype))


class Image(nn.Module):
    """Convolutions, and a normalisation by stored statistics."""

    def __init__(self):
        super().__init__()
        self.parts = nn.Sequential(
            nn.Conv2d(1, 3, 2, padding=1), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten()
        )
        self.norm, self.last = nn.BatchNorm1d(27), nn.Linear(27, 3)
        with torch.no_grad():  # statistics of data that it has seen
            self.train()(torch.randn(16, 4))

    def forward(self, x):
        return self.last(self.norm(self.parts(x.reshape(-1, 1, 2, 2))))


def dense():
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3))


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(ROWS, 4)), rng.integers(3, size=ROWS)


def made(kind):
    torch.manual_seed(0)
    return kind().eval()


@contextmanager
def hostile(device):
    """Autocast, and defaults under which a tensor made without device or type is of no use."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        with torch.autocast(device, dtype=torch.bfloat16), torch.autocast("cpu"):
            yield
    finally:
        torch.set_default_dtype(before)
        torch.set_default_device(None)


def losses(device):
    """Return losses by what is on the device: the model, its data, both, or a part."""
    x, y = data()
    here = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    there = tuple(part.to(device) for part in here)
    half = there[0].bfloat16(), there[1]
    spread = made(Spread)
    spread.two.to(device)
    of = {
        "all there": (made(dense).to(device), there),
        "arrays": (made(dense).to(device), (x, y)),
        "data here": (made(dense).to(device), here),
        "model here": (made(dense), there),
        "in two places": (spread, here),
        "an image": (made(Image).to(device), there),
        "by autograd": (made(Cubic).to(device), there),
        "in half precision": (made(dense).bfloat16().to(device), half),
        "in two precisions": (made(Mixed).to(device), there),
    }
    decay = {"weight_decay": 0.02, "chunk": 7}
    found = {name: TorchLoss(m, F.cross_entropy, *xy, **decay) for name, (m, xy) in of.items()}
    small, tensors._SMALL = tensors._SMALL, 0
    found["much data here"] = TorchLoss(of["all there"][0], F.cross_entropy, *here, **decay)
    tensors._SMALL = small
    return found


def methods(loss):
    """Return what a loss gives, by the names of its methods, to be called."""
    w = np.array(loss.initial_parameters)
    rng = np.random.default_rng(1)
    V, W = rng.normal(size=(len(w), 3)), w + 0.1 * rng.normal(size=(2, len(w)))
    return {
        "loss": lambda: loss.loss(w),
        "loss_and_gradient": lambda: np.append(*loss.loss_and_gradient(w)),
        "outputs": lambda: loss.outputs(w),
        "per_example_gradients": lambda: loss.per_example_gradients(w),
        "chosen": lambda: loss.per_example_gradients(w, [3, 17, 4]),
        "hessian": lambda: loss.hessian(w),
        "gauss_newton": lambda: loss.gauss_newton_product(w, V),
        "many": lambda: np.column_stack(loss.losses_and_gradients(W)),
        "batches": lambda: np.column_stack(
            loss.batch_losses_and_gradients(W, np.array([[1, 5], [2, 8]]))
        ),
    }


def estimated(loss):
    """Return what estimators make of a loss."""
    w = np.array(loss.initial_parameters)
    gauss = estimators.curvature(loss, w, gauss_newton=True)
    few = estimators.curvature(loss, w, top=3)
    noise = estimators.gradient_noise(loss, w)
    some = estimators.gradient_noise(loss, w, examples=9, directions=few.vectors[:, :2], rng=0)
    low = estimators.gradient_noise(loss, w, form="low_rank")
    scale = estimators.gradient_noise_scale(loss, w, weighted=True)
    density = estimators.spectral_density(loss, w, probes=2, steps=4)
    return {
        "check": estimators.check_loss(loss, w).slope < 0.03,
        "Gauss-Newton": gauss.matrix,
        "leading": few.eigenvalues,
        "noise": noise.matrix,
        "noise of some": some.matrix,
        "noise, low rank": low.trace,
        "scale": scale.value,
        "density": density.trace,
        "learning coefficient": estimators.learning_coefficient(
            loss, w, chains=16, draws=20, burn_in=2, rng=0
        ).value,
    }


def closed(device):
    """Return the Gaussian closure of a convex loss, in double precision."""
    x, y = data()
    loss = TorchLoss(
        made(lambda: nn.Linear(4, 3)).to(device),
        F.cross_entropy,
        x,
        y,
        weight_decay=0.1,
        dtype=torch.float64,
    )
    w = train_to_minimum(loss, loss.initial_parameters).parameters
    at = fs.examine_minimum(loss, w)
    # One round asks all that the others ask again.
    how = {"draws": 96, "max_rounds": 1, "throw": False}
    closure = fs.gaussian_closure(at, learning_rate=0.3, batch_size=8, **how)
    return {"minimum": w, "curvatures": at.curvatures, "closure": closure.variances}


def robust(outputs, targets):
    return torch.log(torch.cosh(outputs - targets)).mean()


def compared(device):
    """Return what a run and the loss on a device are found to have in common."""
    x, y = data()
    line = made(lambda: nn.Linear(4, 1, bias=False))  # of few operations
    loss = TorchLoss(line.to(device), robust, x, y[:, None].astype(float))
    w = np.array(loss.initial_parameters)
    rng = np.random.default_rng(2)
    weights, gradients = w + 0.1 * rng.normal(size=(2, 160, 4)), rng.normal(size=(2, 160, 4))

    def some(values):
        return values.reshape(16, 20, 4)  # chains enough to need no correlation time

    with hostile(device):
        report = fs.compare_run(
            weights,
            loss=loss,
            hessian=loss.hessian(w),
            gradient_noise=estimators.gradient_noise(loss, w).matrix,
            learning_rate=0.1,
            batch_size=8,
            sampling="with_replacement",
            rivals=(),
            diagnose=False,
        )
        ratio = estimators.second_fluctuation_dissipation(
            loss, weights=some(weights), gradients=some(gradients), learning_rate=0.1
        )
    asked = [found for found in report.assumptions if not found.reason]
    effects = {found.name: found.effect for found in asked}
    rows = [[row.predicted, row.measured] for row in report.rows]
    return {"fluctuation": ratio.value, "rows": np.array(rows), **effects}


def examined(device):
    """Return the findings about a model that draws random numbers and couples examples."""
    x, y = (torch.tensor(part) for part in data())
    parts = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(), nn.Linear(6, 3)
    torch.manual_seed(0)
    model = nn.Sequential(*parts).to(device)
    found = examine(model, nn.CrossEntropyLoss(reduction="sum"), x.float(), y)
    return [finding.name for finding in found.findings]


def measured(device, transfers):
    """Return arrays by name, and the transfers of each method of a loss."""
    arrays, moved = {}, {}
    for name, loss in losses(device).items():
        with hostile(device):
            for method, call in methods(loss).items():
                before = transfers[0]
                arrays[f"{name}: {method}"] = call()
                moved[f"{name}: {method}"] = transfers[0] - before
        arrays[f"{name}: transformed"] = loss.route == "torch.func"
        if name == "all there":
            with hostile(device):
                arrays |= {f"estimated: {key}": value for key, value in estimated(loss).items()}
    arrays |= {f"compared: {key}": value for key, value in compared(device).items()}
    return arrays, moved
