"""The command line: the only part of edgeattn that prints and exits."""
