"""Propagated chains in extended precision (64-bit mantissa), by a contour of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fracsde.operators.chain import CellChain

DIGITS = 42.0  # natural logarithms: 6e-19
HEIGHT = 2.0


def hyperbola(opening: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights, with the exponential, of a contour for unit time."""
    half = np.longdouble(0.5 * opening)
    two_pi = 2 * np.arccos(np.longdouble(-1))
    step = two_pi * half / (DIGITS + HEIGHT)
    count = int(np.ceil(float(np.arccosh((1 + DIGITS / HEIGHT) / np.sin(half)) / step)))
    angle = 1j * step * (np.arange(count) + np.longdouble(0.5)) - half
    s = HEIGHT * (1 + np.sin(angle))
    return s, 2 * step / two_pi * HEIGHT * np.cos(angle) * np.exp(s)


def propagated(
    chain: CellChain, masses: np.ndarray, times: np.ndarray, alpha: float, opening: float = 1.35
) -> np.ndarray:
    """Return cell masses at positive times, relative to ``tau = 1``.

    ``opening``: the angle beyond the vertical into which the transform may be continued; near
    pi/2 for real spectra, less than pi (1/alpha - 1)/2 for any chain.
    """
    s, weights = hyperbola(opening)
    a, t = np.longdouble(alpha), np.asarray(times, dtype=np.longdouble)[:, None]
    shifts = np.exp(a * np.log(s / t)).reshape(-1)
    terms = np.exp((a - 1) * np.log(s / t)) * weights / t
    x = _solved(chain, masses, shifts).reshape(len(masses), *terms.shape)
    return np.asarray(np.einsum("tk,ntk->tn", terms, x).real, dtype=np.float64)


def _solved(chain: CellChain, masses: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    # Elimination with the rate of going for good in place of the pivot; a ring by bordering.
    right, left, loss = (np.longdouble(r) for r in (chain.right, chain.left, chain.loss))
    n, last = len(masses), len(masses) - 1
    inverse = np.zeros((n, len(shifts)), dtype=np.clongdouble)
    border, x = np.zeros_like(inverse), np.zeros_like(inverse)
    to, fro = left[0] + 0 * shifts, right[last] + 0 * shifts
    good, lost = shifts + loss[0], shifts + loss[last]
    flow, got = masses[0] + 0 * shifts, masses[last] + 0 * shifts
    for i in range(last):
        onward = right[i]
        if i == last - 1:
            to, fro, onward = to + right[i], fro + left[last], np.longdouble(0)
        inverse[i] = 1 / (onward + to + good)
        border[i], x[i] = fro * inverse[i], flow * inverse[i]
        got = got + to * x[i]
        lost = lost + fro * good * inverse[i]
        flow = masses[i + 1] + onward * x[i]
        fro = fro * onward * inverse[i]
        good, to = (
            shifts + loss[i + 1] + left[i + 1] * good * inverse[i],
            left[i + 1] * to * inverse[i],
        )
    x[last] = got / lost
    for i in range(last - 1, -1, -1):
        x[i] += border[i] * x[last]
        if i < last - 1:
            x[i] += left[i + 1] * inverse[i] * x[i + 1]
    return x
