"""Networks of several pathways, each with a rate of frames of its own. Every module here is found by itself."""

from kinebert.preprocessing.discovery import modules_of

modules_of(__name__)
