"""What ONNX Runtime's kernels take on a CPU, predicted."""
