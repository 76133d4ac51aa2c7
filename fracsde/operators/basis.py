r"""What a spectral operator asks of a space of functions, and how much the space leaves out.

Functions :math:`\psi = p / \sqrt\pi` are known by their values at nodes.  Their *shape* is
:math:`\sqrt\pi`: late in time they are its multiples, and a space may use that at its ends.

Not here: the spaces (:mod:`fracsde.operators.sines`, :mod:`fracsde.operators.hermite`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.operators.landscape import Landscape

__all__ = ["Basis", "tails"]


class Basis(Protocol):
    """A space of smooth functions on nodes."""

    @property
    def nodes(self) -> FloatArray:
        """Where functions are known, ``(n,)`` [x]."""

    @property
    def weights(self) -> FloatArray:
        """Positive quadrature weights, ``(n,)`` [x]."""

    @property
    def ends(self) -> tuple[float, float]:
        """Where functions have become zero [x]."""

    def rough(self, values: FloatArray, shape: FloatArray) -> FloatArray:
        """Return the part of functions ``(..., t, n)`` that barely fits into the space."""

    def evaluate(
        self, values: FloatArray, shape: FloatArray, x: FloatArray, shape_at_x: FloatArray
    ) -> FloatArray:
        """Return functions ``(t, m)`` at points ``(m,)`` inside the ends."""


def tails(basis: Basis, landscape: Landscape, nodes: FloatArray) -> tuple[FloatArray, FloatArray]:
    r"""Estimate what a space does not hold of the start, and of functions like the equilibrium.

    The roughest terms of :math:`\psi`, back at the nodes: where coefficients fall, what was left
    out is smaller.

    Parameters
    ----------
    basis : Basis
        The space.
    landscape : Landscape
        The coefficients.
    nodes : (..., n) float64 [x]
        Those of the space, or of others like it that are moved and scaled.

    Returns
    -------
    start, equilibrium : (...) ndarray [1]
        Relative to the largest values of the densities.
    """
    flat = nodes.reshape(-1)
    shape = np.exp(-0.5 * landscape.phi(flat)).reshape(nodes.shape)
    start = landscape.start(flat).reshape(nodes.shape)
    # The equilibrium itself is the shape that is known; a few waves on it are not.
    first, last = nodes[..., :1], nodes[..., -1:]
    waves = np.cos(10.0 * (nodes - first) / (last - first))
    densities = np.stack([start, waves * shape * shape], axis=-2)
    shapes = shape[..., None, :]
    rough = shapes * basis.rough(densities / shapes, shape)
    largest = np.abs(densities).max(axis=-1)
    sizes = np.abs(rough).max(axis=-1) / np.where(largest > 0.0, largest, 1.0)
    return sizes[..., 0], sizes[..., 1]
