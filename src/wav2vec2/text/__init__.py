"""Text: normalisation, the vocabulary of a CTC model, phones and error rates."""
