"""TensorRT and TensorRT-RTX, measured on the GPU of this machine."""
