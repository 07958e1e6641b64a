"""MLflow's tables in SQLite, made once by its forty migrations and copied from then on, which saves a second each."""

import sqlite3
from contextlib import closing
from functools import cache
from typing import Any

_copied: dict[str, sqlite3.Connection] = {}


@cache
def copy_from_the_first() -> None:
    """Let the next empty SQLite store of this process be made by MLflow, and all further ones be copies of it."""
    from mlflow.store.db import utils

    make: Any = utils._initialize_tables

    def initialize(engine: Any) -> None:
        path = engine.url.database
        if engine.dialect.name != "sqlite" or not path or not utils._is_empty_database(engine):
            make(engine)
            return
        if "tables" not in _copied:
            make(engine)
            _copied["tables"] = sqlite3.connect(":memory:", check_same_thread=False)
            with closing(sqlite3.connect(path)) as first:
                first.backup(_copied["tables"])
            return
        with closing(sqlite3.connect(path)) as store:
            _copied["tables"].backup(store)

    utils._initialize_tables = initialize
