"""Files that are whole or not there: checkpoints, tables, run folders."""
