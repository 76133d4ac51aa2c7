r"""How many digits of the Mittag-Leffler function are right, over the complex plane.

.. math::
    E_\alpha(z) = \sum_{k \ge 0} \frac{z^k}{\Gamma(1 + \alpha k)}

The picture shows :math:`|\text{error}| / (1 + |E_\alpha|)` of ``mittag_leffler`` on a grid of the
upper half-plane.  The reference is the power series itself, summed in whole numbers of ``2**-P``
with so many places that nothing is lost where terms as large as ``exp(|z|**(1 / alpha))`` cancel.
:func:`worst` returns the one number: the largest error in the three panels.

Run ``python docs/gallery/mittag_leffler.py [picture.png]``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import mpmath
import numpy as np

from fracsde.special import mittag_leffler

if TYPE_CHECKING:
    from pathlib import Path

ORDERS = (0.3, 0.8, 1.5)
REACH = 15.0  # half-width of a panel in z**(1 / alpha)
COLUMNS = 72
FLOOR, CEILING = 1e-17, 1e-13
# The hyperbola s = mu (1 + sin(i u - phi)) on which the function is integrated where beta <= 1.
MU, PHI = 9.464136391806921, 0.875


def grid(alpha: float, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the real and imaginary parts of the upper half-plane's cell centres."""
    width = REACH**alpha
    x = (np.arange(columns) + 0.5) * (2 * width / columns) - width
    return x, x[columns // 2 :]


def reference(z: np.ndarray, alpha: float) -> np.ndarray:
    """Sum the power series in whole numbers; what is cut off is below ``2**-100``."""
    bits = np.log2(np.abs(z)).ravel()
    sizes = [0.0]  # binary logarithms of the coefficients
    while len(sizes) * bits.max() + sizes[-1] > -100.0 or len(sizes) < 2 / alpha:
        sizes.append(-float(mpmath.loggamma(1 + alpha * len(sizes))) / np.log(2))
    # The last place of a coefficient is multiplied by as much as ``|z|**terms``.
    k = np.arange(len(sizes))
    matters = k * bits[:, None] + sizes > -100.0
    terms = len(k) - np.argmax(matters[:, ::-1], axis=1)
    places = (terms * np.maximum(bits, 0.0)).astype(int) + 120
    most = int(places.max())
    with mpmath.workprec(most + 30):
        gammas = (mpmath.rgamma(1 + mpmath.mpf(alpha) * n) for n in range(len(sizes)))
        coefficients = [int(mpmath.ldexp(c, most)) for c in gammas]
    values = [
        _horner(coefficients[:count], v, most, used)
        for v, count, used in zip(z.ravel().tolist(), terms.tolist(), places.tolist(), strict=True)
    ]
    return np.array(values).reshape(z.shape)


def _horner(coefficients: list[int], z: complex, places: int, used: int) -> complex:
    # Multiply and add from the last term down, with so many of the coefficients' places.
    x, y, drop = _whole(z.real, used), _whole(z.imag, used), places - used
    real = imag = 0
    for c in reversed(coefficients):
        real, imag = (
            ((real * x - imag * y) >> used) + (c >> drop),
            (real * y + imag * x) >> used,
        )
    return complex(real / (1 << used), imag / (1 << used))


def _whole(value: float, places: int) -> int:
    # Return a double as a whole number of ``2**-places``, exactly.
    top, bottom = value.as_integer_ratio()
    return (top << places) // bottom


def errors(alpha: float, columns: int = COLUMNS) -> np.ndarray:
    """Return the scaled errors on the grid, rows from the real axis upwards."""
    x, y = grid(alpha, columns)
    z = x + 1j * y[:, None]
    expected = reference(z, alpha)
    return np.abs(mittag_leffler(z, alpha) - expected) / (1 + np.abs(expected))


def worst(columns: int = COLUMNS) -> float:
    """Return the largest scaled error in all panels."""
    return max(float(errors(alpha, columns).max()) for alpha in ORDERS)


def draw(path: str | Path, columns: int = COLUMNS) -> float:
    """Draw the panels into a file, and return the largest error shown."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 9.8), layout="compressed", dpi=160)
    FigureCanvasAgg(figure)
    largest = 0.0
    for axes, alpha in zip(figure.subplots(len(ORDERS), 1), ORDERS, strict=True):
        off = errors(alpha, columns)
        largest = max(largest, float(off.max()))
        image = _panel(axes, alpha, off)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    key = figure.legend(handles, labels, loc="outside upper center", ncols=3, facecolor="#444444")
    for text in key.get_texts():
        text.set_color("white")
    bar = figure.colorbar(
        image, ax=figure.axes, location="bottom", aspect=40, pad=0.01, extend="both"
    )
    bar.set_label(r"$\log_{10}\; |\mathrm{error}|\,/\,(1 + |E_\alpha|)$")
    figure.savefig(path)
    return largest


def _panel(axes, alpha: float, off: np.ndarray):
    # One map, with the curves on which the parts of the function change places.
    width = REACH**alpha
    image = axes.imshow(
        np.log10(np.maximum(off, FLOOR)),
        origin="lower",
        extent=(-width, width, 0.0, width),
        cmap="cividis",
        vmin=np.log10(FLOOR),
        vmax=np.log10(CEILING),
        interpolation="nearest",
    )
    s = MU * (1 + np.sin(1j * np.linspace(0.0, 4.0, 800) - PHI))
    contour = np.abs(s) ** alpha * np.exp(1j * alpha * np.angle(s))
    far = 3 * width
    # A pole s = z**(1/alpha) reaches the cut of s at arg z = alpha pi, on one sheet or the next.
    cut = min(alpha, 2 - alpha) * np.pi
    curves = (
        ("-", contour, "contour"),
        ("--", np.array([0, far * np.exp(0.5j * alpha * np.pi)]), r"$\arg z = \alpha\pi/2$"),
        (
            ":",
            np.array([0, far * np.exp(1j * cut)]),
            r"$|\arg z| = \alpha\pi\ (\mathrm{mod}\ 2\pi)$",
        ),
    )
    for dash, curve, label in curves:
        axes.plot(curve.real, curve.imag, color="black", lw=2.0, alpha=0.6)
        axes.plot(curve.real, curve.imag, color="white", lw=0.9, ls=dash, label=label)
    axes.set(xlim=(-width, width), ylim=(0, width), xlabel="Re z", ylabel="Im z")
    axes.set_title(rf"$\alpha = {alpha}$: largest {off.max():.1e}", loc="left", fontsize=10)
    return image


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "mittag_leffler.png"
    print(f"largest error {draw(name):.2e}, drawn in {name}")
