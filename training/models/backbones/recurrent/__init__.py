"""Networks with recurrent cells inside their blocks. Every module here is found by itself."""

from kinebert.preprocessing.discovery import modules_of

modules_of(__name__)
