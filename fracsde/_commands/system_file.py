r"""Systems of fractional ordinary differential equations written in TOML.

.. code-block:: toml

    [system]                        # D^alpha y = f(t, y)
    unknowns = ["u", "v"]
    rhs = ["a - (mu + 1) * u + u**2 * v", "mu * u - u**2 * v"]
    parameters = { a = 1.0, mu = 4.0 }
    initial = [1.2, 2.8]
    alpha = [0.8, 0.7]              # one order, or one per unknown

Right-hand sides may name the time ``t``.  Their Jacobian is the exact one, from the formulas.

Not here: the other tables (:mod:`fracsde._commands.problem_file`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._commands.problem_values import read_table, refuse_unknown
from fracsde.errors import InputError
from fracsde.problems.expressions import Expression
from fracsde.problems.fractional_ode import FractionalODE

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["read_system"]

_MOST_UNKNOWNS = 7  # expressions have eight variables at most, and one is the time
_KEYS = ("unknowns", "rhs", "parameters", "initial", "alpha")


def read_system(value: Any) -> FractionalODE:
    """Return the system of a table.

    Parameters
    ----------
    value : mapping
        The table ``[system]``.

    Returns
    -------
    FractionalODE

    Raises
    ------
    InputError
        If a key is missing, or there is not one right-hand side per unknown.
    """
    table = read_table("system", value)
    refuse_unknown("[system]", table, _KEYS)
    for key in ("unknowns", "rhs", "initial", "alpha"):
        if key not in table:
            msg = f"[system] needs `{key}`"
            raise InputError(msg)
    names, texts = table["unknowns"], table["rhs"]
    if not isinstance(names, list) or not isinstance(texts, list) or len(names) != len(texts):
        msg = f"[system] needs one `rhs` per unknown, got {names!r} and {texts!r}"
        raise InputError(msg)
    if not 1 <= len(names) <= _MOST_UNKNOWNS:
        msg = (
            f"[system] `unknowns` must be one to {_MOST_UNKNOWNS} names, got {len(names)}; write "
            "larger systems in Python, with FractionalODE"
        )
        raise InputError(msg)
    initial = table["initial"]
    if (len(initial) if isinstance(initial, list) else 1) != len(names):
        msg = f"[system] needs one `initial` value per unknown, {names!r}, got {initial!r}"
        raise InputError(msg)
    if "t" in names:
        msg = "[system] `unknowns` must not hold 't', which is the time; rename it"
        raise InputError(msg)
    parameters = read_table("system.parameters", table.get("parameters", {}))
    rates = []
    for text in texts:
        if not isinstance(text, str):
            msg = f"[system] `rhs` must hold expressions in quotes, got {text!r}"
            raise InputError(msg)
        rates.append(Expression(text, variables=("t", *names), parameters=parameters))

    def rhs(t: float, y: FloatArray) -> FloatArray:
        return np.array([rate(t, *y) for rate in rates])

    def jacobian(t: float, y: FloatArray) -> FloatArray:
        return np.array([rate.gradient_at(t, *y)[1:] for rate in rates])

    return FractionalODE(rhs=rhs, jacobian=jacobian, initial=table["initial"], alpha=table["alpha"])
