"""The shape of the house: how many files, how long, how many parameters, typed, documented and tested, per package.

    python -m tests.benchmarks.structure [COMMIT]

With a commit, the table of then stands before that of the working tree.
"""

import ast
import io
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.helpers.measuring import print_table
from tests.helpers.paths import ROOT

PACKAGES = ("preprocessing", "training", "orchestration", "pipelines", "kinebert")
MANY = 15
"""Modules beside each other in one folder that are still found at a glance."""
CROWDS = ("backbones", "keys", "pipelines")
"""Folders whose modules are all of one kind, so that any number will do."""
LONG = 350
"""Lines of a file."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Shape:
    """What is counted of some files."""

    files: int
    lines: int
    function_lines: list[int]
    """Of every function and method, docstrings included."""
    parameters: list[int]
    """Of every function and method, without self and cls."""
    typed: float
    """Share of functions all of whose parameters and results have a type."""
    documented: float
    """Share of public functions, methods and classes that have a docstring."""


def functions(tree: ast.AST) -> Iterator[Function]:
    """Every function and method, nested ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def parameters(function: Function) -> list[ast.arg]:
    """Its parameters, without the object or class that it is called on."""
    given = function.args
    found = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    found += [one for one in (given.vararg, given.kwarg) if one is not None]
    return [one for one in found if one.arg not in ("self", "cls")]


def is_typed(function: Function) -> bool:
    """Whether nothing of its signature is left untyped; ``__init__`` needs no result."""
    return function.returns is not None and all(one.annotation is not None for one in parameters(function))


def public(tree: ast.AST) -> Iterator[Function | ast.ClassDef]:
    """Classes and functions that others see: of the module and of its public classes, without special methods."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node)


def shape(files: Iterable[Path]) -> Shape:
    """Count what is in Python files."""
    texts = [path.read_text() for path in files]
    trees = [ast.parse(text) for text in texts]
    found = [function for tree in trees for function in functions(tree)]
    seen = [node for tree in trees for node in public(tree)]
    return Shape(
        files=len(texts),
        lines=sum(len(text.splitlines()) for text in texts),
        function_lines=[(one.end_lineno or one.lineno) - one.lineno + 1 for one in found],
        parameters=[len(parameters(one)) for one in found],
        typed=sum(map(is_typed, found)) / max(len(found), 1),
        documented=sum(ast.get_docstring(node) is not None for node in seen) / max(len(seen), 1),
    )


def sources(root: Path, package: str) -> list[Path]:
    """The Python files of a package, each once: links are not followed."""
    return sorted(path for path in (root / package).rglob("*.py") if not any(map(Path.is_symlink, path.parents)))


def row(name: str, found: Shape, test_lines: int) -> list[object]:
    """One line of the table."""
    lines, given = found.function_lines or [0], found.parameters or [0]
    spread = [f"{np.median(lines):.0f}", f"{np.percentile(lines, 90):.0f}", max(lines)]
    shares = [f"{found.typed:.0%}", f"{found.documented:.0%}", f"{test_lines / max(found.lines, 1):.2f}"]
    return [name, found.files, found.lines, len(found.function_lines), *spread, max(given), *shares]


def print_shape(root: Path, title: str) -> None:
    """Print the table of one tree, and what goes beyond the bounds."""
    head = ["package", "files", "lines", "functions", "median", "p90", "largest", "parameters", "typed", "documented"]
    head += ["tests / source"]
    rows, everything = [], list[Path]()
    for package in PACKAGES:
        files = sources(root, package)
        if files:
            everything += files
            rows.append(row(package, shape(files), shape(sources(root, f"tests/{package}")).lines))
    rows.append(row("all", shape(everything), shape(sources(root, "tests")).lines))
    print_table(title, head, rows, words=1)
    for line in beyond(root, everything):
        print(line)


def beyond(root: Path, files: Iterable[Path]) -> list[str]:
    """Sentences about crowded folders and long files."""
    files = list(files)
    counted = Counter(path.parent for path in files if path.name != "__init__.py")
    crowded = [
        f"{folder.relative_to(root)}: {count} modules beside each other"
        for folder, count in sorted(counted.items())
        if count > MANY and folder.name not in CROWDS
    ]
    lengths = {path: len(path.read_text().splitlines()) for path in files}
    long = [f"{path.relative_to(root)}: {n} lines" for path, n in sorted(lengths.items()) if n > LONG]
    return crowded + long


def main(args: list[str]) -> None:
    """Print the tables."""
    for commit in args:
        packed = subprocess.run(["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=True).stdout
        with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
            print_shape(Path(folder), f"at {commit}")
    print_shape(ROOT, "now")


if __name__ == "__main__":
    main(sys.argv[1:])
