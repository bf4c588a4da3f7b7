// The drawing tool: brush or eraser, and its size.

const LARGEST = 128;

class Tools {
  constructor(root, sizes, colour) {
    this.root = root;
    this.sizes = sizes; // of {brush, eraser}
    this.colour = colour;
    this.pressure = false; // whether that of a pen changes the width
    this.part(".af-brush").addEventListener("click", () => this.choose("brush"));
    this.part(".af-eraser").addEventListener("click", () => this.choose("eraser"));
    this.part(".af-size").addEventListener("input", ({ target }) => this.setSize(Number(target.value)));
    this.choose("brush");
  }

  part(selector) {
    return this.root.querySelector(selector);
  }

  get size() {
    return this.sizes[this.tool];
  }

  choose(tool) {
    this.tool = tool;
    for (const name of ["brush", "eraser"]) this.part(`.af-${name}`).setAttribute("aria-pressed", name === tool);
    this.setSize(this.size);
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
