"""The command line of `inference`."""

from __future__ import annotations

import importlib
import sys

COMMANDS = {
    "evaluate": "inference.evaluate",
    "predict": "inference.predict",
    "explore": "inference.explore.command",
    "export": "inference.export",
}
USAGE = """usage: python -m inference COMMAND ...

  evaluate   accuracy, confusion matrix and most confident errors of weights on labelled images
  predict    what digits a photo, scan or drawing shows
  explore    a page to draw digits on and look inside the networks
  export     weights as ONNX, TorchScript, safetensors or NPZ, checked against both twins

`python -m inference COMMAND --help` lists a command's options."""


def main() -> None:
    """Run a command; exits with status 2 for what a user can repair."""
    arguments = sys.argv[1:]
    if arguments[:1] in ([], ["-h"], ["--help"]):
        print(USAGE)
        sys.exit(0 if arguments else 2)
    command, *options = arguments
    from training.errors import ConfigError, OutputError, cannot_write, did_you_mean

    try:
        if command not in COMMANDS:
            choices = f"{did_you_mean(command, COMMANDS)}: choose {', '.join(COMMANDS)}"
            raise ConfigError(f"there is no command {command!r}{choices}")
        sys.exit(importlib.import_module(COMMANDS[command]).main(options))
    except ConfigError as error:
        _fail(str(error), 2)
    except OutputError as error:
        _fail(str(error), 1)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        message = cannot_write(error)
        if message is None:
            raise
        _fail(message, 1)
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(message: str, status: int) -> None:
    print(message, file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
