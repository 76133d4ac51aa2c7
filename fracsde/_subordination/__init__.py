"""How averages over the fractional clock are taken; the verbs are in fracsde.subordination."""
