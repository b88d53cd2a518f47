"""The parity report: every network measured, as one HTML page."""
