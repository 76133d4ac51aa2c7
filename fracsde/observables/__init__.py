"""What a stationary law implies for what is measured along a run.

The verbs take a process or an SGD near its minimum, which stands for its map.
"""

from __future__ import annotations

from fracsde.observables.spectra import power_spectrum

__all__ = ["power_spectrum"]
