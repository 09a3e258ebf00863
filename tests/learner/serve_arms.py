"""A host that serves the arm set written in a JSON file: `serve_arms.py ARMS.json HOME IDLE_MINUTES`."""

import json
import sys
from pathlib import Path

from learner.config import Config, Paths
from learner.exceptions import ModelMissingError, RedraftError
from learner.serving import ArmSet, serve


def load_arms() -> ArmSet:
    try:
        arms = json.loads(Path(sys.argv[1]).read_text())
    except (OSError, ValueError) as error:
        raise ModelMissingError(f"no base model is set up: run `learner setup` ({type(error).__name__})") from error
    return ArmSet(
        Path(arms["gguf"]), arms["fingerprint"], Path(arms["zero"]), {k: Path(v) for k, v in arms["adapters"].items()}
    )


if __name__ == "__main__":
    home = Path(sys.argv[2])
    config = Config(slots=2, context=1024, idle_minutes=float(sys.argv[3]))
    try:
        serve(load_arms, Paths(home, home / "config.toml", home / "run"), config)
    except RedraftError as error:
        sys.exit(str(error))
