"""Train a network: `python train.py model=lenet5_tanh backend=numpy`; see `--help`."""

from __future__ import annotations

import sys

try:
    from training.cli.main import main
except KeyboardInterrupt:  # Ctrl-C while the libraries are read
    print("train.py: interrupted before there was anything to save", file=sys.stderr)
    sys.exit(130)

if __name__ == "__main__":
    main()
