// Headings of sortable tables become buttons; what has no value stays last.
for (const head of document.querySelectorAll("table.sortable th:not(.plain)")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => {
    const rising = head.getAttribute("aria-sort") === "descending" || !head.hasAttribute("aria-sort") && head.cellIndex === 0;
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const body = head.closest("table").tBodies[0];
    const key = row => row.cells[head.cellIndex].dataset.value ?? "";
    const missing = value => ["", "nan", "n/a"].includes(value);
    const compare = (a, b) => isNaN(a) || isNaN(b) ? a.localeCompare(b, "en", { numeric: true }) : a - b;
    const order = (a, b) => missing(a) - missing(b) || compare(a, b) * (rising ? 1 : -1);
    body.append(...[...body.rows].sort((a, b) => order(key(a), key(b))));
  });
}
