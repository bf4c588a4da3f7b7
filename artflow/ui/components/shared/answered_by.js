// Who has made a picture, in a few words: "Painter: Van Gogh 60 %, Mosaic 40 %", "Pocket, then Painter: Van Gogh".

function answeredBy(recipe) {
  const { painted_over: over } = recipe;
  if (!recipe.model) return "";
  const first = named(recipe.model, over ? {} : recipe);
  return over ? say("first_then", { first, then: named(over.model, over) }) : first;
}

function named(model, { styles = {}, default_style: usual, style_picture: picture }) {
  const title = props.titles?.[model] ?? model;
  const shares = Object.entries(styles);
  const half = picture && shares.length ? 0.5 : 1; // a picture is half of the style where the prompt names others
  const parts = shares.map(([id, share]) => [styleName(id), half * share]);
  if (picture) parts.push([say("your_picture"), half]);
  const share = (part) => (parts.length > 1 ? say("share", { percent: Math.round(100 * part) }) : "");
  if (parts.length) return say("made_by", { title, styles: parts.map(([n, part]) => n + share(part)).join(say("comma")) });
  return usual ? say("made_by_default", { title, style: styleName(usual) }) : title;
}
