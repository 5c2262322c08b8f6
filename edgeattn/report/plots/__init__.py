"""Pictures of a report, drawn by matplotlib: a file for each."""
