"""python -m cellblock: what there is to do at a command line."""

from __future__ import annotations

import argparse
import sys
from typing import List, Optional

from . import __version__, dropin
from .errors import CellblockError


def main(argv: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m cellblock", description="The Python client of Cellblock.")
    parser.add_argument("--version", action="version", version=f"cellblock {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser(
        "dropin",
        help="write the old import path into a tree",
        description=f"Write the package {dropin.PACKAGE} into DIR, as thin re-exports of this one, so that code "
        "which imports it runs unchanged.",
    )
    command.add_argument("dir", metavar="DIR", help="the directory in which, or from which, backend/ is found")
    command.add_argument("--force", action="store_true", help="replace files there that are not re-exports already")
    arguments = parser.parse_args(argv)
    try:
        for path in dropin.write(arguments.dir, arguments.force):
            print(path)
    except (CellblockError, OSError) as error:
        print(f"cellblock: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
