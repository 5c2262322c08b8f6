"""What the kernels of an engine take on a GPU, predicted."""
