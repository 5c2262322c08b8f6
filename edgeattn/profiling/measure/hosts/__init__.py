"""What hosts are measured by: trtexec, or the ONNX Runtime of their Python."""
