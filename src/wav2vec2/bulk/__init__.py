"""Work over a manifest of any size: in tasks of rows, each of which writes one Parquet file of results whole."""
