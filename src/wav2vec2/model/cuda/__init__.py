"""Fast forms of parts of the model for GPUs, with hand-written backward passes; each equals the plain form."""
