r"""The Gaussian closure: where SGD settles on a loss that is not quadratic.

For :math:`w' = w - \eta\,g_B(w)` suppose that the stationary law is Gaussian,
:math:`w \sim N(m, \Sigma)`.  Stein's lemma turns the correlation of the gradient with the weights
into a mean curvature, and stationarity of the first two moments reads

.. math::
    \mathrm{E}\,\nabla L(w) = 0, \qquad
    \bar H\Sigma + \Sigma\bar H = \eta\Big(G + \frac{f}{B}\bar C\Big), \qquad
    \bar H = \mathrm{E}\,\nabla^2 L,\quad \bar C = \mathrm{E}\,C,\quad
    G = \operatorname{Cov}\nabla L,

all averages over that same law; :math:`f = 1` for batches with replacement and
:math:`(N-B)/(N-1)` without.  The part of the gradient that is not linear,
:math:`R = G - \bar H\Sigma\bar H`, is a covariance, so that **the closure is the map of**
:class:`~fracsde.problems.sgd.SGDNearMinimum` **with curvature** :math:`\bar H` **and batch noise**
:math:`\frac{f}{B}\bar C + R`; with momentum too, since the velocity is correlated with the gradient
through the weights alone.

It is exact for quadratic losses, whose noise may depend on the state in any way, and wrong by the
square of the non-Gaussianity otherwise, where the map with noise and curvature of the minimum is
wrong at first order.  It describes one basin, relaxed, with finite variance.

With ``cumulants=3`` the law has third cumulants too, from the same balance of one step
(:mod:`fracsde._closure.third`), and skewed wells are met to second order in the width of the law.
``truncation`` says what is left out, fourth ones (:mod:`fracsde._closure.fourth`) too.

Not here: how the averages are made (:mod:`fracsde._closure.averages`), and how fast it is found
(:mod:`fracsde._closure.fixed_point`).

References: [Stein1981]_ for the lemma, [Booton1954]_ and [RobertsSpanos2003]_ for statistical
linearisation, of which this is the case with state-dependent noise in discrete time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy.sparse.linalg import LinearOperator

from fracsde._check import finite_array, integer, real
from fracsde._closure.averages import GROUP, GROUPS
from fracsde._closure.minimum import LossMinimum, examine_minimum
from fracsde._closure.search import Search
from fracsde._closure.state import Frame
from fracsde._closure.third import MOST
from fracsde.errors import ComputationError, InputError, UnstableError
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.provenance import Provenance, provenance
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import ArrayLike, FloatArray, RandomState

__all__ = ["GaussianClosure", "LossMinimum", "examine_minimum", "gaussian_closure"]


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianClosure:
    """The Gaussian law that reproduces itself under SGD.

    Matrices of ``k`` leading modes are in the basis ``minimum.leading``.

    Parameters
    ----------
    minimum : LossMinimum
        Where it was expanded.
    mean : (P,) float64 [weight]
        Mean of the weights; modes that were not computed stay where they are.
    covariance : (k, k) float64 [weight^2]
        Covariance of the leading modes.
    stderr : (k, k) float64 [weight^2]
        Standard error of ``covariance`` from the finite number of draws.
    hessian : (k, k) float64 [loss/weight^2]
        Mean curvature over the law.
    noise : (k, k) float64 [loss^2/weight^2]
        Covariance of the noise of one step: of the batch, averaged over the law, and of the part
        of the gradient that is not linear; with third cumulants, also the white noise that they are
        worth.
    mode_covariance : (r, r) float64 [weight^2]
        Covariance of all computed modes.
    map_covariance : (k, k) float64 [weight^2]
        That of the map with curvature and noise frozen at the minimum, to compare.
    map_noise : (k, k) float64 [loss^2/weight^2]
        Covariance of the noise of one step at the minimum, to compare.
    shrinkage : (k,) float64 [1]
        Share of the change of each curvature that was kept; below 1 where draws do not tell it.
    third : (k, k, k) float64 [weight^3], or None
        Third cumulants of the leading modes, where they were asked for.
    truncation : float [1]
        Largest share of the noise of one step, along any mode, that third and fourth cumulants are
        worth to leading order: about the relative error of a variance where they are left out, and
        more than what is left of it where third ones are taken.  Third cumulants are summed over
        all pairs of modes, fourth ones follow one mode at a time.  NaN where there is no fixed
        point, or more leading modes than third cumulants are computed for.
    rounds : int
        Averages taken over all draws, and one more for third derivatives.
    residual : float [1]
        Largest change in the last round, of curvature, noise and mean in units of the frozen law;
        the last step was taken after it was measured.
    status : Status
        ``UNSTABLE`` where no fixed point was found because variances grow without bound, or none
        can exist; ``INACCURATE`` where ``truncation`` is more than a tenth; ``NOT_CONVERGED`` where
        the rounds ran out; ``NOT_FINITE`` where a callable returned NaN or infinity away from the
        minimum.
    detail : str
        What was found, empty on success.
    draws : int
        Antithetic pairs that every average was taken over.
    provenance : Provenance
        Where the result came from.
    """

    citation: ClassVar[tuple[str, ...]] = ("Stein1981", "Booton1954", "RobertsSpanos2003")

    minimum: LossMinimum
    mean: FloatArray
    covariance: FloatArray
    stderr: FloatArray
    hessian: FloatArray
    noise: FloatArray
    mode_covariance: FloatArray
    map_covariance: FloatArray
    map_noise: FloatArray
    shrinkage: FloatArray
    third: FloatArray | None
    truncation: float
    rounds: int
    residual: float
    status: Status
    detail: str
    draws: int
    provenance: Provenance
    _law: tuple[FloatArray, FloatArray] | None
    _spread: float

    @property
    def variances(self) -> FloatArray:
        """Variances of the leading modes, ``(k,)`` [weight^2]."""
        return self.covariance.diagonal().copy()

    @property
    def variance_stderr(self) -> FloatArray:
        """Their standard errors, ``(k,)`` [weight^2]."""
        return self.stderr.diagonal().copy()

    @property
    def over_map(self) -> FloatArray:
        """Variance over that of the map of the minimum, ``(k,)``; 1 where neither varies."""
        frozen = self.map_covariance.diagonal()
        ones = np.where(self.variances > 0.0, np.inf, 1.0)
        return np.divide(self.variances, frozen, out=ones, where=frozen > 0.0)

    def law(self) -> LinearRecursion:
        """Return the linear recursion of the leading modes.

        Its stationary covariance is ``covariance``; with momentum the state is ``(w, v)`` and
        ``observe`` selects the weights.  Third cumulants turn the recursion without momentum; with
        it they enter as noise, so that its relaxation is that of a Gaussian law.  Where modes
        outside the leading ones pull on them it is the best linear prediction from the leading
        modes alone.

        Returns
        -------
        LinearRecursion

        Raises
        ------
        ComputationError
            If there is no law: ``status`` says why.
        """
        if self._law is None:
            raise ComputationError(self.status, self.detail)
        transition, noise = self._law
        k = len(self.covariance)
        mean = np.zeros(len(transition))
        mean[:k] = (self.mean - self.minimum.position) @ self.minimum.leading
        return LinearRecursion(transition=transition, noise=noise, mean=mean, observe=slice(0, k))

    def variance_along(self, directions: ArrayLike) -> FloatArray:
        """Return the variance along any directions of the weights.

        Parameters
        ----------
        directions : (P,) or (P, n) array_like
            One per column, used as they are.

        Returns
        -------
        float64 [weight^2]
            A number, or one for each direction.
        """
        size = self.minimum.dimension
        V = finite_array("directions", directions, ndim=(1, 2))
        V = finite_array("directions", V, shape=(size, *(None for _ in V.shape[1:])))
        return np.asarray(np.sum(V * self._times(V), axis=0))

    def operator(self) -> LinearOperator:
        """Return the covariance of all weights as a linear operator, ``(P, P)``.

        Returns
        -------
        LinearOperator
        """
        size = self.minimum.dimension
        return LinearOperator(
            (size, size), matvec=self._times, matmat=self._times, dtype=np.float64
        )

    def _times(self, V: FloatArray) -> FloatArray:
        U = self.minimum.modes
        along = U.T @ V
        out = U @ (self.mode_covariance @ along)
        if self._spread > 0.0:
            out = out + self._spread**2 * (V - U @ along)
        return np.asarray(out)


def gaussian_closure(
    minimum: LossMinimum,
    *,
    learning_rate: float,
    batch_size: int,
    momentum: float = 0.0,
    sampling: str = "with_replacement",
    dataset_size: int | None = None,
    draws: int = 256,
    cumulants: int = 2,
    rtol: float = 1e-3,
    max_rounds: int = 30,
    rng: RandomState = 0,
    progress: Callable[[int, float], None] | None = None,
    throw: bool = True,
) -> GaussianClosure:
    """Solve the Gaussian closure of constant-rate SGD.

    Parameters
    ----------
    minimum : LossMinimum
        From :func:`examine_minimum`; one serves for any number of learning rates.
    learning_rate, batch_size, momentum, sampling, dataset_size
        As for :class:`~fracsde.problems.sgd.SGDNearMinimum`; heavy-ball momentum, and no shuffled
        epochs.
    draws : int
        Antithetic pairs of positions, at least 96; they are drawn once and used in every round.
        Each costs two gradients and the noise at two points, and every other one products of the
        Hessian with the leading modes.
    cumulants : {2, 3}
        Whether the law is Gaussian, or has third cumulants as well, to leading order and for at
        most 100 leading modes.  They take some 200 evaluations of the noise and a round or two.  A
        Gaussian law of as few modes looks at them once, without those rounds, to say what it leaves
        out.  The noise of a batch counts as skewed only where gradients of the examples are known.
    rtol : float [1]
        Rounds go on until one changes curvature, noise and mean by less, in units of the frozen
        law.
    max_rounds : int
        When to stop at the latest; a look at what a Gaussian law leaves out does not count.
    rng : int, SeedSequence or Generator
        Source of the draws.
    progress : callable, optional
        Called with the number of the round and the share of it that is done.
    throw : bool
        Whether to raise where there is no fixed point; with ``False`` look at ``status``.

    Returns
    -------
    GaussianClosure

    Raises
    ------
    InputError
        If an argument has no meaning.
    UnstableError
        If there is no fixed point: the rate is beyond the critical one, or variances grow from
        round to round.
    ComputationError
        If the rounds run out, a callable returns what is not finite, or third and fourth cumulants
        are too large to be left out or expanded in.

    Examples
    --------
    A quartic well with constant noise.  The closure is one cubic equation, ``v = q / (2 b - b^2)``
    with ``b = eta (1 + 3 v)``, up to the noise of the gradient's bend:

    >>> from fracsde.problems.stochastic_loss import StochasticLoss
    >>> loss = StochasticLoss(
    ...     gradient=lambda w: w + w**3,
    ...     hessian_products=lambda w, V: (1.0 + 3.0 * w[:, :, None] ** 2) * V,
    ...     projected_noise=lambda w, V: np.ones((len(w), 1, 1)),
    ...     batched=True,
    ... )
    >>> closure = gaussian_closure(
    ...     examine_minimum(loss, [0.0]), learning_rate=0.1, batch_size=1, draws=4096
    ... )
    >>> closure.status
    <Status.SUCCESS: 'The computation succeeded.'>
    >>> closure.covariance.round(3), closure.map_covariance.round(3)
    (array([[0.047]]), array([[0.053]]))
    """
    at: Any = minimum
    if not isinstance(at, LossMinimum):
        msg = (
            f"`minimum` must be a LossMinimum, got {type(at).__name__}; "
            "make one by examine_minimum(loss, position)"
        )
        raise InputError(msg)
    sgd = SGDNearMinimum(
        hessian=minimum.curvatures[:1, None],
        gradient_noise=np.ones((1, 1)),
        learning_rate=learning_rate,
        batch_size=batch_size,
        momentum=momentum,
        sampling=sampling,
        dataset_size=dataset_size,
    )
    sgd.map()  # refuses what has none
    fewest = GROUP * GROUPS[0]
    draws = integer("draws", draws, low=fewest, remedy="fewer would not tell their own error")
    remedy = "2 is the Gaussian law, 3 has third cumulants"
    third = integer("cumulants", cumulants, low=2, high=3, remedy=remedy) == 3
    if third and at.rank > MOST:
        msg = (
            f"`cumulants=3` takes at most {MOST} leading modes, got {at.rank}; "
            f"examine_minimum(loss, position, rank={MOST}) treats fewer exactly"
        )
        raise InputError(msg)
    rtol = real("rtol", rtol, low=0.0)
    max_rounds = integer("max_rounds", max_rounds, low=1)
    seed = type(rng).__name__ if isinstance(rng, np.random.Generator) else rng
    search = Search(
        Frame(
            minimum,
            rate=sgd.learning_rate,
            momentum=sgd.momentum,
            factors=_shares(sgd),
        ),
        rng=np.random.default_rng(rng),
        draws=draws,
        progress=progress,
        third=third,
    )
    status, detail = search.run(rtol, max_rounds)
    if not status.ok and throw:
        if status is Status.UNSTABLE:
            msg = f"{status.sentence} {detail}"
            raise UnstableError(msg)
        raise ComputationError(status, detail)
    options = (draws, cumulants, rtol, max_rounds)
    inputs = (minimum.position, minimum.curvatures, minimum.noise, sgd, *options)
    return _result(search, status, detail, provenance(*inputs, seed=seed))


def _shares(sgd: SGDNearMinimum) -> tuple[float, float, float]:
    # Cumulants of the mean over a batch, over those of one example; the fourth roughly.
    second = float(sgd.batch_noise[0, 0])
    third, fourth = 1.0 / sgd.batch_size**2, second / sgd.batch_size**2
    if sgd.sampling != "with_replacement":
        assert sgd.dataset_size is not None  # checked on construction
        N, B = sgd.dataset_size, sgd.batch_size
        third *= (N - B) * (N - 2 * B) / max((N - 1) * (N - 2), 1)
    return second, third, fourth


def _result(search: Search, status: Status, detail: str, origin: Provenance) -> GaussianClosure:
    frame, state, at = search.frame, search.state, search.frame.at
    k, law = at.rank, None
    sigma, stderr = search.law[0], np.full((k, k), np.nan)
    if status in {Status.SUCCESS, Status.NOT_CONVERGED, Status.INACCURATE}:
        law = frame.recursion(state)
        stderr = search.stderr()
    else:
        sigma = np.full_like(sigma, np.nan)
    return GaussianClosure(
        minimum=at,
        mean=at.position + at.modes @ state.mean,
        covariance=sigma[:k, :k].copy(),
        stderr=stderr,
        hessian=state.hessian[:k].copy(),
        noise=state.noise,
        mode_covariance=sigma,
        map_covariance=frame.frozen[:k, :k].copy(),
        map_noise=frame.start.noise,
        shrinkage=state.shrinkage,
        third=None if law is None or search.skew is None else search.skew.cumulants,
        truncation=search.truncation,
        rounds=search.rounds,
        residual=search.residual,
        status=status,
        detail=detail,
        draws=search.Z.shape[0] * search.Z.shape[1],
        provenance=origin,
        _law=law,
        _spread=frame.spread(state),
    )
