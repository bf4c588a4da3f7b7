// The opacity of the result over the picture: the same feather as the server's, so both end at the same pixel.

// The opacity of a mask (one byte a pixel, 255 or 0) as a surface: opaque in it, falling to nothing exactly `feather`
// pixels outside of it.
function featheredSurface(mask, width, height, feather) {
  const radius = Math.floor(feather / 2);
  let soft = Float32Array.from(mask);
  // Two box blurs reach exactly the sum of their radii; a Gaussian has no such end.
  for (const reach of [radius, feather - radius]) {
    soft = blurredRows(soft, width, height, reach);
    soft = blurredColumns(soft, width, height, reach);
  }
  const surface = newSurface(width, height);
  const pixels = surface.createImageData(width, height);
  for (let i = 0; i < mask.length; i++) pixels.data[4 * i + 3] = Math.max(mask[i], Math.round(soft[i]));
  surface.putImageData(pixels, 0, 0);
  return surface;
}

function blurredRows(values, width, height, radius) {
  return blurred(values, { lines: height, length: width, line: width, step: 1 }, radius);
}

function blurredColumns(values, width, height, radius) {
  return blurred(values, { lines: width, length: height, line: 1, step: width }, radius);
}

// The mean of 2 * radius + 1 values along each line; the end values are repeated beyond it.
function blurred(values, { lines, length, line, step }, radius) {
  if (!radius) return values;
  const result = new Float32Array(values.length);
  const at = (start, i) => values[start + step * Math.min(length - 1, Math.max(0, i))];
  for (let n = 0; n < lines; n++) {
    const start = n * line;
    let sum = 0;
    for (let i = -radius; i <= radius; i++) sum += at(start, i);
    for (let i = 0; i < length; i++) {
      result[start + step * i] = sum / (2 * radius + 1);
      sum += at(start, i + radius + 1) - at(start, i - radius);
    }
  }
  return result;
}
