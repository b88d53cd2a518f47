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
    """Run a command; exits with 2 for what a user can repair, 1 where output cannot be written."""
    arguments = sys.argv[1:]
    if arguments[:1] in ([], ["-h"], ["--help"]):
        print(USAGE)
        sys.exit(0 if arguments else 2)
    command, *options = arguments
    from training.errors import ConfigError, did_you_mean

    try:
        if command not in COMMANDS:
            choices = f"{did_you_mean(command, COMMANDS)}: choose {', '.join(COMMANDS)}"
            raise ConfigError(f"there is no command {command!r}{choices}")
        importlib.import_module(COMMANDS[command]).main(options)
    except ConfigError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        if error.strerror is None:  # not the system's
            raise
        name = error.filename or "the output"
        print(f"cannot write {name}: {error.strerror}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
