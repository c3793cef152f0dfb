"""One page each, one idea each, and together a course."""

COURSE = "course"  # where the session keeps the pages of all lessons, by the names below, so that they can be linked

# The modules of this package in the order of the menu, and their titles; imported when somebody opens them.
TITLES = {
    "same": "Same samples, two formulas",
    "truth": "Against the truth",
    "q": "What q learns",
    "network": "What the network learns",
    "price": "The price of a tight bound",
    "discrete": "Discrete latent variables",
    "digit": "Your own digit",
    "own_model": "Your own model",
    "words": "Two vocabularies",
}
