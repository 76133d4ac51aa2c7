"""The rounds of one closure: averages over a law, the state they make, the law that follows.

A round costs the averages over all draws; everything else is linear algebra of the modes.  Where
third cumulants are asked for they join once the Gaussian law is found, and the rounds go on.  The
rounds end where one changes the state little enough, where a state has no law, or one that is wider
than can be gone on from, or where they run out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde._closure.averages import average, matched_draws
from fracsde._closure.fixed_point import Secants
from fracsde._closure.third import MOST, shares_of
from fracsde.errors import NotFiniteError
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._closure.state import Frame, State
    from fracsde._closure.third import Skewness
    from fracsde._typing import FloatArray

__all__ = ["Search"]

EXPANDS = 0.1  # largest share of the noise of one step that third and fourth cumulants may be
GROWN = 1e4  # times the variance at the minimum: no fixed point is looked for beyond


class Search:
    """The rounds of one closure."""

    def __init__(
        self,
        frame: Frame,
        *,
        rng: np.random.Generator,
        draws: int,
        progress: Callable[[int, float], None] | None,
        third: bool = False,
    ) -> None:
        self.frame = frame
        at = frame.at
        self.Z = matched_draws(rng, draws, len(at.curvatures), at.rank)
        self.seed = int(rng.integers(2**63))
        self.state: State = frame.start
        self.law = (frame.frozen, frame.low, frame.high)
        self.secants = Secants()
        self.rounds, self.residual = 0, float("inf")
        self.deviations: FloatArray | None = None
        self._progress = progress
        self._third = third
        self.skew: Skewness | None = None
        self.odd = np.zeros(at.rank)
        self.truncation = float("nan")

    def run(self, rtol: float, limit: int) -> tuple[Status, str]:
        """Iterate to the fixed point; say how it ended."""
        converged = False
        while not (why := self._unstable()):
            done = converged and (self.skew is not None or not self._third)
            if self.rounds == limit and not done:
                break
            try:
                if done:
                    return self._judged()
                if converged:
                    self._bend()
                converged = self._round(rtol)
            except NotFiniteError as error:
                return Status.NOT_FINITE, str(error)
        if why:
            return Status.UNSTABLE, why
        if converged:
            return Status.NOT_CONVERGED, (
                f"After {limit} rounds there is a Gaussian law, and no third cumulants yet; raise "
                "max_rounds."
            )
        return Status.NOT_CONVERGED, (
            f"After {limit} rounds curvature, noise and mean still change by {self.residual:.3g}, "
            f"asked for {rtol:.3g}; raise max_rounds, or {self._remedy()}."
        )

    def stderr(self) -> FloatArray:
        """Return standard errors of the leading covariance, once a round was made.

        Errors of the averages grow through the fixed point into those of the law.

        Returns
        -------
        (k, k) float64
        """
        assert self.deviations is not None  # a round was made
        groups = len(self.deviations)
        moved = self.secants.grow(self.deviations)
        sigmas = self.frame.variances(moved, self.state)
        apart = sigmas - self.frame.variances(np.zeros((1, moved.shape[1])), self.state)
        return np.asarray(np.sqrt(np.sum(apart**2, axis=0) / (groups * (groups - 1))))

    def _round(self, rtol: float) -> bool:
        # One round of averages and one step; True where the averages changed little enough.
        frame = self.frame
        found = average(
            frame.at,
            self.state.mean,
            self.law[0],
            self.Z,
            spread=frame.spread(self.state),
            seed=self.seed,
            watch=self._watch,
        )
        if frame.bends is not None:
            self.skew = frame.skewness(self.state, frame.bends)
        self.odd = found.odd
        image = frame.image(self.state, found, self.skew)
        here, there = frame.pack(self.state), frame.pack(image)
        self.deviations = frame.deviations(found)
        before, self.residual = self.residual, frame.distance(here, there)
        if self.residual > 2.0 * before:
            self.secants = Secants()
        self.secants.add(here, there)
        self.rounds += 1
        self._move(frame.unpack(self.secants.next(), image), image)
        return self.residual <= rtol

    def _bend(self) -> None:
        # The Gaussian law is found; third cumulants count from here.  What they add to the noise
        # shifts all images alike, and leaves what the differences tell.
        frame = self.frame
        frame.bends = frame.look(self.state, self._watch)
        self.rounds += 1
        self.skew = frame.skewness(self.state, frame.bends)
        self.secants.shift(frame.packed_noise(self.skew.noise))
        image = frame.unpack(self.secants.image, self.state)
        self._move(frame.unpack(self.secants.next(), image), image)
        self.residual = float("inf")

    def _judged(self) -> tuple[Status, str]:
        # Cumulants are an expansion: where they make much of the noise it does not hold, with the
        # third or without.
        frame, noise = self.frame, self.state.noise
        if self.skew is not None:
            bends, noise, which = frame.bends, noise - self.skew.noise, "Third cumulants"
        elif frame.at.rank <= MOST:
            bends = frame.look(self.state, self._watch)
            which = "Third cumulants, left out here, would"
            self.rounds += 1
        else:
            return Status.SUCCESS, ""
        assert bends is not None  # there is a skew
        third = shares_of(frame.skewness(self.state, bends, whole=True).noise, noise)
        fourth = frame.fourth(self.state, bends, self.odd)
        worst = int(np.argmax(third + fourth))
        self.truncation = float(third[worst] + fourth[worst])
        if self.truncation <= EXPANDS:
            return Status.SUCCESS, ""
        return Status.INACCURATE, (
            f"{which} change the noise of one step by {100.0 * third[worst]:.0f} % along one "
            f"mode, and fourth ones by {100.0 * fourth[worst]:.0f} %; the expansion in them is "
            f"trusted up to {100.0 * EXPANDS:.0f} %; {self._remedy()}, enlarge "
            "the batch, or examine fewer modes (rank) if flat ones are to blame; throw=False "
            "returns the law as it is."
        )

    def _move(self, tried: State, plain: State) -> None:
        # Extrapolation may leave the covariances; plain rounds cannot.
        values = np.linalg.eigvalsh(tried.noise)
        if values[0] >= -1e-12 * values[-1] and min(tried.growth, tried.bend) > 0.0:
            self.state, self.law = tried, self.frame.law(tried)
            _, low, high = self.law
            if low > 0.0 and high < 2.0 * (1.0 + self.frame.momentum):
                return
        self.state, self.law = plain, self.frame.law(plain)

    def _unstable(self) -> str:
        # Why the state has no law, or one too wide to go on from; empty where it has.
        frame = self.frame
        limit = 2.0 * (1.0 + frame.momentum)
        sigma, low, high = self.law
        where = "at the minimum" if self.rounds == 0 else f"in round {self.rounds}"
        if not low > 0.0:
            return (
                f"There is no fixed point in reach: {where} the mean curvature has the eigenvalue "
                f"{low / frame.rate:.3g}; {self._remedy()}, or raise the weight decay."
            )
        if not high < limit:
            return (
                f"There is no fixed point in reach: {where} learning rate times mean curvature is "
                f"{high:.4g}, and the limit is {limit:g}; {self._remedy()}."
            )
        noise = self.state.noise
        if self.skew is not None and np.linalg.eigvalsh(noise)[0] < -1e-12 * np.trace(noise):
            return (
                f"There is no fixed point in reach: {where} third cumulants take more from the "
                f"noise of one step than there is; {self._remedy()}, or enlarge the batch."
            )
        k = frame.at.rank
        total, before = (float(np.trace(part[:k, :k])) for part in (sigma, frame.frozen))
        if total > GROWN * before:
            return (
                f"There is no fixed point in reach: {where} the variance is {total:.3g}, at the "
                f"minimum {before:.3g}; noise grows with it faster than curvature holds it; "
                f"{self._remedy()}, or enlarge the batch."
            )
        return ""

    def _remedy(self) -> str:
        # With momentum it is the effective rate that counts.
        frame = self.frame
        if frame.momentum == 0.0:
            return "lower the learning rate"
        rate = frame.rate / (1.0 - frame.momentum) * float(frame.at.curvatures[0])
        return (
            "lower the learning rate or the momentum (over one minus the momentum the rate is "
            f"{rate:.3g} inverse curvatures)"
        )

    def _watch(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(self.rounds + 1, done / total)
