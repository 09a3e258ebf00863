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
  rewrites: { title: string; instruction: string }[];
  bandit?: string;
}

export type Live = Pick<ServerOptions, "settle" | "inlineCompletion" | "rewrites">;

/** What the user set, or the default; never what a workspace set. */
export function own<T>(key: string): T {
  const found = vscode.workspace.getConfiguration("redraft").inspect<T>(key);
  return (found?.globalValue ?? found?.defaultValue) as T;
}

/** The server's own rewrites. */
const USUAL = [
  { title: "Fix spelling and grammar", instruction: "Fix the spelling and grammar of this text." },
  { title: "Make it shorter", instruction: "Make this text shorter." },
  { title: "Make it clearer", instruction: "Make this text clearer and simpler." },
];

export function rewrites(): ServerOptions["rewrites"] {
  return own<ServerOptions["rewrites"] | null>("rewrites") ?? USUAL;
}

/** The options that a running server takes over (`redraft.configure`). */
export function live(): Live {
  return {
    settle: { quietSeconds: own("settle.quietSeconds"), limitSeconds: own("settle.limitSeconds") },
    inlineCompletion: {
      enabled: own("inlineCompletion.enabled"),
      languages: own("inlineCompletion.languages"),
      disabledLanguages: own("inlineCompletion.disabledLanguages"),
      debounceMs: own("inlineCompletion.debounceMs"),
      prepare: own("inlineCompletion.prepare"),
    },
    rewrites: rewrites(),
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

/** Turns ghost text on or off for a language, for the user. */
export async function turn(language: string, on: boolean): Promise<void> {
  const off = new Set(own<string[]>("inlineCompletion.disabledLanguages"));
  if (on) off.delete(language);
  else off.add(language);
  await vscode.workspace
    .getConfiguration("redraft")
    .update("inlineCompletion.disabledLanguages", [...off].sort(), vscode.ConfigurationTarget.Global);
}

/** Why ghost text is off for a language by the settings in force here, or undefined. */
export function offFor(language: string): string | undefined {
  const settings = vscode.workspace.getConfiguration("redraft");
  if (!settings.get<boolean>("inlineCompletion.enabled")) return "ghost text comes only when you ask for it";
  if (settings.get<string[]>("inlineCompletion.disabledLanguages", []).includes(language)) return `off for ${language}`;
  const only = settings.get<string[] | null>("inlineCompletion.languages", null);
  return only && !only.includes(language) ? `off for ${language}` : undefined;
}
