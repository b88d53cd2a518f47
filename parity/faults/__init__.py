"""Faults planted to show that the harness catches them, and rewrites that it must let pass.

Each fault is a mistake people make, put into the NumPy side by a subclass or a patch, never into
the product's code. `parity.faults.matrix` runs them.
"""
