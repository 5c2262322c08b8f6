"""What every trace of a TensorRT engine needs: its kernels, their nodes, their model."""
