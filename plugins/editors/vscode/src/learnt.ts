// "What did I teach it?": how much of the offers was still changed, week by week, for each adapter.
import { escape, openPage } from "./page";
import type { Server } from "./server";

interface Learnt {
  text: string;
  count: number;
  arms: { arm: string; offers: number; cost_max: number | null; untouched: number | null }[];
  weeks: { week: string; edits: number; cost_max: number; arms: Record<string, number> }[];
  adapters: { id: string; name: string; state: string; rows: number; proxyCost: number | null; baseProxyCost: number | null }[];
}

const COLOURS = ["charts-blue", "charts-green", "charts-yellow", "charts-purple", "charts-red"];
const WIDTH = 640;
const HEIGHT = 240;
const [LEFT, RIGHT, TOP, BOTTOM] = [44, 120, 14, 30];
const STATES: Record<string, string> = {
  serving: "serves: clearly better than the base",
  trial: "on trial: a fifth of the requests",
  retired: "not used",
  candidate: "not judged yet",
};

export async function showLearnt(server: Server): Promise<void> {
  const found = await server.run<Learnt>("redraft.learnt");
  openPage("redraft.learnt", "Redraft: what I taught it", body(found), () => undefined);
}

function body(found: Learnt): string {
  if (found.count === 0) {
    return `<h1>What did I teach it?</h1><p class="lead">Nothing yet: no edit was recorded.</p>
<p>Write with Redraft for a while. Once there are a few dozen edits, <em>Train Now</em> in the status bar's menu makes adapters of them.</p>`;
  }
  return `<h1>What did I teach it?</h1><p class="lead">${escape(found.text)}</p>
<h2>How much you still changed, by week</h2>${chart(found)}
<p class="quiet">0%: kept as it was. 100%: nothing was kept.</p>
<h2>Who wrote it</h2>${arms(found)}
<h2>Adapters</h2>${adapters(found)}`;
}

function percent(value: number | null): string {
  return value === null ? "–" : `${Math.round(value * 100)}%`;
}

function arms(found: Learnt): string {
  const rows = found.arms.map(
    (a) => `<tr><td>${escape(a.arm)}</td><td class="n">${a.offers}</td><td class="n">${percent(a.cost_max)}</td><td class="n">${percent(a.untouched)}</td></tr>`,
  );
  return `<table><tr><th>Adapter</th><th class="n">Offers</th><th class="n">You changed</th><th class="n">Kept as it was</th></tr>${rows.join("")}</table>`;
}

function adapters(found: Learnt): string {
  if (found.adapters.length === 0) return "<p>None was trained yet: <em>Train Now</em> in the status bar's menu.</p>";
  const rows = found.adapters.map(
    (a) =>
      `<tr><td>${escape(a.id)}</td><td class="n">${a.rows}</td><td class="n">${percent(a.proxyCost)}</td><td class="n">${percent(a.baseProxyCost)}</td><td>${STATES[a.state] ?? escape(a.state)}</td></tr>`,
  );
  return `<table><tr><th>Adapter</th><th class="n">Edits</th><th class="n">On held-out texts</th><th class="n">The base there</th><th></th></tr>${rows.join("")}</table>`;
}

/** Lines of mean cost by week, one for each arm that has any. */
export function chart(found: Learnt): string {
  const names = found.arms.filter((a) => a.cost_max !== null).map((a) => a.arm);
  const x = (week: number) => LEFT + (found.weeks.length < 2 ? 0.5 : week / (found.weeks.length - 1)) * (WIDTH - LEFT - RIGHT);
  const y = (cost: number) => TOP + (1 - cost) * (HEIGHT - TOP - BOTTOM);
  const grid = [0, 0.5, 1].map(
    (cost) =>
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(cost)}" y2="${y(cost)}" stroke="var(--vscode-widget-border, #8884)"/><text x="${LEFT - 8}" y="${y(cost) + 4}" text-anchor="end" font-size="11">${percent(cost)}</text>`,
  );
  const step = Math.max(1, Math.ceil(found.weeks.length / 8));
  const weeks = found.weeks.map((week, n) =>
    n % step ? "" : `<text x="${x(n)}" y="${HEIGHT - 8}" text-anchor="middle" font-size="11">${escape(week.week.replace(/^\d+-/, ""))}</text>`,
  );
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Mean share of the offers that was changed, by week and adapter">
${grid.join("")}${weeks.join("")}${names.map((name, n) => line(found, name, n, x, y)).join("")}${labels(found, names, y)}</svg>`;
}

function colour(n: number): string {
  return `var(--vscode-${COLOURS[n % COLOURS.length]}, #888)`;
}

function line(found: Learnt, name: string, n: number, x: (week: number) => number, y: (cost: number) => number): string {
  const points = found.weeks.flatMap((week, at) => {
    const cost = week.arms[name];
    return cost === undefined ? [] : [[x(at), y(cost)] as const];
  });
  const path = points.map(([px, py]) => `${px.toFixed(1)},${py.toFixed(1)}`).join(" ");
  const dots = points.map(([px, py]) => `<circle cx="${px.toFixed(1)}" cy="${py.toFixed(1)}" r="3" fill="${colour(n)}"/>`);
  return `<polyline points="${path}" fill="none" stroke="${colour(n)}" stroke-width="2"/>${dots.join("")}`;
}

/** Names at the right end of their lines, moved apart where they would cover each other. */
function labels(found: Learnt, names: string[], y: (cost: number) => number): string {
  const last = (name: string) => found.weeks.map((week) => week.arms[name]).findLast((cost) => cost !== undefined) ?? 0;
  const placed = names.map((name, n) => ({ name, n, at: y(last(name)) + 4 })).sort((a, b) => a.at - b.at);
  for (let i = 1; i < placed.length; i++) placed[i]!.at = Math.max(placed[i]!.at, placed[i - 1]!.at + 14);
  return placed
    .map(({ name, n, at }) => `<text x="${WIDTH - RIGHT + 10}" y="${at.toFixed(1)}" font-size="12" fill="${colour(n)}">${escape(name)}</text>`)
    .join("");
}
