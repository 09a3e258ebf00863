// A rewrite or draft is shown as a diff before it is put in: Ctrl+Enter applies it, Escape or closing the tab discards it.
import * as vscode from "vscode";
import { answer, reason } from "./messages";
import type { Server } from "./server";

export const SCHEME = "redraft-preview";

export interface Shown {
  offerId: string;
  uri: string;
  range: { start: { line: number; character: number }; end: { line: number; character: number } };
  newText: string;
}

interface Waiting extends Shown {
  document: vscode.Uri;
  after: vscode.Uri;
  text: string;
}

export class Previews implements vscode.TextDocumentContentProvider, vscode.Disposable {
  private waiting: Waiting | undefined;
  private readonly parts: vscode.Disposable[];

  constructor(private readonly server: Server) {
    this.parts = [
      vscode.workspace.registerTextDocumentContentProvider(SCHEME, this),
      vscode.window.tabGroups.onDidChangeTabs((change) => this.closed(change.closed)),
    ];
  }

  provideTextDocumentContent(uri: vscode.Uri): string {
    return this.waiting?.after.toString() === uri.toString() ? this.waiting.text : "";
  }

  async show(shown: Shown, title: string): Promise<void> {
    await this.discard();
    const document = openDocument(vscode.Uri.parse(shown.uri));
    if (!document) throw new Error("the document was closed meanwhile; nothing was put in");
    const { start, end } = shown.range;
    const range = new vscode.Range(start.line, start.character, end.line, end.character);
    const text = document.getText();
    const head = text.slice(0, document.offsetAt(range.start));
    const after = document.uri.with({ scheme: SCHEME, query: shown.offerId });
    this.waiting = { ...shown, document: document.uri, after, text: head + shown.newText + text.slice(document.offsetAt(range.end)) };
    await vscode.languages.setTextDocumentLanguage(await vscode.workspace.openTextDocument(after), document.languageId);
    await vscode.commands.executeCommand("setContext", "redraft.previewing", true);
    const keys = process.platform === "darwin" ? "⌘Enter" : "Ctrl+Enter";
    await vscode.commands.executeCommand("vscode.diff", document.uri, after, `${title}: ${keys} applies, Escape discards`, {
      preview: true,
      selection: new vscode.Range(range.start, range.start),
    });
  }

  async apply(): Promise<void> {
    const waiting = this.take();
    if (!waiting) return;
    const editor = await this.back(waiting);
    try {
      const made = await this.server.run<{ applied: boolean; reason?: string }>("redraft.apply", { offerId: waiting.offerId });
      if (!made.applied) answer(`Nothing was put in: ${made.reason ?? "the editor declined"}.`);
      else if (editor) this.reveal(editor, waiting);
    } catch (error) {
      answer(`Nothing was put in: ${reason(error)}.`);
    }
  }

  private reveal(editor: vscode.TextEditor, waiting: Waiting): void {
    const start = editor.document.offsetAt(new vscode.Position(waiting.range.start.line, waiting.range.start.character));
    const at = editor.document.positionAt(start + waiting.newText.length);
    editor.selection = new vscode.Selection(at, at);
    editor.revealRange(new vscode.Range(at, at));
  }

  async discard(): Promise<void> {
    const waiting = this.take();
    if (!waiting) return;
    await this.back(waiting);
    await this.reject(waiting);
  }

  private async reject(waiting: Waiting): Promise<void> {
    await this.server.run("redraft.reject", { offerId: waiting.offerId }).catch(() => undefined);
  }

  private take(): Waiting | undefined {
    const waiting = this.waiting;
    this.waiting = undefined;
    void vscode.commands.executeCommand("setContext", "redraft.previewing", false);
    return waiting;
  }

  /** Closes the diff and shows the document again. */
  private async back(waiting: Waiting): Promise<vscode.TextEditor | undefined> {
    const open = openDocument(waiting.document);
    const shown = open && (await vscode.window.showTextDocument(open, { preview: false })); // first: the diff may be all that holds it
    const tabs = vscode.window.tabGroups.all.flatMap((group) => group.tabs).filter((tab) => shows(tab, waiting.after));
    await vscode.window.tabGroups.close(tabs, true);
    return shown;
  }

  private closed(tabs: readonly vscode.Tab[]): void {
    const waiting = this.waiting;
    const moved = vscode.window.tabGroups.all.some((group) => group.tabs.some((tab) => waiting && shows(tab, waiting.after)));
    if (waiting && !moved && tabs.some((tab) => shows(tab, waiting.after))) {
      this.take();
      void this.reject(waiting);
    }
  }

  dispose(): void {
    for (const part of this.parts) part.dispose();
  }
}

/** A document that is open. Opening it anew would keep it open for minutes after its tab is closed. */
function openDocument(uri: vscode.Uri): vscode.TextDocument | undefined {
  return vscode.workspace.textDocuments.find((document) => document.uri.toString() === uri.toString());
}

function shows(tab: vscode.Tab, after: vscode.Uri): boolean {
  return tab.input instanceof vscode.TabInputTextDiff && tab.input.modified.toString() === after.toString();
}
