"""One file per claim, each with a ``CLAIM`` that is complete before anything runs."""
