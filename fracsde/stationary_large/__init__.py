r"""Stationary laws too large to write down.

========================================  =========================================================
:func:`stationary_variance_along`         :math:`u^T \Sigma u` for given directions
:func:`stationary_leading_block`          :math:`U^T \Sigma U` for leading eigenvectors of curvature
:func:`stationary_trace`                  :math:`\operatorname{Tr}\Sigma`,
                                          :math:`\operatorname{Tr} H\Sigma`
:func:`stationary_low_rank`               :math:`\Sigma \approx W S W^T` for noise given by a factor
========================================  =========================================================

``memory`` bounds the arrays that a verb holds beside its inputs and what products take themselves;
``held_bytes`` of a result says what they were.
"""

from __future__ import annotations

from fracsde.stationary_large.along import StationaryVariance, stationary_variance_along
from fracsde.stationary_large.block import LeadingBlock, stationary_leading_block
from fracsde.stationary_large.low_rank import LowRankCovariance, stationary_low_rank
from fracsde.stationary_large.trace import StationaryTrace, stationary_trace

__all__ = [
    "LeadingBlock",
    "LowRankCovariance",
    "StationaryTrace",
    "StationaryVariance",
    "stationary_leading_block",
    "stationary_low_rank",
    "stationary_trace",
    "stationary_variance_along",
]
