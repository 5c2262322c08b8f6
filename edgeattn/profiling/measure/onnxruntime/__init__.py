"""ONNX Runtime on the CPU, measured."""
