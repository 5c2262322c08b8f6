"""Runs of trtexec's, from the files that it exported."""
