"""Use what was trained: `python -m inference evaluate|predict|explore|export`."""
