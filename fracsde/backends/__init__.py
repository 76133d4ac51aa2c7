"""Engines: compiled kernels and the random streams they share.

A kernel takes plain arrays, a key and counters; it keeps no state between calls, so a result
does not depend on the number of threads or on how a run is cut into calls.
"""
