"""Numbers of things in words. Knows no things."""


def counted(number: int, what: str, verb: str = "") -> str:
    """Return a number of things: `1 topic`, `2 topics`, `1,000 topics`; with a verb in the plural: `1 record waits`."""
    one = number == 1
    return f"{number:,} {what}{'' if one else 's'}" + (f" {verb}{'s' if one else ''}" if verb else "")
