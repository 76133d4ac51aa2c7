r"""SGD on a line between a minimum and the barrier beside it.

.. math::
    v' = \mu v - \eta\, [L'(w) + \xi], \qquad w' = w + v', \qquad
    \operatorname{Var} \xi = \frac{C(w)}{B} .

Not here: the rate of escape, :func:`fracsde.physics.escape.escape_rate`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import integer, real
from fracsde.errors import InputError, OutOfRangeError
from fracsde.problems.expressions import Expression
from fracsde.problems.potentials import Potential
from fracsde.problems.sampling import sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray

__all__ = ["SGDOverBarrier"]

_STATIONARY = 1e-6  # largest distance of a given critical point from the true one, of their gap
_FALLEN = 12.0  # temperatures below the saddle from which nothing comes back
_SCAN = 2001  # points at which a landscape is looked at


@dataclass(frozen=True, kw_only=True, eq=False)
class SGDOverBarrier:
    """Constant-rate SGD on a line, in a well with a barrier on one side.

    Parameters
    ----------
    loss : Potential, str or callable
        ``L(w)``; a formula in ``x`` knows its derivatives.
    gradient, curvature : callable, optional
        ``L'(w)`` and ``L''(w)``, needed where the loss is a function.
    noise : float, str, Expression or callable [loss^2/weight^2]
        ``C(w)``, variance of the gradient of one example, positive between the minimum and the
        far side of the barrier.
    minimum, saddle : float [weight]
        Where the well is deepest, and where the barrier is highest.
    learning_rate : float [weight^2/loss]
        ``eta``, positive.
    batch_size : int
        ``B``.
    momentum : float [1]
        ``mu`` in ``[0, 1)``.
    beyond : float, optional [weight]
        Where an escape is complete; by default the first point past the saddle where the loss fell
        by twelve temperatures, or stops falling.

    Raises
    ------
    InputError
        If a function is missing, or the points are not a minimum and a barrier beside it.
    OutOfRangeError
        If a number lies outside its range, or there is no noise on the way.

    Examples
    --------
    >>> sgd = SGDOverBarrier(loss="(x**2 - 1)**2", noise=1.0, minimum=-1.0, saddle=0.0,
    ...     learning_rate=0.02)
    >>> sgd.height, sgd.curvatures
    (1.0, (8.0, -4.0))
    """

    loss: Any
    gradient: Callable[..., Any] | None = None
    curvature: Callable[..., Any] | None = None
    noise: Any
    minimum: float
    saddle: float
    learning_rate: float
    batch_size: int = 1
    momentum: float = 0.0
    beyond: float | None = None
    far_side: float = field(init=False, repr=False)
    """``beyond``, or where it is by default [weight]."""

    def __post_init__(self) -> None:
        put: Any = object.__setattr__
        put(self, "learning_rate", real("learning_rate", self.learning_rate, low=0.0))
        put(self, "batch_size", integer("batch_size", self.batch_size, low=1))
        remedy = "it is the fraction of the velocity that is kept from step to step"
        momentum = real("momentum", self.momentum, low=0.0, high=1.0, closed="low", remedy=remedy)
        put(self, "momentum", momentum)
        put(self, "minimum", real("minimum", self.minimum))
        put(self, "saddle", real("saddle", self.saddle))
        self._read_functions()
        self._check_points()
        put(self, "far_side", self._far_side())
        way = np.linspace(self.minimum, self.far_side, _SCAN)
        way = np.insert(way, 0, [self.minimum, self.saddle])
        low = self.noise_at(way)
        if low.min() <= 0.0:
            k = int(np.argmin(low))
            msg = (
                f"`noise` must be positive on the way over the barrier, got {low[k]:g} at "
                f"w = {way[k]:g}; without noise nothing escapes"
            )
            raise OutOfRangeError(msg)

    def _read_functions(self) -> None:
        put: Any = object.__setattr__
        if isinstance(self.loss, str):
            put(self, "loss", Potential(self.loss))
        if isinstance(self.loss, Expression):
            if len(self.loss.variables) != 1:
                msg = f"`loss` must be a formula in one variable, got {self.loss!r}"
                raise InputError(msg)
            name = self.loss.variables[0]
            slope = self.loss.derivative(name)
            known = {"gradient": slope, "curvature": slope.derivative(name)}
            for which, formula in known.items():
                given = getattr(self, which)
                if given is not None and given != formula:
                    msg = f"`{which}` of a formula is known; leave it out"
                    raise InputError(msg)
                put(self, which, formula)
        for name in ("loss", "gradient", "curvature"):
            if not callable(getattr(self, name)):
                msg = (
                    f"`{name}` must be a function, got {getattr(self, name)!r}; pass `loss` as a "
                    "formula in x, or all of loss, gradient and curvature"
                )
                raise InputError(msg)
        if isinstance(self.noise, str):
            put(self, "noise", Expression(self.noise))
        if not callable(self.noise):
            put(self, "noise", real("noise", self.noise, low=0.0, remedy="nothing escapes without"))

    def _check_points(self) -> None:
        gap = abs(self.saddle - self.minimum)
        if gap == 0.0:
            msg = f"`minimum` and `saddle` must be two points, got {self.minimum:g} twice"
            raise InputError(msg)
        for name, sign in (("minimum", 1.0), ("saddle", -1.0)):
            at = getattr(self, name)
            slope, bend = float(self.gradient_at(at)), float(self.curvature_at(at))
            if sign * bend <= 0.0:
                wanted = "positive" if sign > 0.0 else "negative"
                msg = (
                    f"the curvature at `{name}` = {at:g} must be {wanted}, got {bend:g}; on a "
                    "line a saddle is the top of a barrier"
                )
                raise InputError(msg)
            if abs(slope / bend) > _STATIONARY * gap:
                msg = (
                    f"the gradient must vanish at `{name}` = {at:g}, got {slope:g}; Newton's "
                    f"method moves it to {at - slope / bend:.10g}"
                )
                raise InputError(msg)
        way = self.loss_at(np.linspace(self.minimum, self.saddle, _SCAN))
        if way.max() > way[-1] + 1e-9 * (way[-1] - way[0]) or way.min() < way[0]:
            msg = (
                "the loss must have its least value at `minimum` and its greatest at `saddle` of "
                "all points between them; take the highest barrier and the deepest well"
            )
            raise InputError(msg)

    def _far_side(self) -> float:
        ahead = 1.0 if self.saddle > self.minimum else -1.0
        if self.beyond is not None:
            beyond = real("beyond", self.beyond)
            if (beyond - self.saddle) * ahead <= 0.0:
                msg = (
                    f"`beyond` must lie past the saddle at {self.saddle:g} as seen from the "
                    f"minimum, got {beyond:g}"
                )
                raise OutOfRangeError(msg)
            return beyond
        gap = abs(self.saddle - self.minimum)
        way = self.saddle + ahead * gap * np.linspace(0.0, 10.0, 10 * _SCAN)
        drop = -self.climb(way)
        deep = drop >= _FALLEN
        rising = np.append(np.diff(drop) < 0.0, True)
        return float(way[int(np.argmax(deep | rising))])

    # --- values -------------------------------------------------------------------------------

    def loss_at(self, w: Any) -> FloatArray:
        """Return the loss at points.

        Returns
        -------
        ndarray [loss]
        """
        return sample("loss", self.loss, np.asarray(w, dtype=np.float64))

    def gradient_at(self, w: Any) -> FloatArray:
        """Return the slope of the loss at points.

        Returns
        -------
        ndarray [loss/weight]
        """
        assert self.gradient is not None  # filled on construction
        return sample("gradient", self.gradient, np.asarray(w, dtype=np.float64))

    def curvature_at(self, w: Any) -> FloatArray:
        """Return the curvature of the loss at points.

        Returns
        -------
        ndarray [loss/weight^2]
        """
        assert self.curvature is not None  # filled on construction
        return sample("curvature", self.curvature, np.asarray(w, dtype=np.float64))

    def noise_at(self, w: Any) -> FloatArray:
        """Return the variance of the gradient of one batch at points.

        Returns
        -------
        ndarray [loss^2/weight^2]
        """
        points = np.asarray(w, dtype=np.float64)
        if not callable(self.noise):
            return np.full(points.shape, self.noise / self.batch_size)
        return sample("noise", self.noise, points) / self.batch_size

    def climb(self, w: FloatArray) -> FloatArray:
        """Return the height in temperatures, of each place above the first.

        Parameters
        ----------
        w : (n,) float64 [weight]
            Places one after another, close to each other.

        Returns
        -------
        (n,) ndarray [1]
        """
        slope, noise = self.gradient_at(w), self.noise_at(w)
        heat = 0.5 * self.learning_rate / (1.0 - self.momentum) * noise
        # Where there is no noise nothing climbs.
        slope = np.where(
            heat > 0.0, slope / np.where(heat > 0.0, heat, 1.0), np.copysign(1e12, slope)
        )
        return np.append(0.0, np.cumsum(0.5 * (slope[1:] + slope[:-1]) * np.diff(w)))

    @property
    def height(self) -> float:
        """Height of the barrier [loss]."""
        return float(self.loss_at(self.saddle) - self.loss_at(self.minimum))

    @property
    def curvatures(self) -> tuple[float, float]:
        """Curvatures at the minimum and on the barrier [loss/weight^2]."""
        return float(self.curvature_at(self.minimum)), float(self.curvature_at(self.saddle))

    @property
    def temperature(self) -> float:
        """Temperature in the well, ``eta C(minimum) / (2 B (1 - mu))`` [loss]."""
        noise = float(self.noise_at(self.minimum))
        return 0.5 * self.learning_rate * noise / (1.0 - self.momentum)
