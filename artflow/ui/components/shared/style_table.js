// The styles that there are, as the server lists them: {default, styles: [{id, names, alone, own}]}. One table for all
// views; it is asked for when a view first needs it, and again when a style has been learned or deleted.

function styleTable(again = false) {
  if (again || !hub.styles) {
    hub.styles = getJson("painter/styles").then((table) => (hub.styleNames = namesOf(table)) && table);
    hub.styles.catch(() => setTimeout(() => (hub.styles = null), 10_000)); // and then the next one asks again
  }
  return hub.styles;
}

async function getJson(path, values = {}) {
  const url = routeUrl(path);
  for (const [name, value] of Object.entries(values)) url.searchParams.set(name, value);
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

function namesOf({ styles }) {
  return Object.fromEntries(styles.map(({ id, names }) => [id, names[LANGUAGE] ?? names.en]));
}

// The name of a style in the page's language; what the id says until the table is there.
function styleName(id) {
  if (!hub.styleNames) styleTable().catch(() => {});
  return hub.styleNames?.[id] ?? id.replaceAll("-", " ");
}
