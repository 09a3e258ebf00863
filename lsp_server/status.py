"""What is going on, in words: `redraft.status` and `redraft.why`."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from learner.host_listing import ZERO_ADAPTER
from learner.records import BASE_ARM

if TYPE_CHECKING:
    from lsp_server.assistant import Assistant


def brief(assistant: Assistant) -> tuple[str, str]:
    """The state in a word (`ready`, `thinking`, `paused`, `error`) and in a sentence: `redraft/status`."""
    paused, error = assistant.paused(), assistant.host.last_error
    if paused:
        return "paused", f"Redraft is {paused.partition(' for ')[0]}."  # minutes would be told twice a second
    if assistant.problem is not None:
        return "error", assistant.problem
    if assistant.host.busy:
        return "thinking", "The model is writing."
    if error is not None:
        return "error", f"The model host cannot be reached: {error}."
    return "ready", "Redraft is on."


async def status(assistant: Assistant, workspace: str | None = None) -> dict[str, Any]:
    """`redraft.status`: what is going on, for machines and in words (`text`)."""
    host, recorder = assistant.host, assistant.recorder
    sessions = list(assistant.sessions.values())
    if workspace is None:
        workspace = sessions[0].workspace if sessions else assistant.folder()
    recording = await recorder.recording(workspace)
    paused, error, info = assistant.paused(), host.last_error, host.info
    arms = [BASE_ARM, *(a for a in (info.adapters if info else {}) if a != ZERO_ADAPTER)]
    words = [f"Redraft is {paused}." if paused else "Redraft is on."]
    if assistant.problem is not None:
        words.append(assistant.problem)
    elif recorder.problem is not None:
        words.append(f"Edits are not recorded for now: {recorder.problem}.")
    elif recording is not None:
        words.append(f"Edits are recorded in {assistant.paths.database}.")
    elif assistant.settings.record is False:
        words.append("Edits are not recorded: the settings say so.")
    else:
        words.append("Edits are not recorded: nobody agreed to it here (`redraft.consent`, or `learner consent yes`).")
    if info is not None:
        words.append(f"The model host serves {host.model_name} as {', '.join(arms)}.")
        if host.lacking:
            words.append(f"It does not have {', '.join(host.lacking)}: what it has answers in their place.")
    elif error is not None:
        words.append(f"The model host cannot be reached: {error}.")
    else:
        words.append("The model host has not been asked for anything yet; it starts on demand.")
    lost = [s.document.uri for s in sessions if s.lost]
    if lost:
        words.append(f"It lost track of {', '.join(lost)}: close and open again.")
    count = sum(len(s.tracker.open) for s in sessions)
    words.append(f"{count} offers are open in {len(sessions)} documents.")
    return {
        "state": "paused" if paused else "error" if error else "ready",
        "recording": recording is not None and recorder.problem is None,
        "consent": await recorder.consented(workspace),
        "workspace": workspace,
        "database": str(assistant.paths.database),
        "version": version("redraft"),
        "host": assistant.config.host.url,
        "model": host.model_name,
        "arms": arms,
        "lacking": list(host.lacking),
        "open": count,
        "text": " ".join(words),
    }


def why(assistant: Assistant, uri: str | None) -> dict[str, str]:
    """`redraft.why`: why the last request in a document (the last changed one) was answered with nothing."""
    session = assistant.sessions.get(uri or "")
    if session is None and assistant.sessions and uri is None:
        session = max(assistant.sessions.values(), key=lambda s: s.changed_at)
    reason = assistant.paused() or assistant.problem
    if reason is None:
        reason = (session.lost or session.why) if session is not None else "the document is not open here"
    if not reason:
        return {"why": "", "text": "The last request here was answered."}
    return {"why": reason, "text": f"No suggestion: {reason.removesuffix('.')}."}
