"""``python -m kubeverdict`` is the command ``kubeverdict``."""

from __future__ import annotations

from kubeverdict.cli import main

if __name__ == "__main__":
    main()
