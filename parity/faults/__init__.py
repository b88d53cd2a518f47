"""Faults planted to show that the harness catches them, and rewrites that it must let pass.

Each fault is a mistake people make, edited into a copy of the NumPy side's source, never into the
product itself. `parity.faults.matrix` runs them.
"""
