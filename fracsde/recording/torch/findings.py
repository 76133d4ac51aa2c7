"""What an examination of a training run found, in words."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Examination", "Finding", "listed"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that theory does not expect.

    Parameters
    ----------
    name : str
        Which: ``"random module"``, ``"coupled batch"``, ``"sum reduction"`` and so on.
    found : str
        What was found, and where.
    remedy : str
        What to do.
    """

    name: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name}: {self.found}; {self.remedy}"


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What :func:`examine` found.

    Parameters
    ----------
    findings : tuple of Finding
        Empty where nothing stands against a theory of the run.
    skipped : tuple of str
        What could not be tried, and why.
    """

    findings: tuple[Finding, ...]
    skipped: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing was found and everything was tried."""
        return not self.findings and not self.skipped

    def __str__(self) -> str:
        lines = [f"- {finding}" for finding in self.findings]
        lines += [f"- not tried: {reason}" for reason in self.skipped]
        return "\n".join(lines) if lines else "nothing stands against a theory of this run"


def listed(names: list[str]) -> str:
    """Return names as text, the first of many.

    Parameters
    ----------
    names : list of str
        The names.

    Returns
    -------
    str
    """
    if len(names) <= 4:
        return ", ".join(names)
    return f"{', '.join(names[:3])} and {len(names) - 3} more"
