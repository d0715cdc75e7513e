// The last two images that were shown in place, back and forth: by the button, a click on them, or the space key.
{
  const viewer = document.querySelector(".viewer");
  const choices = [...viewer.querySelectorAll(".in-place")];
  const enhanced = document.getElementById("show-enhanced");
  const other = document.getElementById("show-mri") ?? document.getElementById("show-low");
  let shown = [enhanced, other];  // the latest first
  const show = choice => {
    choice.checked = true;
    shown = [choice, shown[0] === choice ? shown[1] : shown[0]];
  };
  const flip = () => show(choices.some(choice => choice.checked) ? shown[1] : shown[0]);
  for (const choice of choices) choice.addEventListener("change", () => show(choice));
  if (other) {
    const button = document.getElementById("flip");
    button.hidden = false;
    button.addEventListener("click", flip);
    viewer.querySelector(".layers").addEventListener("click", flip);
    document.addEventListener("keydown", event => {
      const own = event.target.closest?.("button, #contours, a, summary");
      if (event.key !== " " || own || !viewer.matches(":hover, :focus-within")) return;
      event.preventDefault();
      flip();
    });
  }
}
