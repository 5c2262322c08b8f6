"""Sessions of ONNX Runtime by preset, torch in eager mode, and the inputs of both."""
