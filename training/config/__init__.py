"""The configuration: its types, what they cannot say, and its settings by name.

A setting that cannot be is a ConfigError that names it, its value and what it may be.
"""
