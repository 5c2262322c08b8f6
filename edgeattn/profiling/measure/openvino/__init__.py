"""OpenVINO, measured."""
