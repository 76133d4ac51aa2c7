"""Networks that have a name of their own: special cases of :class:`Network`, and no more."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fracsde.errors import ShapeError
from fracsde.networks.network import Network

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MultilayerPerceptron", "SoftmaxRegression"]


@dataclass(frozen=True, kw_only=True, eq=False)
class SoftmaxRegression(Network):
    """A network without hidden layers under the cross-entropy: a convex loss.

    Parameters are those of :class:`Network` less ``hidden`` and ``objective``.

    Examples
    --------
    >>> import numpy as np
    >>> SoftmaxRegression(inputs=np.eye(3), targets=[0, 1, 2], weight_decay=0.1).parameters
    12
    """

    hidden: Sequence[int] = field(default=(), init=False)
    objective: str = field(default="cross_entropy", init=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class MultilayerPerceptron(Network):
    """A network with at least one hidden layer; parameters are those of :class:`Network`.

    Raises
    ------
    ShapeError
        If there is no hidden layer.

    Examples
    --------
    >>> import numpy as np
    >>> MultilayerPerceptron(inputs=np.eye(3), targets=[0, 1, 2], hidden=(4, 4)).parameters
    51
    """

    def __post_init__(self) -> None:
        if isinstance(self.hidden, Sized) and len(self.hidden) == 0:
            msg = "`hidden` must name at least one layer; use SoftmaxRegression or Network for none"
            raise ShapeError(msg)
        super().__post_init__()
