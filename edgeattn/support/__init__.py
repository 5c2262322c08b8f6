"""What TensorRT and its DLA take of ONNX, by version: answers with their sources."""
