"""The command line: from arguments to checked jobs and exit statuses."""
