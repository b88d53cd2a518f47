"""The command line: from arguments to checked jobs and exit statuses.

What a user can repair is a ConfigError that names the argument at fault and what it may be.
"""
