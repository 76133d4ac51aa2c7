r"""One run of propagation: which form serves which time, and how wrong it may be.

Windows first, where there are many times; then, for what is left, form after form, and short steps
at order one.  For each time the densities of the smallest estimated error are kept.  The estimate,

.. math::
    1.2\, \max_i |p_i - \tilde p_i|
    + 10\,\epsilon \sum_j |c_j| \max_i |x_{j,i}| / h_i ,

compares with a finer form :math:`\tilde p` and adds the rounding of the sum; in windows the
difference is taken at nine times or more, dense towards both ends where errors oscillate fastest,
and counts thrice.

**Cost.**  A window of ``n`` nodes and ``T`` times takes ``n`` solves, those of the comparison,
and one product of ``T`` by ``2 n``, or by a dozen columns where octaves have so many times that
snapshots pay (:mod:`fracsde.schemes.snapshots`); poles take their solves for every time.  Seconds
of each are predicted per cell, for windows of four lengths, and the cheapest plan is taken.

Not here: the forms and their order (:mod:`fracsde.schemes.rational_propagation`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gamma
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.schemes.forms import oracle_form, stacked, window
from fracsde.schemes.snapshots import (
    coefficient_decay,
    left_out,
    octaves,
    snapshot_count,
    snapshot_times,
    spread,
    to_series,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray, IntArray
    from fracsde.schemes.forms import Form, Window
    from fracsde.schemes.rational_propagation import RationalPropagation

__all__ = ["LEVELS", "MARGIN", "Propagated", "Run"]

MARGIN = 0.25  # forms are asked for a quarter of the tolerance
LEVELS = 5  # of forms; short steps are the last resort
_EPS = float(np.finfo(np.float64).eps)
_ROUNDING = 10.0
_UNSEEN = 1.2  # the finer rule has an error too: a twentieth of the coarser one at most
_ROWS = 1024  # times per matrix product
_RATIOS = (2.0, 10.0**0.5, 10.0, 100.0)  # of windows: short ones have fewer nodes
_MARKS = 9  # times of a window that are compared, at least
_PER_MARK = 2, 3  # nodes, in windows over more than a decade or of a wide sector, and in others
_BETWEEN = 3.0  # what may hide between them
_CUT = 0.2  # of the tolerance, that snapshots may add, and a tenth of which they are planned for
_PRODUCT = 4.0e-11  # seconds of a multiplication with addition, measured on one core
_EARLY = 1e-18  # clock times largest rate below which nothing has happened yet
_LATE = 1e100  # and above which a chain that keeps its mass has come to rest
_GONE = 1e-290  # densities over the start's, and at all, below which all is gone
_DECAYED = 1e-9  # rounding over the largest density from which that is so
_STEPS = 16384  # short steps between two times, at most


@dataclass(frozen=True, kw_only=True, eq=False)
class Propagated:
    """Densities at times, and what is known of their errors.

    Parameters
    ----------
    density : (t, n) float64 [1/x]
        One row per time.
    errors : (t,) float64 [1/x]
        Estimated largest error of each row.
    relative : (t,) float64 [1]
        The same over the largest density of the row.
    stats : dict
        Solves, windows, and for each form how many results of it were kept, if only for a while.
    """

    density: FloatArray
    errors: FloatArray
    relative: FloatArray
    stats: dict[str, Any]


class Run:
    """One start, one set of times: results so far, and how they were come by.

    Parameters
    ----------
    chain : RationalPropagation
        What propagates.
    masses : (n,) float64 [1]
        At time 0.
    times : (t,) float64 [t]
        In order.
    out : (t, n) float64 [1/x], optional
        Where densities go.
    """

    def __init__(
        self,
        chain: RationalPropagation,
        masses: FloatArray,
        times: FloatArray,
        out: FloatArray | None = None,
    ) -> None:
        self.of, self.masses, self.times = chain, masses, times
        self.total = float(masses.sum())
        self.start = masses * chain.inverse_widths
        self.peak = float(np.abs(self.start).max())
        self.floor = max(_GONE * self.peak, _GONE)
        # Mass is restored by scaling, where there is a mass: differences of densities have none.
        self.scaled = chain.conserving and abs(self.total) > 0.5 * float(np.abs(masses).sum())
        self.density = np.empty((len(times), len(masses))) if out is None else out
        self.errors, self.noise = np.full(len(times), np.inf), np.zeros(len(times))
        self.largest = np.ones(len(times))
        self.stats: dict[str, Any] = {"solves": 0, "windows": 0}
        alpha, conserving = chain.alpha, chain.conserving
        self.decay = coefficient_decay(alpha, chain.half_angle)
        self.snapshots = snapshot_count(self.decay, 0.1 * _CUT * chain.rtol)
        clock = chain.unit * chain.timescale ** (1.0 - alpha) * times**alpha
        self.clock = np.minimum(clock, _LATE) if conserving else clock
        early = (self.clock <= _EARLY * gamma(1.0 + alpha)) | (self.peak == 0.0)
        self.open = ~early
        if np.any(early):
            self.density[early] = self.start
            self.largest[early] = max(self.peak, self.floor)
            error = np.where(times[early] > 0.0, 8.0, 1.0) * _EPS * self.peak
            self.errors[early] = np.maximum(error, _EPS * self.floor)

    def relative(self) -> FloatArray:
        """Return the estimated errors over the largest densities, infinite where nothing is known.

        Returns
        -------
        (t,) ndarray [1]
        """
        found = self.errors / np.maximum(self.largest, self.floor)
        return np.asarray(np.fmin(found, np.inf))  # what is not a number is not known

    def left(self, level: int) -> IntArray:
        """Return the times not yet served to the tolerance that this level may still serve."""
        if level == 0 and not self.stats["windows"]:
            return np.flatnonzero(self.open)
        left = self.open & (self.relative() > self.of.rtol)
        if level > 1 and np.any(left):
            # Rounding is much the same by every form, save where the density has decayed so far
            # that it is small against the terms of the sum.
            with np.errstate(invalid="ignore"):
                truncated = self.errors - self.noise > 0.5 * self.of.rtol * self.largest
            left &= truncated | (self.noise > _DECAYED * self.largest)
        return np.flatnonzero(left)

    def _keep(
        self, rows: IntArray, density: FloatArray, gap: FloatArray, noise: FloatArray, kind: str
    ) -> None:
        # Put results in their places where they are the best so far.
        errors, largest = gap + noise, np.abs(density).max(axis=1)
        # Put the other way round, what is not a number is never better.
        chosen = ~(errors * self.largest[rows] >= self.errors[rows] * largest)
        chosen &= np.isfinite(errors)
        if not np.all(chosen):
            rows, density = rows[chosen], density[chosen]
            errors, largest, noise = errors[chosen], largest[chosen], noise[chosen]
        self.density[rows], self.errors[rows] = density, errors
        self.largest[rows], self.noise[rows] = largest, noise
        self.stats[kind] = self.stats.get(kind, 0) + len(rows)

    # --- windows ------------------------------------------------------------------------------

    def by_windows(self) -> None:
        """Serve stretches of many times by one contour and one matrix product each."""
        of, begin = self.of, int(np.count_nonzero(~self.open))
        if len(self.times) - begin < of.few or not of.contours:
            return
        forms = of.forms(0) or of.forms(1)
        assert forms is not None
        plans = [
            found
            for ratio in _RATIOS
            if (found := window(MARGIN * of.rtol, ratio, of.half_angle)) is not None
        ]
        costs = [self._cost(begin, plan, forms) for plan in plans]
        if not plans:
            return
        best = int(np.argmin([cost for cost, _ in costs]))
        for a, b in costs[best][1]:
            self._window(a, b, plans[best], forms[1])

    def _cost(
        self, begin: int, plan: Window, forms: tuple[Form, Form]
    ) -> tuple[float, list[tuple[int, int]]]:
        # Seconds per cell for all times by windows of a plan, and by poles where they are cheaper;
        # and where the windows begin and end.
        nodes, check = len(plan.contour.nodes), len(forms[1].shifts)
        columns = min(2 * nodes, self.snapshots)
        single, total, spans = (len(forms[0].shifts) + check) * self.of.seconds, 0.0, []
        while begin < len(self.times):
            reach = np.nextafter(plan.ratio * self.times[begin], 0.0)
            end = int(np.searchsorted(self.times, reach, side="right"))
            count = end - begin
            ours = (nodes + _marks(plan) * check) * self.of.seconds + columns * count * _PRODUCT
            if ours < count * single and self.clock[end - 1] < _LATE:
                spans.append((begin, end))
            total += min(ours, count * single)
            begin = end
        return total, spans

    def _window(self, begin: int, end: int, plan: Window, check: Form) -> None:
        of, first = self.of, self.clock[begin]
        shifts = plan.shifts(of.alpha) / first
        solutions, sums = of.solve(shifts, self.masses)
        flat, parts = solutions.reshape(len(self.masses), -1), sums[:2].reshape(-1)

        def rows_at(times: FloatArray) -> FloatArray:
            rows = plan.rows(of.alpha, times / self.times[begin])
            rows *= (self.total / (rows @ parts))[:, None] if self.scaled else 1.0 / first
            return rows

        cut = self._fill(begin, end, rows_at, flat)
        # Errors oscillate in the logarithm of time, and faster towards both ends.
        share = 0.5 - 0.5 * np.cos(np.linspace(0.0, np.pi, _marks(plan)))
        marks = self.times[begin] * (self.times[end - 1] / self.times[begin]) ** share
        near = begin + np.searchsorted(self.times[begin:end], marks, side="right") - 1
        picks = np.unique(np.concatenate([[begin], near, [end - 1]]))
        self.stats["windows"] += 1
        self.stats["solves"] += len(shifts)
        size = np.hypot(*np.split(rows_at(self.times[picks]), 2, axis=1)) @ sums[2]
        fine, noise = self._sums(self.clock[picks], (check,))
        found = self.density[picks]
        gap = _BETWEEN * np.abs(found - fine[0]).max(axis=1)
        largest = np.maximum(np.abs(found).max(axis=1), self.floor)
        self.noise[begin:end] = max(float(noise[0].max()), _ROUNDING * _EPS * float(size.max()))
        # Where the density decays fast, errors do not follow it.
        worst, after = float((gap / largest).max()), np.append(largest[1:], largest[-1])
        errors = np.minimum(worst * np.maximum(largest, after), gap.max())
        # Between two marks densities are no smaller than the smaller of theirs.
        counts = np.diff(picks, append=end)
        self.largest[begin:end] = np.repeat(np.minimum(largest, after), counts)
        self.errors[begin:end] = np.repeat(errors, counts)
        self.errors[begin:end] += self.noise[begin] + cut
        self.stats["contour"] = self.stats.get("contour", 0) + end - begin

    def _fill(
        self, begin: int, end: int, rows_at: Callable[[FloatArray], FloatArray], flat: FloatArray
    ) -> float:
        # Write the densities of a window; return the largest error that snapshots add to it.
        count, nodes, worst = self.snapshots, flat.shape[1], 0.0
        dense: list[tuple[int, int]] = []
        sparse: list[tuple[int, int]] = []
        for a, b in octaves(self.times, begin, end):
            pays = count * (nodes + b - a) < nodes * (b - a) and self.times[a] < self.times[b - 1]
            (dense if pays else sparse).append((a, b))
        if dense:
            points = [snapshot_times(self.times[a], self.times[b - 1], count) for a, b in dense]
            taken = (rows_at(np.concatenate(points)) @ flat.T).reshape(len(dense), count, -1)
            for (a, b), snapshots in zip(dense, taken, strict=True):
                series = to_series(snapshots)
                cut = left_out(series, self.decay)
                if cut > _CUT * self.of.rtol * np.abs(snapshots).max(axis=1).min():
                    sparse.append((a, b))
                    continue
                spread(series, self.times[a:b], self.density[a:b])
                self.stats["snapshots"] = self.stats.get("snapshots", 0) + count
                worst = max(worst, cut)
        for a, b in sparse:
            for k in range(a, b, _ROWS):
                some = slice(k, min(k + _ROWS, b))
                np.matmul(rows_at(self.times[some]), flat.T, out=self.density[some])
        return worst

    # --- single times -------------------------------------------------------------------------

    def by_form(self, level: int, left: IntArray) -> None:
        """Serve the times that are left by a form and the finer one beside it."""
        forms = self.of.forms(level)
        if forms is None:
            return
        for k in range(0, len(left), self.of.together):
            rows = left[k : k + self.of.together]
            both, noise = self._sums(self.clock[rows], forms)
            gap = _UNSEEN * np.abs(both[0] - both[1]).max(axis=1)
            self._keep(rows, both[0], gap, noise.max(axis=0), forms[0].kind)

    def _sums(self, clock: FloatArray, forms: tuple[Form, ...]) -> tuple[FloatArray, FloatArray]:
        # Densities by each of the forms, and their rounding; long forms in parts.
        of, stack, found = self.of, stacked(forms), []
        for part in stack.parts(of.chunk):
            density, peaks = of.sums(part, clock, self.masses)
            found.append((density, part.sizes @ peaks.T / clock))
            self.stats["solves"] += peaks.size
        density, size = found[0]
        for more, sizes in found[1:]:
            density += more
            size += sizes
        constant = stack.constants[:, None]
        if np.count_nonzero(constant):
            density += constant[:, :, None] * self.start
            size += np.abs(constant) * self.peak
        if self.scaled:
            density *= (self.total / (density @ of.widths))[:, :, None]
        size *= _ROUNDING * _EPS
        return density, size

    # --- short steps, order one ---------------------------------------------------------------

    def by_steps(self, left: IntArray) -> None:
        """Serve the times that are left one after the other, where steps compose."""
        state, before, relative, step = self.masses, 0.0, 0.0, np.inf
        share = 0.5 * self.of.rtol / max(len(left), 1)
        for row in left:
            span = self.clock[row] - before
            count = min(1 if step >= span else int(np.ceil(span / step)), _STEPS)
            once, gap = self._steps(state, span, count), np.inf
            while True:
                twice = self._steps(state, span, 2 * count)
                was, gap = gap, self._gap(once, twice)
                rounded = gap < 1e-9 and gap > 0.5 * was
                if gap <= share or 2 * count > _STEPS or rounded:
                    break
                once, count = twice, 2 * count
            step, state, before = 2.0 * span / count, once, self.clock[row]
            relative += gap + _ROUNDING * _EPS * (1.0 + 0.1 * count)
            density = (state * self.of.inverse_widths)[None]
            size = float(np.abs(density).max())
            if size <= self.floor:  # gone; held against the start, for want of anything else
                self.density[row], self.errors[row], self.largest[row] = 0.0, self.floor, self.peak
                continue
            gaps = np.array([_UNSEEN * relative * size])
            self._keep(np.array([row]), density, gaps, 0.0 * gaps, "steps")

    def _gap(self, a: FloatArray, b: FloatArray) -> float:
        # Largest difference of densities over the largest density.
        h = self.of.inverse_widths
        largest = max(float(np.abs(b * h).max()), _GONE)
        found = float(np.abs((a - b) * h).max()) / largest
        return found if np.isfinite(found) else np.inf

    def _steps(self, masses: FloatArray, span: float, count: int) -> FloatArray:
        # Equal steps by the most accurate contour.
        form = oracle_form(1.0)
        h = span / count
        weights = np.concatenate([form.residues.real, -form.residues.imag]) / h
        for _ in range(count):
            found = self.of.solve(form.shifts / h, masses)[0].reshape(len(masses), -1)
            moved = (found @ weights) * self.of.widths
            if self.scaled:
                moved *= self.total / moved.sum()
            masses = moved
            if np.abs(masses).max() < _GONE:
                return np.zeros_like(masses)
        self.stats["solves"] += count * len(form.shifts)
        return masses


def _marks(plan: Window) -> int:
    # With fewer, errors up to eight times as large hide between them.
    wide = plan.ratio > 10.0 or plan.contour.half_angle > 0.0
    return max(_MARKS, len(plan.contour.nodes) // _PER_MARK[0 if wide else 1])
