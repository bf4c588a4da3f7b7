// What the hand holds: brush or eraser, its size, its colour, and whether pen pressure counts.

const COLOURS = ["#1b1b1f", "#ffffff", "#e5484d", "#f5a524", "#ffe14d", "#46a758", "#3e7bfa", "#8e5bd6"];
const LARGEST = 128;

class Tools {
  constructor(root) {
    this.root = root;
    this.sizes = { brush: 12, eraser: 36 };
    this.pressure = true;
    this.part(".af-brush").addEventListener("click", () => this.choose("brush"));
    this.part(".af-eraser").addEventListener("click", () => this.choose("eraser"));
    this.part(".af-size").addEventListener("input", ({ target }) => this.setSize(Number(target.value)));
    this.part(".af-colour").addEventListener("input", ({ target }) => this.setColour(target.value));
    this.part(".af-pressure").addEventListener("click", () => this.setPressure(!this.pressure));
    this.part(".af-swatches").prepend(...COLOURS.map((colour) => this.swatch(colour)));
    this.setColour(COLOURS[0]);
  }

  part(selector) {
    return this.root.querySelector(selector);
  }

  get size() {
    return this.sizes[this.tool];
  }

  swatch(colour) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "af-swatch";
    button.dataset.colour = colour;
    button.style.background = colour;
    button.title = `${say("colour")} ${colour}`;
    button.setAttribute("aria-label", button.title);
    button.addEventListener("click", () => this.setColour(colour));
    return button;
  }

  choose(tool) {
    this.tool = tool;
    for (const name of ["brush", "eraser"]) this.part(`.af-${name}`).setAttribute("aria-pressed", name === tool);
    this.setSize(this.size);
  }

  setColour(colour) {
    this.colour = colour;
    this.part(".af-colour").value = colour;
    for (const swatch of this.root.querySelectorAll(".af-swatch")) {
      swatch.setAttribute("aria-pressed", swatch.dataset.colour === colour);
    }
    this.choose("brush"); // choosing a colour means to paint with it
  }

  setPressure(counts) {
    this.pressure = counts;
    this.part(".af-pressure").setAttribute("aria-pressed", counts);
  }

  setSize(size) {
    this.sizes[this.tool] = Math.round(Math.min(LARGEST, Math.max(1, size)));
    this.part(".af-size").value = this.size;
    this.part(".af-size-value").textContent = this.size;
  }

  smaller() {
    this.setSize(Math.min(this.size - 1, this.size * 0.8));
  }

  larger() {
    this.setSize(Math.max(this.size + 1, this.size * 1.25));
  }
}
