"""Fast forms of the model's parts on a CPU: hand-written backward passes, each equal to the plain form."""
