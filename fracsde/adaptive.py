r"""Adam and RMSprop near a minimum: SGD with the diagonal preconditioner they settle on.

With gradients :math:`g` of mean :math:`K (w - w^*)` and batch covariance :math:`Q` the steps are

.. math::
    v' = \beta_2 v + (1 - \beta_2)\, g^2, \qquad
    m' = \beta_1 m + (1 - \beta_1)\, g, \qquad
    w' = w - \eta\, m' / (\sqrt{v'} + \epsilon) ,

elementwise, for Adam [KingmaBa2015]_ after its bias corrections have faded.  As
:math:`\beta_2 \to 1` second moments stop fluctuating,

.. math::
    v_i = Q_{ii} + (K \Sigma K)_{ii}, \qquad
    P = \operatorname{diag} \frac{1}{\sqrt{v_i} + \epsilon} ,

and the steps are those of heavy ball with preconditioner ``P``, momentum :math:`\beta_1` and
dampening :math:`\beta_1`; :math:`\Sigma` is their stationary covariance, so that ``v`` is the
solution of a fixed-point equation.  RMSprop has its own momentum, without dampening.

Weight decay of Adam and RMSprop is curvature, :math:`K = H + \lambda I`, inside ``g``.  That of
AdamW [LoshchilovHutter2019]_ stays outside,

.. math::
    w' = (1 - \eta\lambda)\, w - \eta\, P m', \qquad
    v_i = Q_{ii} + (H \Sigma H)_{ii} + \bar g_i^2 ,

with :math:`\bar g = H (\bar w - w^*)` where :math:`P \bar g + \lambda \bar w = 0`: its gradients do
not vanish on average.

**Not covered.**  Finite :math:`\beta_2`: ``v`` fluctuates and contains the gradient it divides.
For normal noise and small pulls these multiply the variance by
:math:`1 - \tfrac38 (1 - \beta_2)`, which is reported and not applied
(``tests/test_adaptive.py`` measures it).  The warm-up with its bias corrections; AMSGrad; noise
that depends on the state.  Many coordinates at the edge of stability at once: the fixed point may
not be met, which is a status.  Coordinates with :math:`\sqrt v \lesssim \epsilon` are served, but
their law rests on :math:`\epsilon`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from fracsde._check import choice, integer, real
from fracsde.errors import ComputationError
from fracsde.lyapunov.adaptive_steps import AdaptiveSteps
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.provenance import Provenance, provenance
from fracsde.status import Status

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.problems.ornstein_uhlenbeck import LinearRecursion

__all__ = ["AdaptiveLaw", "adaptive_near_minimum"]

_METHODS = ("adam", "adamw", "rmsprop")
_LARGEST = 1e100  # whose square is a double
_MEMORY = 3.0 / 8.0  # share of 1 - beta2 by which variances are smaller


@dataclass(frozen=True, kw_only=True, eq=False)
class AdaptiveLaw:
    """The preconditioner that an adaptive method settles on, and the law of its weights.

    Parameters
    ----------
    second_moments : (d,) float64 [loss^2/weight^2]
        ``v``.
    preconditioner : (d,) float64 [weight/loss]
        ``1 / (sqrt(v) + epsilon)``.
    covariance : (d, d) float64 [weight^2]
        Of the weights.
    process : LinearRecursion
        The steps with that preconditioner, of the weights and, with momentum, of ``m``.
    sgd : SGDNearMinimum or None
        The same as SGD; ``None`` for AdamW with both decay and momentum, which is no heavy ball.
    memory : float [1]
        Relative change of variances that a finite ``beta2`` causes where the noise is normal and
        pulls are small, ``-3 (1 - beta2) / 8``; not applied.
    iterations : int
        Of the fixed point.
    residual : float [1]
        Norm of the relative changes of ``v`` that one plain iteration would make.
    status : Status
        ``NOT_CONVERGED`` where the residual is above the tolerance.
    provenance : Provenance
        Where the result came from.
    """

    citation: ClassVar[tuple[str, ...]] = ("KingmaBa2015", "LoshchilovHutter2019")

    second_moments: FloatArray
    preconditioner: FloatArray
    covariance: FloatArray
    process: LinearRecursion
    sgd: SGDNearMinimum | None
    memory: float
    iterations: int
    residual: float
    status: Status
    provenance: Provenance


def adaptive_near_minimum(
    method: str,
    *,
    hessian: ArrayLike,
    gradient_noise: ArrayLike,
    learning_rate: float,
    batch_size: int,
    momentum: float | None = None,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
    dataset_size: int | None = None,
    sampling: str = "with_replacement",
    minimum: ArrayLike = 0.0,
    tolerance: float = 1e-10,
    iterations: int = 500,
    throw: bool = True,
) -> AdaptiveLaw:
    """Return the law of Adam, AdamW or RMSprop near a minimum, for slow second moments.

    Parameters
    ----------
    method : {"adam", "adamw", "rmsprop"}
        Whose steps.
    hessian, gradient_noise, batch_size, dataset_size, sampling
        As in :class:`~fracsde.problems.sgd.SGDNearMinimum`; epochs are not shuffled.
    learning_rate : float [weight]
        ``eta``, positive.
    momentum : float, optional [1]
        ``beta1`` of Adam and AdamW, 0.9 by default; RMSprop's momentum, 0 by default.
    beta2 : float [1]
        Memory of second moments, in ``[0, 1)``; PyTorch's ``alpha`` for RMSprop.  It enters the
        reported error alone.
    epsilon : float [loss/weight]
        Not negative.
    weight_decay : float
        ``lambda``, not negative: [loss/weight^2] for Adam and RMSprop, [1/weight] for AdamW, whose
        weights shrink by ``learning_rate * weight_decay`` in a step.
    minimum : (d,) array_like or float [weight]
        Minimum of the regularised loss; for AdamW of the data loss.
    tolerance : float [1]
        Relative, on the second moments.
    iterations : int
        At most.
    throw : bool
        Whether to raise where the fixed point is not met; with ``False`` look at ``status``.

    Returns
    -------
    AdaptiveLaw

    Raises
    ------
    InputError
        If an argument cannot mean what was asked.
    UnstableError
        If a direction has no curvature, or AdamW's decay overshoots: there is no stationary law.
    UnsupportedError
        If epochs are shuffled.
    ComputationError
        If the fixed point is not met.

    References
    ----------
    [KingmaBa2015]_, [LoshchilovHutter2019]_

    Examples
    --------
    Curvatures a hundred apart, with noise of their size: SGD would spread evenly, Adam spreads
    along the flat one.

    >>> import numpy as np
    >>> law = adaptive_near_minimum("adam", hessian=np.diag([1.0, 0.01]),
    ...     gradient_noise=np.diag([1.0, 0.01]), learning_rate=1e-3, batch_size=1)
    >>> law.preconditioner.round(3)
    array([ 1., 10.])
    >>> np.diag(law.covariance).round(4)
    array([0.0005, 0.005 ])
    """
    choice("method", method, _METHODS)
    if momentum is None:
        momentum = 0.0 if method == "rmsprop" else 0.9
    arrays: Any = {"hessian": hessian, "gradient_noise": gradient_noise, "minimum": minimum}
    problem = SGDNearMinimum(
        learning_rate=learning_rate,
        batch_size=batch_size,
        momentum=momentum,
        dampening=0.0 if method == "rmsprop" else momentum,
        weight_decay=weight_decay,
        dataset_size=dataset_size,
        sampling=sampling,
        **arrays,
    )
    memory = real("beta2", beta2, low=0.0, high=1.0, closed="low")
    floor = real("epsilon", epsilon, low=0.0, high=_LARGEST, closed="low")
    goal = real("tolerance", tolerance, low=0.0)
    most = integer("iterations", iterations, low=1)
    steps = AdaptiveSteps(problem, floor, decoupled=method == "adamw")
    v, count, residual = steps.settle(goal, most)
    status = Status.SUCCESS if residual <= goal else Status.NOT_CONVERGED
    if throw and not status.ok:
        detail = (
            f"After {count} iterations second moments still change by {residual:.3g} of their "
            f"size, {goal:.3g} was asked for; allow more iterations, or lower the learning rate: "
            "far above what the noise alone would hold stable the equation is too stiff."
        )
        raise ComputationError(status, detail)
    process, sgd = steps.process(v)
    return AdaptiveLaw(
        second_moments=v,
        preconditioner=steps.preconditioner(v),
        covariance=steps.covariance(v),
        process=process,
        sgd=sgd,
        memory=-_MEMORY * (1.0 - memory),
        iterations=count,
        residual=residual,
        status=status,
        provenance=provenance(problem, method, memory, floor, goal, most),
    )
