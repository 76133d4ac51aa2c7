"""The report on a run: the rows, and the figures that show what lies behind them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde import estimators
from fracsde._figures import density_plot, displacement_plot, spectrum_plot
from fracsde._report.nouns import Report
from fracsde.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike
    from pathlib import Path

    from fracsde._typing import FloatArray
    from fracsde.records.measurement import Measurement, Prediction
    from fracsde.records.trajectory import Trajectory

__all__ = ["RunReport"]

_CURVE = 201  # points of a density


@dataclass(frozen=True, kw_only=True, eq=False)
class RunReport(Report):
    """A :class:`Report` on a run, with what was measured and predicted.

    Parameters
    ----------
    measured : sequence of Measurement
        On the run.
    predicted : sequence of Prediction
        By the law on trial.
    predicted_by_rivals : mapping from str to sequences of Prediction
        By the others.
    trajectory : Trajectory
        The window, in the coordinates that are compared.
    eigenvalues : (p,) ndarray of float64, optional [loss/weight^2]
        Of the Hessian, where those coordinates lie along eigenvectors.
    """

    measured: Sequence[Measurement]
    predicted: Sequence[Prediction]
    predicted_by_rivals: Mapping[str, Sequence[Prediction]] = field(default_factory=dict)
    trajectory: Trajectory
    eigenvalues: FloatArray | None = None

    def figures(self) -> dict[str, tuple[Any, str]]:
        """Draw the spectrum, the density along the first direction and the displacement.

        Returns
        -------
        dict
            From the name of a figure to it and its caption; those for which the run holds data.
        """
        found: dict[str, tuple[Any, str]] = {}
        variances = _of(self.measured, "stationary variance")
        if variances is not None and self.eigenvalues is not None:
            found["Spectrum"] = self._spectrum(variances)
        if variances is not None:
            found["Density"] = self._density()
        moved = _of(self.measured, "mean-square displacement")
        if moved is not None and moved.quantity.size > 1:
            found["Displacement"] = self._displacement(moved)
        return found

    def save(
        self,
        folder: str | PathLike[str],
        *,
        title: str = "Theory and run",
        lead: str = "",
        figure: bool = True,
        figures: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write ``index.html``, ``report.json`` and the figures to a folder, all or nothing.

        Parameters
        ----------
        folder : path-like
            New, empty, or holding an earlier report, which is replaced.
        title, lead : str
            Heading of the page and the paragraph under it; the notes if none is given.
        figure : bool
            Whether to draw; needs matplotlib.
        figures : mapping from name to figure, optional
            More figures, as :meth:`Report.save` takes them.

        Returns
        -------
        Path
            The page.
        """
        notes = " ".join(f"Note: {note}." for note in self.settings.get("notes", ()))
        more = (self.figures() if figure else {}) | dict(figures or {})
        return super().save(folder, title=title, lead=lead or notes, figure=figure, figures=more)

    def _theories(self, name: str) -> dict[str, Prediction]:
        every = {str(self.settings.get("law", "theory")): self.predicted}
        every |= dict(self.predicted_by_rivals)
        found = {theory: _of(theirs, name) for theory, theirs in every.items()}
        return {theory: one for theory, one in found.items() if one is not None}

    def _spectrum(self, variances: Measurement) -> tuple[Any, str]:
        assert self.eigenvalues is not None  # asked for where there are
        figure = spectrum_plot(
            self.eigenvalues,
            variances,
            self._theories("stationary variance"),
            tolerance=self.tolerance,
            level=self.level,
        )
        return figure, "Variances along eigenvectors of the Hessian, and their ratio to the law."

    def _density(self) -> tuple[Any, str]:
        run = self.trajectory
        label = self.measured[0].quantity.label(0) if not run.names else run.names[0]
        draws = run.values[..., 0] - run.values[..., 0].mean()
        x = np.linspace(draws.min(), draws.max(), _CURVE)
        curves = {
            theory: (x, np.exp(-0.5 * x**2 / v) / np.sqrt(2.0 * np.pi * v))
            for theory, one in self._theories("stationary variance").items()
            for v in [float(one.value[0])]
        }
        try:
            count = float(estimators.bulk_effective_size(run)[0])
        except RecordError:
            count = float(run.chains)
        figure = density_plot(
            draws,
            curves,
            n_effective=count,
            level=self.level,
            name=f"distance to the mean, {label}",
        )
        words = (
            "Gaussian densities of the predicted variances and the histogram along the first of "
        )
        return figure, f"{words}the compared coordinates, {label}."

    def _displacement(self, moved: Measurement) -> tuple[Any, str]:
        lags = [float(label.removeprefix("lag ")) for label in moved.quantity.labels]
        order = np.argsort(lags)
        curves = {
            theory: (np.asarray(lags)[order], one.value[order])
            for theory, one in self._theories("mean-square displacement").items()
        }
        figure = displacement_plot(lags, moved, curves=curves, level=self.level)
        return figure, "Mean-square displacement of the compared coordinates together."


def _of(nouns: Sequence[Any], name: str) -> Any:
    return next((noun for noun in nouns if noun.quantity.name == name), None)
