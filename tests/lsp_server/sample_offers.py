"""An offer of a given text, all else made up."""

from learner.records import Message, Offer, Prompt, Task


def offer(text: str, identifier: str = "o") -> Offer:
    prompt = Prompt((Message("user", "x"),))
    return Offer(
        identifier, "d", 0.0, Task.COMPLETION, "text", "u", "w", 1, (0, 0, 0, 0), prompt, "1", text, text, "stop",
        1, 1, 1.0, "base", None, "b", "e",
    )  # fmt: skip
