"use strict";
const table = document.querySelector("table");
const body = table.tBodies[0];
const rows = Array.from(body.rows);
const filter = document.getElementById("filter");
const names = new Map(rows.map((row) => [row, row.cells[0].textContent]));
const drawings = new Map();
const byName = new Intl.Collator("en", { numeric: true }).compare;

function isNumber(column) {
  return rows.some((row) => row.cells[column].dataset.key !== undefined);
}

function compare(a, b, column) {
  const [x, y] = [a.cells[column], b.cells[column]];
  if (column === 0 || !isNumber(column)) return byName(x.textContent, y.textContent);
  return Number(x.dataset.key) - Number(y.dataset.key) || 0;
}

function sort(column) {
  const heads = Array.from(table.tHead.rows[0].cells);
  const up = heads[column].getAttribute("aria-sort") !== "ascending";
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", up ? "ascending" : "descending");
  // What has no figure comes last, whichever way.
  const blank = (row) => row.cells[column].dataset.key === "";
  rows.sort((a, b) => blank(a) - blank(b) || (up ? 1 : -1) * compare(a, b, column));
  body.append(...rows.flatMap((row) => (drawings.has(row) ? [row, drawings.get(row)] : [row])));
}

function show() {
  const wanted = filter.value.trim().toLowerCase();
  let count = 0;
  for (const row of rows) {
    row.hidden = !names.get(row).toLowerCase().includes(wanted);
    if (drawings.has(row)) drawings.get(row).hidden = row.hidden;
    count += !row.hidden;
  }
  document.getElementById("shown").textContent = `${count} of ${rows.length} shown`;
}

function toggle(button) {
  const row = button.closest("tr");
  const open = !drawings.has(row);
  if (open) {
    const made = document.createElement("tr");
    made.className = "drawing";
    const cell = made.insertCell();
    cell.colSpan = row.cells.length;
    const box = cell.appendChild(document.createElement("div"));
    box.append(document.getElementById(button.dataset.drawing).content.cloneNode(true));
    row.after(made);
    drawings.set(row, made);
  } else {
    drawings.get(row).remove();
    drawings.delete(row);
  }
  button.setAttribute("aria-expanded", String(open));
}

Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
  head.classList.toggle("number", column > 0 && isNumber(column));
  head.firstElementChild.addEventListener("click", () => sort(column));
});
body.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) toggle(button);
});
filter.addEventListener("input", show);
show();
