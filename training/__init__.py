"""Data, loop, records and command line: what the two backends share."""
