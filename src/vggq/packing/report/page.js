"use strict";
const table = document.getElementById("rows");
const body = table.tBodies[0];
const rows = Array.from(body.rows);
const filter = document.getElementById("filter");
const names = new Map(rows.map((row) => [row, row.cells[0].textContent]));
// Rows with histograms that are open, by the row of their tensor.
const histograms = new Map();
const byName = new Intl.Collator("en", { numeric: true }).compare;

function isNumeric(column) {
  return rows.some((row) => row.cells[column].dataset.key !== undefined);
}

function compareRows(a, b, column) {
  const [x, y] = [a.cells[column], b.cells[column]];
  if (column === 0 || !isNumeric(column)) return byName(x.textContent, y.textContent);
  return Number(x.dataset.key) - Number(y.dataset.key) || 0;
}

function sortBy(column) {
  const heads = Array.from(table.tHead.rows[0].cells);
  const ascending = heads[column].getAttribute("aria-sort") !== "ascending";
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", ascending ? "ascending" : "descending");
  // Rows without a number stay last in both directions.
  const blank = (row) => row.cells[column].dataset.key === "";
  rows.sort((a, b) => blank(a) - blank(b) || (ascending ? 1 : -1) * compareRows(a, b, column));
  body.append(...rows.flatMap((row) => (histograms.has(row) ? [row, histograms.get(row)] : [row])));
}

function applyFilter() {
  const text = filter.value.trim().toLowerCase();
  let count = 0;
  for (const row of rows) {
    row.hidden = !names.get(row).toLowerCase().includes(text);
    if (histograms.has(row)) histograms.get(row).hidden = row.hidden;
    count += !row.hidden;
  }
  document.getElementById("shown").textContent = `${count} of ${rows.length} shown`;
}

function toggleHistograms(button) {
  const row = button.closest("tr");
  const open = !histograms.has(row);
  if (open) {
    const added = document.createElement("tr");
    added.className = "histograms";
    const cell = added.insertCell();
    cell.colSpan = row.cells.length;
    const box = cell.appendChild(document.createElement("div"));
    box.append(document.getElementById(button.dataset.template).content.cloneNode(true));
    row.after(added);
    histograms.set(row, added);
  } else {
    histograms.get(row).remove();
    histograms.delete(row);
  }
  button.setAttribute("aria-expanded", String(open));
}

Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
  head.classList.toggle("number", column > 0 && isNumeric(column));
  head.firstElementChild.addEventListener("click", () => sortBy(column));
});
body.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) toggleHistograms(button);
});
filter.addEventListener("input", applyFilter);
applyFilter();
