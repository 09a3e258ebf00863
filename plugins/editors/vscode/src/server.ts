// The language client: starts the server, knows its state, and lets it die in peace.
import { mkdir } from "node:fs/promises";
import * as vscode from "vscode";
import {
  CloseAction,
  ErrorAction,
  LanguageClient,
  type LanguageClientOptions,
  RevealOutputChannelOn,
  WorkDoneProgress,
} from "vscode-languageclient/node";
import { findServer, NoServer } from "./findServer";
import { calm, reason } from "./messages";
import * as settings from "./settings";

/** Of documents that the server follows. */
export const SCHEMES = ["file", "untitled"];
export const HOST_KEY = "redraft.host.apiKey";
const MOST_RESTARTS = 3;
const WITHIN_MS = 3 * 60_000;

export type State = "off" | "starting" | "ready" | "thinking" | "paused" | "error";

export interface Status {
  state: string;
  recording: boolean;
  consent: "granted" | "refused" | "unasked";
  workspace: string;
  database: string;
  host: string | null;
  version: string;
  model: string;
  arms: string[];
  text: string;
}

/** Redraft's commands that the user runs from menus of the server's own (code actions). */
export type Intercept = (command: string, argument: Record<string, unknown>) => Promise<unknown> | undefined;

/** Failures go to the log; what people are told, and how often, is said here and not by the library. */
class QuietClient extends LanguageClient {
  override error(message: string, data?: unknown): void {
    super.error(message, data, false);
  }
}

