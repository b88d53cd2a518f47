"""Files that are whole or not there: checkpoints, tables, run folders.

What cannot be written is an OSError, and what is there already is kept. What is damaged is refused
by the error that its reader names.
"""
