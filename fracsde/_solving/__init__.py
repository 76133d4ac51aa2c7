"""How a problem is solved on given points, and how the points are chosen."""
