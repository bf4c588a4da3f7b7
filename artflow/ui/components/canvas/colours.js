// The canvas' tools: brush and eraser, colours, and whether pen pressure changes the width.

const COLOURS = ["#1b1b1f", "#ffffff", "#e5484d", "#f5a524", "#ffe14d", "#46a758", "#3e7bfa", "#8e5bd6"];

class ColourTools extends Tools {
  constructor(root) {
    super(root, { brush: 12, eraser: 36 }, COLOURS[0]);
    this.part(".af-colour").addEventListener("input", ({ target }) => this.setColour(target.value));
    this.part(".af-pressure").addEventListener("click", () => this.setPressure(!this.pressure));
    this.part(".af-swatches").prepend(...COLOURS.map((colour) => this.swatch(colour)));
    this.setColour(COLOURS[0]);
    this.setPressure(true);
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
}
