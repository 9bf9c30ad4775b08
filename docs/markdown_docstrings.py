"""Docstrings are Markdown with Google's sections and doctests; this makes reStructuredText of them, for Sphinx."""

import re

SECTION = re.compile(r"(Args|Attributes|Example|Examples|Note|Raises|References|Returns|Yields):$")


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _paragraphs(lines: list[str]) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [paragraph for paragraph in found if paragraph]


def _inline(text: str) -> str:
    """Convert formulas and keep code; what is neither has no markup but **bold**."""
    pieces = re.split(r"(`[^`]+`|(?<!\w)\$[^$`]+\$(?!\w)|\*\*[^\s*`][^*`]*\*\*)", text)
    for i, piece in enumerate(pieces):
        if i % 2 == 0:
            pieces[i] = re.sub(r"([*|]|_\b)", r"\\\1", piece)
            pieces[i] = re.sub(r"^(?=\w)", r"\\ ", pieces[i]) if i else pieces[i]  # `name`s
        elif piece.startswith("$"):
            pieces[i] = f":math:`{piece[1:-1]}`"
        elif piece.startswith("`") and re.fullmatch(r"`[\w.]+`", piece) is None:
            pieces[i] = f"`{piece}`"
    return "".join(pieces)


def _table(rows: list[str], margin: str) -> list[str]:
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))] for row in rows]
    found = [margin + ".. list-table::", margin + "   :header-rows: 1", ""]
    for row in (cells[0], *cells[2:]):
        found += [f"{margin}   {'*' if i == 0 else ' '} - {_inline(cell)}" for i, cell in enumerate(row)]
    return found


def _list(lines: list[str]) -> list[str]:
    """Set a list apart from the line before it."""
    found: list[str] = []
    for line in _inline("\n".join(lines)).split("\n"):
        if line.lstrip().startswith("- ") and found and not found[-1].lstrip().startswith("- "):
            if _indent(found[-1]) <= _indent(line) and SECTION.search(found[-1]) is None:
                found.append("")
        found.append(line)
    return found


def _one_name_a_line(lines: list[str]) -> list[str]:
    """Repeat what `a, b: text` says for each name, as napoleon does for arguments but not for attributes."""
    found: list[str] = []
    for line in lines:
        names, colon, text = line.partition(": ")
        several = colon and re.fullmatch(r" {4}\w+(, \w+)+", names)
        found += [f"    {name}: {text}" for name in names.strip().split(", ")] if several else [line]
    return found


def converted(lines: list[str]) -> list[str]:
    """Return a docstring's lines as reStructuredText, with Google's sections as they are."""
    found: list[str] = []
    inside = False  # a section or a list, whose paragraphs are indented
    for paragraph in _paragraphs(lines):
        margin = " " * _indent(paragraph[0])
        if paragraph[0] == "Attributes:":
            paragraph = _one_name_a_line(paragraph)
        text = "\n".join(paragraph).strip()
        inside = text.startswith("- ") or bool(SECTION.match(paragraph[0])) or (inside and len(margin) > 0)
        if text.startswith("$$") and text.endswith("$$"):
            formula = [line.strip() for line in text[2:-2].strip().split("\n")]
            found += [f"{margin}.. math::", "", *(f"{margin}   {line}" for line in formula)]
        elif all(line.strip().startswith("|") for line in paragraph) and len(paragraph) > 2:
            found += _table(paragraph, margin)
        elif text.startswith(">>>"):
            found += paragraph
        elif margin and not inside:
            found += ["::", "", *paragraph]
        else:
            found += _list(paragraph)
        found.append("")
    return found


def to_rst(app, what, name, obj, options, lines) -> None:
    """Convert the docstring of one object in place: Sphinx's event autodoc-process-docstring."""
    lines[:] = converted(list(lines))
