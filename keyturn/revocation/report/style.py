"""How the report looks: on a screen by day and by night, on a phone, and on A4."""

from typing import Final

CSS: Final = """
:root {
  color-scheme: light dark;
  --paper: #fff; --ink: #1c2430; --soft: #5a6678; --line: #d9dfe7; --shade: #f4f6f9;
  --good: #0a6b3d; --good-shade: #e5f4ec; --bad: #a8201a; --bad-shade: #fdecea; --warn: #7a5200; --warn-shade: #fdf3dc;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181f; --ink: #e4e9f0; --soft: #9aa6b6; --line: #323b48; --shade: #1c222b;
    --good: #6fd6a2; --good-shade: #14301f; --bad: #ff9d94; --bad-shade: #3b1a18;
    --warn: #f0c66a; --warn-shade: #352a10;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem 1.25rem 3rem; max-width: 74rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
h1 { font-size: 1.6rem; line-height: 1.25; margin: .2rem 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; overflow-wrap: anywhere; }
p, ul { margin: .4rem 0; }
ul { padding-left: 1.3rem; }
li { margin: .2rem 0; overflow-wrap: anywhere; }
code, pre, td.mono {
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .88em;
}
pre { background: var(--shade); border: 1px solid var(--line); border-radius: 6px; padding: .7rem; overflow-x: auto;
  white-space: pre-wrap; overflow-wrap: anywhere; }
.what { color: var(--soft); margin: 0; letter-spacing: .04em; text-transform: uppercase; font-size: .78rem; }
.badge { display: inline-block; padding: .05rem .6rem; border-radius: 1rem; font-size: .85rem; font-weight: 650;
  vertical-align: .15em; white-space: nowrap; }
.soft { color: var(--soft); }
.open, .failed { color: var(--bad); background: var(--bad-shade); }
.closed, .clear { color: var(--good); background: var(--good-shade); }
.remains, .removed, .waiting { color: var(--warn); background: var(--warn-shade); }
.box {
  border: 1px solid var(--line); border-left-width: 6px; border-radius: 6px; padding: .6rem 1rem .7rem; margin: 1rem 0;
}
.box.open { border-color: var(--bad); background: var(--bad-shade); color: inherit; }
.box.closed { border-color: var(--good); background: var(--good-shade); color: inherit; }
.box ul { max-height: 21rem; overflow-y: auto; }
.box h2 { border: 0; margin: 0; padding: 0; font-size: 1.1rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .75rem; margin: .8rem 0; }
.tile { border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem; background: var(--shade); }
.tile b { display: block; font-size: 1.45rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: .86rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: .6rem 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 1rem; font-size: .9rem; }
th {
  text-align: left; color: var(--soft); font-weight: 600; border-bottom: 2px solid var(--line); vertical-align: bottom;
}
td { border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
th, td { padding: .3rem .7rem .3rem 0; }
th:last-child, td:last-child { padding-right: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.time { font-variant-numeric: tabular-nums; white-space: nowrap; }
.time span { white-space: nowrap; }
td.mono { overflow-wrap: break-word; }
.name { min-width: 8.5rem; }
nav { margin: 1rem 0 0; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; font-size: .92rem; }
a { color: inherit; text-decoration-color: var(--soft); text-underline-offset: .2em; }
.gap { color: var(--warn); }
tr.failed td { background: var(--bad-shade); color: var(--ink); }
tr.remains td { background: var(--warn-shade); color: var(--ink); }
footer {
  margin-top: 2.5rem; color: var(--soft); font-size: .85rem; border-top: 1px solid var(--line); padding-top: .7rem;
}
@media (max-width: 46rem) {
  body { padding: 1rem .9rem 2rem; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .45rem; }
  thead { display: none; }
  table, tbody, tr, td { display: block; width: auto; }
  tr { border: 1px solid var(--line); border-radius: 6px; margin: .6rem 0; padding: .35rem .7rem; }
  td { border: 0; padding: .1rem 0; }
  td.number, td.time { text-align: left; white-space: normal; }
  td:empty { display: none; }
  td[data-label]::before { content: attr(data-label) ": "; color: var(--soft); }
}
@page { size: A4; margin: 16mm 13mm; }
@media print {
  :root {
    color-scheme: light; --paper: #fff; --ink: #000; --soft: #444; --line: #bbb; --shade: #f6f6f6;
    --good: #0a6b3d; --good-shade: #eef7f2; --bad: #a8201a; --bad-shade: #fdf0ee;
    --warn: #6b4800; --warn-shade: #fdf7e8;
  }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  html { font-size: 9.5pt; }
  body { max-width: none; padding: 0; font-size: 1rem; }
  .box ul { max-height: none; overflow: visible; }
  h2, h3 { break-after: avoid; }
  tr, .box, .tile, li { break-inside: avoid; }
  thead { display: table-header-group; }
  table { font-size: .86rem; }
  .name { min-width: 22mm; }
  .time { white-space: normal; }
  nav { display: none; }
}
"""
