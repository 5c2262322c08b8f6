"""torch in eager mode, measured by module."""
