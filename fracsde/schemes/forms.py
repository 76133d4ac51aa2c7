r"""Rational forms of relaxation: which shifted systems to solve, and how to add them up.

For one time, with the clock :math:`\theta = \tau^{1-\alpha} t^\alpha`,

.. math::
    E_\alpha(\theta L)\, p \approx c_0\, p
    + \operatorname{Re} \sum_j \frac{c_j}{\theta}
      \Bigl(\frac{z_j}{\theta} - L\Bigr)^{-1} p .

Poles of :math:`E_\alpha` on the half-line and contours for Laplace inversion are both of this
form: for a contour with nodes :math:`s_j` and weights :math:`w_j` at unit time,
:math:`z_j = s_j^\alpha` and :math:`c_j = w_j e^{s_j} s_j^{\alpha-1}`.  A window of times
:math:`[t_0, \Lambda t_0]` keeps its shifts and moves only the :math:`c_j`.

Three kinds, in the order in which they are tried:

==========  ============================  ================================================
form        right for                     solves at 1e-10, ``alpha`` = 0.6 / 0.9 / 1
==========  ============================  ================================================
poles       real spectra                  4 / 5 / 6
contour     spectra in a sector           9, for every order
narrow      every chain, ``alpha < 1``    29 / 258 / none
==========  ============================  ================================================

**Why the narrow one.**  Poles and contours are certified where the chain is normal: in the norm
weighted by the equilibrium.  A start far in the tail is :math:`e^{\Phi/2}` long in that norm, and
their error grows as much; in truth such a start is carried along as by a shift, whose spectrum
fills a half-plane.  What every chain has is a resolvent with :math:`\|(\sigma - L)^{-1}\|_1 \le 1 /
\operatorname{Re}\sigma`.  So the narrow contour keeps :math:`\sigma = s^\alpha` in the right
half-plane: the angles of ``s`` stay below :math:`\pi / (2 \alpha)`, and the number of nodes grows
like :math:`1 / (1 - \alpha)`.

``tests/schemes/test_propagator.py`` measures what comes of it.  Not here: who tries which form
when (:mod:`fracsde.schemes.propagator`).

Reference: [WeidemanTrefethen2007]_ for hyperbolas.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from fracsde.errors import OutOfRangeError
from fracsde.special.contours import Contour, contour, oracle_contour
from fracsde.special.rational import relaxation_poles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from fracsde._typing import FloatArray, IntArray

    ComplexArray = npt.NDArray[np.complex128]

__all__ = [
    "Form",
    "Stack",
    "Window",
    "contour_form",
    "narrow_form",
    "oracle_form",
    "pole_form",
    "stacked",
    "window",
]

_STRIDE = 32  # times that share a factor where steps are equal
_LOWEST = 3e-15  # what double precision leaves to ask of a table
_CLIMB = 4.0  # factor by which a tolerance that cannot be had is raised
_HEIGHT = 3.0  # narrow contours cross the real axis at e^3: rounding grows by 20
_MOST_NARROW = 4096  # nodes
_WIDEST = 1.3  # rad, opening of a narrow contour where the order would allow more


@dataclass(frozen=True, kw_only=True, eq=False)
class Form:
    """Shifts and residues of one time.

    Parameters
    ----------
    kind : str
        ``poles``, ``contour`` or ``narrow``.
    shifts, residues : (m,) complex128 [1]
        The numbers ``z`` and ``c``.
    constant : float [1]
        The number ``c_0``.
    error : float [1]
        What is known of the error, relative to a function that relaxes from 1.
    """

    kind: str
    shifts: ComplexArray
    residues: ComplexArray
    constant: float
    error: float

    def __post_init__(self) -> None:
        # Forms are cached: nobody may change one for everybody else.
        self.shifts.flags.writeable = self.residues.flags.writeable = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """Some forms side by side, for one batch of solves.

    Parameters
    ----------
    shifts, residues : (m,) complex128 [1]
        Of all forms, one after the other.
    owners : (m,) intp
        Which form each belongs to.
    constants : (f,) float64 [1]
        Of the forms.
    """

    shifts: ComplexArray
    residues: ComplexArray
    owners: IntArray
    constants: FloatArray
    share: ComplexArray = field(init=False)
    """Residues as a matrix, (f, m): one row per form."""
    sizes: FloatArray = field(init=False)
    """Their sizes."""

    def __post_init__(self) -> None:
        share = np.where(self.owners == np.arange(len(self.constants))[:, None], self.residues, 0.0)
        object.__setattr__(self, "share", share)
        object.__setattr__(self, "sizes", np.abs(share))
        for array in vars(self).values():  # stacks are cached, as forms are
            array.flags.writeable = False

    def parts(self, most: int) -> Iterator[Stack]:
        """Yield stacks of at most so many shifts that make up this one, constants repeated."""
        if len(self.shifts) <= most:
            yield self
            return
        for a in range(0, len(self.shifts), most):
            b = slice(a, a + most)
            yield replace(
                self, shifts=self.shifts[b], residues=self.residues[b], owners=self.owners[b]
            )


@lru_cache(maxsize=64)
def stacked(forms: tuple[Form, ...]) -> Stack:
    """Return forms side by side.

    Parameters
    ----------
    forms : tuple of Form
        At least one.

    Returns
    -------
    Stack
    """
    return Stack(
        shifts=np.concatenate([form.shifts for form in forms]),
        residues=np.concatenate([form.residues for form in forms]),
        owners=np.repeat(np.arange(len(forms)), [len(form.shifts) for form in forms]),
        constants=np.array([form.constant for form in forms]),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """Shifts of all times between 1 and ``ratio``.

    Parameters
    ----------
    contour : Contour
        Nodes and weights.
    ratio : float [1]
        Last time over first.
    """

    contour: Contour
    ratio: float

    def shifts(self, alpha: float) -> ComplexArray:
        """Return ``z``, to be divided by the clock at the first time.

        Returns
        -------
        (n,) complex128 [1]
        """
        return np.asarray(self.contour.nodes**alpha)

    def rows(self, alpha: float, times: FloatArray) -> FloatArray:
        """Return ``c`` as real rows: real parts, then imaginary parts with the sign turned.

        Parameters
        ----------
        alpha : float [1]
            Order.
        times : (t,) float64 [1]
            In units of the first time of the window.

        Returns
        -------
        (t, 2 n) ndarray [1]
        """
        s = self.contour.nodes
        lead = np.log(self.contour.weights * s ** (alpha - 1.0))
        rows = np.empty((len(times), 2 * len(s)))
        re, im = rows[:, : len(s)], rows[:, len(s) :]
        if _even(times):
            # Equal steps: one factor per 32 times and one for each within, and their products.
            first = np.exp(np.multiply.outer(times[::_STRIDE], s) + lead)
            within = np.exp(np.multiply.outer(times[:_STRIDE] - times[0], s))
            terms = (first[:, None] * within).reshape(-1, len(s))[: len(times)]
            re[...] = terms.real
            np.negative(terms.imag, out=im)
            return rows
        # One real exponential and two turns: the complex exponential is three times slower.
        grow = np.multiply.outer(times, s.real)
        grow += lead.real
        np.exp(grow, out=grow)
        turn = np.multiply.outer(times, s.imag)
        turn += lead.imag
        np.cos(turn, out=re)
        np.sin(turn, out=im)
        re *= grow
        im *= np.negative(grow, out=grow)
        return rows


def _even(times: FloatArray) -> bool:
    # Whether there are many times in equal steps, to rounding.
    if len(times) < 4 * _STRIDE:
        return False
    line = np.linspace(times[0], times[-1], len(times))
    return bool(np.abs(times - line).max() <= 1e-15 * times[-1])


def _reachable(make: Callable[[float], Form], rtol: float) -> Form:
    # The form for a tolerance, or for the next one that can be had; some form serves 0.1.
    wanted = max(rtol, _LOWEST)
    while True:
        try:
            return make(wanted)
        except OutOfRangeError:
            if wanted > 0.1:  # pragma: no cover - sectors that wide are not asked for
                raise
            wanted *= _CLIMB


@lru_cache(maxsize=256)
def pole_form(alpha: float, rtol: float) -> Form:
    """Return poles for a real spectrum, with ``error`` near ``rtol`` or the best there is.

    Parameters
    ----------
    alpha, rtol : float [1]
        Order and tolerance.

    Returns
    -------
    Form
    """

    def make(wanted: float) -> Form:
        found = relaxation_poles(alpha, rtol=wanted)
        return Form(
            kind="poles",
            shifts=-found.poles,
            residues=found.residues,
            constant=found.constant,
            error=found.error,
        )

    return _reachable(make, rtol)


def _of_contour(rule: Contour, alpha: float) -> Form:
    s = rule.nodes
    return Form(
        kind="contour",
        shifts=s**alpha,
        residues=rule.weights * np.exp(s) * s ** (alpha - 1.0),
        constant=0.0,
        error=rule.error,
    )


@lru_cache(maxsize=256)
def contour_form(alpha: float, rtol: float, half_angle: float) -> Form:
    """Return a contour for one time and a spectrum in a sector.

    Parameters
    ----------
    alpha, rtol : float [1]
        Order and tolerance.
    half_angle : float [rad]
        As for :func:`fracsde.special.contours.contour`.

    Returns
    -------
    Form
    """

    def make(wanted: float) -> Form:
        rule = contour(rtol=wanted, window=(1.0, 1.0), half_angle=half_angle)
        return _of_contour(rule, alpha)

    return _reachable(make, rtol)


@lru_cache(maxsize=64)
def oracle_form(alpha: float) -> Form:
    """Return the contour of twenty nodes that rounding leaves as the most accurate.

    Parameters
    ----------
    alpha : float [1]
        Order.

    Returns
    -------
    Form
    """
    return _of_contour(oracle_contour(1.0), alpha)


@lru_cache(maxsize=64)
def window(rtol: float, ratio: float, half_angle: float) -> Window | None:
    """Return a contour for a window of times, or ``None`` where there is none.

    Parameters
    ----------
    rtol, ratio : float [1]
        Tolerance, and last time over first.
    half_angle : float [rad]
        As for :func:`fracsde.special.contours.contour`.

    Returns
    -------
    Window or None
    """
    try:
        rule = contour(rtol=rtol, window=(1.0, ratio), half_angle=half_angle)
    except OutOfRangeError:
        return None
    return Window(contour=rule, ratio=ratio)


@lru_cache(maxsize=64)
def narrow_form(alpha: float, rtol: float) -> Form:
    r"""Return a contour whose shifts lie in the right half-plane, as far as nodes allow.

    With the opening :math:`\varphi` half way to the limit and the strip of half-width
    :math:`d = \varphi` around the line of nodes, mid-point steps
    :math:`h = 2 \pi d / (\ell + \mu)` leave a discretisation error
    :math:`e^{\mu - 2 \pi d / h} = e^{-\ell}`, and nodes up to
    :math:`\cosh u = (1 + \ell / \mu) / \sin \varphi` a truncation error of that size.

    Parameters
    ----------
    alpha : float [1]
        Order, below 1.
    rtol : float [1]
        The tolerance :math:`e^{-\ell}`.

    Returns
    -------
    Form
        Where the right half-plane would need more than 4096 nodes, with so many and a wider
        opening.
    """
    digits = -np.log(max(rtol, 1e-15))
    limit = 0.5 * np.pi * (1.0 / alpha - 1.0)

    def grid(half: float) -> tuple[float, float]:
        step = 2.0 * np.pi * half / (digits + _HEIGHT)
        return step, float(np.arccosh((1.0 + digits / _HEIGHT) / np.sin(half))) / step

    half = min(0.49 * limit, 0.5 * _WIDEST)
    step, count = grid(half)
    while count > _MOST_NARROW:
        half *= 1.1
        step, count = grid(half)
    angle = 1j * step * (np.arange(int(np.ceil(count))) + 0.5) - half
    s = _HEIGHT * (1.0 + np.sin(angle))
    return Form(
        kind="narrow",
        shifts=s**alpha,
        residues=step / np.pi * _HEIGHT * np.cos(angle) * np.exp(s) * s ** (alpha - 1.0),
        constant=0.0,
        error=float(np.exp(-digits)),
    )
