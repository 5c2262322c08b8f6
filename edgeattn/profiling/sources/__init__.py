"""What traces are made of: models, engines, trtexec's files."""
