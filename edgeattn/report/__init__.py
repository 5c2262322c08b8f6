"""Reports: an attribution as a table, HTML, figures, and the files that other tools read."""
