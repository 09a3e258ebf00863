// The status bar item: what Redraft is doing, why it is silent, and the menu of all it can do.
import * as vscode from "vscode";
import type { Server, State } from "./server";
import { offFor } from "./settings";

const ICONS: Record<State, string> = {
  off: "$(circle-slash)",
  starting: "$(loading~spin)",
  ready: "$(sparkle)",
  thinking: "$(loading~spin)",
  paused: "$(debug-pause)",
  error: "$(warning)",
};

interface Way extends vscode.QuickPickItem {
  command?: string;
}

export class StatusBar implements vscode.Disposable {
  private readonly item: vscode.StatusBarItem;
  private readonly parts: vscode.Disposable[];
  recording: boolean | undefined;

  constructor(private readonly server: Server) {
    this.item = vscode.window.createStatusBarItem("redraft.status", vscode.StatusBarAlignment.Right, 100);
    this.item.name = "Redraft";
    this.item.command = "redraft.menu";
    this.parts = [
      this.item,
      server.onDidChange(() => this.show()),
      vscode.window.onDidChangeActiveTextEditor(() => this.show()),
      vscode.workspace.onDidChangeConfiguration((change) => change.affectsConfiguration("redraft") && this.show()),
    ];
    this.show();
    this.item.show();
  }

  /** The language of the active editor, and why there is no ghost text for it. */
  private language(): { name: string; off: string | undefined } | undefined {
    const name = vscode.window.activeTextEditor?.document.languageId;
    return name === undefined ? undefined : { name, off: offFor(name) };
  }

  show(): void {
    const { state, words } = this.server;
    const off = state === "ready" ? this.language()?.off : undefined;
    const icon = off ? "$(circle-slash)" : ICONS[state];
    this.item.text = `${icon} Redraft`;
    const told = off ? `Redraft: ${off}.` : words;
    const recorded = this.recording === undefined ? "" : this.recording ? "Edits are recorded here." : "Nothing is recorded here.";
    this.item.tooltip = new vscode.MarkdownString([told, recorded, "Click for more."].filter(Boolean).join("\n\n"));
    this.item.accessibilityInformation = { label: `Redraft, ${off ?? state}. ${told}` };
    this.item.backgroundColor = state === "error" ? new vscode.ThemeColor("statusBarItem.warningBackground") : undefined;
  }

  async menu(): Promise<void> {
    const ways = this.server.running ? this.whenRunning() : this.whenOff();
    await vscode.commands.executeCommand("workbench.action.focusActiveEditorGroup"); // where the keys go afterwards
    const chosen = await vscode.window.showQuickPick(ways, { title: "Redraft", placeHolder: this.server.words });
    if (chosen?.command) await vscode.commands.executeCommand(chosen.command);
  }

  private whenOff(): Way[] {
    return [
      { label: "$(cloud-download) Install or Update the Server", command: "redraft.installServer" },
      { label: "$(debug-restart) Restart the Server", command: "redraft.restart" },
      { label: "$(output) Show the Log", command: "redraft.showLog" },
    ];
  }

  private whenRunning(): Way[] {
    const language = this.language();
    const group = (label: string): Way => ({ label, kind: vscode.QuickPickItemKind.Separator });
    const paused = this.server.state === "paused";
    const toggle = language && { label: `$(symbol-text) Ghost Text ${language.off ? "On" : "Off"} for ${language.name}`, command: "redraft.toggleLanguage" };
    return [
      paused
        ? { label: "$(debug-start) Resume", command: "redraft.pauseOrResume" }
        : { label: "$(debug-pause) Pause", command: "redraft.pauseOrResume" },
      ...(paused ? [] : [{ label: "$(clock) Snooze…", command: "redraft.snooze" }]),
      ...(toggle ? [toggle] : []),
      { label: "$(question) Why No Suggestion?", command: "redraft.whyNot" },
      group("Learning"),
      { label: "$(graph-line) What Did I Teach It?", command: "redraft.showLearnt" },
      { label: "$(mortar-board) Train Now", command: "redraft.trainNow" },
      group("Recording"),
      { label: "$(shield) What Is Recorded, and Where", command: "redraft.showConsent" },
      { label: "$(trash) Forget…", command: "redraft.forgetEdits" },
      group("Server"),
      { label: "$(debug-restart) Restart the Server", command: "redraft.restart" },
      { label: "$(output) Show the Log", command: "redraft.showLog" },
    ];
  }

  dispose(): void {
    for (const part of this.parts) part.dispose();
  }
}
