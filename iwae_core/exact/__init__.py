"""Known answers: quadrature, closed forms and sums over all states."""
