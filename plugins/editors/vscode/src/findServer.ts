// Where the server is: what the user set, the private installation, then PATH.
import { execFile } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { promisify } from "node:util";
import * as vscode from "vscode";
import { own } from "./settings";

const run = promisify(execFile);
const WINDOWS = process.platform === "win32";

export interface Command {
  command: string;
  args: string[];
}

/** Says in a sentence why there is no server, and whether installing one would help. */
export class NoServer extends Error {
  constructor(
    message: string,
    readonly installable: boolean,
  ) {
    super(message);
  }
}

export function privateFolder(context: vscode.ExtensionContext): string {
  return path.join(context.globalStorageUri.fsPath, "server");
}

export function inFolder(folder: string, program: string): string {
  return WINDOWS ? path.join(folder, "Scripts", `${program}.exe`) : path.join(folder, "bin", program);
}

/** The command that starts the server. Throws NoServer. */
export async function findServer(context: vscode.ExtensionContext): Promise<Command> {
  const set = own<string | null>("server.path");
  if (set) {
    if (!fs.existsSync(set)) throw new NoServer(`redraft.server.path is ${set}, and there is no such file.`, false);
    return { command: set, args: [] };
  }
  const python = own<string | null>("server.python");
  if (python) {
    if (!fs.existsSync(python)) throw new NoServer(`redraft.server.python is ${python}, and there is no such file.`, false);
    if (await holdsServer(python)) return { command: python, args: ["-P", "-m", "lsp_server.cli"] };
  }
  const installed = inFolder(privateFolder(context), "redraft-lsp");
  if (fs.existsSync(installed)) return { command: installed, args: [] };
  const onPath = which(WINDOWS ? "redraft-lsp.exe" : "redraft-lsp");
  if (onPath) return { command: onPath, args: [] };
  throw new NoServer("Redraft's server is not installed yet.", true);
}

/** Whether Redraft is installed in a Python of the user's; else it is what a private installation is made with. */
async function holdsServer(python: string): Promise<boolean> {
  try {
    await run(python, ["-P", "-c", "import importlib.util as u, sys; sys.exit(u.find_spec('lsp_server') is None)"], { timeout: 20_000 });
    return true;
  } catch {
    return false;
  }
}

function which(program: string): string | undefined {
  return (process.env["PATH"] ?? "")
    .split(path.delimiter)
    .filter((folder) => path.isAbsolute(folder)) // never a program of the workspace
    .map((folder) => path.join(folder, program))
    .find((candidate) => fs.existsSync(candidate));
}

/** A Python of 3.11 or newer, or undefined. */
export async function findPython(): Promise<string | undefined> {
  const set = own<string | null>("server.python");
  const names = ["python3.13", "python3.12", "python3.11", "python3", "python"].map((n) => (WINDOWS ? `${n}.exe` : n));
  const candidates = set ? [set] : names.map(which).filter((found) => found !== undefined);
  for (const candidate of candidates) {
    try {
      const words = "import sys, venv; print(sys.version_info >= (3, 11))";
      if ((await run(candidate, ["-c", words], { timeout: 20_000 })).stdout.trim() === "True") return candidate;
    } catch {
      // no Python after all, or one without venv
    }
  }
  return undefined;
}
