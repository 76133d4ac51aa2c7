"""Published numbers, reproduced: ``python -m validation.run``."""
