r"""Chains with a Gibbs law: what every engine of Langevin chains reads and writes.

.. math::
    p(w) \propto e^{-U(w)}, \qquad
    U(w) = n\beta\, L(w) + \frac\gamma2\, |w - w^*|^2, \qquad M = A A^T .

With :math:`h = \sqrt\varepsilon`, noise :math:`\xi` and the force :math:`b(w) = A^T \nabla U(w)`,
one leap of the integrator is

.. math::
    p \leftarrow p - \tfrac h2\, b(w), \qquad w \leftarrow w + h\, A p, \qquad
    p \leftarrow p - \tfrac h2\, b(w),

from :math:`p = \xi`.  One leap without a verdict is SGLD, one leap with the verdict

.. math::
    \alpha = \min\{1, e^{U(w) - U(w') + (|\xi|^2 - |p'|^2)/2}\}

is MALA, for the reverse of a move has the noise :math:`-p'`; more leaps are HMC.  The map, with the
sign of ``p`` turned, is its own inverse and keeps volume *whatever* the force is, so that the
Metropolis chains may shorten it:

.. math:: |\tfrac h2\, b| \le \sqrt P .

Singular losses grow faster than a square; there the whole force throws a proposal across the
valley and back up, and a chain that once is far out never moves again.  In a square valley the
limit is not met at any step that is accepted.

Random numbers have addresses (:mod:`fracsde.backends.philox`): normals of step ``t`` of chain
``r`` are blocks ``(i, t, r, 3)``, the uniform of the verdict and the number of leaps are of block
``(0, t, r, 7)``.  Batches of examples use purposes 0 to 2.

The steps of the dual averaging are those of [HoffmanGelman2014]_, chain by chain; truncation is
that of [RobertsTweedie1996]_.

Not here: :mod:`fracsde.backends.langevin_reference`, the loop in NumPy for any loss, and the
compiled loop for networks in :mod:`fracsde.networks.langevin`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fracsde._compiled import njit
from fracsde.backends.normals import fill_normals
from fracsde.backends.philox import philox4x32

if TYPE_CHECKING:
    from fracsde._typing import BoolArray, FloatArray, IntArray

__all__ = ["Chains", "Kernel", "Law", "Records", "draw_normals", "draw_verdict", "tuned"]

NORMALS, VERDICT = 3, 7
_UNIT = 2.0**-32
# Dual averaging: weight of the first steps, rate of forgetting, pull towards the first step.
_OFFSET, _FORGET, _PULL = 10.0, 0.75, 0.05


class Law(NamedTuple):
    """The Gibbs law and the metric in which chains move.

    Parameters
    ----------
    n_beta : float
        Inverse temperature of the loss.
    localization : float [1 / weight**2]
        Strength of the square about the anchor.
    anchor : (P,) float64 [weight]
        Where that square has its centre.
    scale : (1, P) or (P, P) float64
        A root of the metric: its diagonal, or the matrix, see ``dense``.
    dense : bool
        Whether ``scale`` is a matrix.
    """

    n_beta: float
    localization: float
    anchor: FloatArray
    scale: FloatArray
    dense: bool


class Kernel(NamedTuple):
    """How a step is made.

    Parameters
    ----------
    adjusted : bool
        Whether moves are judged by Metropolis.
    leaps : int
        Largest number of leaps of a move; each move draws its own between 1 and this.
    tune : bool
        Whether steps adapt to ``target``.
    target : float
        Mean acceptance aimed at.
    batch : int
        Examples per step of an unadjusted chain; 0 for all.
    mode : int
        Code of the sampling of batches.
    key0, key1 : uint32
        Key words of the seed.
    """

    adjusted: bool
    leaps: int
    tune: bool
    target: float
    batch: int
    mode: int
    key0: np.uint32
    key1: np.uint32


class Chains(NamedTuple):
    r"""The state of all chains; every array is advanced in place.

    Parameters
    ----------
    w : (chain, P) float64 [weight]
        Positions.
    loss, gradient : (chain,) and (chain, P) float64
        Loss there and its gradient, of all examples.
    step : (chain,) float64 [weight**2]
        Present step :math:`\varepsilon`.
    averages : (chain, 3) float64
        Of the dual averaging: mean shortfall of acceptance, logarithm of the averaged root step,
        logarithm of the root step it is pulled to.
    done : (chain,) int64
        Steps taken.
    tuned : (chain,) int64
        Steps tuned.
    lost : (chain,) int64
        First step with a position that is not finite, or -1; such a chain stops there.
    """

    w: FloatArray
    loss: FloatArray
    gradient: FloatArray
    step: FloatArray
    averages: FloatArray
    done: IntArray
    tuned: IntArray
    lost: IntArray


class Records(NamedTuple):
    """What is kept of every step; column ``t`` is step ``t``.

    Parameters
    ----------
    losses : (chain, step) float64
        Loss after an adjusted step, or before the others.  A loss of a batch is less that of the
        same batch at the anchor plus that of all examples there: the same mean, less noise.
    distances : (chain, step) float64 [weight**2]
        Squared distance from the anchor, of the same position.
    virials : (chain, step) float64
        Product of the distance from the anchor with the slope of the energy, ``(w - w*) . dU/dw``,
        of the same position; its mean over the Gibbs law is the number of parameters.
    acceptances : (chain, step) float64
        Probability with which the move was accepted, or would have been.
    """

    losses: FloatArray
    distances: FloatArray
    virials: FloatArray
    acceptances: FloatArray


@njit(cache=True, error_model="numpy")
def draw_normals(out: Any, step: Any, chain: Any, key0: Any, key1: Any) -> None:
    """Write the normals of one move into ``out`` (P,)."""
    fill_normals(out, 0, step, chain, NORMALS, key0, key1)


@njit(cache=True, error_model="numpy")
def draw_verdict(step: Any, chain: Any, leaps: Any, key0: Any, key1: Any) -> Any:
    """Return the uniform number of a verdict, in (0, 1), and the number of leaps.

    Returns
    -------
    tuple of float and int
    """
    a, b, _, _ = philox4x32(0, step, chain, VERDICT, key0, key1)
    return (a + 0.5) * _UNIT, 1 + np.int64((np.uint64(b) * np.uint64(leaps)) >> np.uint64(32))


@njit(cache=True, error_model="numpy")
def tuned(averages: Any, count: Any, acceptance: Any, target: Any) -> Any:
    """Learn from one move; return the step to take next [weight**2].

    ``count`` moves were learnt from before.

    Returns
    -------
    float
    """
    m = count + 1.0
    share = 1.0 / (m + _OFFSET)
    averages[0] += share * (target - acceptance - averages[0])
    root = averages[2] - np.sqrt(m) / _PULL * averages[0]
    weight = m**-_FORGET
    averages[1] += weight * (root - averages[1])
    return np.exp(2.0 * root)


@njit(cache=True, error_model="numpy")
def _normals_of_all(out: Any, step: Any, key0: Any, key1: Any) -> None:
    for chain in range(out.shape[0]):
        draw_normals(out[chain], step, chain, key0, key1)


@njit(cache=True, error_model="numpy")
def _verdicts_of_all(uniform: Any, leaps: Any, step: Any, most: Any, key0: Any, key1: Any) -> None:
    for chain in range(uniform.shape[0]):
        uniform[chain], leaps[chain] = draw_verdict(step, chain, most, key0, key1)


@njit(cache=True, error_model="numpy")
def _tune_all(
    step: Any, averages: Any, count: Any, acceptance: Any, target: Any, live: Any
) -> None:
    for chain in range(step.shape[0]):
        if live[chain]:
            step[chain] = tuned(averages[chain], count[chain], acceptance[chain], target)
            count[chain] += 1


def noise_of_step(shape: tuple[int, ...], step: int, kernel: Kernel) -> FloatArray:
    """Return the normals of one step of all chains.

    Returns
    -------
    (chain, P) float64
    """
    out = np.empty(shape)
    _normals_of_all(out, step, kernel.key0, kernel.key1)
    return out


def verdicts_of_step(chains: int, step: int, kernel: Kernel) -> tuple[FloatArray, IntArray]:
    """Return the uniform numbers and numbers of leaps of one step of all chains.

    Returns
    -------
    tuple of (chain,) float64 and (chain,) int64
    """
    uniform, leaps = np.empty(chains), np.empty(chains, dtype=np.int64)
    _verdicts_of_all(uniform, leaps, step, kernel.leaps, kernel.key0, kernel.key1)
    return uniform, leaps


def tune_all(chains: Chains, acceptance: FloatArray, target: float, live: BoolArray) -> None:
    """Adapt the steps of all live chains."""
    _tune_all(chains.step, chains.averages, chains.tuned, acceptance, target, live)
