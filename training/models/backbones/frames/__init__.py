"""Networks of pictures, run on each frame, which temporal modules may connect. Every module is found by itself."""

from kinebert.preprocessing.discovery import modules_of

modules_of(__name__)
