r"""Which law a displacement follows on a window: power, power of a logarithm, saturation.

==============  ==============================  =====================================
``power``       :math:`a\,t^b`                  self-similar motion
``log_power``   :math:`a\,(\ln t/t_1)^q`        a walk among growing barriers [Sinai1983]_
``saturating``  :math:`a\,(1 - e^{-t/\tau})`    one relaxing mode
``linear``      :math:`a\,t`                    diffusion: part of the power law, and a limit of
                                                saturation
``ballistic``   :math:`a\,t^2`                  drift: part of the power law
==============  ==============================  =====================================

Points of one displacement curve share their paths, so the likelihood is that of the whole curve.
With :math:`y` the logarithms of the mean over ``R`` chains at ``p`` lags, differences
:math:`D y` of neighbours (and the first value), and their covariance :math:`S/R` from the chains,
correlations shrunk towards zero,

.. math::
    -2 \log L = (R - 1) \log\Big(1 + \frac{\chi^2}{R - 1}\Big) + \text{const}, \qquad
    \chi^2 = R\,(Dy - Df)^T S^{-1} (Dy - Df) .

Differences come first because they are nearly uncorrelated where the values are not: shrinking then
changes little.  The form with the logarithm is that of a normal law whose covariance is itself
estimated.  From it :math:`\mathrm{AIC} = -2\log L + 2\,\#` and weights
:math:`w \propto e^{-\mathrm{AIC}/2}`.

A law is preferred when every other one that does not contain it is worse by ``decisive``; a window
over which the laws look alike leaves them undistinguished, and the result says so.  Being the best
of these laws does not make one true: ``p_value`` says how often the preferred law would be further
from the curve than it is.

References: [Akaike1974]_, [SchaeferStrimmer2005]_ for the shrinking, [SellentinHeavens2016]_ for
estimated covariances, [Efron1982]_ and [Rao1967]_ for the errors of parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import choice, integer, real
from fracsde.errors import InputError, OutOfRangeError
from fracsde.estimators.growth_fits import FORMS, Curve, fitted
from fracsde.estimators.windows import displacement_in_window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.estimators.displacement import Displacement, Kind
    from fracsde.records.trajectory import Trajectory

__all__ = ["GrowthComparison", "GrowthLaw", "growth_laws"]

_CONTAINED = {"linear": ("power", "saturating"), "ballistic": ("power",)}
_MIN_POINTS = 5
_CHAINS_PER_POINT = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class GrowthLaw:
    """One law, fitted.

    Parameters
    ----------
    name : str
        Which law.
    parameters : dict of str to float
        Best values.
    stderr : dict of str to float
        Errors, from the delete-one-chain jackknife; infinite where the window does not fix one.
    chi_squared : float [1]
        Distance from the curve, in the metric of the errors.
    p_value : float [1]
        Probability of a larger distance if the law is true.
    aic : float [1]
        Akaike's criterion, up to a constant common to the laws.
    weight : float [1]
        Akaike's weight among the laws compared.
    """

    name: str
    parameters: dict[str, float]
    stderr: dict[str, float]
    chi_squared: float
    p_value: float
    aic: float
    weight: float

    @property
    def form(self) -> str:
        """The formula."""
        return FORMS[self.name][0]


@dataclass(frozen=True, kw_only=True, eq=False)
class GrowthComparison:
    """Laws of growth side by side, the best first.

    Parameters
    ----------
    laws : tuple of GrowthLaw
        By increasing AIC.
    preferred : str
        The law that the window singles out; empty if it does not.
    window : (float, float) [step or time]
        The window.
    points, chains : int
        Lags that take part, and chains behind each.
    decisive : float [1]
        Difference of AIC from which a law counts as excluded.
    """

    citation: ClassVar[tuple[str, ...]] = (
        "Akaike1974",
        "SchaeferStrimmer2005",
        "SellentinHeavens2016",
    )

    laws: tuple[GrowthLaw, ...]
    preferred: str
    window: tuple[float, float]
    points: int
    chains: int
    decisive: float

    def __getitem__(self, name: str) -> GrowthLaw:
        """Return the law of that name."""
        return {law.name: law for law in self.laws}[name]

    @property
    def sentence(self) -> str:
        """The outcome, for a person."""
        best = self.laws[0]
        where = f"on [{self.window[0]:g}, {self.window[1]:g}]"
        values = ", ".join(
            f"{key} = {best.parameters[key]:.4g} ± {best.stderr[key]:.2g}" for key in best.stderr
        )
        if self.preferred:
            next_best = min(self._rivals(best), key=lambda law: law.aic)
            text = (
                f"{best.name} {best.form} preferred {where}: {values}; next is {next_best.name}, "
                f"its AIC larger by {next_best.aic - best.aic:.1f}."
            )
        else:
            level = [law for law in self._rivals(best) if law.aic - best.aic < self.decisive]
            text = (
                f"{best.name} {best.form} not distinguishable {where} from "
                f"{' and '.join(law.name for law in level)}: AIC larger by "
                f"{', '.join(f'{law.aic - best.aic:.1f}' for law in level)}; a wider window or "
                "more chains may tell."
            )
        if best.p_value < 1e-3:
            text += f" Yet none of them fits: the best has p = {best.p_value:.1g}."
        return text

    def _rivals(self, best: GrowthLaw) -> list[GrowthLaw]:
        contained = _CONTAINED.get(best.name, ())
        return [law for law in self.laws if law is not best and law.name not in contained]


def growth_laws(
    source: Trajectory | Displacement | ArrayLike,
    window: tuple[float, float],
    *,
    laws: Sequence[str] = ("power", "log_power", "saturating", "linear"),
    kind: Kind = "ensemble",
    start: int = 0,
    points: int = 12,
    unit: float = 1.0,
    decisive: float = 6.0,
) -> GrowthComparison:
    r"""Compare laws of growth of the mean square displacement on a declared window.

    Parameters
    ----------
    source : Trajectory, Displacement or (chain, draw, coordinate) array_like
        A run of at least 8 chains, or displacements already measured and summed over coordinates.
    window : (float, float) [step or time]
        First and last time elapsed that take part.
    laws : sequence of str
        At least two of ``"power"``, ``"log_power"``, ``"saturating"``, ``"linear"``,
        ``"ballistic"``.
    kind : {"ensemble", "time_averaged"}
        Which average, when ``source`` is a run.
    start : int
        Draw from which displacements count, when ``source`` is a run.
    points : int
        At most how many logarithmically spaced lags take part, at least 5; no more than one for
        four chains do.
    unit : float [step or time]
        The time :math:`t_1` in the logarithm; before the window.
    decisive : float [1]
        Difference of AIC from which a law is excluded; 6 is a ratio of likelihoods of 20.

    Returns
    -------
    GrowthComparison

    Raises
    ------
    RecordError
        If the window reaches outside the record or holds fewer than 5 lags, there are fewer than
        8 chains, a displacement is zero, or all chains move alike.
    OutOfRangeError
        If the window does not begin after ``unit`` where the logarithm is compared.
    InputError
        If the laws are unknown, repeated, fewer than two, or none of them can be excluded.

    References
    ----------
    [Akaike1974]_, [SellentinHeavens2016]_

    Examples
    --------
    >>> walk = np.cumsum(np.random.default_rng(3).standard_normal((200, 400, 1)), axis=1)
    >>> found = growth_laws(walk, (4, 300))
    >>> found.preferred
    'linear'
    >>> found["log_power"].weight < 0.01
    True
    """
    names = _names(laws)
    threshold = real("decisive", decisive, low=0.0)
    count = integer("points", points, low=_MIN_POINTS)
    first = real("unit", unit, low=0.0)
    moved, inside = displacement_in_window(
        source, window, kind=kind, start=start, points=count, least=_MIN_POINTS
    )
    times, curves = moved.times[inside], moved.per_chain[:, inside]
    # A covariance from few chains holds few lags.
    most = min(count, max(_MIN_POINTS, moved.chains // _CHAINS_PER_POINT))
    if len(times) > most:
        kept = np.unique(_nearest(np.log(times), most))
        times, curves = times[kept], curves[:, kept]
    if "log_power" in names and times[0] <= first:
        msg = (
            f"`log_power` needs times after its unit {first:g}, the window begins at {times[0]:g}; "
            "start the window later, give a smaller `unit`, or leave the law out"
        )
        raise OutOfRangeError(msg)
    curve = Curve(times, curves, first)
    fits = [fitted(name, curve) for name in names]
    lowest = min(fit[-1] for fit in fits)
    shares = np.exp(-0.5 * np.array([fit[-1] - lowest for fit in fits]))
    shares /= shares.sum()
    order = np.argsort([fit[-1] for fit in fits], kind="stable")
    found = tuple(
        GrowthLaw(
            name=names[i],
            parameters=dict(zip(FORMS[names[i]][1], fits[i][0], strict=True)),
            stderr=dict(zip(FORMS[names[i]][1], fits[i][1], strict=True)),
            chi_squared=fits[i][2],
            p_value=fits[i][3],
            aic=fits[i][4],
            weight=float(shares[i]),
        )
        for i in order
    )
    comparison = GrowthComparison(
        laws=found,
        preferred="",
        window=(float(window[0]), float(window[1])),
        points=len(times),
        chains=moved.chains,
        decisive=threshold,
    )
    rivals = comparison._rivals(found[0])
    if all(law.aic - found[0].aic >= threshold for law in rivals):
        object.__setattr__(comparison, "preferred", found[0].name)
    return comparison


def _nearest(logs: FloatArray, count: int) -> Any:
    wanted = np.linspace(logs[0], logs[-1], count)
    return np.abs(logs[None, :] - wanted[:, None]).argmin(axis=1)


def _names(laws: Sequence[str]) -> list[str]:
    if isinstance(laws, str):
        msg = f"`laws` must be at least two names, got {laws!r}"
        raise InputError(msg)
    names = [choice("laws", name, tuple(FORMS)) for name in laws]
    if len(set(names)) != len(names) or len(names) < 2:
        msg = f"`laws` must be at least two different names, got {names}"
        raise InputError(msg)
    for name in names:
        if set(names) - {name} <= set(_CONTAINED.get(name, ())):
            msg = (
                f"every other law in {names} contains {name!r} as a special case, so nothing could "
                "ever exclude them; add a law that does not"
            )
            raise InputError(msg)
    return names
