"""Instruments that several test files share."""
