"""What every ONNX stage needs: module tags, opsets, shapes, costs."""
