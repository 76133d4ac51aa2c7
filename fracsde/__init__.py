"""fracsde."""
