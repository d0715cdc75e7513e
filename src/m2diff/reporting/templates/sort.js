for (const head of document.querySelectorAll("table.sortable th")) {
  head.addEventListener("click", () => {
    const rising = head.getAttribute("aria-sort") === "descending" || !head.hasAttribute("aria-sort") && head.cellIndex === 0;
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const body = head.closest("table").tBodies[0];
    const key = row => row.cells[head.cellIndex].dataset.value;
    const compare = (a, b) => isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
    const rows = [...body.rows].sort((a, b) => compare(key(a), key(b)) * (rising ? 1 : -1));
    body.append(...rows);
  });
}
