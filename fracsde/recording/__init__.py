"""Recording of training runs, and models of a framework as losses that can be examined."""
