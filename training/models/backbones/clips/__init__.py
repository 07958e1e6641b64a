"""Networks whose layers look at several frames. Every module here is found by itself."""

from kinebert.preprocessing.discovery import modules_of

modules_of(__name__)
