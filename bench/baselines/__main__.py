"""Print the exact rules of a baseline.

python -m bench.baselines kube-router --print policies-10
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bench.baselines import BASELINES
from bench.baselines.node import view
from bench.comparison.scenarios import NODE, SCENARIOS


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.baselines", description=__doc__)
    parser.add_argument("baseline", choices=BASELINES, metavar="NAME", help=", ".join(BASELINES))
    parser.add_argument(
        "--print",
        dest="scenario",
        choices=SCENARIOS,
        metavar="SCENARIO",
        required=True,
        help=", ".join(SCENARIOS),
    )
    options = parser.parse_args(arguments)
    baseline = BASELINES[options.baseline]
    compiled = SCENARIOS[options.scenario].compiled(baseline.profile)
    for command in baseline.render(view(compiled, NODE)).install():
        print(command)
    return 0


if __name__ == "__main__":
    sys.exit(main())
