"""The folder of a stored run: its files, its header, its rows.  Private to the store."""