export class Server implements vscode.Disposable {
  private client: LanguageClient | undefined;
  private ends: number[] = [];
  private started = false;
  private queue: Promise<void> = Promise.resolve();
  private readonly changed = new vscode.EventEmitter<void>();
  readonly onDidChange = this.changed.event;
  state: State = "off";
  words = "Redraft has not started yet.";

  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly log: vscode.LogOutputChannel,
    private readonly intercept: Intercept,
  ) {}

  get running(): boolean {
    return this.client !== undefined;
  }

  /** Starts, or starts anew. One at a time; what goes wrong is said once and shown in the status bar. */
  start(quiet = false): Promise<void> {
    return this.enqueue(async () => {
      await this.end();
      await this.begin(quiet);
    });
  }

  stop(): Promise<void> {
    return this.enqueue(() => this.end());
  }

  private enqueue(act: () => Promise<void>): Promise<void> {
    this.queue = this.queue.then(act).catch((error) => this.log.error(reason(error)));
    return this.queue;
  }

  private async begin(quiet: boolean): Promise<void> {
    let command;
    try {
      command = await findServer(this.context);
    } catch (error) {
      this.set("off", reason(error));
      if (error instanceof NoServer && !quiet) this.sayNoServer(error);
      return;
    }
    this.set("starting", "The server starts.");
    const key = await this.context.secrets.get(HOST_KEY);
    const cwd = this.context.globalStorageUri.fsPath; // never the workspace: Python would look for modules there
    await mkdir(cwd, { recursive: true });
    const client = new QuietClient("redraft", "Redraft", { ...command, options: { cwd } }, this.options(key));
    this.started = false;
    client.registerFeature({
      fillClientCapabilities: (capabilities) => {
        capabilities.experimental = { ...(capabilities.experimental as object | undefined), redraftStatus: true };
      },
      initialize: () => undefined,
      getState: () => ({ kind: "static" }),
      clear: () => undefined,
    });
    client.onNotification("redraft/status", (said: { state: State; text: string }) => this.set(said.state, said.text));
    try {
      await client.start();
    } catch (error) {
      this.log.error(reason(error));
      this.set("off", `Redraft's server did not start (${command.command}). The log says why.`);
      void calm(this.words, this.showLog(), this.reinstall());
      return;
    }
    if (!this.fits(client)) {
      await client.stop().catch(() => undefined);
      return;
    }
    this.client = client;
    this.started = true;
    await vscode.commands.executeCommand("setContext", "redraft.running", true);
    if (this.state === "starting") this.set("ready", "Redraft is on.");
  }

  private fits(client: LanguageClient): boolean {
    const mine = String((this.context.extension.packageJSON as { version: string }).version);
    const theirs = client.initializeResult?.serverInfo?.version ?? "unknown";
    const head = (version: string) => version.split(".").slice(0, 2).join(".");
    if (head(mine) === head(theirs)) return true;
    this.set("off", `The server is of version ${theirs}, and this extension needs ${head(mine)}.`);
    void calm(this.words, this.reinstall(), this.showLog());
    return false;
  }

  private options(apiKey: string | undefined): LanguageClientOptions {
    return {
      documentSelector: SCHEMES.map((scheme) => ({ scheme })),
      outputChannel: this.log,
      revealOutputChannelOn: RevealOutputChannelOn.Never,
      initializationOptions: () => settings.all(apiKey),
      initializationFailedHandler: () => false,
      errorHandler: {
        error: () => ({ action: ErrorAction.Continue, handled: true }),
        closed: () => this.ended(),
      },
      middleware: {
        executeCommand: (command, args, next) => {
          const argument = args[0] as Record<string, unknown> | undefined;
          return (argument && this.intercept(command, argument)) ?? next(command, args);
        },
      },
    };
  }

  /** The server is gone without being asked: it may come back a few times, then it is left alone. */
  private ended(): { action: CloseAction; handled: boolean } {
    if (!this.started) return { action: CloseAction.DoNotRestart, handled: true }; // begin() tells
    const at = Date.now();
    this.ends = [...this.ends.filter((end) => at - end < WITHIN_MS), at];
    if (this.ends.length <= MOST_RESTARTS) {
      this.set("starting", "The server went away and starts again.");
      return { action: CloseAction.Restart, handled: true };
    }
    this.client = undefined;
    void vscode.commands.executeCommand("setContext", "redraft.running", false);
    this.set("off", `The server went away ${this.ends.length} times in three minutes.`);
    const again = { title: "Restart", run: () => vscode.commands.executeCommand("redraft.restart") };
    void calm(this.words, again, this.showLog());
    return { action: CloseAction.DoNotRestart, handled: true };
  }

  private sayNoServer(error: NoServer): void {
    const choose = { title: "Open Settings", run: () => vscode.commands.executeCommand("workbench.action.openSettings", "redraft.server") };
    if (error.installable) void calm(`${error.message} Install it for VS Code, on this machine?`, this.reinstall("Install"), choose);
    else void calm(error.message, choose);
  }

  private showLog() {
    return { title: "Show the Log", run: () => this.log.show() };
  }

  private reinstall(title = "Install or Update") {
    return { title, run: () => vscode.commands.executeCommand("redraft.installServer") };
  }

  private set(state: State, words: string): void {
    this.state = state;
    this.words = words;
    this.changed.fire();
  }

  /** Runs a command of the server. Throws with the server's own sentence. */
  async run<T>(command: string, argument?: object, token?: vscode.CancellationToken, workDoneToken?: string): Promise<T> {
    if (!this.client) throw new Error(`Redraft is off. ${this.words}`);
    const params = { command, arguments: argument ? [argument] : [], ...(workDoneToken ? { workDoneToken } : {}) };
    return token
      ? this.client.sendRequest<T>("workspace/executeCommand", params, token)
      : this.client.sendRequest<T>("workspace/executeCommand", params);
  }

  /** Runs a command and shows the server's progress in a notification that can be cancelled. */
  async runWithProgress<T>(title: string, command: string, argument: object, at = vscode.ProgressLocation.Notification): Promise<T> {
    const client = this.client;
    if (!client) throw new Error(`Redraft is off. ${this.words}`);
    const workDoneToken = `${command}-${Date.now()}`;
    return vscode.window.withProgress({ location: at, title, cancellable: true }, async (progress, token) => {
      let shown = 0;
      const heard = client.onProgress(WorkDoneProgress.type, workDoneToken, (said) => {
        if (said.kind === "end") return;
        const share = said.percentage ?? shown;
        progress.report({ message: said.message ?? "", increment: Math.max(0, share - shown) });
        shown = Math.max(shown, share);
      });
      try {
        return await this.run<T>(command, argument, token, workDoneToken);
      } finally {
        heard.dispose();
      }
    });
  }

  status(workspace?: string): Promise<Status> {
    return this.run<Status>("redraft.status", workspace === undefined ? undefined : { workspace });
  }

  async configure(): Promise<void> {
    if (this.client) await this.run("redraft.configure", settings.live());
  }

  private async end(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    this.started = false;
    await vscode.commands.executeCommand("setContext", "redraft.running", false);
    await client?.stop().catch(() => undefined);
  }

  dispose(): Promise<void> {
    return this.stop();
  }
}
