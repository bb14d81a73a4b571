// Objects that the robot saw, as boxes with their names over the image of their stamp.

const SURE = 0.75;
let found = { stamp: '', objects: [] };

export function take(word) {
  found = word;
}

export function clear() {
  found = { stamp: '', objects: [] };
}

// Draws them on a context of a size, where they are of the image of a stamp.
export function draw(g, width, height, stamp) {
  if (found.stamp !== stamp) return;
  g.font = `${Math.max(11, Math.round(height / 28))}px system-ui`;
  g.textBaseline = 'bottom';
  for (const { name, probability, distance_m: distance, box } of found.objects) {
    const [left, top, right, bottom] = box.map((edge, i) => edge * (i % 2 ? height : width));
    g.setLineDash(probability < SURE ? [4, 4] : []);
    for (const [colour, line] of [['#000', 4], ['#fff', 2]]) {
      g.strokeStyle = colour;
      g.lineWidth = line;
      g.strokeRect(left, top, right - left, bottom - top);
    }
    g.setLineDash([]);
    const far = typeof distance === 'number' ? `, ${Math.round(distance)} m` : '';
    const text = `${name} ${Math.round(100 * probability)} %${far}`;
    const size = g.measureText(text);
    const at = Math.max(top, 14);
    g.fillStyle = '#000c';
    g.fillRect(left, at - 14, size.width + 6, 14);
    g.fillStyle = '#fff';
    g.fillText(text, left + 3, at);
  }
}
