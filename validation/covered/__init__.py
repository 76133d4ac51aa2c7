"""Cases of :mod:`validation.coverage`, one file per family of estimators."""
