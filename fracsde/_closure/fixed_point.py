r"""The fixed point of a closure, found with differences of earlier iterates.

With :math:`f_j = F(y_j) - y_j` and the last few differences :math:`\Delta y`, :math:`\Delta f`,

.. math::
    y_{j+1} = F(y_j) - (\Delta y + \Delta f)\,\gamma, \qquad
    \gamma = \arg\min |f_j - \Delta f\,\gamma|

[Anderson1965]_.  The same differences say how an error of ``F`` grows into one of the fixed point,
:math:`(I - F')^{-1}`, with :math:`F'\Delta y = \Delta y + \Delta f`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["Secants"]

DEPTH = 5  # differences kept
CUT = 1e-7  # directions of the differences below this share of the largest are not used


class Secants:
    """Iterates of a fixed-point problem and what their differences say."""

    def __init__(self) -> None:
        self._points: list[FloatArray] = []
        self._images: list[FloatArray] = []

    def add(self, point: FloatArray, image: FloatArray) -> None:
        """Remember that ``F(point) = image``."""
        self._points = [*self._points, point][-DEPTH - 1 :]
        self._images = [*self._images, image][-DEPTH - 1 :]

    @property
    def image(self) -> FloatArray:
        """The last image."""
        return self._images[-1]

    def shift(self, by: FloatArray) -> None:
        """Move all images by the same: ``F`` has changed by a constant."""
        self._images = [image + by for image in self._images]

    def forget(self) -> None:
        """Drop everything but the last iterate."""
        self._points, self._images = self._points[-1:], self._images[-1:]

    def next(self) -> FloatArray:
        """Return the next iterate.

        Returns
        -------
        (y,) float64
        """
        image = self._images[-1]
        if len(self._points) == 1:
            return image
        moved, residuals = self._differences()
        last = image - self._points[-1]
        gamma = np.linalg.lstsq(residuals, last, rcond=CUT)[0]
        return np.asarray(image - (moved + residuals) @ gamma)

    def grow(self, errors: FloatArray) -> FloatArray:
        """Return the errors of the fixed point that errors of ``F`` cause, ``(n, y)``.

        Returns
        -------
        (n, y) float64
        """
        if len(self._points) == 1:
            return errors
        moved, residuals = self._differences()
        left, values, right = np.linalg.svd(moved, full_matrices=False)
        kept = values > 1e-6 * values[0]
        Q = left[:, kept]
        W = (moved + residuals) @ (right[kept].T / values[kept])  # F' Q
        inside = np.linalg.solve(np.eye(Q.shape[1]) - Q.T @ W, Q.T @ errors.T)
        return np.asarray(errors + (W @ inside).T)

    def _differences(self) -> tuple[FloatArray, FloatArray]:
        points, images = np.array(self._points), np.array(self._images)
        moved, residuals = np.diff(points, axis=0), np.diff(images - points, axis=0)
        size = np.linalg.norm(moved, axis=1, keepdims=True)
        size[size == 0.0] = 1.0
        return (moved / size).T, (residuals / size).T
