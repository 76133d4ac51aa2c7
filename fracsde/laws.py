r"""What each law of SGD near a minimum says, what it assumes, and how far it is from the exact one.

========================  ========================================  ==============================
law                       assumes                                   relative error, first order
========================  ========================================  ==============================
``"epochs"``, ``"map"``   nothing beyond the model                  the reference, 0
``"closed form"``         nothing beyond the model                  rounding
``"independent"``         batches of an epoch are independent       :math:`3 / [\eta h (M + 1)]`
``"commuting"``           noise and curvature commute               off-diagonal noise
``"kunin"``               a flow with inertia, corrected            :math:`\eta h, (1 - \mu)^2`
``"underdamped"``         a flow with inertia                       :math:`\eta h, 1 - \mu`
``"overdamped"``          a flow                                    :math:`\eta h / (1 - \mu)^2`
``"isotropic"``           also noise in proportion to curvature     :math:`C - s^2 K`
========================  ========================================  ==============================

The reference is the map, or the epochs where they are shuffled: both exact for the model, which is
a quadratic loss with noise that does not depend on the state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde._check import finite_array, integer
from fracsde.errors import InputError
from fracsde.lyapunov.epochs import stationary_phases
from fracsde.lyapunov.processes import as_epochs, stationary_state, usable
from fracsde.lyapunov.sgd_modes import step_modes
from fracsde.problems.quadratic_loss_sgd import require_near_minimum
from fracsde.provenance import Provenance, provenance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.problems.sgd import SGDNearMinimum

__all__ = ["LawOfSGD", "Laws", "laws"]

_MAP = "quadratic loss, independent noise that does not depend on the state"
_EPOCHS = "quadratic loss, shuffled epochs, noise that does not depend on the state"


@dataclass(frozen=True, kw_only=True, eq=False)
class LawOfSGD:
    """One law, and its error.

    Parameters
    ----------
    name : str
        As in the table of the module.
    assumption : str
        What it takes for granted.
    matrix : (d, d) float64 [weight^2]
        The stationary covariance it predicts.
    error : float [1]
        Frobenius norm of its distance from the reference, relative to the reference.
    along : (p,) float64 [1]
        Relative error of the variance along each direction.
    """

    name: str
    assumption: str
    matrix: FloatArray
    error: float
    along: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Laws:
    """The laws of one run of SGD, the exact one first.

    Parameters
    ----------
    laws : tuple of LawOfSGD
        In the order of the table of the module.
    directions : (d, p) float64 [1]
        Along which variances are compared, one per column.
    provenance : Provenance
        Where the result came from.
    """

    citation: ClassVar[tuple[str, ...]] = ("Mandt2017", "Liu2021", "Kunin2024")

    laws: tuple[LawOfSGD, ...]
    directions: FloatArray
    provenance: Provenance

    def __iter__(self) -> Iterator[LawOfSGD]:
        """Go through the laws.

        Returns
        -------
        iterator of LawOfSGD
        """
        return iter(self.laws)

    def __len__(self) -> int:
        """Return the number of laws."""
        return len(self.laws)

    def __getitem__(self, name: str) -> LawOfSGD:
        """Return the law of a name.

        Parameters
        ----------
        name : str
            One of the names of the laws.

        Returns
        -------
        LawOfSGD

        Raises
        ------
        InputError
            If there is no such law.
        """
        for law in self.laws:
            if law.name == name:
                return law
        names = ", ".join(repr(law.name) for law in self.laws)
        msg = f"there is no law {name!r} for this run; the laws are {names}"
        raise InputError(msg)

    def __str__(self) -> str:
        """Return a table: errors of the whole matrix and along directions, and assumptions."""
        count = self.directions.shape[1]
        heads = [f"dir. {i}" for i in range(count)]
        lines = [
            f"{'law':<12} {'error':>9}  " + " ".join(f"{head:>9}" for head in heads) + "  assumes"
        ]
        for law in self.laws:
            cells = " ".join(f"{value:>+9.1e}" for value in law.along)
            lines.append(f"{law.name:<12} {law.error:>9.1e}  {cells}  {law.assumption}")
        return "\n".join(lines)


def laws(sgd: SGDNearMinimum, *, directions: int | ArrayLike = 3) -> Laws:
    """Compare the laws of a run of SGD with the exact one.

    Parameters
    ----------
    sgd : SGDNearMinimum
        The run.
    directions : int or (d, p) array_like [1]
        Along which variances are compared: so many leading eigenvectors of the regularised
        Hessian, stiffest first, or columns.

    Returns
    -------
    Laws

    Raises
    ------
    InputError
        If ``sgd`` is something else.
    UnstableError
        If there is no stationary law; the message names the limit that is broken.

    References
    ----------
    [Mandt2017]_, [Liu2021]_, [Kunin2024]_

    Examples
    --------
    >>> from fracsde.problems.sgd import SGDNearMinimum
    >>> sgd = SGDNearMinimum(
    ...     hessian=np.diag([1.0, 0.1]), gradient_noise=[[1.0, 0.2], [0.2, 0.1]],
    ...     learning_rate=0.1, batch_size=8, momentum=0.9,
    ... )
    >>> table = laws(sgd)
    >>> [law.name for law in table]
    ['map', 'closed form', 'commuting', 'kunin', 'underdamped', 'overdamped', 'isotropic']
    >>> round(table["overdamped"].error, 2), round(table["kunin"].error, 2)
    (0.28, 0.02)
    >>> print(str(table).splitlines()[0])
    law              error     dir. 0    dir. 1  assumes
    """
    require_near_minimum(sgd)
    U = _directions(sgd, directions)
    rows = list(_rows(sgd))
    exact = rows[0][2]
    found = tuple(
        LawOfSGD(
            name=name,
            assumption=assumption,
            matrix=S,
            error=float(_relative(np.linalg.norm(S - exact), np.linalg.norm(exact))),
            along=_relative(_along(S - exact, U), _along(exact, U)),
        )
        for name, assumption, S in rows
    )
    return Laws(laws=found, directions=U, provenance=provenance(sgd, U))


def _rows(sgd: SGDNearMinimum) -> Iterator[tuple[str, str, FloatArray]]:
    d, epochs = sgd.dimension, as_epochs(sgd)
    if epochs is None:
        state = usable(stationary_state(sgd.map()))
        yield "map", _MAP, state.matrix[:d, :d]
    else:
        state, _ = stationary_phases(epochs)
        yield "epochs", _EPOCHS, usable(state).matrix[:d, :d]
    rate = sgd.learning_rate
    noise = rate**2 * sgd.batch_noise
    modes = step_modes(sgd.rule, rate * sgd.curvature, noise, sgd.preconditioner)
    independent = modes.map_covariance()
    if epochs is None:
        yield "closed form", "the same", independent
    else:
        yield "independent", "also batches independent of each other", independent
    yield "commuting", "also noise that commutes with the curvature", modes.alone().map_covariance()
    if sgd.momentum > 0.0 and not sgd.nesterov:
        mass = 0.5 * (1.0 + sgd.momentum)
        words = "inertia to the next order in 1 - momentum, small rate"
        yield "kunin", words, modes.flow_covariance(mass)
    if sgd.momentum > 0.0:
        words = "inertia, momentum near 1, small rate"
        yield "underdamped", words, modes.flow_covariance(1.0)
    words = "no inertia, small rate at fixed momentum (Mandt's equation 25)"
    yield "overdamped", words, modes.flow_covariance(0.0)
    scale = float(np.trace(sgd.batch_noise) / np.trace(sgd.curvature))
    P = np.ones(d) if sgd.preconditioner is None else sgd.preconditioner
    shape = np.diag(P) if P.ndim == 1 else P
    words = "also noise in proportion to the curvature"
    yield "isotropic", words, 0.5 * rate * sgd.rule.rate_factor * scale * shape


def _directions(sgd: SGDNearMinimum, directions: int | ArrayLike) -> FloatArray:
    if isinstance(directions, (int, np.integer)) and not isinstance(directions, bool):
        count = integer("directions", directions, low=0)
        _, vectors = np.linalg.eigh(sgd.curvature)
        return np.ascontiguousarray(vectors[:, ::-1][:, :count])
    return finite_array("directions", directions, shape=(sgd.dimension, None))


def _along(S: FloatArray, U: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("ip,ip->p", U, S @ U))


def _relative(gap: Any, size: Any) -> Any:
    # A law without noise is met exactly by those that say so.
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(gap) == 0.0, 0.0, np.divide(gap, size))
