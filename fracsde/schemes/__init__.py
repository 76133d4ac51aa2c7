"""Schemes in time: frozen values whose difference is data."""
