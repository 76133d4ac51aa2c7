"""Question: what does a whole history cost at once and step by step, and what does an order buy?

A fractional Ornstein-Uhlenbeck process, 512 cells, alpha = 0.6, 10,000 equal steps to time 10.
The same equations are solved by one transform (`AllAtOnce`), by blocks with the whole history read
(`Direct`) and by blocks with transforms (`BlockFFT`); all three are compared before the clock
starts.  Errors are of the density, over its largest value, against exact propagation in time.

Predicted: `Direct` computes 2.6e10 multiply-adds; `AllAtOnce` solves 2e4 complex systems and
transforms 512 sequences of 4e4 numbers, which should take a quarter of the time, most of it in the
transforms; `BlockFFT` should lie between.  Corrected BDF2 errs by 3e-10 at the end and by 3e-6 from
t = 0.1 on; BDF4 reaches rounding at the end.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.work import header, measure, table
from fracsde.backends import marching_numba
from fracsde.grids import TimeGrid
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.densities import cell_masses
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.schemes import all_at_once
from fracsde.schemes.all_at_once import AllAtOnce
from fracsde.schemes.block_fft import BlockFFT
from fracsde.schemes.convolution_quadrature import ConvolutionQuadrature
from fracsde.schemes.grunwald_letnikov import GrunwaldLetnikov
from fracsde.schemes.history import Direct, History
from fracsde.schemes.l1 import L1
from fracsde.schemes.marching import march
from fracsde.schemes.propagator import Propagator

CELLS, ALPHA, STEPS = 512, 0.6, 10_000
PROBLEM = FokkerPlanck(
    potential=lambda x: x**2 / 2,
    diffusion=1.0,
    domain=(-6.0, 6.0),
    initial=Gaussian(mean=1.5, std=0.5),
)
CHAIN = FiniteVolume(cells=CELLS).discretise(PROBLEM)
START = cell_masses(PROBLEM.initial, CHAIN.edges)
TIMES = TimeGrid.uniform(10.0, STEPS).times


def solve(scheme: object) -> np.ndarray:
    """March with the package; masses at all nodes."""
    return march(
        CHAIN,
        scheme,
        TIMES,
        initial=START,
        alpha=ALPHA,
        scale=1.0,
        source=None,
        engine=marching_numba,
    )


def with_history(history: History) -> ConvolutionQuadrature:
    """Return the corrected fourth formula with a history."""
    return ConvolutionQuadrature(bdf=4, history=history)


def parts() -> tuple[float, float]:
    """Process time of the systems and of the transforms back, alone."""
    scheme = with_history(AllAtOnce())
    circle = all_at_once.Circle(scheme, TIMES, alpha=ALPHA, oversampling=4)
    spectrum = np.empty((CELLS, len(circle.z)), dtype=np.complex128)
    solved = all_at_once.systems_of(CHAIN, marching_numba)
    clock = time.process_time()
    for a in range(0, len(circle.z), 192):
        part = slice(a, a + 192)
        sides = np.multiply.outer(START, circle.z[part] / circle.one_less[part])
        solved(circle.symbol[part], sides, spectrum[:, part])
    between = time.process_time()
    circle.states(spectrum, START, np.arange(STEPS + 1))
    return between - clock, time.process_time() - between


def errors() -> list[str]:
    """Return the table of errors."""
    picked = np.unique(np.geomspace(1, STEPS, 60).astype(int))
    exact = Propagator(rtol=1e-12).prepare(CHAIN, alpha=ALPHA).run(START, TIMES[picked]).density
    size = np.abs(exact).max(axis=1)
    lines = [f"{'error of':32}  {'all t':>8}  {'t >= 0.1':>8}  {'t = 10':>8}"]
    schemes = [GrunwaldLetnikov(history=AllAtOnce(oversampling=8))]
    schemes += [L1(history=AllAtOnce(oversampling=8))]
    schemes += [
        ConvolutionQuadrature(bdf=bdf, corrected=corrected, history=AllAtOnce(oversampling=8))
        for corrected in (False, True)
        for bdf in (2, 3, 4, 5, 6)
    ]
    for scheme in schemes:
        density = solve(scheme)[picked] / CHAIN.widths
        gap = np.abs(density - exact).max(axis=1) / size
        name = type(scheme).__name__
        if isinstance(scheme, ConvolutionQuadrature):
            name = f"BDF{scheme.bdf}, {'corrected' if scheme.corrected else 'not corrected'}"
        late = gap[TIMES[picked] >= 0.1].max()
        lines.append(f"{name:32}  {gap.max():8.1e}  {late:8.1e}  {gap[-1]:8.1e}")
    return lines


def main() -> None:
    histories = {
        "AllAtOnce, M = 4 N": AllAtOnce(),
        "AllAtOnce, M = 8 N": AllAtOnce(oversampling=8),
        "BlockFFT": BlockFFT(),
        "Direct": Direct(),
    }
    found = {label: solve(with_history(history)) for label, history in histories.items()}
    for label, states in found.items():
        gap = np.abs(states - found["Direct"]).max() / found["Direct"].max()
        print(f"{label:24} differs from Direct by {gap:.1e} of the largest mass")
        assert gap < 1e-11, f"the roads disagree by {gap:.1e}"
    found.clear()
    rows = [
        measure(
            label,
            lambda history=history: solve(with_history(history)),
            units=STEPS * CELLS / 1e3,
            repeats=5,
        )
        for label, history in histories.items()
    ]
    print(header((__doc__ or "").splitlines()[0]))
    print(table(rows, unit="kcellsteps", reference="AllAtOnce, M = 4 N"))
    for row in rows:
        print(f"{row.label:24}{1e3 * min(row.cpu):8.0f} ms of process time")
    systems, transforms = np.min([parts() for _ in range(3)], axis=0)
    print(f"of M = 4 N: systems {1e3 * systems:.0f} ms, back {1e3 * transforms:.0f} ms")
    print("\n".join(errors()))


if __name__ == "__main__":
    main()
