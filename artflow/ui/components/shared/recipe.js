// Writes a picture's recipe into its file: the EXIF description of a JPEG, a text chunk of a PNG.

const EXIF_START = "Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x0e\0\x02"; // one entry of the big-endian kind: ImageDescription
const EXIF_TEXT_AT = 26; // bytes from "MM"
const MOST_EXIF = 65_000; // bytes that fit into a segment
const AFTER_HEADER = { "image/jpeg": 2, "image/png": 33 };

async function withRecipe(blob, recipe) {
  const at = AFTER_HEADER[blob.type];
  if (!recipe || !at) return blob;
  const text = inAscii(JSON.stringify(recipe));
  const part = blob.type === "image/png" ? pngText("artflow", text) : exifDescription(`artflow:${text}`);
  return new Blob([blob.slice(0, at), part, blob.slice(at)], { type: blob.type });
}

function inAscii(json) {
  return json.replace(/[\x7f-\uffff]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function bytesOf(text) {
  return Uint8Array.from(text, (sign) => sign.charCodeAt(0));
}

function number(value, length = 4) {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes.subarray(4 - length);
}

function exifDescription(text) {
  if (text.length > MOST_EXIF) return new Blob([]);
  const body = [bytesOf(EXIF_START), number(text.length + 1), number(EXIF_TEXT_AT), number(0), bytesOf(`${text}\0`)];
  const length = body.reduce((sum, part) => sum + part.length, 2);
  return new Blob([bytesOf("\xff\xe1"), number(length, 2), ...body]);
}

function pngText(key, text) {
  const body = bytesOf(`tEXt${key}\0${text}`);
  return new Blob([number(body.length - 4), body, number(crc32(body))]);
}

// As the PNG specification has it (annex D).
function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ -1) >>> 0;
}
