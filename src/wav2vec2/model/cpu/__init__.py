"""Fast forms of parts of the model for eager CPU, with hand-written backward passes; each equals the plain form."""
