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
    """Return the options; settings (key=value), before and after them, are in `.overrides`.

    Raises:
        ConfigError: if an option is unknown, lacks its value, or excludes another one.
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    add = parser.add_argument
    add("overrides", nargs="*")
    add("--version", action="version", version=f"Hydra {hydra.__version__}")
    add("--help", "-h", action="store_true")
    add("--hydra-help", action="store_true")
    add("--multirun", "-m", action="store_true")
    add("--cfg", "-c", choices=["job", "hydra", "all"])
    add("--package", "-p")
    add("--resolve", action="store_true")
    add("--info", "-i", nargs="?", const="all", choices=_INFO)
    args, unknown = parser.parse_known_intermixed_args(list(argv))
    for option in unknown:
        if option.startswith("-"):
            word = option.lstrip("-").partition("=")[0]
            raise ConfigError(
                f"there is no option {option}; settings are given as key=value"
                f"{did_you_mean(word, flatten(asdict(configuration())))}"
            )
    chosen = [f"--{mode}" for mode in ("multirun", "cfg", "info") if getattr(args, mode)]
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)} exclude each other: give one of them")
    if args.resolve and not args.cfg and not args.help:
        raise ConfigError("--resolve works only with --cfg or --help")
    return args
