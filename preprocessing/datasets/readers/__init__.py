"""Readers of data sets' own lists, one file each; every module here is found by itself."""
