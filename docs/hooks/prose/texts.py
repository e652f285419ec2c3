"""The prose of a file, as passages: paragraphs, headings, cells, docstrings, messages, comments.

Code is not prose: fences are left out, and code within a line is replaced by a placeholder.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

#: What replaces code, a URL or a value within a passage: a word that no rule matches.
PLACEHOLDER = "X"
_CODE = re.compile(r"``[^`]+``|`[^`]+`|https?://[^\s)]+|\{\{.*?\}\}|:[a-z]+:(?=X)")
_ENTRY = re.compile(r"^(?:[-*]|\d+\.|#:) ")  # an entry of a list
_ARGUMENT = re.compile(r"^\*{0,2}\w+(?:, \*{0,2}\w+)*(?: \([^)]*\))?: ")  # "name: What it is."
_SECTION = re.compile(r"[A-Z]\w+:")  # "Args:"
_ADMONITION = re.compile(r"^(?:!!!|[?]{3}\+?|===)(?: \w+)?(?: \"[^\"]*\")?")
_ATTRIBUTES = re.compile(r"\{[ .#:][^}]*\}")
_NOT_PROSE = re.compile(r"noqa|type: ignore|pragma|mypy:|ruff:|!")


@dataclass(frozen=True)
class Passage:
    """Prose that belongs together.

    Attributes:
        text: Words and punctuation, on one line.
        line: Where it begins in its file, from 1.
        kind: ``text``, ``heading``, ``cell``, ``docstring``, ``message`` or ``comment``.
    """

    text: str
    line: int
    kind: str


def read(path: Path) -> Iterator[Passage]:
    """The passages of a Markdown or Python file, in order."""
    source = path.read_text(encoding="utf-8")
    found = markdown(source) if path.suffix == ".md" else python(source)
    return (each for each in found if re.search(r"[a-z]{2}", each.text))


def plain(text: str) -> str:
    """The text on one line, without code and without emphasis."""
    return re.sub(r"\s+", " ", _CODE.sub(PLACEHOLDER, text)).replace("**", "").strip()


def markdown(source: str) -> Iterator[Passage]:
    """Paragraphs, headings, entries of lists, cells of tables and texts of images."""
    kind, line = "text", 1
    lines = source.splitlines()
    for token in MarkdownIt("commonmark").enable("table").parse(source):
        if token.map:
            line = token.map[0] + 1
        if token.type in {"heading_open", "td_open", "th_open"}:
            kind = "heading" if token.type == "heading_open" else "cell"
        elif token.type in {"paragraph_open"}:
            kind = "text"
        elif token.type == "inline":
            words = "".join(
                child.content
                if child.type == "text"
                else " "
                if child.type in {"softbreak", "hardbreak"}
                else PLACEHOLDER
                if child.type == "code_inline"
                else ""
                for child in token.children or ()
            )
            for child in token.children or ():
                if child.type == "image":  # its alternative text
                    yield Passage(plain(child.content), line, "text")
            words = _ATTRIBUTES.sub("", _ADMONITION.sub("", words))
            yield Passage(plain(words), line, kind)
        elif token.type == "code_block":  # the body of an admonition or a tab
            yield from _indented(lines, token.map or [0, 0])


def _indented(lines: list[str], span: list[int]) -> Iterator[Passage]:
    body = inspect.cleandoc("\n".join(lines[span[0] : span[1]]))
    for each in markdown(body):
        yield Passage(each.text, span[0] + each.line, each.kind)


def python(source: str) -> Iterator[Passage]:
    """Docstrings, comments, and each string that has a sentence's look."""
    tree = ast.parse(source)
    docstrings = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if ast.get_docstring(node) and isinstance(first, ast.Expr):
                docstrings.add(first.value)
    for node, text in _strings(tree):
        if node in docstrings:
            for offset, part in _paragraphs(inspect.cleandoc(text)):
                yield Passage(plain(part), node.lineno + offset, "docstring")
        elif re.search(r"[A-Za-z`'’,;:]+ [a-z]+ [a-z`'{]", text):
            for part in text.split("\n"):
                yield Passage(plain(part), node.lineno, "message")
    yield from _comments(source)


def _strings(tree: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    """The strings of a module; a value within one is a placeholder."""
    inner: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inner.update(node.values)
            yield (
                node,
                "".join(
                    str(each.value) if isinstance(each, ast.Constant) else PLACEHOLDER
                    for each in node.values
                ),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inner:
            yield node, node.value


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Each paragraph, entry and argument of a docstring, with its line; no literal blocks."""
    start, words, literal = 0, [], False
    for number, line in enumerate([*text.splitlines(), ""]):
        if literal and (not line.strip() or line.startswith(" ")):
            continue
        literal = False
        bare = line.strip()
        ends = not bare or _entry(bare, words) or _ARGUMENT.match(bare) or _SECTION.fullmatch(bare)
        if ends and words:
            yield start, _ARGUMENT.sub("", " ".join(words), count=1)
            words = []
        if bare and not _SECTION.fullmatch(bare) and not bare.startswith((">>>", "|")):
            start = start if words else number
            words.append(_ENTRY.sub("", bare, count=1) if _entry(bare, words) else bare)
        if bare.endswith("::"):
            literal = True
            yield start, " ".join(words)
            words = []


def _entry(line: str, before: list[str]) -> bool:
    """Whether a line begins an entry of a list; a number may also be the end of a sentence."""
    found = _ENTRY.match(line)
    return bool(found) and (
        not line[0].isdigit() or not before or before[-1].endswith((".", ":", ";"))
    )


def _comments(source: str) -> Iterator[Passage]:
    """Comments; those on lines that follow each other are one."""
    start, last, indent, words = 0, -1, 0, []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        text = token.string.lstrip("#: ")
        row, column = token.start
        if _NOT_PROSE.match(text):
            continue
        if words and (row, column) != (last + 1, indent):
            yield Passage(plain(" ".join(words)), start, "comment")
            words = []
        if not words:
            start, indent = row, column
        words.append(text)
        last = row
    if words:
        yield Passage(plain(" ".join(words)), start, "comment")
