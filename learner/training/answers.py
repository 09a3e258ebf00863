"""Many questions to the engine that serves, at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from learner.client import Endpoint, Generation, HostClient, Limits
from learner.records import Prompt

LIMITS = Limits(first_token=600.0, between_tokens=120.0)
"""Patient: nobody waits at an editor, and questions queue for a slot."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a prompt, under an adapter's version id (None: the base); the answer is greedy.

    `logprobs` above 0 asks for the log-probabilities of the answer's tokens.
    """

    prompt: Prompt
    adapter: str | None
    max_tokens: int
    logprobs: int = 0


def ask(
    endpoint: Endpoint,
    questions: Sequence[Question],
    *,
    parallel: int,
    done: Callable[[int, int], None] | None = None,
) -> list[Generation]:
    """The answers, in the order of the questions; `done` is told answers so far, and all there are.

    Raises what `HostClient.generate` raises; the other questions are withdrawn then.
    """
    return asyncio.run(_ask(endpoint, questions, parallel, done))


async def _ask(
    endpoint: Endpoint, questions: Sequence[Question], parallel: int, done: Callable[[int, int], None] | None
) -> list[Generation]:
    gate = asyncio.Semaphore(parallel)
    finished = 0

    async with HostClient(endpoint, LIMITS) as client:
        await client.connect()

        async def one(question: Question) -> Generation:
            nonlocal finished
            async with gate:
                answer = await client.generate(
                    question.prompt,
                    adapter=question.adapter,
                    max_tokens=question.max_tokens,
                    logprobs=question.logprobs,
                )
            finished += 1
            if done is not None:
                done(finished, len(questions))
            return answer

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(question)) for question in questions]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
