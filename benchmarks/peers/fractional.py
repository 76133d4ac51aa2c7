r"""Other solvers of :math:`D^\alpha y = f(t, y)`, called as their authors mean it.

Each entry of :data:`RELAXATION` solves :math:`D^\alpha y = -y`, :math:`y(0) = 1` in ``n`` equal
steps and returns ``n + 1`` values; each of :data:`DIFFUSION` solves :math:`D^\alpha u = A u` for a
tridiagonal ``A`` and returns the last state.  The first item is the module whose absence makes the
peer absent; it is imported at the first call only.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import solve_banded

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DIFFUSION", "RELAXATION", "installed"]


def _pycaputo(method: str, source: object, start: np.ndarray, alpha: float, end: float, n: int):
    from pycaputo.controller import make_fixed_controller
    from pycaputo.derivatives import CaputoDerivative
    from pycaputo.events import StepCompleted
    from pycaputo.fode import caputo
    from pycaputo.stepping import evolve

    kind = getattr(caputo, method)

    class WithOwnSolve(kind):
        def solve(self, t, y0, c, r):
            return source.solve(c, r)

    implicit = {"source_jac": None} if method != "PECE" else {"corrector_iterations": 1}
    stepper = (kind if method == "PECE" else WithOwnSolve)(
        ds=(CaputoDerivative(alpha),) * len(start),
        control=make_fixed_controller(end / n, tstart=0.0, tfinal=end),
        source=source,
        y0=(start,),
        **implicit,
    )
    # Without the first step given, pycaputo takes one of its own, on a fixed grid too.
    events = evolve(stepper, dtinit=end / n)
    return np.array([e.y for e in events if isinstance(e, StepCompleted)])


class _Decay:
    def __call__(self, t, y):
        return -y

    def solve(self, c, r):
        return r / (1.0 + c)  # y = c f(y) + r


class _Heat:
    def __init__(self, size: int) -> None:
        self.scale = float(size + 1) ** 2
        self.band = np.empty((3, size))

    def __call__(self, t, y):
        return self.scale * (np.append(y[1:], 0.0) - 2.0 * y + np.append(0.0, y[:-1]))

    def solve(self, c, r):
        shift = float(np.ravel(c)[0]) * self.scale
        self.band[0], self.band[1], self.band[2] = -shift, 1.0 + 2.0 * shift, -shift
        return solve_banded((1, 1), self.band, r, check_finite=False)


def _fdeint(alpha: float, end: float, n: int) -> np.ndarray:
    import torch
    from FDEint import FDEint

    t = torch.linspace(0.0, end, n + 1, dtype=torch.float64)
    start = torch.ones(1, dtype=torch.float64)
    found = FDEint(lambda t, y: -y, t, start, alpha, h=end / n, dtype=torch.float64)
    return found.numpy().reshape(-1)


def _numfracpy(alpha: float, end: float, n: int) -> np.ndarray:
    from numfracpy import FODE

    return FODE(lambda t, y: -y, [1.0], [0.0, end], end / n, alpha)[1]


def _brainpy(kind: str) -> Callable[[float, float, int], np.ndarray]:
    def run(alpha: float, end: float, n: int) -> np.ndarray:
        import brainpy

        brainpy.math.enable_x64()
        step = end / n
        solver = getattr(brainpy.fde, kind)(
            lambda y, t: -y, alpha=alpha, num_memory=n, inits=[1.0], dt=step
        )
        runner = brainpy.IntegratorRunner(
            solver, monitors=["y"], inits=[1.0], dt=step, progress_bar=False
        )
        runner.run(end)
        return np.append(1.0, np.asarray(runner.mon.y).reshape(-1))

    return run


def _relaxing(method: str) -> Callable[[float, float, int], np.ndarray]:
    return lambda alpha, end, n: _pycaputo(method, _Decay(), np.ones(1), alpha, end, n)[:, 0]


def _diffusing(method: str) -> Callable[[np.ndarray, float, float, int], np.ndarray]:
    return lambda start, alpha, end, n: _pycaputo(method, _Heat(len(start)), start, alpha, end, n)[
        -1
    ]


# label: (module, solver, largest n that ends within minutes)
RELAXATION = {
    "pycaputo L1": ("pycaputo", _relaxing("L1"), 10_000),
    "pycaputo Trapezoidal": ("pycaputo", _relaxing("Trapezoidal"), 10_000),
    "pycaputo PECE": ("pycaputo", _relaxing("PECE"), 10_000),
    "FDEint PECE": ("FDEint", _fdeint, 10_000),
    "numfracpy PECE": ("numfracpy", _numfracpy, 1_000),
    "BrainPy CaputoL1Schema": ("brainpy", _brainpy("CaputoL1Schema"), 10_000),
    "BrainPy CaputoEuler": ("brainpy", _brainpy("CaputoEuler"), 10_000),
}
DIFFUSION = {
    "pycaputo L1": ("pycaputo", _diffusing("L1"), 10_000),
    "pycaputo Trapezoidal": ("pycaputo", _diffusing("Trapezoidal"), 10_000),
}


def installed(module: str) -> bool:
    """Whether a peer can be imported."""
    return find_spec(module) is not None
