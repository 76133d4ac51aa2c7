r"""Whether theory and measurement agree, as an equivalence question.

For every entry of every quantity,

.. math::
    r = 1 + \frac{m - p}{s}, \qquad
    h = \frac{t_{1-\ell/2,\;n-1}\,\sigma + e}{s} ,

with the measurement :math:`m`, its standard error :math:`\sigma` and effective size :math:`n`,
the prediction :math:`p`, its numerical error :math:`e` and scale :math:`s` (``abs(p)`` unless the
prediction names another, so that :math:`r = m / p` for positive predictions; :math:`r > 1` always
means measured above predicted), and Student's quantile :math:`t` at the two-sided level
:math:`\ell`.  With the tolerance :math:`\delta` the row

* AGREES where :math:`|r - 1| + h \le \delta`: the interval lies inside the band;
* DISAGREES where :math:`|r - 1| - h > \delta`: the interval lies outside the band;
* is INCONCLUSIVE otherwise.

The question is not whether a difference is significant: few data make :math:`h` large, and a large
:math:`h` never passes [Schuirmann1987]_.

The level belongs to one row.  A row whose true deviation exceeds the tolerance passes with
probability at most :math:`\ell / 2`; a comparison of several rows AGREES only if every row does, so
more rows make a pass harder, never easier.  A row whose true deviation is within the tolerance
DISAGREES with probability at most :math:`\ell`, and about :math:`\ell / 2` where it sits at the
edge and the standard error is small beside the tolerance; among ``n`` rows up to ``level * n``
false alarms are expected, which :attr:`Report.expected_false_alarms` states.

Not here: how measurements and predictions come about; this module knows records alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
from scipy.special import stdtrit

from fracsde._check import real
from fracsde._report.assumptions import checked
from fracsde._report.nouns import Report
from fracsde._report.rows import Row, Verdict
from fracsde.errors import InputError, OutOfRangeError
from fracsde.provenance import provenance
from fracsde.records.measurement import Measurement, Prediction

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.records.assumption import AssumptionTest

__all__ = ["Report", "Row", "Verdict", "compare"]

Predictions: TypeAlias = Prediction | Iterable[Prediction] | Mapping[str, Prediction]
Measurements: TypeAlias = Measurement | Iterable[Measurement] | Mapping[str, Measurement]
_Noun = TypeVar("_Noun", Prediction, Measurement)
_NO_RIVALS: Mapping[str, Predictions] = MappingProxyType({})


def compare(
    theory: Predictions,
    measured: Measurements,
    *,
    tolerance: float,
    level: float = 1e-3,
    rivals: Mapping[str, Predictions] = _NO_RIVALS,
    assumptions: Iterable[AssumptionTest] = (),
) -> Report:
    """Ask of every measured quantity whether it equals its prediction within a tolerance.

    Predictions and measurements meet on the name of their quantity; unit and labels must agree.
    Nothing is dropped: a measurement without prediction is an error, and so is the reverse.

    Parameters
    ----------
    theory : Prediction, iterable of Predictions, or mapping to Predictions
        What the theory says, one prediction per quantity.  Keys of a mapping are not read.
    measured : Measurement, iterable of Measurements, or mapping to Measurements
        What the run showed, one measurement per quantity.  Its order is the order of the rows.
    tolerance : float [1]
        Largest relative deviation that counts as agreement, in (0, 1).  No default: it is a
        statement about what the theory is for, to be made before looking.
    level : float [1]
        Two-sided level of each row's interval, in (0, 1); the interval misses the truth with this
        probability.
    rivals : mapping from name to predictions
        Alternatives that the data should exclude, for some or all of the same quantities.
    assumptions : iterable of AssumptionTest
        What was asked of the theory's assumptions on the same run, as
        :func:`fracsde.estimators.assumptions.examine` returns it.  They do not change a verdict;
        the report's sentence names those that fail.

    Returns
    -------
    Report

    Raises
    ------
    InputError
        If quantities do not match, occur twice, or are missing on one side.
    OutOfRangeError
        If the tolerance or the level lies outside (0, 1), or a deviation is too large for float64.

    References
    ----------
    [Schuirmann1987]_

    Examples
    --------
    >>> from fracsde.records.measurement import Measurement, Prediction, Quantity
    >>> variance = Quantity(name="stationary variance", unit="weight^2")
    >>> run = Measurement(quantity=variance, value=1.02, stderr=0.002, n_effective=900)
    >>> theory = Prediction(quantity=variance, value=1.0, numerical_error=0.0, theory="map")
    >>> rival = Prediction(quantity=variance, value=1.3, numerical_error=0.0, theory="flow")
    >>> report = compare(theory, run, tolerance=0.05, rivals={"flow": rival})
    >>> report.verdict.name, bool(report.excluded("flow"))
    ('AGREES', True)

    Too little data is never a pass, however well the numbers agree:

    >>> few = Measurement(quantity=variance, value=1.0, stderr=0.02, n_effective=900)
    >>> compare(theory, few, tolerance=0.05).verdict.name
    'INCONCLUSIVE'
    """
    tolerance = real("tolerance", tolerance, low=0.0, high=1.0)
    level = real("level", level, low=0.0, high=1.0)
    found = _by_name("measured", measured, Measurement)
    predicted = _by_name("theory", theory, Prediction)
    _complete(predicted, found)
    others = _rivals(rivals, found)
    tests = checked(assumptions)

    def rows(predictions: Mapping[str, Prediction]) -> tuple[Row, ...]:
        pairs = [(predictions[name], found[name]) for name in found if name in predictions]
        return tuple(row for pair in pairs for row in _rows(*pair, tolerance, level))

    origin = provenance(predicted, found, tolerance, level, others, *tests)
    return Report(
        rows=rows(predicted),
        rivals={name: rows(theirs) for name, theirs in others.items()},
        tolerance=tolerance,
        level=level,
        provenance=origin,
        assumptions=tests,
    )


def _half_width(prediction: Prediction, measurement: Measurement, level: float) -> FloatArray:
    # Half-width of the interval of the ratio, one per entry.
    # From the lower tail: 1 - level / 2 would round small levels away.
    quantile = -stdtrit(measurement.n_effective - 1.0, 0.5 * level)
    spread = quantile * measurement.stderr + prediction.numerical_error
    return np.asarray(spread / prediction.relative_to, dtype=np.float64)


def _verdict(deviation: float, half_width: float, tolerance: float) -> Verdict:
    # Place an interval of deviations against the closed band of the tolerance.
    if abs(deviation) + half_width <= tolerance:
        return Verdict.AGREES
    if abs(deviation) - half_width > tolerance:
        return Verdict.DISAGREES
    return Verdict.INCONCLUSIVE


def _rows(
    prediction: Prediction, measurement: Measurement, tolerance: float, level: float
) -> list[Row]:
    quantity = measurement.quantity
    with np.errstate(over="ignore"):
        deviations = (measurement.value - prediction.value) / prediction.relative_to
        half_widths = _half_width(prediction, measurement, level)
        reach = np.abs(deviations) + half_widths
    if not np.all(np.isfinite(reach)):
        msg = (
            f"the ratio of {quantity.name!r} must be finite, but measurement and prediction differ "
            f"by more than float64 can say in units of the scale, at least "
            f"{prediction.relative_to.min():g}; pass a `scale` that fits the prediction"
        )
        raise OutOfRangeError(msg)
    return [
        Row(
            quantity=quantity.name,
            label=quantity.label(i),
            unit=quantity.unit,
            theory=prediction.theory,
            predicted=float(prediction.value[i]),
            numerical_error=float(prediction.numerical_error[i]),
            measured=float(measurement.value[i]),
            stderr=float(measurement.stderr[i]),
            n_effective=float(measurement.n_effective[i]),
            ratio=1.0 + float(deviations[i]),
            low=1.0 + float(deviations[i] - half_widths[i]),
            high=1.0 + float(deviations[i] + half_widths[i]),
            verdict=_verdict(float(deviations[i]), float(half_widths[i]), tolerance),
            method=measurement.method,
        )
        for i in range(quantity.size)
    ]


def _by_name(argument: str, value: object, kind: type[_Noun]) -> dict[str, _Noun]:
    # Return the nouns in ``value`` by the name of their quantity.
    if isinstance(value, kind):
        value = (value,)
    elif isinstance(value, Mapping):
        value = value.values()
    items = tuple(value) if isinstance(value, Iterable) else (value,)
    named: dict[str, _Noun] = {}
    for item in items:
        if not isinstance(item, kind):
            msg = f"`{argument}` must hold {kind.__name__}s, got {type(item).__name__}: {item!r}"
            raise InputError(msg)
        name = item.quantity.name
        if name in named:
            msg = (
                f"`{argument}` holds {name!r} twice; give each quantity a name of its own, or give "
                "one quantity several labels"
            )
            raise InputError(msg)
        named[name] = item
    if not named:
        msg = f"`{argument}` is empty; pass at least one {kind.__name__}"
        raise InputError(msg)
    return named


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _complete(predicted: Mapping[str, Prediction], found: Mapping[str, Measurement]) -> None:
    # Refuse a measurement without prediction, the reverse, and quantities that differ.
    unpredicted = [name for name in found if name not in predicted]
    unmeasured = [name for name in predicted if name not in found]
    if unpredicted or unmeasured:
        parts = []
        if unpredicted:
            parts.append(f"measured but not predicted: {_listed(unpredicted)}")
        if unmeasured:
            parts.append(f"predicted but not measured: {_listed(unmeasured)}")
        msg = (
            "`theory` and `measured` must name the same quantities; "
            + "; ".join(parts)
            + "; nothing is dropped silently, so leave out what is not to be compared"
        )
        raise InputError(msg)
    for name, prediction in predicted.items():
        _same_quantity("theory", prediction, found[name])


def _rivals(rivals: object, found: Mapping[str, Measurement]) -> dict[str, dict[str, Prediction]]:
    if not isinstance(rivals, Mapping):
        msg = (
            "`rivals` must map the name of each rival to its predictions, got "
            f"{type(rivals).__name__}; pass rivals={{'name': predictions}}"
        )
        raise InputError(msg)
    return {name: _rival(name, theirs, found) for name, theirs in rivals.items()}


def _rival(name: object, theirs: object, found: Mapping[str, Measurement]) -> dict[str, Prediction]:
    # Return a rival's predictions by quantity, each of which must have been measured.
    if not isinstance(name, str) or not name:
        msg = f"`rivals` must have non-empty names, got {name!r}"
        raise InputError(msg)
    argument = f"rivals[{name!r}]"
    predictions = _by_name(argument, theirs, Prediction)
    unmeasured = [quantity for quantity in predictions if quantity not in found]
    if unmeasured:
        msg = (
            f"`{argument}` predicts what was not measured: {_listed(unmeasured)}; "
            f"measured: {_listed(found)}"
        )
        raise InputError(msg)
    for quantity, prediction in predictions.items():
        _same_quantity(argument, prediction, found[quantity])
    return predictions


def _same_quantity(argument: str, prediction: Prediction, measurement: Measurement) -> None:
    # Refuse a prediction in another unit or with other labels than the measurement.
    one, other = prediction.quantity, measurement.quantity
    if one.unit != other.unit:
        msg = (
            f"{one.name!r} must have one unit on both sides, got {one.unit!r} in `{argument}` and "
            f"{other.unit!r} in `measured`; convert one of them"
        )
        raise InputError(msg)
    if tuple(one.labels) != tuple(other.labels):
        msg = (
            f"{one.name!r} must have the same labels in the same order on both sides, got "
            f"{one.labels!r} in `{argument}` and {other.labels!r} in `measured`"
        )
        raise InputError(msg)
