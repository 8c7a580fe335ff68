"""Generated clusters for benchmarks and trials: as model values, or as a dump.

python -m bench.workloads mixed --pods 50000 > cluster.json
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import dump
from bench.shapes import SHAPES
from kubeverdict.model.cluster import Cluster


def cluster(shape: str, pods: int, policies: int | None = None, seed: int = 1) -> Cluster:
    """The cluster of the shape that SHAPES has under that name; the same each time.

    Raises KeyError for an unknown shape, ValueError for a number of policies that the shape
    cannot have.
    """
    return SHAPES[shape](pods, policies, seed)


def dump_file(
    folder: Path,
    shape: str,
    pods: int,
    policies: int | None = None,
    seed: int = 1,
    form: dump.Format = "json",
    *,
    compact: bool = False,
) -> Path:
    """A file in ``folder`` that holds the dump of a cluster, written unless it is there.

    Its name changes with what is asked for and with the generator's source, so a stale file is
    never taken for the right one.
    """
    count = "" if policies is None else f"-{policies}"
    ending = f"compact.{form}" if compact else form
    path = folder / f"{shape}-{pods}{count}-seed{seed}-{_generator_digest()}.{ending}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        with unfinished.open("wb") as out:
            dump.write(cluster(shape, pods, policies, seed), out, form, compact=compact)
        unfinished.replace(path)
    return path


def _generator_digest() -> str:
    here = Path(__file__).parent
    sources = [*sorted((here / "shapes").glob("*.py")), here / "kubernetes.py", here / "dump.py"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:8]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.workloads", description=__doc__)
    parser.add_argument("shape", choices=sorted(SHAPES))
    parser.add_argument("--pods", type=int, required=True)
    parser.add_argument("--policies", type=int, help="instead of the shape's own number")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--format", choices=["json", "yaml"], default="json")
    parser.add_argument("--compact", action="store_true", help="JSON without line ends")
    parser.add_argument(
        "--into",
        type=Path,
        metavar="FOLDER",
        help="write to a file in FOLDER unless it is there already, and print its path",
    )
    options = parser.parse_args(arguments)
    what = (options.shape, options.pods, options.policies, options.seed)
    try:
        if options.into is not None:
            path = dump_file(options.into, *what, options.format, compact=options.compact)
            print(path)
        else:
            dump.write(cluster(*what), sys.stdout.buffer, options.format, compact=options.compact)
    except ValueError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
