// Pages of our own: themed by VS Code's colours, no script but ours, nothing from outside.
import { randomBytes } from "node:crypto";
import * as vscode from "vscode";

export function escape(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

const STYLE = `
body { font-family: var(--vscode-font-family); font-size: var(--vscode-font-size); color: var(--vscode-foreground);
  max-width: 44em; margin: 0 auto; padding: 1.5em 2em 3em; line-height: 1.55; }
h1 { font-size: 1.6em; font-weight: 600; margin: .4em 0 .2em; }
h2 { font-size: 1.1em; font-weight: 600; margin: 1.8em 0 .5em; }
p.lead { font-size: 1.1em; color: var(--vscode-descriptionForeground); margin-top: 0; }
code { font-family: var(--vscode-editor-font-family); color: var(--vscode-textPreformat-foreground); overflow-wrap: anywhere; }
ul { padding-left: 1.2em; } li { margin: .25em 0; }
.ways { display: flex; flex-wrap: wrap; gap: .6em; margin: 1.8em 0 .6em; }
button { font: inherit; padding: .5em 1.1em; border: 1px solid var(--vscode-button-border, transparent); border-radius: 3px; cursor: pointer;
  color: var(--vscode-button-secondaryForeground); background: var(--vscode-button-secondaryBackground); }
button:hover { background: var(--vscode-button-secondaryHoverBackground); }
button.first { color: var(--vscode-button-foreground); background: var(--vscode-button-background); }
button.first:hover { background: var(--vscode-button-hoverBackground); }
button:focus-visible { outline: 1px solid var(--vscode-focusBorder); outline-offset: 2px; }
.quiet { color: var(--vscode-descriptionForeground); }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; }
td, th { padding: .35em .8em .35em 0; border-bottom: 1px solid var(--vscode-widget-border, #8884); }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
svg { width: 100%; height: auto; } svg text { font-family: var(--vscode-font-family); } svg text:not([fill]) { fill: var(--vscode-descriptionForeground); }
`;

/** Opens a page. Buttons carry \`data-say\`; what a pressed one says goes to \`heard\`. */
export function openPage(id: string, title: string, body: string, heard: (words: string, panel: vscode.WebviewPanel) => void): vscode.WebviewPanel {
  const panel = vscode.window.createWebviewPanel(id, title, { viewColumn: vscode.ViewColumn.Active, preserveFocus: true }, { enableScripts: true, localResourceRoots: [] });
  setBody(panel, body);
  panel.webview.onDidReceiveMessage((words: unknown) => {
    if (typeof words === "string") heard(words, panel);
  });
  return panel;
}

export function setBody(panel: vscode.WebviewPanel, body: string): void {
  const nonce = randomBytes(16).toString("hex");
  panel.webview.html = `<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'nonce-${nonce}'; script-src 'nonce-${nonce}'">
<title>${escape(panel.title)}</title><style nonce="${nonce}">${STYLE}</style></head><body>${body}
<script nonce="${nonce}">
const host = acquireVsCodeApi();
for (const b of document.querySelectorAll("[data-say]")) b.addEventListener("click", () => host.postMessage(b.dataset.say));
</script></body></html>`;
}
