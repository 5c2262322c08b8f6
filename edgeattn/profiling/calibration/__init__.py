"""Measures this machine's processor, and writes a device profile of it."""
