"""Prints the blocks of `docs/scale.md`: what 10, 10,000 and 10,000,000 users take, by `tests.benchmarks.users`.

python -m tests.benchmarks.scale                    # prints them
python -m tests.benchmarks.scale --write            # puts them into the page, and draws its picture
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from learner.answer import MAX_BODY_BYTES
from learner.config import Config
from tests.benchmarks.users import (
    ASSUMED,
    BF16,
    CARD_BYTES,
    FP32,
    LLAMA_8B,
    MEASURED,
    PUBLISHED,
    SMOLLM2,
    Scale,
    own_offer,
    own_training,
    year_of_edits,
    year_of_versions,
)  # fmt: skip

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
PICTURE = PAGE.parent / "pictures" / "scale.svg"
USERS = (10, 10_000, 10_000_000)


def number(value: float) -> str:
    """Two digits that count, with commas; whole where it is large."""
    if value and value < 10:
        return f"{value:.2g}"
    rounded = round(value, -max(0, math.floor(math.log10(value)) - 1)) if value else 0
    return f"{rounded:,.0f}"


def size(value: float) -> str:
    """Bytes, in decimal units."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5:
            return f"{number(value)} {unit}"
        value /= 1000
    return f"{number(value)} PB"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines).replace("| --- ", "|---").replace("--- |", "---|")


def assumptions() -> str:
    """What everything follows from."""
    a = ASSUMED
    return table(
        ("assumed", "value"),
        [
            ("users who write on a day", f"{a.active:.0%}"),
            ("offers of one who writes", f"{a.offers_an_hour:.0f} an hour, {a.hours:.0f} hours: {a.offers:.0f} a day"),
            ("of these, edits that teach", f"{a.edits:.0f} a day"),
            ("the busiest hour", f"{a.busiest:.0%} of a day's offers, from {a.writing_then:.0%} of its writers"),
            (
                "an offer",
                f"{a.prompt_words} words in, {a.answer_words} out: {a.prompt_tokens} and {a.answer_tokens} tokens",
            ),
            ("adapters of a person", f"{a.types} types, rank {a.rank}, one version each"),
            ("training", f"nightly, after {a.new_edits} new edits, on {a.history} edits, {a.epochs} epochs"),
            ("a GPU that trains, or reads prompts", f"{a.training_use:.0%}, or {a.prefill_use:.0%} of its peak"),
            ("starting a training", f"{a.start_seconds:.0f} s: load the base"),
            ("a night", f"{a.night_hours:.0f} hours"),
            ("adapters in a GPU machine's main memory", f"{a.warm:,} (`--max-cpu-loras`), of 8B at rank 16"),
        ],
    )


def units() -> str:
    """Sizes of single pieces, and where they come from."""
    m, a, person = MEASURED, ASSUMED, Scale(1)
    small, large = SMOLLM2.adapter_parameters(a.rank), LLAMA_8B.adapter_parameters(a.rank)
    bytes_run = (
        "`python -m tests.benchmarks.bytes_per_edit`, 10,000 offers, 2 cores of an AMD EPYC without AVX-512, 2026-11-26"
    )
    training_run = (
        f"`python -m tests.benchmarks.bench_training`: 8 edits of {number(m.training_tokens)} tokens, four types, "
        "95 CPU s; one thread of the same machine and day"
    )
    return table(
        ("piece", "size", "from"),
        [
            ("an offer in `edits.db`", size(m.sqlite), bytes_run),
            ("the same, imported from a file", size(m.imported), "the same run"),
            ("the same in Parquet (zstd)", size(m.parquet), "the same run"),
            ("the bandit's state, 3 tasks and 5 arms", size(m.bandit_state), "the same run"),
            (
                f"adapter of {SMOLLM2.name}, rank {a.rank}",
                f"{size(small * FP32)} fp32",
                f"rank x (in + out) of 7 maps x {SMOLLM2.layers} layers: {small:,} x 4 bytes",
            ),
            (
                f"adapter of {LLAMA_8B.name}, rank {a.rank}",
                f"{size(large * FP32)} fp32, {size(large * BF16)} bf16",
                f"the same, {LLAMA_8B.layers} layers: {large:,} x 4 or 2 bytes",
            ),
            (
                "keys and values of an offer, SmolLM2",
                size(SMOLLM2.kv_bytes(a.tokens)),
                f"2 x layers x width of the key heads x 2 bytes x {a.tokens} tokens",
            ),
            ("keys and values of an offer, 8B", size(LLAMA_8B.kv_bytes(a.tokens)), "the same"),
            ("training, SmolLM2", f"{number(m.training_cpu_seconds)} CPU s an edit and epoch", training_run),
            (
                "the embedded engine, SmolLM2 Q8_0",
                f"{m.prefill:.0f} tokens/s read, {m.decode:.0f} written",
                "`xllamacpp`, one stream, by hand; 2 cores (Zen 4), 2026-11-24",
            ),
            (
                "an offer, 8B",
                f"{number(1000 * person.seconds_of_an_offer)} ms of a GPU",
                f"published: {PUBLISHED.decode:,.0f} tokens/s [1], {PUBLISHED.lora_share:.0%} of it with LoRA [2]; "
                "the prompt by the peak",
            ),
            (
                "training, 8B, one person",
                f"{number(person.training_seconds)} GPU s",
                "6 x parameters x tokens, samples, judging, start: **computed, not measured**",
            ),
        ],
    )


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    return table(("", *(f"{users:,} users" for users in USERS)), rows)


