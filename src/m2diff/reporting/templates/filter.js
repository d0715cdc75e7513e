// The rows that hold every word of the box, and only the marked ones where that is asked for.
{
  const box = document.getElementById("words"), marked = document.getElementById("only-marked");
  const rows = [...document.querySelectorAll("#scans tbody tr")];
  const texts = rows.map(row => row.textContent.toLowerCase());
  const told = document.getElementById("told");
  const filter = () => {
    const words = box.value.toLowerCase().split(/\s+/);
    rows.forEach((row, n) => {
      row.hidden = !words.every(word => texts[n].includes(word)) || marked.checked && !row.classList.contains("marked");
    });
    const left = rows.filter(row => !row.hidden).length;
    told.textContent = left < rows.length ? `${left} of ${rows.length} scans` : "";
  };
  document.querySelector(".filter").hidden = false;
  for (const input of [box, marked]) input.addEventListener("input", filter);
  filter();
}
