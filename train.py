"""Train a network: `python train.py model=lenet5_tanh backend=numpy`; see `--help`."""

from __future__ import annotations

from training.cli.main import main

if __name__ == "__main__":
    main()
