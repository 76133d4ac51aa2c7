"""The style sheet of a report page: dark text on white, readable in print and without colour."""

from __future__ import annotations

__all__ = ["CSS"]

CSS = """
:root { --ink: #1a1a1a; --soft: #555; --line: #cfcfcf; --wash: #f5f6f7; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 70rem; background: #fff;
  color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans",
  sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.35rem; line-height: 1.25; margin: 2.75rem 0 .6rem; padding-top: .9rem;
  border-top: 2px solid var(--ink); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
p { margin: .5rem 0; max-width: 48rem; overflow-wrap: anywhere; }
.lead { font-size: 1.1rem; white-space: pre-line; }
.soft, figcaption, caption { color: var(--soft); font-size: .9rem; }
a { color: #00527f; }
.verdict { display: inline-block; padding: 0 .5em; border: 1.5px solid; border-radius: 3px;
  font-weight: 600; font-size: .82rem; line-height: 1.55; white-space: nowrap; color: var(--ink); }
.agrees { border-color: #009e73; background: #e5f5f0; }
.disagrees { border-color: #d55e00; background: #fcece1; border-width: 1.5px 1.5px 1.5px 6px; }
.inconclusive { border-color: #777; border-style: dashed; background: #fff; }
.result { border-left: 4px solid var(--line); padding: .1rem 0 .1rem 1rem; margin: .75rem 0 1rem; }
.scroll { overflow: auto; max-height: 75vh; margin: .5rem 0 1rem; border: 1px solid var(--line); }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: .88rem; }
caption { text-align: left; padding: .4rem .6rem; }
th, td { padding: .3rem .6rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid #e4e4e4; }
thead th { position: sticky; top: 0; background: var(--wash); border-bottom: 1px solid var(--line);
  white-space: nowrap; z-index: 1; }
tbody th { font-weight: 400; overflow-wrap: break-word; min-width: 7rem; }
tbody tr:last-child > * { border-bottom: 0; }
.num { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.settings td { overflow-wrap: anywhere; white-space: pre-wrap;
  font: .85rem/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }
details { border: 1px solid var(--line); border-radius: 4px; margin: .5rem 0; padding: 0 .75rem; }
summary { cursor: pointer; padding: .45rem 0; overflow-wrap: anywhere; }
summary:focus-visible, a:focus-visible, .scroll:focus-visible { outline: 2px solid #00527f; }
figure { margin: 1rem 0 1.5rem; }
figure img { max-width: 100%; height: auto; display: block; }
dt { font-weight: 600; margin-top: .4rem; }
dd { margin: 0 0 .4rem 1.25rem; }
@media (max-width: 40rem) { body { padding: 1rem .75rem 3rem; font-size: 15px; }
  h1 { font-size: 1.5rem; } th, td { padding: .25rem .4rem; } }
@media print { body { max-width: none; padding: 0; font-size: 10pt; }
  .scroll { max-height: none; overflow: visible; border: 0; }
  thead th { position: static; } table { font-size: 7.5pt; }
  .soft, figcaption, caption { font-size: 8.5pt; } th, td { padding: .15rem .3rem; }
  tr, figure { break-inside: avoid; } h2, h3 { break-after: avoid; }
  details { border: 0; padding: 0; }
  details::details-content { content-visibility: visible; block-size: auto; display: block; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
