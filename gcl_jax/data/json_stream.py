"""Reading long lists in a JSON object part by part, so that a file of gigabytes is never in memory as a whole."""

import json
import re
from collections.abc import Callable, Collection, Iterator

from gcl_jax.typing import Json

CHUNK = 2**21  # characters that are decoded together
SPACE = re.compile(r"[ \t\n\r]*")
MAX_SINGLE = 50_000  # elements that are decoded one by one before they are returned


def lists(read: Callable[[int], str], keys: Collection[str]) -> Iterator[tuple[str, list]]:
    """Yield (key, some elements) of the lists that a JSON object has under ``keys``, in the order of the text.

    ``read(n)`` returns the next n characters or fewer, "" at the end. An empty list is yielded once; a text that is no
    object, and a value of ``keys`` that is no list, yield nothing.

    Raises ValueError or RecursionError where the text is no JSON, or has one of ``keys`` twice.

    >>> text = iter(['{"a": [1, 2], "b', '": {}, "c": [3]}'])
    >>> list(lists(lambda n: next(text, ""), ["a", "c"]))
    [('a', [1, 2]), ('c', [3])]
    """
    text = _Text(read)
    if text.next() != "{":
        text.value()
    else:
        text.take("{")
        if text.next() != "}":
            yield from _members(text, keys)
        text.take("}")
    if text.next():
        raise ValueError(f"something follows at character {text.place()}")


def _members(text: "_Text", keys: Collection[str]) -> Iterator[tuple[str, list]]:
    seen = set()
    while True:
        key = text.value()
        if not isinstance(key, str):
            raise ValueError(f"no key at character {text.place()}")
        text.take(":")
        if key not in keys or text.next() != "[":
            text.value()
        elif key in seen:
            raise ValueError(f"it has {key!r} twice")
        else:
            seen.add(key)
            yield from ((key, part) for part in _elements(text))
        if text.next() != ",":
            return
        text.take(",")


def _elements(text: "_Text") -> Iterator[list]:
    text.take("[")
    if text.next() == "]":
        yield []
    else:
        yield text.several()
        while text.next() == ",":
            text.take(",")
            yield text.several()
    text.take("]")


class _Text:
    """A window on a text that is read in parts, and the position in it up to which its values have been taken."""

    def __init__(self, read: Callable[[int], str]):
        self._read, self._text, self._at, self._passed = read, "", 0, 0
        self._decode = json.JSONDecoder().raw_decode

    def place(self, more: int = 0) -> int:
        """How many characters have been taken, plus ``more``."""
        return self._passed + self._at + more

    def _more(self) -> bool:
        """Drop the characters that have been taken and read on; False at the end of the text."""
        self._passed += self._at
        rest = self._text[self._at :]
        part = self._read(max(CHUNK, len(rest)))
        self._text, self._at = rest + part, 0
        return bool(part)

    def next(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            if space := SPACE.match(self._text, self._at):
                self._at = space.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, character: str) -> None:
        """Take the next character that is no space; ValueError unless it is ``character``."""
        if self.next() != character:
            raise ValueError(f"no {character!r} at character {self.place()}")
        self._at += 1

    def value(self) -> Json:
        """Take one value."""
        self.next()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # The window's end may cut a text, or a word, a number or an escape of some characters.
                cut = error.msg.startswith("Unterminated") or error.pos + 20 > len(self._text)
                if cut and self._more():
                    continue
                raise ValueError(f"{error.msg} at character {self.place(error.pos - self._at)}") from error
            taken = end - self._at
            if end < len(self._text) or not self._more():  # else a number may go on
                self._at += taken
                return value

    def several(self) -> list:
        """Take at least one element of a list, and as many as the window has."""
        if len(self._text) - self._at < CHUNK // 2:
            self._more()
        end = self._text.rfind("}", self._at) + 1
        if end > self._at:
            try:
                # Cut within a text or an element, or beyond the list's end, this is no JSON.
                values = json.loads(f"[{self._text[self._at : end]}]")
            except ValueError:
                pass
            else:
                self._at = end
                return values
        values = [self.value()]
        while len(values) < MAX_SINGLE and self.next() == ",":
            self.take(",")
            values.append(self.value())
        return values
