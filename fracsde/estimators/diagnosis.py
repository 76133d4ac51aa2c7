"""Whether a run can be measured at all: every check in one call, each with what to do.

===============  ===========================================================================
check            refuses
===============  ===========================================================================
variation        coordinates that are constant, in all draws or within every chain
draws            fewer than 20 draws, or draws that are not equally spaced
burn-in          a beginning that differs from the rest (:mod:`fracsde.estimators.burn_in`)
stationarity     a mean or a spread that moves between the halves of the rest
effective draws  fewer than 50 independent draws in the bulk or in the tails, by ranks
chains agree     fewer than 16 chains whose halves differ: rank-normalised R-hat above 1.05
===============  ===========================================================================

Many short chains may each see a part of the law only.  Averages over 16 chains or more are right
all the same, so that for them the last check is a remark, and effective draws count at least the
chains.  Ranks are taken of at most about 130,000 draws of a coordinate, evenly spaced; the
halves are compared in full.

A stationary run is refused by chance with probability ``2 * level``: one share for the burn-in and
one for the halves.  A trend of one standard deviation over 200 draws of 32 chains is seen with
near certainty (``tests/estimators/test_diagnosis.py`` measures both).  No test proves stationarity:
a drift slower than the record looks like none.

Not here: what is measured afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde._check import real
from fracsde.errors import RecordError
from fracsde.estimators.burn_in import burn_in, thinned
from fracsde.estimators.chains import MIN_CHAINS, as_trajectory, coordinate_names
from fracsde.estimators.diagnostics import check_stationary
from fracsde.estimators.gapped import places, spacing
from fracsde.estimators.ranks import bulk_effective_size, rank_r_hat, tail_effective_size
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["Diagnosis", "DiagnosisRow", "diagnose"]

_MIN_DRAWS = 20
_MIN_EFFECTIVE = 50.0
_R_HAT = 1.05


@dataclass(frozen=True, kw_only=True)
class DiagnosisRow:
    """The outcome of one check.

    Parameters
    ----------
    name : str
        Which check.
    ok : bool
        Whether it lets the run pass.
    value, limit : float
        What was found and what is allowed; NaN where the check could not be made.
    sentence : str
        The outcome in words, with what to do where it is not ok.
    """

    name: str
    ok: bool
    value: float
    limit: float
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All checks of a run.

    Parameters
    ----------
    rows : tuple of DiagnosisRow
        In the order in which they were made; a run that does not vary has no others.
    burn_in : int
        Draws to drop from the beginning; the checks after it are made on the rest.
    """

    rows: tuple[DiagnosisRow, ...]
    burn_in: int

    @property
    def ok(self) -> bool:
        """Whether the run may be measured as it is."""
        return all(row.ok for row in self.rows)

    @property
    def sentences(self) -> tuple[str, ...]:
        """One sentence per check."""
        return tuple(f"{row.name}: {row.sentence}" for row in self.rows)

    def refuse(self) -> None:
        """Raise if the run may not be measured as it is.

        Raises
        ------
        RecordError
            Naming every check that failed and what to do.
        """
        failed = [f"{row.name}: {row.sentence}" for row in self.rows if not row.ok]
        if failed:
            msg = "the run cannot be measured as it is.  " + "  ".join(failed)
            raise RecordError(msg)

    def __str__(self) -> str:
        marks = ("ok     " if row.ok else "REFUSED" for row in self.rows)
        return "\n".join(f"{m}  {s}" for m, s in zip(marks, self.sentences, strict=True))


def diagnose(trajectory: Trajectory | ArrayLike, *, level: float = 1e-3) -> Diagnosis:
    """Check whether a run can be measured, and say what to do where it cannot.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [x]
        A run.
    level : float [1]
        Chance of a false alarm of the burn-in, and again of the drift between halves.

    Returns
    -------
    Diagnosis

    Examples
    --------
    >>> noise = np.random.default_rng(5).standard_normal((32, 200, 2))
    >>> diagnose(noise).ok
    True
    >>> started_far = diagnose(noise + 10 * np.exp(-np.arange(200) / 10)[:, None])
    >>> started_far.ok, [row.name for row in started_far.rows if not row.ok]
    (False, ['burn-in'])
    >>> diagnose(noise[:, started_far.burn_in :]).ok
    True
    """
    level = real("level", level, low=0.0, high=1.0)
    run = as_trajectory(trajectory)
    first = (_variation(run), _draws(run))
    if not all(row.ok for row in first):
        return Diagnosis(rows=first, burn_in=0)
    beginning, drop = _beginning(run, level)
    rest = Trajectory(values=run.values[:, drop:], times=run.times[drop:], names=run.names)
    few = thinned(rest)[1]
    later = (
        _tried("stationarity", lambda: _stationarity(rest, level)),
        _tried("effective draws", lambda: _effective(few)),
        _tried("chains agree", lambda: _agreement(few)),
    )
    return Diagnosis(rows=(*first, beginning, *later), burn_in=drop)


def _tried(name: str, check: Callable[[], DiagnosisRow]) -> DiagnosisRow:
    # A check that refuses the run is a row too.
    try:
        return check()
    except RecordError as error:
        return _row(name, False, np.nan, np.nan, f"{error}.")


