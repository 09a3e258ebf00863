"""`learner`: set up a model, serve it, train on collected edits, see whether it helped.

Results go to standard output, progress and errors to standard error. Exit codes: 0 done, 1 failed,
2 wrong usage or settings, 130 interrupted. Training is imported only inside the commands that train.
"""

from __future__ import annotations

import signal

import rich_click as click

from learner.commands import adapters, edits, experiment, host, machine, plugins, training
from learner.commands.frame import HELP, Group, terminated


@click.group(cls=Group, context_settings=HELP)
@click.version_option(package_name="redraft")
def main() -> None:
    """Learn from what you change in a model's answers.

    \b
    Begin with:
      learner setup             prepare the base model (once)
      learner demo              see the whole loop on texts of this machine
      learner train             train on your own edits
      learner edits stats       see whether it helped
      learner reproduce         the paper's experiment

    \b
    Completion, in bash (zsh and fish likewise):
      eval "$(_LEARNER_COMPLETE=bash_source learner)"
    """
    signal.signal(signal.SIGTERM, terminated)


for command in (
    host.setup,
    host.serve,
    training.train,
    training.demo,
    experiment.reproduce,
    experiment.diagnose,
    edits.edits,
    edits.consent,
    adapters.adapters,
    plugins.plugins,
    machine.doctor,
):
    main.add_command(command)
