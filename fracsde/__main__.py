"""``python -m fracsde`` is the command ``fracsde``."""

from fracsde.cli import main

if __name__ == "__main__":
    main()
