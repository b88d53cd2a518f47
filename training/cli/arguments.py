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
    args, unknown = _parser().parse_known_intermixed_args(list(argv))
    for option in unknown:
        if option.startswith("-"):
            word = option.lstrip("-").partition("=")[0]
            raise ConfigError(
                f"there is no option {option}; settings are given as key=value"
                f"{did_you_mean(word, flatten(asdict(configuration())))}"
            )
    modes = ("run", "multirun", "cfg", "info", "shell_completion")
    chosen = [f"--{mode.replace('_', '-')}" for mode in modes if getattr(args, mode)]
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)} exclude each other: give one of them")
    if args.resolve and not args.cfg and not args.help:
        raise ConfigError("--resolve works only with --cfg or --help")
    return args


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--version", action="version", version=f"Hydra {hydra.__version__}")
    for name, short in (
        ("help", "-h"),
        ("hydra-help", None),
        ("resolve", None),
        ("run", "-r"),
        ("multirun", "-m"),
        ("shell-completion", "-sc"),
    ):
        parser.add_argument(f"--{name}", *filter(None, [short]), action="store_true")
    for name, short in (
        ("package", "-p"),
        ("config-path", "-cp"),
        ("config-name", "-cn"),
        ("config-dir", "-cd"),
    ):
        parser.add_argument(f"--{name}", short)
    parser.add_argument("--cfg", "-c", choices=["job", "hydra", "all"])
    parser.add_argument("--info", "-i", nargs="?", const="all", choices=_INFO)
    return parser
