// Redraft for VS Code: what there is, and what belongs together. Each part has a file of its own.
import * as vscode from "vscode";
import { Asking } from "./asking";
import { Consent, folder, followed } from "./consent";
import { install } from "./install";
import { showLearnt } from "./learnt";
import { answer, reason } from "./messages";
import { Previews } from "./preview";
import { HOST_KEY, Server } from "./server";
import * as settings from "./settings";
import { StatusBar } from "./statusBar";

export async function activate(context: vscode.ExtensionContext): Promise<void> {
  const log = vscode.window.createOutputChannel("Redraft", { log: true });
  const server: Server = new Server(context, log, (command, argument) => asking.intercept(command, argument));
  const previews = new Previews(server);
  const asking = new Asking(server, previews);
  const bar = new StatusBar(server);
  const look = async () => {
    bar.recording = (await server.status(folder()).catch(() => undefined))?.recording;
    bar.show();
  };
  const consent = new Consent(context, server, () => void look());
  const start = async (quiet = false) => {
    await server.start(quiet);
    await look();
    await consent.askOnce();
  };

  const actions: Record<string, () => unknown> = {
    menu: () => bar.menu(),
    rewriteSelection: () => asking.rewriteSelection(),
    draftFromSelection: () => asking.draftFromSelection(),
    applyPreview: () => previews.apply(),
    discardPreview: () => previews.discard(),
    pauseOrResume: () => server.run(server.state === "paused" ? "redraft.resume" : "redraft.pause"),
    snooze: () => snooze(server),
    toggleLanguage: () => toggleLanguage(),
    whyNot: () => whyNot(server),
    showLearnt: () => showLearnt(server),
    trainNow: () => train(context, log, server, start),
    forgetEdits: () => forget(server),
    showConsent: () => consent.show(),
    installServer: async () => {
      await server.stop();
      const installed = await install(context, log);
      await start(!installed); // what went wrong was said already
    },
    setHostKey: () => setHostKey(context, start),
    restart: () => start(),
    showLog: () => log.show(),
  };
  for (const [name, action] of Object.entries(actions)) {
    context.subscriptions.push(
      vscode.commands.registerCommand(`redraft.${name}`, async () => {
        try {
          await action();
        } catch (error) {
          answer(`Redraft: ${reason(error).replace(/\.$/, "")}.`);
        }
      }),
    );
  }
  context.subscriptions.push(
    log,
    server,
    previews,
    bar,
    vscode.workspace.onDidGrantWorkspaceTrust(() => start()),
    vscode.window.onDidChangeActiveTextEditor(async (editor) => {
      if (!editor || !followed(editor.document) || !server.running) return;
      await look();
      await consent.askOnce();
    }),
    vscode.workspace.onDidChangeConfiguration(async (change) => {
      if (settings.RESTARTING.some((key) => change.affectsConfiguration(key))) await start();
      else if (change.affectsConfiguration("redraft")) await server.configure().catch((error) => log.warn(reason(error)));
    }),
  );
  await start();
}

async function snooze(server: Server): Promise<void> {
  const choices = [10, 30, 60, 240].map((minutes) => ({
    label: minutes < 60 ? `${minutes} minutes` : `${minutes / 60} hour${minutes > 60 ? "s" : ""}`,
    minutes,
  }));
  const chosen = await vscode.window.showQuickPick(choices, { title: "Snooze Redraft", placeHolder: "For how long?" });
  if (chosen) await server.run("redraft.pause", { minutes: chosen.minutes });
}

async function toggleLanguage(): Promise<void> {
  const language = vscode.window.activeTextEditor?.document.languageId;
  if (!language) return answer("Redraft: open a file of the language first.");
  const on = settings.offFor(language) !== undefined;
  await settings.turn(language, on);
  const still = on && settings.offFor(language);
  if (still) return answer(`Redraft: still ${still}, by the settings redraft.inlineCompletion of you or of this workspace.`);
  vscode.window.setStatusBarMessage(`Redraft: ghost text is ${on ? "on" : "off"} for ${language}.`, 5000);
}

async function whyNot(server: Server): Promise<void> {
  const editor = vscode.window.activeTextEditor;
  const { text } = await server.run<{ text: string }>("redraft.why", editor ? { uri: editor.document.uri.toString() } : {});
  answer(`Redraft: ${text}`);
}

async function train(context: vscode.ExtensionContext, log: vscode.LogOutputChannel, server: Server, start: () => Promise<void>): Promise<void> {
  try {
    const report = await server.runWithProgress<{ text: string }>("Redraft learns from your edits", "redraft.train", {});
    const choice = await vscode.window.showInformationMessage(`Redraft: ${report.text}`, "What Did I Teach It?");
    if (choice) await showLearnt(server);
  } catch (error) {
    const words = reason(error);
    if (/cancell?ed/i.test(words)) return;
    if (!words.startsWith("training needs ")) throw error;
    const choice = await vscode.window.showInformationMessage(
      "Redraft: training needs more packages (PyTorch and others, some GB). Install them for VS Code?",
      "Install",
    );
    if (!choice) return;
    await server.stop();
    await install(context, log, "[train]");
    await start();
  }
}

async function forget(server: Server): Promise<void> {
  const uri = vscode.window.activeTextEditor?.document.uri.toString();
  const choices = [
    ...(uri ? [{ label: "This file", description: vscode.workspace.asRelativePath(vscode.Uri.parse(uri)), what: { uri } }] : []),
    { label: "The last hour", description: "in all files", what: { hours: 1 } },
    { label: "Everything", description: "all that was ever recorded", what: { everything: true } },
  ];
  const chosen = await vscode.window.showQuickPick<(typeof choices)[number]>(choices, { title: "Forget", placeHolder: "What should be deleted?" });
  if (!chosen) return;
  const yes = await vscode.window.showWarningMessage(
    `Forget ${chosen.label.toLowerCase()}?`,
    { modal: true, detail: "What was recorded of it is deleted for good, and adapters that learnt from it are no longer used." },
    "Forget",
  );
  if (!yes) return;
  answer(`Redraft: ${(await server.run<{ text: string }>("redraft.forget", chosen.what)).text}`);
}

async function setHostKey(context: vscode.ExtensionContext, start: () => Promise<void>): Promise<void> {
  const key = await vscode.window.showInputBox({ title: "The model host's key", password: true, prompt: "Kept in VS Code's secret storage. Empty: none." });
  if (key === undefined) return;
  await (key ? context.secrets.store(HOST_KEY, key) : context.secrets.delete(HOST_KEY));
  await start();
}

export function deactivate(): void {
  // everything is in context.subscriptions
}
