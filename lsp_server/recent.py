"""What the model said a moment ago: going back and typing on need not ask it again.

Pure. An answer is found by the text before the cursor, which is all that the prompt is made of: the
same text, or the same and the beginning of the answer.
"""

from __future__ import annotations

from collections import OrderedDict

from learner.records import Offer

MOST = 64
"""Answers that are kept; each is a sentence or two."""


class Recent:
    """Answers of one adapter in one document."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Offer] = OrderedDict()

    def keep(self, before: str, offer: Offer) -> None:
        """Remember what was answered after the text `before`."""
        self._kept[before] = offer
        self._kept.move_to_end(before)
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)

    def find(self, before: str) -> tuple[Offer, int] | None:
        """The newest answer that holds after `before`, and how many characters of it stand there already.

        None if there is none, or nothing of it is left.
        """
        for begun, offer in reversed(self._kept.items()):
            stands = len(before) - len(begun)
            if 0 <= stands < len(offer.offered) and before == begun + offer.offered[:stands]:
                return offer, stands
        return None
