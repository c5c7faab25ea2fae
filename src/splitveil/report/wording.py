"""Refuses a sentence that claims more than its number bears.

Only a theorem may be called a bound, a guarantee or certified. A clause that puts one of these
words to a model, a proxy or a measured number is a breach, unless it denies the claim or compares
with it ("no guarantee", "below the bound"). Names that people gave their files and layers are
theirs, and are left out.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser

from splitveil.errors import MislabelledClaim

_CLAIM = re.compile(
    r"(?<![-\w])(bounds?|bounded|(?:lower|upper)-bound(?:s|ed)?|guarantee\w*|certif\w+|provabl[ye]\w*)"
    r"(?![-\w])",
    re.IGNORECASE,
)
_WEAK = re.compile(
    r"\b((?i:leakages?|leak budgets?|(?:best|strongest) attacks?|attacks?['\u2019]s? errors?"
    r"|accurac(?:y|ies)|radi(?:us|i)|distance correlation|critics?|prox(?:y|ies)|measured"
    r"|declared source|synthetic twins?|estimates?)"
    r"|PSNR|SSIM|R²c|R_c²|R_c\^2|NC1|dFIL|dCor|HSIC|MINE|NWJ|InfoNCE|CLUB|van Trees|Efroimovich"
    r"|L\s*=)(?!\w)",
)
_EXCUSE = re.compile(
    r"\b(no|not|never|nothing|nobody|none|nor|neither|cannot|without"
    r"|below|above|beneath|beyond|beside|against|than|versus)\b",
    re.IGNORECASE,
)
_CLAUSES = re.compile(r"(?<=[.!?;:])\s|,\s|[()|\n]|\s[\N{EN DASH}\N{EM DASH}]\s")
_DECIMAL = re.compile(r"\d+\.\d+")
_INLINE = {"a", "b", "em", "strong", "small", "span", "sub", "sup", "code", "i", "tspan", "button"}
_SKIPPED = {"style", "script", "pre", "code"}


@dataclass(frozen=True)
class Breach:
    """A clause, the word that claims too much, and what it is said of."""

    clause: str
    word: str
    of: str

    def __str__(self) -> str:
        return f"'{self.clause.strip()}' says '{self.word}' of '{self.of}'"


def breaches(
    text: str, *, weak_numbers: Collection[str] = (), names: Collection[str] = ()
) -> Iterator[Breach]:
    """Every clause of `text` that calls something a bound that is none.

    Args:
        text: sentences; a line break ends one.
        weak_numbers: numbers as written, with a decimal point, that no theorem stands behind.
        names: what people called their own things; they are not read.
    """
    for name in sorted(names, key=len, reverse=True):
        if name and (_CLAIM.search(name) or _WEAK.search(name)):
            text = text.replace(name, "*")
    for clause in _CLAUSES.split(text):
        claim = _CLAIM.search(clause)
        if claim is None or _EXCUSE.search(clause):
            continue
        weak = _WEAK.search(clause)
        if weak is not None:
            yield Breach(clause, claim[0], weak[0])
            continue
        for number in _DECIMAL.findall(clause):
            if number in weak_numbers:
                yield Breach(clause, claim[0], number)
                break


def check_wording(
    text: str, *, weak_numbers: Collection[str] = (), names: Collection[str] = ()
) -> None:
    """Refuse a text with a breach.

    Raises:
        MislabelledClaim: naming the first clause that claims more than its number bears.
    """
    for breach in breaches(text, weak_numbers=weak_numbers, names=names):
        raise MislabelledClaim(
            f"{breach}: only a theorem may be called that; nothing was written, report a bug"
        )


class _Blocks(HTMLParser):
    def __init__(self) -> None:
        HTMLParser.__init__(self)
        self.parts: list[str] = []
        self.skipped = 0
        self.drawn = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.skipped += tag in _SKIPPED
        self.drawn += tag == "text"
        if tag not in _INLINE:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self.skipped -= tag in _SKIPPED
        self.drawn -= tag == "text"
        if tag not in _INLINE:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        # a name that a figure has no room for is no longer the name people gave
        if not self.skipped and not (self.drawn and "…" in data):
            self.parts.append(" ".join(data.split("\n")))


def text_of_page(source: str) -> str:
    """The words of an HTML page, a line a block; code, settings and style are left out."""
    reader = _Blocks()
    reader.feed(source)
    return re.sub(r"\n\s*\n+", "\n", "".join(reader.parts))


def text_of_markdown(source: str) -> str:
    """The words of a Markdown page, a line a paragraph or table cell; code blocks are left out."""
    without = re.sub(r"```.*?```", "", source, flags=re.DOTALL)
    without = re.sub(r"`[^`\n]*`", "*", without)
    lines = []
    for paragraph in re.split(r"\n\s*\n", without):
        kept = [line for line in paragraph.splitlines() if not re.fullmatch(r"[|:\-\s]+", line)]
        table = any(line.lstrip().startswith(("|", "- ", "* ")) for line in kept)
        lines.append("\n".join(kept) if table else " ".join(kept))
    return "\n".join(lines).replace("**", "")
