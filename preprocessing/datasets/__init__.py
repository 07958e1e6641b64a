"""Readers of data sets' own lists; each ends in the manifest table."""

from collections.abc import Callable, Sequence

from kinebert.preprocessing.datasets.listing import Listing
from kinebert.preprocessing.datasets.readers.folder import read_folder
from kinebert.preprocessing.datasets.readers.hmdb51 import read_hmdb51
from kinebert.preprocessing.datasets.readers.kinetics import read_kinetics
from kinebert.preprocessing.datasets.readers.ssv2 import read_ssv2
from kinebert.preprocessing.datasets.readers.table import read_csv
from kinebert.preprocessing.datasets.readers.ucf101 import read_ucf101

READERS: dict[str, Callable[[Sequence[str]], Listing]] = {
    "folder": read_folder,
    "csv": read_csv,
    "hmdb51": read_hmdb51,
    "ucf101": read_ucf101,
    "kinetics": read_kinetics,
    "ssv2": read_ssv2,
}
"""Readers by the name of their source. Each takes absolute paths or URIs, and raises UserError for wrong ones."""
