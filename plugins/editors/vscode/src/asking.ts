// Rewrites and drafts: what is asked for which text, and how the answer is shown.
import { stat } from "node:fs/promises";
import * as vscode from "vscode";
import { answer, reason } from "./messages";
import type { Previews, Shown } from "./preview";
import type { Server } from "./server";
import { own, rewrites } from "./settings";

const DRAFTS = [
  { label: "Summary", draft: "summary" },
  { label: "Email", draft: "email" },
  { label: "Docstring", draft: "docstring" },
  { label: "Commit message", draft: "commit" },
];

export class Asking {
  constructor(
    private readonly server: Server,
    private readonly previews: Previews,
  ) {}

  /** The server's own rewrite and draft commands, as code actions run them, shown before they are put in. */
  intercept(command: string, argument: Record<string, unknown>): Promise<unknown> | undefined {
    if (command !== "redraft.rewrite" && command !== "redraft.draft") return undefined;
    return this.serve(command, argument, command === "redraft.draft" ? "Draft" : "Rewrite");
  }

  async rewriteSelection(): Promise<void> {
    const target = selected();
    if (!target) return;
    const choice = await pickRewrite();
    if (choice) await this.serve("redraft.rewrite", { ...target, instruction: choice.instruction }, choice.title);
  }

  async draftFromSelection(): Promise<void> {
    const target = selected();
    if (!target) return;
    const choice = await vscode.window.showQuickPick(DRAFTS, { title: "Draft from the selected notes", placeHolder: "What kind of text?" });
    if (choice) await this.serve("redraft.draft", { ...target, kind: choice.draft }, `Draft: ${choice.label.toLowerCase()}`);
  }

  private async serve(command: string, argument: Record<string, unknown>, title: string): Promise<void> {
    const preview = own<boolean>("preview");
    const editor = vscode.window.activeTextEditor;
    if (editor && editor.document.uri.toString() === argument["uri"] && (await readOnly(editor.document))) {
      answer("This file is read-only: Redraft cannot change it. Copy the text elsewhere first.");
      return;
    }
    try {
      const made = await this.server.runWithProgress<Shown & { applied: boolean; reason?: string }>(
        `Redraft: ${title}`,
        command,
        { ...argument, preview },
      );
      if (preview) await this.previews.show(made, title);
      else if (!made.applied) answer(`Nothing was put in: ${made.reason ?? "the editor declined"}.`);
    } catch (error) {
      if (!/cancell?ed/i.test(reason(error))) answer(`Redraft: ${reason(error)}.`);
    }
  }
}

/** VS Code lets one type into a file that nobody may write, and fails to save: its own API does not tell. */
async function readOnly(document: vscode.TextDocument): Promise<boolean> {
  const { scheme, fsPath } = document.uri;
  if (scheme !== "file") return vscode.workspace.fs.isWritableFileSystem(scheme) === false;
  try {
    return ((await stat(fsPath)).mode & 0o222) === 0;
  } catch {
    return false; // not saved yet
  }
}

/** The selection of the active editor, or the paragraph around the cursor. */
function selected(): { uri: string; range: object } | undefined {
  const editor = vscode.window.activeTextEditor;
  if (!editor) {
    answer("Redraft: open a file and select the text to work on first.");
    return undefined;
  }
  const { document, selection } = editor;
  const range = selection.isEmpty ? paragraph(document, selection.active.line) : new vscode.Range(selection.start, selection.end);
  if (document.getText(range).trim() === "") {
    answer("Redraft: nothing is selected. Select the text to work on first.");
    return undefined;
  }
  editor.selection = new vscode.Selection(range.start, range.end);
  const place = (at: vscode.Position) => ({ line: at.line, character: at.character });
  return { uri: document.uri.toString(), range: { start: place(range.start), end: place(range.end) } };
}

function paragraph(document: vscode.TextDocument, line: number): vscode.Range {
  const full = (n: number) => n >= 0 && n < document.lineCount && !document.lineAt(n).isEmptyOrWhitespace;
  let [first, last] = [line, line];
  while (full(first - 1)) first--;
  while (full(last + 1)) last++;
  return new vscode.Range(new vscode.Position(first, 0), document.lineAt(last).range.end);
}

/** One of the menu's rewrites, or an instruction of the user's own. */
function pickRewrite(): Promise<{ title: string; instruction: string } | undefined> {
  const pick = vscode.window.createQuickPick<vscode.QuickPickItem & { instruction: string }>();
  const known = rewrites().map((entry) => ({ label: entry.title, detail: entry.instruction, instruction: entry.instruction }));
  pick.title = "Rewrite the selection";
  pick.placeholder = "What should be done with it? Choose, or say it in your own words";
  pick.items = known;
  pick.onDidChangeValue((value) => {
    const words = value.trim();
    pick.items = words
      ? [{ label: words, description: "your own words", alwaysShow: true, instruction: words }, ...known]
      : known;
  });
  return new Promise((resolve) => {
    pick.onDidAccept(() => {
      const chosen = pick.selectedItems[0];
      resolve(chosen && { title: chosen.label, instruction: chosen.instruction });
      pick.hide();
    });
    pick.onDidHide(() => {
      resolve(undefined);
      pick.dispose();
    });
    pick.show();
  });
}
