"""Train one of the networks: `python train.py model=lenet5_tanh backend=numpy`; `--help` for all."""

from __future__ import annotations

from training.cli import main

if __name__ == "__main__":
    main()
