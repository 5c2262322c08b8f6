"""trtexec on a host: what each version takes, and how it is run."""
