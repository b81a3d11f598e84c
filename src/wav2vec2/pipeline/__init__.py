"""Named stages with resume, each a command that can be run by hand."""
