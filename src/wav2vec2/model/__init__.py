"""The model, in the order of the paper's section 2 and 3. Imports torch only."""
