"""What a Fokker-Planck problem implies: modes, passages, currents, free energies.

The verbs take problems or solutions and discretise themselves; those that concern time serve
ordinary and fractional clocks.
"""

from __future__ import annotations

from fracsde.physics.currents import (
    probability_current,
    stationary_current,
    stationary_density,
)
from fracsde.physics.energy import free_energy, relative_entropy
from fracsde.physics.escape import EscapeRate, escape_rate, eyring_kramers
from fracsde.physics.kramers_moyal import KramersMoyal, discrete_fokker_planck
from fracsde.physics.modes import Modes, eigenmodes
from fracsde.physics.passage import PassageTimes, mean_first_passage_time
from fracsde.physics.sgd import (
    caputo_order,
    effective_diffusion,
    sgd_fractional_fokker_planck,
    walk_dimension,
)
from fracsde.physics.spectrum import RelaxationSpectrum, relaxation_spectrum
from fracsde.physics.survival import (
    SurvivalTail,
    first_passage_density,
    survival_probability,
    survival_tail,
)

__all__ = [
    "EscapeRate",
    "KramersMoyal",
    "Modes",
    "PassageTimes",
    "RelaxationSpectrum",
    "SurvivalTail",
    "caputo_order",
    "discrete_fokker_planck",
    "effective_diffusion",
    "eigenmodes",
    "escape_rate",
    "eyring_kramers",
    "first_passage_density",
    "free_energy",
    "mean_first_passage_time",
    "probability_current",
    "relative_entropy",
    "relaxation_spectrum",
    "sgd_fractional_fokker_planck",
    "stationary_current",
    "stationary_density",
    "survival_probability",
    "survival_tail",
    "walk_dimension",
]
