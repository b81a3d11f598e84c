"""One module for each corpus or layout that can be prepared, and where the public ones are downloaded."""
