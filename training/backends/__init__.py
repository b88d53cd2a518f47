"""The two sides of training behind one protocol.

A network, a device or a number of processes that cannot be had is a ConfigError; a rank that is
gone is a ProcessError on all the others.
"""
