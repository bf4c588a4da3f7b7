// The opacity of the result over the picture: the server's own ramp (`feathered`), so that both end at the same pixel.

const NEARBY = 3; // pixels around one of a stroke's middle line, as in the server

// The opacity of a mask (one byte a pixel, 255 or 0) as a surface: it rises over `feather` pixels at the mask's edge,
// "inwards", "outwards", or half of them on either side ("centred"). Strokes that are too thin are opaque in their middle.
function featheredSurface(mask, width, height, feather, edge) {
  const opacity = feather ? feathered(mask, width, height, feather, edge) : mask.map((value) => value / 255);
  const surface = newSurface(width, height);
  const pixels = surface.createImageData(width, height);
  for (let i = 0; i < mask.length; i++) pixels.data[4 * i + 3] = Math.round(255 * opacity[i]);
  surface.putImageData(pixels, 0, 0);
  return surface;
}

function feathered(mask, width, height, feather, edge) {
  const outer = { inwards: 0, centred: Math.floor(feather / 2), outwards: feather }[edge];
  const inner = feather - outer, deepest = inner + NEARBY;
  const inside = distances(mask, 255, width, height, deepest);
  const outside = distances(mask, 0, width, height, outer);
  // From the edge in pixels, positive inside of the mask.
  const position = inside.map((d, i) => (mask[i] ? Math.min(d - 0.5, deepest) : Math.max(0.5 - outside[i], -outer)));
  const around = highestAround(position, width, height);
  const ridge = mask.map((value, i) => Number(value && position[i] >= Math.min(around[i] - NEARBY / 2, inner)));
  const rest = distances(ridge, 0, width, height, outer + 2 * inner);
  return position.map((at, i) => {
    const risen = at + outer;
    const share = risen / Math.max(risen + rest[i], 0.5);
    return share * share * (3 - 2 * share);
  });
}

// The largest position in the square of `NEARBY` around each pixel.
function highestAround(position, width, height) {
  const rows = highest(position, { lines: height, length: width, line: width, step: 1 });
  return highest(rows, { lines: width, length: height, line: 1, step: width });
}

function highest(values, { lines, length, line, step }) {
  const result = new Float32Array(values.length);
  for (let n = 0; n < lines; n++) {
    for (let at = 0; at < length; at++) {
      let best = -Infinity;
      const last = Math.min(length - 1, at + NEARBY);
      for (let k = Math.max(0, at - NEARBY); k <= last; k++) best = Math.max(best, values[n * line + k * step]);
      result[n * line + at * step] = best;
    }
  }
  return result;
}

// The distance of each pixel with this value to the nearest one without it, in pixels; exact up to `reach`.
function distances(mask, value, width, height, reach) {
  const far = reach + 1;
  const down = new Float32Array(mask.length); // within the pixel's column
  for (let i = 0; i < mask.length; i++) {
    if (mask[i] === value) down[i] = Math.min(far, 1 + (i < width ? far : down[i - width]));
  }
  for (let i = mask.length - width - 1; i >= 0; i--) down[i] = Math.min(down[i], 1 + down[i + width]);
  const result = new Float32Array(mask.length);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      let best = down[i] ** 2;
      for (let dx = 1; dx * dx < best; dx++) {
        if (x >= dx) best = Math.min(best, dx * dx + down[i - dx] ** 2);
        if (x + dx < width) best = Math.min(best, dx * dx + down[i + dx] ** 2);
      }
      result[i] = Math.sqrt(best);
    }
  }
  return result;
}
