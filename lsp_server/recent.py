"""What the model said a moment ago: going back and typing on need not ask it again.

Pure. An answer is found by the text before the cursor, which is all that the prompt is made of: the
same text, or the same and the beginning of the answer.
"""

from __future__ import annotations

from collections import OrderedDict

from learner.records import Offer

MOST = 64
"""Answers that are kept; each is a sentence or two."""
TAIL = 4000
"""Characters before the cursor that are compared, besides how many there are: lines can be of any length."""


class Recent:
    """Answers of one adapter in one document."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, str], Offer] = OrderedDict()

    def keep(self, before: str, offer: Offer) -> None:
        """Remember what was answered after the text `before`."""
        key = len(before), before[-TAIL:]
        self._kept[key] = offer
        self._kept.move_to_end(key)
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)

    def find(self, before: str) -> tuple[Offer, int] | None:
        """The newest answer that holds after `before`, and how many characters of it stand there already.

        None if there is none, or nothing of it is left.
        """
        for (length, tail), offer in reversed(self._kept.items()):
            stands = len(before) - length
            follows = 0 <= stands < len(offer.offered) and before[length:] == offer.offered[:stands]
            if follows and before[max(0, length - TAIL) : length] == tail:
                return offer, stands
        return None
