"""``python -m kubeverdict_agent``."""

from kubeverdict_agent.cli import main

main()
