"""The look of the report page, and the few lines of script that sort its tables."""

__all__ = ["SCRIPT", "STYLE"]

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f4f5f7; --surface: #ffffff; --ink: #1b2330; --muted: #5b6675; --faint: #98a2b0; --line: #dfe3e8;
  --blue: #0068a6; --orange: #c85600; --green: #00835f; --tint: #e8f1f8; --warn: #fdf1e4; --stripe: #f8f9fb;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #10141a; --surface: #181e26; --ink: #e6eaf0; --muted: #a3adba; --faint: #6f7a88; --line: #303946;
    --blue: #62b3ea; --orange: #f0924a; --green: #3fc79c; --tint: #1d3345; --warn: #3a2a1a; --stripe: #1c232c;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", Arial, sans-serif; }
main, header > div { max-width: 1180px; margin: 0 auto; padding: 0 24px; }
header { background: var(--surface); border-bottom: 1px solid var(--line); padding: 34px 0 26px; }
h1 { margin: 0 0 6px; font-size: 30px; line-height: 1.2; letter-spacing: -0.015em; }
h2 { margin: 0 0 4px; font-size: 20px; letter-spacing: -0.01em; }
h3 { margin: 26px 0 4px; font-size: 16px; }
p { margin: 0 0 12px; }
.lead { color: var(--muted); max-width: 76ch; }
.note { color: var(--muted); font-size: 14px; max-width: 96ch; margin: 12px 0 0; padding: 0 0 0 18px; }
.note li { margin: 2px 0; }
.facts { display: flex; flex-wrap: wrap; gap: 10px 34px; margin: 20px 0 0; padding: 0; list-style: none; }
.facts b { display: block; font-size: 26px; line-height: 1.15; font-variant-numeric: tabular-nums; }
.facts span { color: var(--muted); font-size: 13px; }
.facts .bad b { color: var(--orange); }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin-top: 20px; font-size: 14px; }
a { color: var(--blue); text-underline-offset: 3px; }
section { background: var(--surface); border: 1px solid var(--line); border-radius: 12px; padding: 22px 24px 20px;
  margin: 22px 0; scroll-margin-top: 12px; }
section > .note:last-child { margin-bottom: 0; }
.scroll { overflow-x: auto; margin: 12px -24px 8px; padding: 0 24px; }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: 14px;
  font-variant-numeric: tabular-nums; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
th, td { padding: 7px 11px; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; color: var(--muted); font-size: 13px; vertical-align: bottom; white-space: normal;
  line-height: 1.3; }
thead tr:last-child th { border-bottom: 2px solid var(--line); }
.groups th { text-align: left; font-size: 12px; padding-bottom: 2px; border-bottom: 0; color: var(--faint); }
.groups th + th:not(:empty) { border-left: 1px solid var(--line); }
.number { text-align: right; }
tbody tr:nth-child(even) td { background-color: var(--stripe); }
tbody tr:hover td { background-color: var(--tint); }
.pinned th:first-child, .pinned td:first-child { position: sticky; left: -24px; background-color: var(--surface);
  z-index: 1; font-weight: 600; }
.pinned tbody tr:nth-child(even) td:first-child { background-color: var(--stripe); }
.pinned tbody tr:hover td:first-child { background-color: var(--tint); }
.best { font-weight: 700; color: var(--blue); }
.gap { color: var(--faint); }
.wrap td { white-space: normal; min-width: 8ch; vertical-align: top; overflow-wrap: anywhere; }
th button { all: unset; cursor: pointer; }
th button:hover { color: var(--ink); }
th button:focus-visible { outline: 2px solid var(--blue); outline-offset: 3px; border-radius: 3px; }
th button::after { content: "\\2195"; color: var(--faint); margin-left: 5px; font-size: 11px; }
th[aria-sort="ascending"] button::after { content: "\\2191"; color: var(--blue); }
th[aria-sort="descending"] button::after { content: "\\2193"; color: var(--blue); }
figure { margin: 18px 0 6px; }
figcaption { color: var(--muted); font-size: 14px; max-width: 92ch; }
.picture { overflow-x: auto; margin: 0 -24px; padding: 4px 24px; }
.picture svg { display: block; margin: 0 auto; max-width: 100%; min-width: var(--least); height: auto;
  fill: var(--ink); }
.warning { background: var(--warn); border-radius: 8px; padding: 10px 14px; font-size: 14px; }
.warning ul { margin: 4px 0 0; padding-left: 20px; }
dl { display: grid; grid-template-columns: minmax(9em, max-content) 1fr; gap: 7px 22px; margin: 12px 0 0;
  font-size: 14px; }
dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; }
details { margin: 6px 0; font-size: 14px; }
summary { cursor: pointer; }
pre { overflow-x: auto; background: var(--stripe); border-radius: 8px; padding: 10px 12px; font-size: 13px;
  margin: 6px 0; white-space: pre-wrap; overflow-wrap: anywhere; }
footer { color: var(--muted); font-size: 13px; padding: 4px 0 40px; }
@media (max-width: 640px) {
  main, header > div { padding: 0 14px; }
  header { padding: 24px 0 20px; }
  h1 { font-size: 25px; }
  section { padding: 18px 16px 14px; border-radius: 10px; margin: 14px 0; }
  .scroll, .picture { margin-left: -16px; margin-right: -16px; padding-left: 16px; padding-right: 16px; }
  .pinned th:first-child, .pinned td:first-child { left: -16px; max-width: 44vw; overflow: hidden;
    text-overflow: ellipsis; }
  th, td { padding: 7px 9px; }
  dl { grid-template-columns: 1fr; gap: 2px; }
  dd { margin-bottom: 8px; }
  .facts { gap: 12px 26px; }
  .facts b { font-size: 22px; }
}
@media print {
  body { background: none; }
  section { break-inside: avoid; border: 0; padding: 0; }
  nav { display: none; }
}
"""

SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = table.tHead.rows[table.tHead.rows.length - 1].cells;
  [...heads].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const number = head.classList.contains("number");
      const now = head.getAttribute("aria-sort");
      const down = now ? now === "ascending" : number;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = row => {
        const cell = row.cells[column];
        return number ? parseFloat(cell.dataset.value) : cell.textContent;
      };
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (!number) return x.localeCompare(y, undefined, {numeric: true}) * (down ? -1 : 1);
        if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
        return (x - y) * (down ? -1 : 1);
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
    });
  });
}
"""
