"""Use what was trained: `python -m inference evaluate|predict|explore|export`.

What a user can repair (weights, images, MNIST that cannot be had or used) is a ConfigError;
OSErrors tell of output that cannot be written.
"""
