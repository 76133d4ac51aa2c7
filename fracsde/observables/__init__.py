"""What a stationary law implies for what is measured along a run.

The verbs take a process, or an SGD near its minimum, which stands for its map.  Autocovariances and
mean-square displacements are in :mod:`fracsde.transients`, but for those of each phase of an epoch.
"""

from __future__ import annotations

from fracsde.observables.averaging import averaged_covariance
from fracsde.observables.ergodicity import averaging_error, ergodicity_breaking
from fracsde.observables.fluctuation import (
    FluctuationDissipation,
    PhaseFluctuationDissipation,
    fluctuation_dissipation,
    phase_fluctuation_dissipation,
)
from fracsde.observables.gradients import GradientNoiseScale, gradient_noise_scale
from fracsde.observables.loss import StationaryLoss, stationary_loss
from fracsde.observables.phases import phase_autocovariance
from fracsde.observables.spectra import power_spectrum
from fracsde.observables.temperature import EffectiveTemperature, effective_temperature

__all__ = [
    "EffectiveTemperature",
    "FluctuationDissipation",
    "GradientNoiseScale",
    "PhaseFluctuationDissipation",
    "StationaryLoss",
    "averaged_covariance",
    "averaging_error",
    "effective_temperature",
    "ergodicity_breaking",
    "fluctuation_dissipation",
    "gradient_noise_scale",
    "phase_autocovariance",
    "phase_fluctuation_dissipation",
    "power_spectrum",
    "stationary_loss",
]
