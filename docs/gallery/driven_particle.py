r"""A waiting particle in an oscillating force: two equations, one of them right.

.. math::
    \partial_t p = L(t)\, D_t^{1 - \alpha} p
    \quad\text{(driven)}, \qquad
    D_t^\alpha p = L(t)\, p \quad\text{(Caputo's form, ad hoc)}, \qquad
    L(t)\, p = -F \cos(\omega t)\, \partial_x p + D\, \partial_x^2 p .

The mean positions are
:math:`\frac{F}{\Gamma(\alpha)} \int_0^t s^{\alpha - 1} \cos(\omega s)\, ds`, whose oscillation dies
out, and :math:`\frac{F}{\Gamma(\alpha)} \int_0^t (t - s)^{\alpha - 1} \cos(\omega s)\, ds`, whose
oscillation does not.  Walkers that wait for times without a mean, and jump with the force of the
moment in which they jump, have the first.  :func:`worst` returns the one number: the largest
difference between the mean of ``solve`` and the first integral.

Run ``python docs/gallery/driven_particle.py [picture.png]``.
"""

from __future__ import annotations

import sys
from math import gamma
from typing import TYPE_CHECKING

import numpy as np
from scipy.integrate import quad

import fracsde as fs

if TYPE_CHECKING:
    from pathlib import Path

ALPHA, FORCE, OMEGA, DIFFUSION = 0.5, 1.0, 2.0, 0.15
LAST = 30.0
WALKERS, CLOCK = 60_000, 0.004  # of the walk: how many, and the scale of their waiting times


def problem(alpha: float = ALPHA) -> fs.FractionalFokkerPlanck:
    """Return a free particle in an oscillating force."""
    base = fs.FokkerPlanck(
        force=lambda t, x: FORCE * np.cos(OMEGA * t) + 0 * x,
        diffusion=DIFFUSION,
        domain=(-16.0, 16.0),
        initial=fs.Gaussian(mean=0.0, std=0.35),
        time_dependent=True,
    )
    return fs.FractionalFokkerPlanck(base=base, alpha=alpha)


def driven_mean(times: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    """Return the mean of the driven equation, with ``s = u**(1 / alpha)`` in the integral."""
    return _integrals(times, alpha, lambda t, s: np.cos(OMEGA * s))


def ad_hoc_mean(times: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    """Return the mean of Caputo's form."""
    return _integrals(times, alpha, lambda t, s: np.cos(OMEGA * (t - s)))


def _integrals(times: np.ndarray, alpha: float, integrand) -> np.ndarray:
    def at(t: float) -> float:
        whole = quad(lambda u: integrand(t, u ** (1 / alpha)), 0, t**alpha, limit=800, epsabs=1e-11)
        return FORCE * whole[0] / gamma(1 + alpha)

    return np.array([at(float(t)) for t in times])


def solution(times: np.ndarray, cells: int = 256) -> fs.Solution:
    """Solve the driven equation."""
    return fs.solve(problem(), times, space=fs.FiniteVolume(cells=cells))


def walked_mean(times: np.ndarray, rng: np.random.Generator, walkers: int = WALKERS) -> np.ndarray:
    """Simulate the walk itself: wait, then jump with the force of that moment.

    Waiting times exceed ``t`` with the probability of a Mittag-Leffler function,
    ``E(-(t / c)**alpha)`` with ``c = CLOCK``; jumps of ``a = sqrt(2 D c**alpha)`` go up with
    probability ``1/2 + F(t) a / (4 D)``.  For small ``c`` this is the driven equation, and its
    mean is that for every ``c``.

    Returns
    -------
    (t,) ndarray of float64
    """
    step = np.sqrt(2.0 * DIFFUSION * CLOCK**ALPHA)
    clock, gained = np.zeros(walkers), np.zeros(len(times) + 1)
    while len(clock):
        angle = np.pi * ALPHA * (1.0 - rng.random(len(clock)))
        heavy = (np.sin(np.pi * ALPHA) / np.tan(angle) - np.cos(np.pi * ALPHA)) ** (1.0 / ALPHA)
        clock = clock + CLOCK * heavy * rng.exponential(size=len(clock))
        clock = clock[clock < times[-1]]
        up = 0.5 + 0.25 * FORCE * np.cos(OMEGA * clock) * step / DIFFUSION
        jump = np.where(rng.random(len(clock)) < up, step, -step)
        first = np.searchsorted(times, clock)  # the first time that sees the jump
        gained += np.bincount(first, weights=jump, minlength=len(gained))
    return np.cumsum(gained)[:-1] / walkers


def worst(cells: int = 256, count: int = 40) -> float:
    """Return the largest difference between the solved mean and the driven integral."""
    times = np.linspace(0.25, LAST, count)
    return float(np.abs(solution(times, cells).moment(1) - driven_mean(times)).max())


def draw(path: str | Path, cells: int = 256, walkers: int = WALKERS) -> float:
    """Draw means and density into a file, and return the largest difference shown."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    times = np.linspace(0.0, LAST, 301)
    solved = solution(times[1:], cells)
    mean = np.append(0.0, solved.moment(1))
    right = np.append(0.0, driven_mean(times[1:]))
    wrong = np.append(0.0, ad_hoc_mean(times[1:]))
    seen = times[5::10]
    walked = walked_mean(seen, np.random.default_rng(2010), walkers)

    figure = Figure(figsize=(7.2, 7.0), layout="constrained", dpi=160)
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.0, 1.05))
    above.plot(times, wrong, color="#c1440e", lw=1.2, ls="--", label="Caputo's form, ad hoc")
    above.plot(times, right, color="#9ec5e8", lw=5.0, label="integral of the driven equation")
    above.plot(times, mean, color="#0b3954", lw=1.4, label="solve(...)")
    above.plot(seen, walked, "o", ms=3.5, color="black", label=f"{walkers:,} walkers")
    limit = FORCE * OMEGA**-ALPHA * np.cos(np.pi * ALPHA / 2)
    above.axhline(limit, color="0.6", lw=0.8, zorder=0)
    above.set_ylabel(r"mean position $\langle x \rangle$")
    above.set_title(
        rf"Free particle, force $\cos {OMEGA:g}t$, $\alpha = {ALPHA:g}$: the response dies out",
        loc="left",
        fontsize=10,
    )
    above.legend(loc="lower center", ncols=2, fontsize=8, frameon=False, borderpad=0.1)
    above.set_ylim(wrong.min() - 0.5, None)

    x = np.linspace(-2.5, 3.5, 241)
    image = below.pcolormesh(
        times[1:],
        x,
        solved.density_at(x).T,
        cmap="cividis",
        norm=PowerNorm(0.6, vmin=0.0),
        shading="nearest",
        rasterized=True,
    )
    below.plot(times, mean, color="white", lw=1.2, label="mean")
    below.set(xlabel="time", ylabel="position", xlim=(0.0, LAST), ylim=(x[0], x[-1]))
    below.legend(loc="upper right", fontsize=8, frameon=False, labelcolor="white")
    figure.colorbar(image, ax=below, label="density", pad=0.01)
    figure.savefig(path)
    return float(np.abs(mean - right).max())


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "driven_particle.png"
    print(f"largest difference {draw(name):.1e}, drawn in {name}")
