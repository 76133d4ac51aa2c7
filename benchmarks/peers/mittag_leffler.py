r"""Other implementations of the scalar Mittag-Leffler function, called as their authors mean it.

Each entry of :data:`PEERS` is the name of a distribution and a function that evaluates
:math:`E_{\alpha,\beta}(z)` for an array; the distribution is imported at the first call only.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

__all__ = ["PEERS", "installed"]


def _pymittagleffler(z: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    # Rust, the algorithm of Garrappa (SIAM J. Numer. Anal. 53, 2015); complex whatever comes in.
    from pymittagleffler import mittag_leffler

    return mittag_leffler(z, alpha, beta)


PEERS: dict[str, Callable[[np.ndarray, float, float], np.ndarray]] = {
    "pymittagleffler": _pymittagleffler,
}


def installed(name: str) -> bool:
    """Whether a peer can be imported."""
    return find_spec(name) is not None
