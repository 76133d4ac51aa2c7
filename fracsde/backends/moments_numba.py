r"""Weights of the steps of one block, and what it adds to sums of exponentials, compiled.

The same moments as in :mod:`fracsde.schemes.piecewise` and
:mod:`fracsde.schemes.exponentials`, which derive them, assembled at once: a block has about a
thousand of them, too few for array operations.  ``tests/backends/test_moments.py`` holds the two
together.
"""

from __future__ import annotations

from math import exp, expm1, log1p, sqrt

import numpy as np

from fracsde._compiled import njit

__all__ = ["LONGEST", "exponential_intake", "fade_and_add", "of_states", "power_rows"]

LONGEST = 1.0 + sqrt(2.0)
"""A cell more than so many times as long as the one before does not lean on it."""


@njit(cache=True, error_model="numpy")
def _sum(series, rho):  # type: ignore[no-untyped-def]  # compiled
    # Of a series in the square of rho, which is at most one half, by Horner.
    terms = 27 if rho > 0.2 else (12 if rho > 0.05 else 7)
    square, total = rho * rho, 0.0
    for i in range(terms - 1, -1, -1):
        total = total * square + series[i]
    return total


@njit(cache=True, error_model="numpy")
def _closed(left, log_z, power, alpha, constants):  # type: ignore[no-untyped-def]  # compiled
    # The second moment of a near cell; see ``piecewise.power_moments``.
    z, b = exp(log_z), 1.0 - alpha
    if alpha < 0.5:
        grown = z * expm1(-alpha * max(log_z, -700.0)) if z > 0.0 else 0.0
        found = -alpha * expm1((2.0 - alpha) * log_z) - (2.0 - alpha) * grown
    else:
        found = -(1.0 + z) * expm1(b * log_z) - b * (1.0 - z) * (1.0 + exp(b * log_z))
    return 0.5 * constants[2] * left * power * found


@njit(cache=True, error_model="numpy")
def power_rows(times, point, alpha, first, skip, lean, constants, series):  # type: ignore[no-untyped-def]  # compiled
    r"""Return the weights of several steps; see ``PiecewiseScheme.rows``.

    ``constants`` are one over the gamma function of ``2 - alpha``, ``1 - alpha`` and
    ``3 - alpha``; ``series`` the coefficients of both moments, for cells far enough away: the
    first is :math:`m^{-\alpha} \sum_i (\alpha)_{2i}\, \rho^{2i} / (2i+1)!` over
    :math:`\Gamma(1-\alpha)`, with a single power.

    Returns
    -------
    (m, n) ndarray of float64
    """
    total = len(times) - 1
    rows = np.zeros((total - first, total))
    for n in range(first, total):
        row = rows[n - first]
        ahead = point * (times[n + 1] - times[n])
        for k in range(skip, n + 1):
            cell = times[k + 1] - times[k]
            left = (times[n] - times[k]) + ahead
            middle = left - 0.5 * cell
            rho = cell / (2.0 * middle)
            far = k < n and rho <= 0.5
            if far:
                power = constants[1] * middle ** (-alpha)
                row[k] += power * _sum(series[0], rho)
            else:
                power = left ** (1.0 - alpha)
                log_z = log1p(-cell / left) if k < n else -np.inf
                row[k] -= constants[0] * power * expm1((1.0 - alpha) * log_z) / cell
            if lean > 0 and k < n:
                a = k
            elif lean < 0 and k > 0:
                a = k - 1
            else:
                continue
            if far:
                tilt = power * middle * middle * (rho * rho * rho) * _sum(series[1], rho)
            elif k < n:
                tilt = _closed(left, log_z, power, alpha, constants)
            else:
                tilt = 0.5 * alpha * constants[2] * left * power
            earlier, later = times[a + 1] - times[a], times[a + 2] - times[a + 1]
            if lean < 0 and later > LONGEST * earlier:
                continue
            part = 2.0 * tilt / (earlier + later)
            row[a] -= part / earlier
            row[a + 1] += part / later
    return rows


@njit(cache=True, error_model="numpy")
def exponential_intake(rates, nodes, start, stop, lean, series):  # type: ignore[no-untyped-def]  # compiled
    """Return what each increment adds to the shares; see ``exponentials._intake``.

    Cells ``start`` to ``stop - 1`` of the nodes are over; ``series`` are the coefficients of the
    second moment.

    Returns
    -------
    (K, n) ndarray of float64
    """
    total = len(nodes) - 1
    rows = np.zeros((len(rates), total))
    for share in range(len(rates)):
        row, since = rows[share], 1.0
        for k in range(stop - 1, start - 1, -1):
            cell = nodes[k + 1] - nodes[k]
            y = rates[share] * cell
            lost = -expm1(-y)
            row[k] += since * lost / y
            if lean > 0:
                a = k
            elif lean < 0 and k > 0:
                a = k - 1
            else:
                since *= 1.0 - lost
                continue
            if y < 1.0:
                h, sum_ = 0.5 * y, 0.0
                for j in range(len(series) - 1, -1, -1):
                    sum_ = sum_ * h * h + series[j]
                tilt = h * exp(-h) * sum_
            else:
                tilt = (2.0 * y - (y + 2.0) * lost) / (2.0 * y * y)
            earlier, later = nodes[a + 1] - nodes[a], nodes[a + 2] - nodes[a + 1]
            if lean < 0 and later > LONGEST * earlier:
                since *= 1.0 - lost
                continue
            part = 2.0 * since * tilt * cell * cell / (earlier + later)
            row[a] -= part / earlier
            row[a + 1] += part / later
            since *= 1.0 - lost
    return rows


@njit(cache=True, error_model="numpy")
def of_states(rows, point, positive, even, coefficients, shifts):  # type: ignore[no-untyped-def]  # compiled
    """Fill in coefficients of states, and shifts; see ``memory.coefficients_of``.

    ``coefficients`` are zero before.
    """
    count, total = rows.shape
    for b in range(count):
        newest, before, sum_, lost = total - count + b, 0.0, 0.0, 0.0
        for k in range(newest + 1):
            found = rows[b, k] - before
            before = rows[b, k]
            # Neighbouring weights of very short early cells may agree to the last digit; rounding
            # must then not turn their difference negative.
            if positive and found < 0.0:
                found = 0.0
            if k == newest and point != 1.0:
                found += (1.0 / point - 1.0) * rows[b, k]
            coefficients[b, k] = found
            # Compensated: rows may be long.
            more = found - lost
            longer = sum_ + more
            lost, sum_ = (longer - sum_) - more, longer
        # The sum of what was stored, not the newest weight: mass is kept to rounding.
        shifts[b] = rows[b, newest] / point if even else sum_


@njit(cache=True, error_model="numpy")
def fade_and_add(shares, faded, added):  # type: ignore[no-untyped-def]  # compiled
    """Multiply rows by what is left of them and add others, in one pass.

    The first ``len(shares)`` of ``faded`` count, which may be more.
    """
    for share in range(len(shares)):
        left, row, more = faded[share], shares[share], added[share]
        for i in range(len(row)):
            row[i] = left * row[i] + more[i]
