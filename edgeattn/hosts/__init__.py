"""Hosts: machines that are reached by SSH, what is there, and how it is run."""
