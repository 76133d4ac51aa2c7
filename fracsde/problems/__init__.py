"""Problems: frozen descriptions of what is to be solved, with nothing solved yet."""
