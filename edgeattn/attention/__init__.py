"""The attention modules, one to a file, and the registry that names them."""