def storage() -> str:
    """Rows and bytes at rest."""
    s = [Scale(users) for users in USERS]
    return _columns(
        [
            ("rows (offers) a day", *(number(x.offers) for x in s)),
            ("edits that teach, a day", *(number(x.offers * x.a.teaching) for x in s)),
            ("everybody's `edits.db` together, a year", *(size(x.stored(MEASURED.sqlite)) for x in s)),
            ("as Parquet, a year", *(size(x.stored(MEASURED.parquet)) for x in s)),
            ("adapters that serve", *(number(x.adapters) for x in s)),
            ("their weights, 8B, fp32", *(size(x.adapters * x.adapter_bytes(FP32)) for x in s)),
            ("with the replaced versions that stay, and GGUF", *(size(x.held) for x in s)),
            ("every version of a year, were none removed", *(size(x.versions) for x in s)),
        ]
    )


def _listed(length: float) -> str:
    return size(length) + (" (refused)" if length > MAX_BODY_BYTES else "")


def shared() -> str:
    """An 8B base on shared GPUs."""
    s = [Scale(users) for users in USERS]
    return _columns(
        [
            ("offers a second, busiest hour", *(number(x.rate) for x in s)),
            ("**GPUs to answer them**", *(f"**{number(x.serving_gpus)}**" for x in s)),
            ("requests at once", *(number(math.ceil(x.in_flight)) for x in s)),
            ("their keys and values", *(size(math.ceil(x.in_flight) * LLAMA_8B.kv_bytes(ASSUMED.tokens)) for x in s)),
            ("adapters wanted in that hour", *(number(x.wanted) for x in s)),
            ("their bytes, bf16", *(size(x.wanted * x.adapter_bytes(BF16)) for x in s)),
            ("**machines that hold them in main memory**", *(f"**{number(x.warm_hosts)}**" for x in s)),
            ("network: prompts and answers", *(f"{size(x.texts)}/s" for x in s)),
            ("network: adapters, were none warm", *(f"{size(x.cold_reads)}/s" for x in s)),
            ("a model list of one server with all", *(_listed(x.list_bytes) for x in s)),
            ("trainings a night", *(number(x.trainings) for x in s)),
            ("GPU hours a night", *(number(x.training_hours) for x in s)),
            ("**GPUs to train in the night**", *(f"**{number(x.training_gpus)}**" for x in s)),
            ("network: new adapters, a night", *(size(x.written) for x in s)),
        ]
    )  # fmt: skip


def alone() -> str:
    """SmolLM2 on each one's own machine: the same for any number of users."""
    a, year = ASSUMED, year_of_edits()
    adapters = a.types * SMOLLM2.adapter_parameters(a.rank) * FP32
    return table(
        ("each person, at any number of users", ""),
        [
            ("an offer", f"{number(own_offer())} s"),
            ("the engine, while one writes", f"{own_offer() * a.offers_an_hour / 3600:.1%} of the time"),
            ("`edits.db` after a year", size(Scale(1).stored(MEASURED.sqlite))),
            ("four adapters", size(adapters)),
            ("with the replaced versions that stay, and GGUF", size(adapters * 2 * (1 + Config().keep_versions))),
            ("every version of a year, were none removed", size(adapters * 2 * year_of_versions())),
            (f"a training from scratch on {a.history} edits, all four types",
             f"{number(own_training(a.history))} CPU hours"),
            (f"going on after {a.new_edits} new ones, with as many old",
             f"{number(own_training(2 * a.new_edits))} CPU hours"),
            (f"from scratch on a year's {number(year)} edits", f"{number(own_training(year))} CPU hours"),
            ("network", "0 B"),
        ],
    )  # fmt: skip


