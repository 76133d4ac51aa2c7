r"""The names on which predictions and measurements meet.

=====================================  ===========  ======================  ====================
name                                   unit         one entry per           also asked for as
=====================================  ===========  ======================  ====================
``"stationary mean"``                  x            coordinate              ``"mean"``
``"stationary variance"``              x^2          coordinate              ``"variance"``
``"stationary covariance"``            x^2          pair of coordinates     ``"covariance"``
``"stationary standard deviation"``    x            coordinate              ``"standard deviation"``
``"autocorrelation"``                  1            lag, then coordinate
``"mean-square displacement"``         x^2          lag                     ``"msd"``
``"integrated autocorrelation time"``  time         coordinate              ``"integrated time"``
=====================================  ===========  ======================  ====================

The displacement is that of all coordinates together.  Coordinates carry their names, or their
numbers from 0; lags and integrated times are times, in steps where the record counts steps.
Estimators give these names and units by default, except that they count time in draws; what is not
in the table may be any :class:`Quantity`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fracsde.errors import InputError
from fracsde.records.measurement import Quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "NAMES",
    "autocorrelation",
    "canonical",
    "chosen",
    "integrated_time",
    "mean_square_displacement",
    "numbered",
    "stationary_covariance",
    "stationary_mean",
    "stationary_standard_deviation",
    "stationary_variance",
]

NAMES = (
    "stationary mean",
    "stationary variance",
    "stationary covariance",
    "stationary standard deviation",
    "autocorrelation",
    "mean-square displacement",
    "integrated autocorrelation time",
)
"""Every name that :func:`fracsde.measure` and :func:`fracsde.predict` know."""

_SHORT = {
    "mean": "stationary mean",
    "variance": "stationary variance",
    "covariance": "stationary covariance",
    "standard deviation": "stationary standard deviation",
    "msd": "mean-square displacement",
    "integrated time": "integrated autocorrelation time",
}


def canonical(name: str) -> str:
    """Return the full name of a quantity.

    Parameters
    ----------
    name : str
        A name of the table, or its short form; hyphens may stand for spaces.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If there is no such quantity.

    Examples
    --------
    >>> canonical("mean"), canonical("stationary-variance")
    ('stationary mean', 'stationary variance')
    """
    known = {each.replace(" ", "-"): each for each in NAMES}
    known |= {short.replace(" ", "-"): full for short, full in _SHORT.items()}
    found = known.get(name.strip().lower().replace(" ", "-")) if isinstance(name, str) else None
    if found is None:
        msg = f"there is no quantity {name!r}; the quantities are {', '.join(map(repr, NAMES))}"
        raise InputError(msg)
    return found


def chosen(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return the full names of several quantities, each once.

    Parameters
    ----------
    names : str or sequence of str
        One name or several.

    Returns
    -------
    tuple of str

    Raises
    ------
    InputError
        If there are none, or one occurs twice.

    Examples
    --------
    >>> chosen(["mean", "variance"])
    ('stationary mean', 'stationary variance')
    """
    given = (names,) if isinstance(names, str) else names
    try:
        found = tuple(canonical(name) for name in given)
    except TypeError as error:
        msg = f"`quantities` must be names, got {names!r}; one of {', '.join(map(repr, NAMES))}"
        raise InputError(msg) from error
    if not found or len(set(found)) < len(found):
        msg = f"`quantities` must name each quantity once, and at least one, got {names!r}"
        raise InputError(msg)
    return found


def numbered(count: int) -> tuple[str, ...]:
    """Return the labels of coordinates without names.

    Returns
    -------
    tuple of str
    """
    return tuple(str(i) for i in range(count))


def stationary_mean(labels: Sequence[str], unit: str = "weight") -> Quantity:
    """Return the mean of each coordinate as a quantity.

    Returns
    -------
    Quantity
    """
    return Quantity(name="stationary mean", unit=unit, labels=labels)


def stationary_variance(labels: Sequence[str], unit: str = "weight") -> Quantity:
    """Return the variance of each coordinate as a quantity; ``unit`` is that of a coordinate.

    Returns
    -------
    Quantity

    Examples
    --------
    >>> stationary_variance(["e1", "e2"]).unit
    'weight^2'
    """
    return Quantity(name="stationary variance", unit=_squared(unit), labels=labels)


def stationary_covariance(
    labels: Sequence[str],
    pairs: Sequence[tuple[int, int]] | None = None,
    unit: str = "weight",
) -> Quantity:
    """Return covariances of pairs of coordinates as a quantity.

    Parameters
    ----------
    labels : sequence of str
        One per coordinate.
    pairs : sequence of (int, int), optional
        Which entries; all above the diagonal, row by row, if not given.
    unit : str
        Of a coordinate.

    Returns
    -------
    Quantity

    Raises
    ------
    InputError
        If there is no pair.

    Examples
    --------
    >>> stationary_covariance(["a", "b", "c"]).labels
    ('a, b', 'a, c', 'b, c')
    """
    k = len(labels)
    if pairs is None:
        pairs = [(i, j) for i in range(k) for j in range(i + 1, k)]
    names = [f"{labels[i]}, {labels[j]}" for i, j in pairs]
    if not names:
        msg = "one coordinate has no covariances beside its variance; ask for the variance"
        raise InputError(msg)
    return Quantity(name="stationary covariance", unit=_squared(unit), labels=names)


def stationary_standard_deviation(labels: Sequence[str], unit: str = "weight") -> Quantity:
    """Return the standard deviation of each coordinate as a quantity.

    Returns
    -------
    Quantity
    """
    return Quantity(name="stationary standard deviation", unit=unit, labels=labels)


def autocorrelation(labels: Sequence[str], lags: Sequence[float]) -> Quantity:
    """Return autocorrelations as a quantity; entries run over lags, then coordinates.

    Returns
    -------
    Quantity

    Examples
    --------
    >>> autocorrelation(["a", "b"], [1, 20]).labels
    ('a at lag 1', 'b at lag 1', 'a at lag 20', 'b at lag 20')
    """
    names = [f"{label} at lag {_time(lag)}" for lag in lags for label in labels]
    return Quantity(name="autocorrelation", labels=names)


def mean_square_displacement(lags: Sequence[float], unit: str = "weight") -> Quantity:
    """Return the displacement of all coordinates together as a quantity.

    Returns
    -------
    Quantity
    """
    labels = [f"lag {_time(lag)}" for lag in lags]
    return Quantity(name="mean-square displacement", unit=_squared(unit), labels=labels)


def integrated_time(labels: Sequence[str], clock: str = "time") -> Quantity:
    """Return integrated autocorrelation times as a quantity.

    Returns
    -------
    Quantity
    """
    return Quantity(name="integrated autocorrelation time", unit=clock, labels=labels)


def _squared(unit: str) -> str:
    return "1" if unit == "1" else f"{unit}^2"


def _time(lag: float) -> str:
    return f"{lag:.12g}"
