"""The commands of ``fracsde``: options, files, words and exit codes around the public functions."""
