"""What runs show: a study at a sweep's end, and the reports' claims in docs/results.md.

A run or a record that cannot be used is a ConfigError that names it.
"""
