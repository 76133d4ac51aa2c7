r"""Power spectra of linear laws, exact in discrete and in continuous time.

.. math::
    S(f) = \sum_{k=-\infty}^{\infty} R(k)\,e^{-2\pi i f k}, \quad
    \Sigma = \int_{-1/2}^{1/2} S\,df
    \qquad\text{(map; f in cycles per step)},

.. math::
    S(f) = \int_{-\infty}^{\infty} R(s)\,e^{-2\pi i f s}\,ds, \quad
    \Sigma = \int_{-\infty}^{\infty} S\,df
    \qquad\text{(flow; f in cycles per unit of time)} .

Two-sided densities: what instruments print for :math:`f > 0` alone is twice this.  ``S(0)`` is the
long-run variance: ``T`` times the covariance of the mean of ``T`` iterates, for large ``T``.  A map
includes the aliasing of its steps, and its spectrum has period 1 in ``f``.

With :math:`\zeta = e^{2\pi i f} - 1` all three kinds of process have the same form,

.. math::
    S(f) = (a + F)^{-1}\,\texttt{noise}\,(a + F)^{-H}, \qquad
    (a, F) = (2\pi i f, A), \quad (\zeta, I - T), \quad (\zeta\,(1 - \mu e^{-2\pi i f}), \eta K),

the last for the weights of heavy-ball SGD, with the noise :math:`\eta^2 Q` of its kicks, and alike
for Nesterov's.
**Shuffled epochs**, averaged over the phases of an epoch, have the same response and noise that is
not white.  Within an epoch of ``M`` batches any two have the covariance :math:`-C/(N-1)`, across
epochs none, so that with batches of :math:`b_p` examples

.. math::
    S_\xi(f) = \frac{C}{M (N - 1)} \Big[ N \sum_p \frac{1}{b_p} - M^2
        + 4 \sum_{k=1}^{M-1} (M - k) \sin^2 \pi f k \Big], \qquad
    4 \sum_{k=1}^{M-1} (M - k) \sin^2 \pi f k = M^2 - \frac{\sin^2 \pi f M}{\sin^2 \pi f} ,

which vanishes at zero frequency when the batches are equal and use all examples.

Symmetric ``F`` are diagonalised once, others brought to Schur form; each frequency then costs
``O(d^2)`` along each direction.  Slow modes and sharp resonances keep their digits, since neither
:math:`\zeta` nor ``F`` comes from a difference that cancels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg

from fracsde._check import finite_array
from fracsde.lyapunov.evolution import lifted, weight_ball
from fracsde.lyapunov.processes import as_epochs, require_stationary, white_noise
from fracsde.lyapunov.propagators import modes
from fracsde.observables._laws import second_order
from fracsde.problems.ornstein_uhlenbeck import OUProcess
from fracsde.problems.sgd_steps import StepRule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.lyapunov.propagators import LinearProcess
    from fracsde.observables._laws import LinearLaw
    from fracsde.problems.epochs import EpochRecursion

    ComplexArray = NDArray[np.complex128]

__all__ = ["epoch_level", "power_spectrum"]

# Beyond it a spectrum is zero in floating point, and 2 pi f still is a number.
_FASTEST = 1e300
_PLAIN = StepRule()


def power_spectrum(
    law: LinearLaw, frequencies: ArrayLike, *, directions: ArrayLike | None = None
) -> NDArray[Any]:
    r"""Return the two-sided power spectrum.

    .. math:: S(f) = \sum_k R(k)\,e^{-2\pi i f k} \quad\text{or}\quad \int R(s)\,e^{-2\pi i f s} ds

    Parameters
    ----------
    law : OUProcess, LinearRecursion, EpochRecursion, SGDNearMinimum, QuadraticLossSGD, or other
        Stable; SGD near a minimum stands for its map, or for its shuffled epochs.  Any object with
        ``second_order()`` will do.
    frequencies : (f,) array_like [1/t, or 1/step]
        In cycles, of either sign, ``S(-f) = conj S(f)``.  Those of a map have period 1, so that
        0.5 is the fastest.
    directions : (k, p) array_like [1], optional
        One direction per column, used as they are, not normalised.

    Returns
    -------
    (f, k, k) complex128 or (f, p) float64 [x^2 t, or x^2 step]
        Hermitian matrices, rows as in :func:`~fracsde.transients.autocovariance`; or the density
        along each direction, which is not negative.

    Examples
    --------
    A flow with one mode is a Lorentzian:

    >>> from fracsde import OUProcess
    >>> power_spectrum(OUProcess(drift=[[1.0]], noise=[[2.0]]), [0.0, 0.5 / np.pi]).real.ravel()
    array([2., 1.])
    """
    epochs = as_epochs(law)
    process = second_order(law) if epochs is None else white_noise(epochs)
    cycles = finite_array("frequencies", frequencies, ndim=(0, 1)).reshape(-1)
    U = lifted(process, directions)
    require_stationary(process)
    response = _response(process)
    a = response.argument(cycles)
    if response.triangular:
        spectrum = _by_schur(response, a, U, matrices=directions is None)
    elif directions is None:
        spectrum = _matrices(response, a, response.basis.T @ U[: len(response.basis)])
    else:
        spectrum = _along(response, a, response.basis.T @ U[: len(response.basis)])
    if epochs is None:
        return spectrum
    level = epoch_level(epochs, cycles)
    return np.asarray(spectrum * level.reshape(-1, *[1] * (spectrum.ndim - 1)))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Response:
    """A process as ``(a(f) + F) X = noise`` in the basis where ``F`` is diagonal or triangular."""

    basis: NDArray[Any]
    pull: NDArray[Any]
    noise: NDArray[Any]
    discrete: bool
    rule: StepRule = _PLAIN

    @property
    def triangular(self) -> bool:
        """Whether ``F`` is triangular rather than diagonal."""
        return self.pull.ndim == 2

    def argument(self, cycles: FloatArray) -> ComplexArray:
        """Return ``a`` at each frequency."""
        if not self.discrete:
            return np.asarray(2j * np.pi * np.clip(cycles, -_FASTEST, _FASTEST))
        half = np.pi * (cycles - np.rint(cycles))
        z = np.exp(2j * half)
        # exp(2 i x) - 1 without cancellation near zero frequency.
        zeta = 2j * np.sin(half) * np.exp(1j * half)
        if not self.rule.has_velocity:
            return np.asarray(zeta)
        mu, (gain, keep, _) = self.rule.momentum, self.rule.gains
        return np.asarray(zeta * (1.0 - mu + zeta) / (gain * z - gain * mu + keep))


def _response(process: LinearProcess) -> _Response:
    flow = isinstance(process, OUProcess)
    modal = modes(process)
    if modal is not None:
        V = modal.basis
        noise = V.T @ process.noise @ V
        return _Response(basis=V, pull=modal.pull, noise=noise, discrete=not flow)
    ball = weight_ball(process)
    if ball is not None:
        return _Response(
            basis=ball.basis,
            pull=ball.pull,
            noise=ball.noise,
            discrete=True,
            rule=StepRule(momentum=ball.momentum, nesterov=ball.nesterov),
        )
    d = process.dimension
    F = process.drift if isinstance(process, OUProcess) else np.eye(d) - process.transition
    form, basis = scipy.linalg.schur(F, output="complex")
    noise = basis.conj().T @ process.noise @ basis
    return _Response(basis=basis, pull=form, noise=noise, discrete=not flow)


def epoch_level(epochs: EpochRecursion, cycles: FloatArray) -> FloatArray:
    """Return the spectrum of the noise of shuffled epochs, in units of that of one example.

    Parameters
    ----------
    epochs : EpochRecursion
        The epochs.
    cycles : (f,) float64 [1/step]
        Frequencies.

    Returns
    -------
    (f,) float64 [1]
    """
    N, M = epochs.dataset_size, epochs.steps
    if N == 1:
        return np.zeros(len(cycles))
    x = np.pi * (cycles - np.rint(cycles))
    s = np.abs(np.sin(x))
    k = np.arange(1, M)
    apart = np.empty(len(x))
    for i in range(len(x)):
        if M * s[i] > 1.0:
            apart[i] = M**2 - (np.sin(M * x[i]) / s[i]) ** 2
        else:  # where the difference would cancel
            apart[i] = 4.0 * np.sum((M - k) * np.sin(k * x[i]) ** 2)
    # Nothing is left where equal batches use all examples: N sum(1/b) = M^2.
    spare = float(np.sum(N / epochs.batch_sizes - M))
    return np.asarray((spare + apart) / (M * (N - 1.0)))


def _matrices(response: _Response, a: ComplexArray, turned: FloatArray) -> NDArray[Any]:
    gain = 1.0 / (a[:, None] + response.pull)
    inner = gain[:, :, None] * response.noise * gain.conj()[:, None, :]
    return np.asarray(turned.T @ inner @ turned)


def _along(response: _Response, a: ComplexArray, turned: FloatArray) -> FloatArray:
    # The form h^H noise h of the real symmetric noise, part by part.
    out = np.empty((len(a), turned.shape[1]))
    for i, shift in enumerate(a):
        h = turned / (shift + response.pull)[:, None]
        parts = np.concatenate([h.real, h.imag], axis=1)
        forms = np.einsum("dq,dq->q", parts, response.noise @ parts)
        out[i] = forms[: turned.shape[1]] + forms[turned.shape[1] :]
    return np.maximum(out, 0.0)


def _by_schur(
    response: _Response, a: ComplexArray, U: FloatArray, *, matrices: bool
) -> NDArray[Any]:
    turned = response.basis.conj().T @ U
    form, noise = response.pull, response.noise
    k = U.shape[1]
    out = np.empty((len(a), k, k) if matrices else (len(a), k), dtype=np.complex128)
    step = np.arange(len(form))
    for i, shift in enumerate(a):
        shifted = form.copy()
        shifted[step, step] += shift
        h = scipy.linalg.solve_triangular(shifted, turned, trans="C", check_finite=False)
        image = noise @ h
        out[i] = h.conj().T @ image if matrices else np.einsum("dk,dk->k", h.conj(), image)
    return out if matrices else np.maximum(out.real, 0.0)
