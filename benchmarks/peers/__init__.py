"""Adapters for what others have written: one file per question, each peer a function or absent."""
