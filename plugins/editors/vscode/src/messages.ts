// One calm message: the same words are said once in a while, and never two at a time.
import * as vscode from "vscode";

const AGAIN_AFTER_MS = 10 * 60_000;
const said = new Map<string, number>();
let open = false;

/** Shows a message with ways out, unless the same was said a moment ago or another is on the screen. */
export async function calm(words: string, ...ways: { title: string; run: () => unknown }[]): Promise<void> {
  const at = Date.now();
  if (open || at - (said.get(words) ?? -Infinity) < AGAIN_AFTER_MS) return;
  said.set(words, at);
  open = true;
  try {
    const chosen = await vscode.window.showWarningMessage(words, ...ways.map((way) => way.title));
    open = false;
    await ways.find((way) => way.title === chosen)?.run();
  } finally {
    open = false;
  }
}

/** What the user asked for cannot be done: said each time, since they wait for an answer. */
export function answer(words: string): void {
  void vscode.window.showInformationMessage(words);
}

export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
