"use strict";
// Buttons that sort a table, and a field that filters it. Rows stay in the page's own order until a button is pressed.
for (const table of document.querySelectorAll("table[data-tools]")) {
  const groups = [...table.tBodies].filter(body => body.classList.contains("metric"));
  const rows = groups.length ? groups : [...table.tBodies].flatMap(body => [...body.rows]);
  if (rows.length > 1 && table.dataset.tools.includes("sort")) sortable(table, rows);
  if (rows.length > 5 && table.dataset.tools.includes("filter")) filterable(table, rows);
}

function sortable(table, rows) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const sorted = [...rows].sort((a, b) => compare(key(a, column), key(b, column)) * (down ? -1 : 1));
      for (const row of sorted) row.parentNode.append(row);
    });
  });
}

function key(row, column) {
  const cell = row.cells[column];
  return cell.dataset.sort ?? cell.textContent.trim();
}

function compare(a, b) {
  const x = amount(a), y = amount(b);
  if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
  if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
  return a < b ? -1 : a > b ? 1 : 0;
}

// "385 MiB", "2.35 ms", "×0.38", "−3 points": the number in the base of its unit; NaN for text.
function amount(text) {
  const match = /^[×±+]?([−-]?[\d.]+(?:e[-+]?\d+)?)\s*([KMGT]iB|ms|µs|ns)?/.exec(text);
  if (!match) return NaN;
  const units = {KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40, ms: 1e-3, "µs": 1e-6, ns: 1e-9};
  return parseFloat(match[1].replace("−", "-")) * (units[match[2]] ?? 1);
}

function filterable(table, rows) {
  const box = table.closest(".wide-table");
  const label = document.createElement("label"), field = document.createElement("input"), said = document.createElement("output");
  label.className = "filter";
  field.type = "search";
  label.append("Filter rows ", field, " ", said);
  box.before(label);
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      shown += row.hidden ? 0 : 1;
    }
    for (const body of table.querySelectorAll("tbody.group")) body.hidden = wanted !== "";
    said.value = wanted ? `${shown} of ${rows.length}` : "";
  });
}