def _row(name: str, ok: bool, value: float, limit: float, sentence: str) -> DiagnosisRow:
    return DiagnosisRow(
        name=name, ok=bool(ok), value=float(value), limit=float(limit), sentence=sentence
    )


def _variation(run: Trajectory) -> DiagnosisRow:
    # One chain at a time, so that no copy of the run is made.
    still = np.ones(run.dimension, dtype=np.bool_)
    for chain in run.values:
        still &= np.ptp(chain, axis=0) == 0.0
    if not still.any():
        return _twins(run)
    names = np.array(coordinate_names(run))[still]
    shown = ", ".join(repr(str(name)) for name in names[:5]) + (", ..." if len(names) > 5 else "")
    where = "one draw per chain" if run.draws == 1 else "any chain"
    sentence = (
        f"{len(names)} of {run.dimension} coordinates ({shown}) do not vary within {where}: drop "
        "constant coordinates and frozen parameters, or record more draws."
    )
    return _row("variation", False, len(names), 0, sentence)


def _twins(run: Trajectory) -> DiagnosisRow:
    # Chains of one seed; those that end alike are compared whole.
    first: dict[bytes, int] = {}
    for r, chain in enumerate(run.values):
        before = first.setdefault(chain[-1].tobytes(), r)
        if before < r and np.array_equal(run.values[before], chain):
            sentence = (
                f"chains {before} and {r} are the same draw for draw: give each chain a seed of "
                "its own, or errors across chains mean nothing."
            )
            return _row("variation", False, 1, 0, sentence)
    return _row("variation", True, 0, 0, "every coordinate varies.")


def _draws(run: Trajectory) -> DiagnosisRow:
    if run.draws < _MIN_DRAWS:
        sentence = (
            f"{run.draws} draws per chain, {_MIN_DRAWS} are needed: record more often or longer."
        )
        return _row("draws", False, run.draws, _MIN_DRAWS, sentence)
    try:
        gap, at = spacing(run), places(run)
    except RecordError as error:
        return _row("draws", False, run.draws, _MIN_DRAWS, f"{error}.")
    windows = 1 if at is None else 1 + int(np.count_nonzero(np.diff(at) != 1))
    inside = "" if at is None else f" in {windows} windows"
    sentence = f"{run.chains} chains of {run.draws} draws, {gap:g} apart{inside}."
    return _row("draws", True, run.draws, _MIN_DRAWS, sentence)


def _beginning(run: Trajectory, level: float) -> tuple[DiagnosisRow, int]:
    try:
        drop = burn_in(run, level=level)
    except RecordError as error:
        return _row("burn-in", False, np.nan, 0, f"{error}."), 0
    if drop == 0:
        return _row("burn-in", True, 0, 0, "the beginning looks like the rest."), 0
    sentence = (
        f"the beginning differs from the rest: drop the first {drop} of {run.draws} draws, "
        f"`trajectory.between({run.times[drop]:.12g})`."
    )
    if run.draws - drop < _MIN_DRAWS:
        sentence += "  Too few draws remain: record longer."
        return _row("burn-in", False, drop, 0, sentence), 0
    return _row("burn-in", False, drop, 0, sentence), drop


def _stationarity(run: Trajectory, level: float) -> DiagnosisRow:
    check = check_stationary(run, level=level, r_hat_limit=np.finfo(np.float64).max)
    place = np.unravel_index(int(np.argmax(np.abs(check.z) / check.limit)), check.z.shape)
    value, limit = abs(check.z[place]), check.limit[place]
    return _row("stationarity", check.stationary, value, limit, check.sentence)


def _effective(run: Trajectory) -> DiagnosisRow:
    sizes: FloatArray = np.minimum(bulk_effective_size(run), tail_effective_size(run))
    k = int(np.argmin(sizes))
    size = float(sizes[k])
    if run.chains >= MIN_CHAINS:
        size = max(size, float(run.chains))
        needed = min(_MIN_EFFECTIVE, float(run.chains))
    else:
        needed = _MIN_EFFECTIVE
    sentence = f"{size:.3g} independent draws at least, of coordinate {coordinate_names(run)[k]!r}"
    if size >= needed:
        return _row("effective draws", True, size, needed, f"{sentence}.")
    sentence += f"; {needed:g} are needed: record longer, or run {MIN_CHAINS} chains or more."
    return _row("effective draws", False, size, needed, sentence)


def _agreement(run: Trajectory) -> DiagnosisRow:
    found = rank_r_hat(run)
    k = int(np.argmax(found))
    worst = float(found[k])
    name = coordinate_names(run)[k]
    if worst <= _R_HAT:
        return _row("chains agree", True, worst, _R_HAT, f"R-hat by ranks is at most {worst:.3f}.")
    sentence = f"R-hat by ranks reaches {worst:.3f} for coordinate {name!r}"
    if run.chains >= MIN_CHAINS:
        sentence += (
            ": one chain alone has not seen the whole law, so trust averages over chains and not "
            "along one."
        )
        return _row("chains agree", True, worst, _R_HAT, sentence)
    sentence += ": the chains have not seen the same law; run longer, or drop a longer start."
    return _row("chains agree", False, worst, _R_HAT, sentence)
