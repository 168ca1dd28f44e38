#pragma once

// The fixed parts of report.html.

namespace pg::post::page {

/// Colours of one theme; `flip` is what a picture drawn on white goes through.
inline constexpr const char* kLight =
    "--ink:#1d2329;--soft:#5b6671;--paper:#ffffff;--card:#f5f7f9;--rule:#d7dde3;--link:#0a5ea8;"
    "--mark:#e8f1fa;--edge:#0072b2;--flip:none;color-scheme:light;";
inline constexpr const char* kDark =
    "--ink:#e3e7eb;--soft:#a3adb7;--paper:#14181c;--card:#1c2228;--rule:#38424c;--link:#7cbcf2;"
    "--mark:#1b2c3b;--edge:#56b4e9;--flip:invert(.91) hue-rotate(180deg);color-scheme:dark;";

inline constexpr const char* kStyle = R"css(
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);
 font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif}
.page{max-width:78rem;margin:0 auto;padding:1.5rem 1.25rem 4rem}
h1{font-size:1.75rem;line-height:1.25;margin:0 3.5rem 1rem 0;overflow-wrap:anywhere}
h2{font-size:1.3rem;line-height:1.3;margin:2.75rem 0 .75rem;padding-top:.75rem;
 border-top:1px solid var(--rule);scroll-margin-top:.5rem}
p,ul{max-width:48rem;overflow-wrap:anywhere}
a{color:var(--link)}
.verdict{background:var(--mark);border-left:4px solid var(--edge);padding:.8rem 1rem;
 font-size:1.08rem;font-weight:600;border-radius:0 4px 4px 0}
nav{font-size:.92rem;margin:1.25rem 0}
nav ol{list-style:none;margin:0;padding:0;display:flex;flex-wrap:wrap;gap:.1rem 1.1rem}
nav a{text-decoration:none;display:inline-block;padding:.2rem 0}
nav a:hover{text-decoration:underline}
.scroll{overflow-x:auto;margin:.75rem 0 1.25rem;max-width:100%;border:1px solid var(--rule);
 border-radius:6px}
table{border-collapse:collapse;font-size:.92rem;min-width:100%;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:.5rem .7rem;color:var(--soft);caption-side:top}
th,td{padding:.38rem .7rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule)}
tbody tr:last-child td{border-bottom:0}
thead th{background:var(--card);font-weight:600;vertical-align:bottom}
tbody tr:hover td{background:var(--card)}
.n{text-align:right;white-space:nowrap}
td.w{min-width:8rem;max-width:36rem;overflow-wrap:anywhere}
th button{all:unset;cursor:pointer;display:inline-block}
th button::after{content:"\2195";opacity:.35;margin-left:.3em;font-size:.85em}
th[aria-sort=ascending] button::after{content:"\2191";opacity:1}
th[aria-sort=descending] button::after{content:"\2193";opacity:1}
button:focus-visible,a:focus-visible,.scroll:focus-visible,.canvas:focus-visible{outline:2px solid var(--edge);
 outline-offset:2px}
figure{margin:1.25rem 0 2rem;max-width:62rem}
figure svg{display:block;width:100%;height:auto;border-radius:6px;filter:var(--flip)}
.canvas{border:1px solid var(--rule);border-radius:6px;overflow-x:auto}
figcaption{margin-top:.5rem;color:var(--soft);font-size:.95rem;max-width:48rem}
.missing{padding:2rem 1rem;color:var(--soft);text-align:center}
.theme{all:unset;cursor:pointer;position:absolute;top:1.4rem;right:1.25rem;padding:.25rem .6rem;
 border:1px solid var(--rule);border-radius:6px;font-size:.85rem;color:var(--soft)}
.theme:focus-visible{outline:2px solid var(--edge)}
@media (min-width:68rem){
 .page.toc{display:grid;grid-template-columns:14rem minmax(0,1fr);gap:0 2.5rem}
 .toc h1,.toc main{grid-column:2}
 .toc nav{grid-column:1;grid-row:1/span 2;position:sticky;top:1.5rem;align-self:start;margin:.25rem 0 0;max-height:calc(100vh - 3rem);
  overflow-y:auto}
 .toc nav ol{display:block}
}
@media (max-width:40rem){
 .page{padding:1rem .9rem 3rem}
 h1{font-size:1.4rem}
 .canvas svg{min-width:34rem}
}
@media print{
 .theme,nav{display:none}
 .page.toc{display:block;max-width:none;padding:0}
 .scroll,.canvas{overflow:visible;border:0}
 .canvas svg{min-width:0}
 figure,tr{break-inside:avoid}
 h2{break-after:avoid}
 th button::after{content:""}
}
)css";

/// Sorting and the theme switch. Runs in the head, so that a stored theme shows at once.
inline constexpr const char* kScript = R"js(
(() => {
  "use strict";
  const root = document.documentElement;
  const stored = (value) => {
    try {
      if (value !== undefined) localStorage.setItem("pgpost-theme", value);
      return localStorage.getItem("pgpost-theme");
    } catch (refused) {
      return null;
    }
  };
  const first = stored();
  if (first === "dark" || first === "light") root.dataset.theme = first;

  const NUMBER = /^[<>=[ ]*([-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?)(?![\w.])/i;
  const key = (row, column) => {
    const text = row.cells[column].textContent.trim();
    if (text === "" || text === "-") return { kind: 2, text };
    const found = NUMBER.exec(text);
    if (found) return { kind: 0, value: Number(found[1].replace(/,/g, "")), text };
    return { kind: 1, text };
  };
  const compare = (a, b, turn) => {
    if (a.kind !== b.kind) return a.kind === 2 || b.kind === 2 ? a.kind - b.kind
                                                               : turn * (a.kind - b.kind);
    if (a.kind === 0 && a.value !== b.value) return turn * (a.value - b.value);
    return a.kind === 1 ? turn * a.text.localeCompare(b.text, "en", { numeric: true }) : 0;
  };
  const sort = (table, head) => {
    const column = head.cellIndex;
    const turn = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", turn === 1 ? "ascending" : "descending");
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, (row) => ({ row, key: key(row, column) }));
    rows.sort((a, b) => compare(a.key, b.key, turn));
    for (const { row } of rows) body.appendChild(row);
  };
  const prepare = () => {
    for (const table of document.querySelectorAll("table")) {
      if (table.tBodies[0].rows.length < 2) continue;
      for (const head of table.tHead.rows[0].cells) {
        const button = document.createElement("button");
        button.type = "button";
        button.title = "sort by this column";
        button.append(...head.childNodes);
        button.addEventListener("click", () => sort(table, head));
        head.append(button);
      }
    }
    const system = matchMedia("(prefers-color-scheme: dark)");
    const theme = () => root.dataset.theme || (system.matches ? "dark" : "light");
    const button = document.querySelector(".theme");
    const label = () => { button.textContent = theme() === "dark" ? "light" : "dark"; };
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.theme = theme() === "dark" ? "light" : "dark";
      stored(root.dataset.theme);
      label();
    });
    system.addEventListener("change", label);
    label();
  };
  document.addEventListener("DOMContentLoaded", prepare);
})();
)js";

}  // namespace pg::post::page
