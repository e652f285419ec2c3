"""The drawing of the imports in ``docs/concepts/layers.md``, made from the code.

Usage: python docs/hooks/imports.py: renews the page (`make drawing`). A test compares the page with
what the code says.

The layers are those of import-linter's contracts in ``pyproject.toml``, the imports are grimp's.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "concepts" / "layers.md"
PACKAGE = "prefect_ecs_pinned"


def layers(contract: str) -> list[list[str]]:
    """The layers of a contract, from the top down; what shares one may not import each other."""
    text = (ROOT / "pyproject.toml").read_text().partition(f'name = "{contract}"')[2]
    listed = re.findall(r'"([^"]+)"', text.partition("layers = [")[2].partition("]")[0])
    return [[each.strip().rpartition(".")[2] for each in layer.split("|")] for layer in listed]


def imports(package: str) -> Mapping[tuple[str, str], int]:
    """Members of a package -> how many imports go from modules of the one into the other."""
    graph = grimp.build_graph(PACKAGE)
    found: Counter[tuple[str, str]] = Counter()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            pair = (_member(package, module), _member(package, imported))
            if all(pair) and pair[0] != pair[1]:
                found[pair] += 1
    return found


def _member(package: str, module: str) -> str:
    inside = module.removeprefix(f"{package}.")
    return inside.partition(".")[0] if inside != module else ""


def upward(of: Sequence[Sequence[str]], found: Mapping[tuple[str, str], int]) -> list[str]:
    """The imports that do not go down; without one there is no circle."""
    rank = {name: number for number, layer in enumerate(of) for name in layer}
    return [
        f"{above} imports {below}"
        for above, below in found
        if above in rank and below in rank and rank[above] >= rank[below]
    ]


def drawing(of: Sequence[Sequence[str]], found: Mapping[tuple[str, str], int]) -> Iterator[str]:
    """Lines of a mermaid flowchart: a box for each layer, an arrow for the imports between two.

    Arrows to the lowest layer are left out: it is what all the others may use.
    """
    yield "```mermaid"
    yield "flowchart TD"
    for number, layer in enumerate(of):
        yield f'    subgraph layer{number}[" "]'
        yield from (f"        {name}" for name in layer)
        yield "    end"
    names, lowest = [name for layer in of for name in layer], of[-1]
    for above in names:
        for below in names:
            if (above, below) in found and below not in lowest:
                yield f"    {above} --> {below}"
    yield "```"


def renewed(page: str) -> str:
    """The page, with the drawings as the code has them."""
    for mark, package, contract in DRAWINGS:
        lines = "\n".join(drawing(layers(contract), imports(package)))
        begin, end = f"<!-- drawing: {mark} -->", f"<!-- end of drawing: {mark} -->"
        head, _, rest = page.partition(begin)
        page = f"{head}{begin}\n\n{lines}\n\n{end}{rest.partition(end)[2]}"
    return page


#: Mark in the page, package whose members are drawn, contract with their layers.
DRAWINGS = (
    ("packages", PACKAGE, "Imports go down only"),
    ("packages of aws", f"{PACKAGE}.aws", "The packages of aws: verbs above plumbing"),
)

if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
