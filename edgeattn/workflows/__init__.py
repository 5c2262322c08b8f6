"""The jobs of the command line, each from its start to its end."""
