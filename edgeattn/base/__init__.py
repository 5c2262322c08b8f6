"""What every layer stands on: errors, files, stages, versions, child processes."""
