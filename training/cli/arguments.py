"""The command line's options; they are Hydra's, of which `--hydra-help` tells."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import NoReturn

import hydra

from training.config.composition import configuration
from training.config.settings import flatten
from training.errors import ConfigError, did_you_mean

#: What --info tells of.
_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the options; settings (key=value), before and after them, are in `.overrides`."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    add = parser.add_argument
    add("overrides", nargs="*")
    add("--version", action="version", version=f"Hydra {hydra.__version__}")
    add("--help", "-h", action="store_true")
    add("--hydra-help", action="store_true")
    add("--package", "-p")
    add("--resolve", action="store_true")
    one = parser.add_mutually_exclusive_group().add_argument
    one("--multirun", "-m", action="store_true")
    one("--cfg", "-c", choices=["job", "hydra", "all"])
    one("--info", "-i", nargs="?", const="all", choices=_INFO)
    args, unknown = parser.parse_known_intermixed_args(list(argv))
    for option in unknown:
        if option.startswith("-"):
            word = option.lstrip("-").partition("=")[0]
            raise ConfigError(
                f"there is no option {option}; settings are given as key=value"
                f"{did_you_mean(word, flatten(asdict(configuration())))}"
            )
    if args.resolve and not args.cfg and not args.help:
        raise ConfigError("--resolve works only with --cfg or --help")
    return args
