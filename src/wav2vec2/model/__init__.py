"""The model of sections 2 and 3 of the paper: networks and losses. Files and training are elsewhere."""
