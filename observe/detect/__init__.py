"""The threshold engine: learn what is normal for every series, and say when a point is not."""