def levers() -> str:
    """What changes the two largest numbers at ten million users."""
    one = replace(ASSUMED, types=1)
    changes = [
        ("as above", ASSUMED),
        ("one type (early_ensemble) instead of four", one),
        ("after 100 new edits instead of 20", replace(ASSUMED, new_edits=100)),
        ("on the newest 50 edits instead of 200", replace(ASSUMED, history=50)),
        ("rank 8 instead of 16", replace(ASSUMED, rank=8)),
        ("all four of these", replace(one, new_edits=100, history=50, rank=8)),
    ]
    scales = [(what, Scale(USERS[-1], change)) for what, change in changes]
    return table(
        (f"at {USERS[-1]:,} users", "GPUs to train", "machines for warm adapters", "GPUs to answer"),
        [(what, *map(number, (s.training_gpus, s.warm_hosts, s.serving_gpus))) for what, s in scales],
    )


def findings() -> str:
    """What the tables say, in sentences."""
    middle, large = Scale(USERS[1]), Scale(USERS[2])
    refused = MAX_BODY_BYTES / CARD_BYTES / ASSUMED.types
    wanted, year = size(middle.wanted * middle.adapter_bytes(BF16)), year_of_edits()
    base, slots = LLAMA_8B.parameters * BF16, PUBLISHED.batch * middle.adapter_bytes(BF16)
    return "\n".join(
        [
            f"- **Nightly training, not answering, takes the GPUs**: {number(middle.training_gpus)} against "
            f"{number(middle.serving_gpus)} at 10,000 users, {number(large.training_gpus)} against "
            f"{number(large.serving_gpus)} at 10,000,000.",
            f"- **Adapters fill main memory long before GPU memory**: a GPU holds {size(base)} of base, {size(slots)} "
            f"for {PUBLISHED.batch} adapters at once (`--max-loras`) and "
            f"{size(PUBLISHED.batch * LLAMA_8B.kv_bytes(ASSUMED.tokens))} of keys and values. The adapters of "
            f"everybody who writes in the busiest hour are {wanted} at 10,000 users.",
            f"- **Text is small, adapters are not**: at 10,000,000 users a year's edits are "
            f"{size(large.stored(MEASURED.parquet))} of Parquet, one night's new adapters {size(large.written)}. "
            "Redraft deletes no version that was replaced.",
            f"- **One vLLM that lists every adapter stops Redraft's client at {number(refused)} users**: its list "
            f"passes the {MAX_BODY_BYTES >> 20} MiB that the client reads of any answer.",
            f"- **On one's own machine nothing adds up**: {number(own_offer())} s an offer, whoever else there is. "
            f"A training after {ASSUMED.new_edits} new edits goes on from the adapter there is "
            f"({number(own_training(2 * ASSUMED.new_edits))} CPU hours); one from scratch takes every edit: "
            f"{number(own_training(ASSUMED.history))} at {ASSUMED.history}, {number(own_training(year))} after a year.",
        ]
    )


BLOCKS = {
    "findings": findings, "assumptions": assumptions, "units": units, "storage": storage, "shared": shared,
    "alone": alone, "levers": levers,
}  # fmt: skip


def filled(page: str) -> str:
    """The page with every block between `<!-- scale: NAME -->` and `<!-- end -->` computed anew."""
    for name, block in BLOCKS.items():
        before, begin, rest = page.partition(f"<!-- scale: {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not begin or not end:
            raise ValueError(f"{PAGE.name} has no block {name!r}")
        page = f"{before}{begin}\n{block()}\n\n{end}{after}"
    return page


def draw(target: Path) -> None:
    """Machines by what they do, at each size, on a logarithmic scale."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "redraft", "font.size": 9})
    scales = [Scale(users) for users in USERS]
    bars = {
        "GPUs to train in the night": ([s.training_gpus for s in scales], "#b4472e"),
        "machines for warm adapters": ([s.warm_hosts for s in scales], "#d9a441"),
        "GPUs to answer": ([s.serving_gpus for s in scales], "#2457a6"),
    }
    figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
    for place, (name, (heights, colour)) in enumerate(bars.items()):
        spots = [group + 0.27 * (place - 1) for group in range(len(USERS))]
        for spot, height in zip(spots, heights, strict=True):
            axes.text(spot, height * 1.25, number(height), ha="center", fontsize=8)
        axes.bar(spots, heights, 0.25, color=colour, label=name)
    axes.set_yscale("log")
    axes.set_ylim(0.5, 300_000)
    axes.set_xticks(range(len(USERS)), [f"{users:,} users" for users in USERS])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left")
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Print the blocks, or put them into the page."""
    if "--write" in sys.argv[1:]:
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        draw(PICTURE)
        return
    for name, block in BLOCKS.items():
        print(f"## {name}\n\n{block()}\n")


if __name__ == "__main__":
    main()
