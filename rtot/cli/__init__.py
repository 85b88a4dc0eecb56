"""The command line: argv and environment into a server, its end into an exit status."""
