"""Measurements: steps, scaling, memory and epochs, each a command (`python -m benchmarks.step`)."""
