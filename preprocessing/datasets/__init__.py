"""Readers of data sets' own lists; each ends in the manifest table."""
