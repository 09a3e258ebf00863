// The user's settings as the server wants them. Only what the user says counts here: what a workspace
// may take away, the server asks for by itself (docs/editor-protocol.md).
import * as vscode from "vscode";

/** `initializationOptions` of the server. */
export interface ServerOptions {
  record: false | null;
  host?: { url: string; apiKey?: string };
  settle: { quietSeconds: number; limitSeconds: number };
  inlineCompletion: {
    enabled: boolean;
    languages: string[] | null;
    disabledLanguages: string[];
    debounceMs: number | null;
    prepare: boolean;
  };
  rewrites?: { title: string; instruction: string }[];
  bandit?: string;
}

export type Live = Pick<ServerOptions, "settle" | "inlineCompletion" | "rewrites">;

/** What the user set, or the default; never what a workspace set. */
export function own<T>(key: string): T {
  const found = vscode.workspace.getConfiguration("redraft").inspect<T>(key);
  return (found?.globalValue ?? found?.defaultValue) as T;
}

export function rewrites(): ServerOptions["rewrites"] | null {
  return own<ServerOptions["rewrites"] | null>("rewrites");
}

/** The options that a running server takes over (`redraft.configure`). */
export function live(): Live {
  const chosen = rewrites();
  return {
    settle: { quietSeconds: own("settle.quietSeconds"), limitSeconds: own("settle.limitSeconds") },
    inlineCompletion: {
      enabled: own("inlineCompletion.enabled"),
      languages: own("inlineCompletion.languages"),
      disabledLanguages: own("inlineCompletion.disabledLanguages"),
      debounceMs: own("inlineCompletion.debounceMs"),
      prepare: own("inlineCompletion.prepare"),
    },
    ...(chosen ? { rewrites: chosen } : {}),
  };
}

/** All options of a server that starts now. Nothing is recorded in a workspace that is not trusted. */
export function all(apiKey: string | undefined): ServerOptions {
  const url = own<string | null>("host.url");
  const bandit = own<string | null>("bandit");
  return {
    record: own("record") === "never" || !vscode.workspace.isTrusted ? false : null,
    ...(url ? { host: { url, ...(apiKey ? { apiKey } : {}) } } : {}),
    ...live(),
    ...(bandit ? { bandit } : {}),
  };
}

/** Settings that need a new server. */
export const RESTARTING = ["record", "host.url", "bandit", "server.path", "server.python"].map((key) => `redraft.${key}`);

export async function toggleLanguage(language: string): Promise<boolean> {
  const off = new Set(own<string[]>("inlineCompletion.disabledLanguages"));
  const turnedOff = !off.delete(language);
  if (turnedOff) off.add(language);
  await vscode.workspace
    .getConfiguration("redraft")
    .update("inlineCompletion.disabledLanguages", [...off].sort(), vscode.ConfigurationTarget.Global);
  return turnedOff;
}

/** Why ghost text is off for a language by the settings in force here, or undefined. */
export function offFor(language: string): string | undefined {
  const settings = vscode.workspace.getConfiguration("redraft");
  if (!settings.get<boolean>("inlineCompletion.enabled")) return "ghost text comes only when you ask for it";
  if (settings.get<string[]>("inlineCompletion.disabledLanguages", []).includes(language)) return `off for ${language}`;
  const only = settings.get<string[] | null>("inlineCompletion.languages", null);
  return only && !only.includes(language) ? `off for ${language}` : undefined;
}
