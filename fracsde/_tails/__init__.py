"""Numbers behind the tail index: laws of norms, their quadrature, batches, populations."""
