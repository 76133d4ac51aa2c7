"""devinterp's estimate of a learning coefficient, for losses made of one flat parameter."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["devinterp_estimate"]


def devinterp_estimate(
    loss: Callable[[Any], Any],
    size: int,
    *,
    n_beta: float,
    localization: float,
    step: float,
    chains: int,
    draws: int,
    burn_in: int,
) -> tuple[float, float]:
    """Return the estimate at the origin and the standard deviation over chains.

    Parameters
    ----------
    loss : callable
        From a torch vector (size,) to a torch number.
    size : int
        Number of parameters.
    n_beta, localization, step : float
        As fracsde names them.
    chains, draws, burn_in : int
        Chains, draws of each and steps before.
    """
    import torch
    from devinterp.optim.sgld import SGLD
    from devinterp.slt.sampler import estimate_learning_coeff_with_summary
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(1)

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(torch.zeros(size))

        def forward(self, _: Any) -> Any:
            return loss(self.w)

    data = TensorDataset(torch.zeros(1, 1), torch.zeros(1, 1))
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = estimate_learning_coeff_with_summary(
            Flat(),
            DataLoader(data, batch_size=1),
            # The loss is divided in place, so it must not be what autograd keeps.
            evaluate=lambda model, batch: 1.0 * model(batch[0]),
            sampling_method=SGLD,
            optimizer_kwargs={"lr": step, "localization": localization, "nbeta": n_beta},
            num_chains=chains,
            num_draws=draws,
            num_burnin_steps=burn_in,
            init_loss=0.0,
            verbose=False,
            seed=1,
        )
    logging.disable(logging.NOTSET)
    return float(np.asarray(found["llc/mean"])), float(np.asarray(found["llc/std"]))
