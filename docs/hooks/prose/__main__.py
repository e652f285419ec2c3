"""The prose linter: README, docs, help texts, messages, docstrings and comments in plain words.

Usage: python docs/hooks/prose [PATH ...]: lints these files, or all. Prints only breaches.

Rules: ``vocabulary.yml`` (phrases to avoid, and what to write instead), sentences of at most 25
words (30 in docstrings and comments), proselint, and codespell. ``exceptions.yml`` lists the
breaches that may stay, each with its reason. An exception that matches nothing is an error as well.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from rules import Breach, check, vocabulary
from texts import read

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
#: What is linted. The generated pages of the reference are made of strings in Python files.
PATTERNS = (
    "*.md",
    "docs/**/*.md",
    "docs/hooks/**/*.py",
    "prefect_ecs_pinned/**/*.py",
    "tests/**/*.py",
)


@dataclass(frozen=True)
class Exemption:
    """A breach that may stay.

    Attributes:
        file: A pattern of paths, as of ``PurePath.match``.
        rule: The rule that is broken.
        found: What the breach has to contain; empty matches any.
        reason: Why it may stay.
    """

    file: str
    rule: str
    found: str
    reason: str

    def covers(self, breach: Breach) -> bool:
        """Whether this breach may stay."""
        return (
            Path(breach.file).match(self.file)
            and breach.rule == self.rule
            and self.found.lower() in breach.found.lower()
        )


def lint(files: Iterable[Path]) -> Iterator[Breach]:
    """All breaches in these files, exempt or not."""
    phrases = vocabulary(HERE / "vocabulary.yml")
    files = list(files)
    for file in files:
        yield from check(file.relative_to(ROOT).as_posix(), list(read(file)), phrases)
    yield from _spelling([file for file in files if not file.is_relative_to(ROOT / "tests")])


def _spelling(files: Sequence[Path]) -> Iterator[Breach]:
    names = [file.relative_to(ROOT).as_posix() for file in files]
    done = subprocess.run(  # noqa: S603 - codespell, on files of this repository
        [sys.executable, "-m", "codespell_lib", *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 65):  # 65: codespell's EX_DATAERR, misspellings were found
        raise RuntimeError(done.stderr)
    for line in done.stdout.splitlines():
        file, number, found = line.split(":", 2)
        word, _, advice = found.strip().partition(" ==> ")
        yield Breach(file, int(number), "spelling", word, f"write {advice}")


def main(arguments: Sequence[str]) -> int:
    """Lint, print what is wrong; 1 if anything is."""
    every = sorted({path for pattern in PATTERNS for path in ROOT.glob(pattern)})
    files = [Path(each).resolve() for each in arguments] or every
    exempt = [Exemption(**each) for each in yaml.safe_load((HERE / "exceptions.yml").read_text())]
    used: set[Exemption] = set()
    wrong = []
    for breach in lint(files):
        covering = [each for each in exempt if each.covers(breach)]
        used.update(covering)
        if not covering:
            wrong.append(str(breach))
    if not arguments:
        wrong += [
            f"exceptions.yml: {each.file}: {each.rule}: {each.found!r} matches nothing any more"
            for each in exempt
            if each not in used
        ]
    for line in wrong:
        print(line)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
