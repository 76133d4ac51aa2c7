"""Operators in space: what a problem becomes on a finite set of cells."""
