"""Which MLflow run a folder is of, as its file says."""

from dataclasses import asdict, dataclass

from kinebert.preprocessing import storage
from kinebert.preprocessing.checked.documents import document_text, read_document
from kinebert.preprocessing.checked.values import shown
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.plain_text import without_passwords

RUN_FILE = "mlflow.json"
"""In the output folder of a training: which MLflow run it is."""


@dataclass(frozen=True)
class RunAddress:
    """Where an MLflow run is kept."""

    tracking_uri: str
    experiment: str
    run_id: str

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value.strip() or not value.isprintable():
                raise ConfigError(f"{name}: {shown(value)} is none.")

    def save(self, folder: str) -> None:
        """Write the address into the folder of a training; for the owner's eyes only if it has a password."""
        data = (document_text(self, indent=2) + "\n").encode()
        private = without_passwords(self.tracking_uri) != self.tracking_uri
        storage.write_bytes(storage.join(folder, RUN_FILE), data, private=private)

    @staticmethod
    def load(folder: str) -> "RunAddress | None":
        """Read the address from the folder of a training; None if there is none.

        Raises:
            UserError: If it is damaged, or says something else.
        """
        path = storage.join(folder, RUN_FILE)
        with storage.explained(path, "read the address of an MLflow run"):
            if not storage.exists(path):
                return None
            return read_document(RunAddress, path, "the address of an MLflow run", "Delete it to start a new run.")
