"""Run all claims, or those named: ``python -m validation.run [name ...]``."""

from __future__ import annotations

import sys

from validation.claim import claims

__all__ = ["main"]


def main(names: list[str]) -> int:
    """Print all claims and a summary; return how many did not end as expected."""
    known = claims()
    unknown = sorted(set(names) - set(known))
    if unknown:
        print(f"no claim named {', '.join(unknown)}; there are {', '.join(known)}")
        return len(unknown)
    summary, failures = [], 0
    for name in names or known:
        claim = known[name]
        rows = claim.rows()
        print(claim.report(rows), end="\n\n")
        good = sum(row.agrees for row in rows)
        ended = claim.holds(rows)
        failures += not ended
        note = "" if ended else "   NOT AS EXPECTED"
        summary.append(
            f"{name:28} {good:3} of {len(rows):3} numbers  {claim.verdict(rows)} ({claim.origin})"
            f"{note}"
        )
    print("\n".join(summary))
    return failures


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
