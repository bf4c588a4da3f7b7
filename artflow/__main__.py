"""``python -m artflow doctor [acceleration]``: what is installed, and what of it does not fit together."""

from __future__ import annotations

import argparse
import sys
from typing import get_args

from artflow.doctor import DependencyChecker, report
from artflow.models.acceleration import Kind


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status: 1 where something has to be mended."""
    parser = argparse.ArgumentParser(prog="python -m artflow")
    commands = parser.add_subparsers(dest="command", required=True)
    doctor = commands.add_parser("doctor", help="check versions, GPU and driver, and say what mends them")
    doctor.add_argument(
        "acceleration", nargs="?", default="none", choices=get_args(Kind), help="check for this one, too"
    )
    checks = DependencyChecker().check_all(parser.parse_args(arguments).acceleration)
    print(report(checks))
    return int(not all(check.ok for check in checks))


if __name__ == "__main__":
    sys.exit(main())
