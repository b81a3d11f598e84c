"""The model, as sections 2 and 3 of the paper describe it: networks and losses, without files or training."""
