"""Devices: what a device profile may say, and the calibration that writes one."""
