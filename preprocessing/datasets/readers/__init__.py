"""Readers of data sets' own lists, one file each; every module here is found by itself."""

from kinebert.preprocessing.discovery import modules_of

modules_of(__name__)
