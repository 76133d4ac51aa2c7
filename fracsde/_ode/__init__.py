"""How systems of fractional ordinary differential equations are solved."""
