"""The command line: ``python -m parity check`` and the other commands that ``--help`` lists.

Exit status 0: everything agrees; 1: a disagreement, or a planted fault that survived; 2: something
that cannot be run or written, said in one sentence; 130: interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from parity.exercises import NAMES, exercise
from parity.files import standard_output
from parity.grading.submission import Limits
from parity.protocol import ParityError, told


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command and return the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with standard_output():
            return _run(words)
    except ParityError as error:
        print(f"parity: {error}", file=sys.stderr)
        return 2
    except Exception as error:  # status 1 is for disagreements alone
        print(f"parity: stopped by an unexpected error, {told(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("parity: interrupted, no file is left half-written", file=sys.stderr)
        return 130


def _run(words: list[str]) -> int:
    options = _parser().parse_args(words)
    if options.command == "exercise":
        return exercise(options.name, options.folder)
    if options.command == "grade":
        from parity.grading.command import grading

        return grading(options)
    if options.command == "faults":
        from parity.faults.command import command

        return command(options.only)
    if options.command == "kernels":
        from parity.kernels import command as kernels

        return kernels(options.pairs, options.set, options.environment)
    if options.command == "report":
        from parity.report.command import command as report

        return report(options.model, options.output)
    from parity.check import check, rerun

    if options.command == "replay":
        return rerun(options.file)
    return check(options.factory, options.arguments, options.save, options.verbose)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m parity", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="compare the two sides of your own pair")
    check.add_argument(
        "factory",
        help="package.module:factory, a function that returns (torch_module, numpy_network, "
        "inputs), or a dict that may also have targets, torch_criterion, numpy_criterion, layers, "
        "train, seed, name, names, precision, expect and vary",
    )
    check.add_argument("arguments", nargs="*", help="name=value arguments of the factory")
    check.add_argument("--save", metavar="FILE", help="where a failure's .npz reproduction goes")
    check.add_argument("--verbose", action="store_true", help="print every tensor's verdict")
    kernels = commands.add_parser(
        "kernels", help="check pairs under every set of kernels that this machine offers"
    )
    kernels.add_argument(
        "pairs",
        nargs="*",
        metavar="SPEC",
        help="package.module:factory, then its name=value arguments; by default every network of "
        "the project",
    )
    kernels.add_argument("--set", action="append", default=[], metavar="NAME", help="only this set")
    kernels.add_argument(
        "--environment",
        metavar="NAME",
        help="print a set's variables and check nothing: env $(python -m parity kernels "
        "--environment sse4) pytest",
    )
    replay = commands.add_parser("replay", help="run a failure's reproduction again")
    replay.add_argument("file", help="an .npz file that check wrote; its factory is imported again")
    faults = commands.add_parser("faults", help="plant every known fault and print the kill matrix")
    faults.add_argument("--only", metavar="TEXT", default="", help="faults whose name has TEXT")
    handout = commands.add_parser("exercise", help="write a folder that a student starts from")
    handout.add_argument("name", choices=NAMES)
    handout.add_argument("folder", type=Path, help="a new or empty folder")
    _add_grade(commands.add_parser("grade", help="grade every submission in a folder"))
    report = commands.add_parser("report", help="measure networks; write an HTML page")
    what = report.add_mutually_exclusive_group(required=True)
    what.add_argument("--all", action="store_true", help="measure every network")
    what.add_argument("--model", nargs="+", default=[], metavar="NAME", help="measure only these")
    report.add_argument(
        "--output",
        type=Path,
        default="outputs/parity",
        metavar="DIR",
        help="(default: %(default)s)",
    )
    return parser


def _add_grade(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", type=Path, help="of STUDENT/solution.py or STUDENT.py files, or one solution.py")
    add(
        "--against",
        required=True,
        metavar="MODULE:FACTORY",
        help="takes a solution; returns a pair as for check, or a dict of pairs by name",
    )
    add("--output", type=Path, default=Path("grades"), metavar="FOLDER", help="(default: grades)")
    add("--overwrite", action="store_true", help="replace what is there")
    add("--points", type=float, help="full marks (default: one point for each tensor)")
    add("--seconds", type=float, default=Limits.seconds, help="for each submission")
    add("--memory", type=int, default=Limits.mebibytes, metavar="MIB", help="for each submission")
    forbidden = f"not to be imported, besides {', '.join(Limits.forbidden)}"
    add("--forbid", action="append", default=[], metavar="MODULE", help=forbidden)


if __name__ == "__main__":
    sys.exit(main())
