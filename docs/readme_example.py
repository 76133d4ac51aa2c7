"""Print the first Python example of a Markdown file, so that it can be run as it stands."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def example(path: str | Path) -> str:
    """Return the first fenced Python block of a Markdown file."""
    block = re.search(r"^```python\n(.*?)^```", Path(path).read_text(encoding="utf-8"), re.M | re.S)
    if block is None:
        msg = f"{path} holds no Python example"
        raise SystemExit(msg)
    return block.group(1)


if __name__ == "__main__":
    sys.stdout.write(example(sys.argv[1]))
