// The consent page: what is recorded and where, in plain words. Nothing is recorded before a yes.
import * as vscode from "vscode";
import { answer, reason } from "./messages";
import { escape, openPage } from "./page";
import { SCHEMES, type Server, type Status } from "./server";
import { own } from "./settings";

const ASKED = "redraft.asked";

export class Consent {
  private panel: vscode.WebviewPanel | undefined;

  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly server: Server,
    private readonly decided: () => void,
  ) {}

  /** Asks once in a workspace where nobody has answered yet. */
  async askOnce(): Promise<void> {
    if (own("record") === "never" || !vscode.workspace.isTrusted) return;
    const here = folder();
    const asked = this.context.workspaceState.get<string[]>(ASKED, []);
    if (asked.includes(here)) return;
    const status = await this.server.status(here).catch(() => undefined);
    if (status?.consent !== "unasked" || this.panel) return;
    await this.context.workspaceState.update(ASKED, [...asked, here]);
    this.open(status);
  }

  async show(): Promise<void> {
    try {
      this.open(await this.server.status(folder()));
    } catch (error) {
      answer(reason(error));
    }
  }

  private open(status: Status): void {
    this.panel?.dispose();
    const about = status.workspace;
    this.panel = openPage("redraft.consent", "Redraft: what is recorded", body(status), (words, panel) => {
      panel.dispose();
      void this.take(words, about);
    });
    this.panel.onDidDispose(() => (this.panel = undefined));
  }

  private async take(words: string, workspace: string): Promise<void> {
    const said = {
      here: { granted: true, workspace },
      everywhere: { granted: true },
      no: { granted: false, workspace },
      nowhere: { granted: false },
    }[words];
    if (!said) return;
    try {
      const { text } = await this.server.run<{ text: string }>("redraft.consent", said);
      vscode.window.setStatusBarMessage(`Redraft: ${text}`, 8000);
    } catch (error) {
      answer(`Redraft: ${reason(error)}.`);
    }
    this.decided();
  }
}

/** Whether the server follows a document: a diff's other side and the like are nobody's files. */
export function followed(document: vscode.TextDocument): boolean {
  return SCHEMES.includes(document.uri.scheme);
}

/** The workspace folder that a word about recording is about; "" for a window without one. */
export function folder(): string {
  const active = vscode.window.activeTextEditor;
  const editor = active && followed(active.document) ? active : undefined;
  const known = editor ? vscode.workspace.getWorkspaceFolder(editor.document.uri) : vscode.workspace.workspaceFolders?.[0];
  return known?.uri.toString() ?? "";
}

function body(status: Status): string {
  const known = vscode.workspace.workspaceFolders?.find((f) => f.uri.toString() === status.workspace);
  const name = known ? `the folder <strong>${escape(known.name)}</strong>` : "files that belong to no folder";
  const here = known ? `in ${escape(known.name)}` : "for Files without a Folder";
  const sent = status.host
    ? `The model is at <code>${escape(status.host)}</code>: what it is shown goes there, whether edits are recorded or not.`
    : "Nothing is sent anywhere.";
  const machine = vscode.env.remoteName ? "the machine where this window's files are" : "this machine";
  const now = {
    granted: `Edits are recorded in ${name}.`,
    refused: `Nothing is recorded in ${name}.`,
    unasked: `Nothing is recorded in ${name} yet.`,
  }[status.consent];
  return `<h1>May Redraft learn from your edits?</h1>
<p class="lead">It gets better at what you write by comparing what it offered with what you kept.</p>
<h2>If you say yes, it keeps</h2>
<ul>
<li>the text that the model was shown: what you selected, or the lines above the cursor;</li>
<li>what it offered, and what you made of it by the time you saved or moved on;</li>
<li>what you typed instead, where you left grey text alone;</li>
<li>the file's name, its language, and when.</li>
</ul>
<h2>Where</h2>
<p>In one file on ${machine}, readable by you only: <code>${escape(status.database)}</code>. Training happens there, too.
${sent}</p>
<h2>Never</h2>
<p>Passwords, keys and tokens that it recognises, files such as <code>.env</code>, and whatever a <code>.redraftignore</code> names.</p>
<div class="ways">
<button class="first" data-say="here">Record ${here}</button>
<button data-say="everywhere">Record Everywhere</button>
<button data-say="no">Don't Record ${here}</button>
${status.consent === "granted" ? '<button data-say="nowhere">Record Nowhere</button>' : ""}
</div>
<p class="quiet">${now} Redraft works either way. You can change your mind at any time: click <em>Redraft</em> in the status bar,
where <em>Forget…</em> also deletes what was kept.</p>`;
}
