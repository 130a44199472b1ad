"""Text in lines that fit a terminal. Widths are those of cells: a CJK character takes two."""

from rich.cells import cell_len, chop_cells


def wrapped(text: str, width: int, *, indent: str = "", hanging: str = "") -> list[str]:
    """Break a text at its spaces into lines of at most that width; a word that is longer than a line is broken too.

    `indent` begins the first line, `hanging` the others; each must leave room for a character of two cells.
    """
    lines, line = [], indent
    room = width - cell_len(hanging)
    for number, word in enumerate(text.split(" ")):
        begun, rest = f"{line} " if number else line, word
        left = width - cell_len(begun)
        if cell_len(word) <= left:
            line = begun + word
            continue
        if not word:  # a space at the end of a line
            continue
        if cell_len(word) > room and left > 1:
            head = chop_cells(word, left)[0]
            begun, rest = begun + head, word[len(head) :]
        *full, last = chop_cells(rest, room) or [rest]  # of no width: an accent that stands alone
        lines += [begun.rstrip(), *(hanging + part for part in full)]
        line = hanging + last
    return [*lines, line]


def printable(text: str) -> str:
    """The text on one line; a character that a terminal would take for an order is shown as its escape."""
    if text.isprintable():
        return text
    return "".join(it if it.isprintable() else it.encode("unicode_escape", "surrogatepass").decode() for it in text)
