"""Worked comparisons on real data, from training to report.

:func:`fracsde.demo.digits.run_digits` is what ``fracsde demo digits`` runs.
"""
