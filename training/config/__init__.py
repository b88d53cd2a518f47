"""The configuration: its types, what they cannot say, and its settings by name."""
