// jsQR on a QR code: its dark modules become an image, and that is read. JSON on standard input and output.
import { readFileSync } from "node:fs";
import jsQR from "jsqr";

const PIXELS = 4; // of a module
const { size, dark } = JSON.parse(readFileSync(0, "utf8"));
const width = size * PIXELS;
const image = new Uint8ClampedArray(width * width * 4).fill(255);
for (const [x, y] of dark) {
  for (let row = 0; row < PIXELS; row++) {
    const start = 4 * ((y * PIXELS + row) * width + x * PIXELS);
    for (let column = 0; column < PIXELS; column++) image.fill(0, start + 4 * column, start + 4 * column + 3);
  }
}
process.stdout.write(JSON.stringify(jsQR(image, width, width)?.data ?? null));
