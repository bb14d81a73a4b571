// The image, the maps laid over it, its age, and the box that is drawn on it.

import * as objects from './objects.js';

const byId = (id) => document.getElementById(id);
const image = byId('image');
const overlay = byId('overlay');
const original = byId('original');
const maps = new Map(); // kind -> {stamp, bitmap}
const LEGENDS = {
  trust: 'trust: hatched thinly from 50 to 75 %, dark and crossed below',
  classes: 'classes: in their colours, borders dark',
  depth: 'depth: bright near (1 m), dark far (100 m)',
  objects: 'objects: boxes, dashed below 75 %, with the distance',
  hazards: 'hazards: striped with a white edge; dotted where not known',
};
let stamp = '';
let shown = new Set();
let from = null; // where the box that is drawn begins
let box = null; // in shares of the image, while it is drawn
let ways = []; // until a command of now arrives, and on: points in shares of the image
let goal = null;

export function stampShown() {
  return stamp;
}

// Another camera is shown: nothing of the one before stays.
export function clear() {
  stamp = '';
  delete image.dataset.stamp;
  for (const { bitmap } of maps.values()) bitmap.close();
  maps.clear();
  objects.clear();
  for (const canvas of [image, original]) canvas.getContext('2d').clearRect(0, 0, canvas.width, canvas.height);
  from = box = goal = null;
  ways = [];
  draw();
}

export function show(kinds) {
  shown = kinds;
  original.hidden = !kinds.has('original');
  byId('legend').textContent = Object.keys(LEGENDS).filter((k) => kinds.has(k)).map((k) => LEGENDS[k]).join('; ');
  draw();
}

function paint(canvas, bitmap) {
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    if (canvas === image) byId('stage').style.setProperty('--ratio', bitmap.width / bitmap.height);
  }
  canvas.getContext('2d').drawImage(bitmap, 0, 0);
}

// `isHere(head)`: whether the camera of an image is the one that is shown.
export async function take(head, file, isHere) {
  const bitmap = await createImageBitmap(new Blob([file]));
  if (!isHere(head)) {
    bitmap.close(); // it was on its way when another camera was chosen
    return;
  }
  if (head.kind === 'image') {
    if (stamp && Number(head.stamp) < Number(stamp) - 1e6) maps.clear();
    stamp = head.stamp;
    paint(image, bitmap);
    bitmap.close();
    image.dataset.stamp = stamp;
  } else if (head.kind === 'original') {
    paint(original, bitmap);
    bitmap.close();
  } else {
    maps.get(head.kind)?.bitmap.close();
    maps.set(head.kind, { stamp: head.stamp, bitmap });
  }
  draw();
}

export function draw() {
  if (overlay.width !== image.width || overlay.height !== image.height) {
    overlay.width = image.width;
    overlay.height = image.height;
  }
  const { width, height } = overlay;
  const g = overlay.getContext('2d');
  g.clearRect(0, 0, width, height);
  for (const kind of ['depth', 'classes', 'trust', 'hazards']) {
    const map = maps.get(kind);
    // A map of another image would lie.
    if (shown.has(kind) && map && map.stamp === stamp) g.drawImage(map.bitmap, 0, 0, width, height);
  }
  if (shown.has('objects')) objects.draw(g, width, height, stamp);
  ways.forEach((way, i) => way.length > 1 && drawWay(g, width, height, way, i ? [10, 8] : []));
  if (goal) {
    g.lineWidth = 3;
    for (const [colour, r] of [['#000', 11], ['#fff', 8]]) {
      g.strokeStyle = colour;
      g.beginPath();
      g.arc(goal[0] * width, goal[1] * height, r, 0, 7);
      g.stroke();
    }
  }
  if (box) {
    const [l, t, r, b] = box;
    g.setLineDash([6, 4]);
    g.lineWidth = 2;
    g.strokeStyle = '#fff';
    g.strokeRect(l * width, t * height, (r - l) * width, (b - t) * height);
    g.setLineDash([]);
  }
}

function drawWay(g, width, height, way, dash) {
  g.setLineDash(dash);
  for (const [colour, line] of [['#000', 7], ['#f0e442', 3]]) {
    g.strokeStyle = colour;
    g.lineWidth = line;
    g.beginPath();
    way.forEach(([x, y], i) => (i ? g.lineTo(x * width, y * height) : g.moveTo(x * width, y * height)));
    g.stroke();
  }
  g.setLineDash([]);
}

export function takeObjects(word) {
  objects.take(word);
  draw();
}

export function setWays(found) {
  ways = found || [];
  draw();
}

export function setGoal(point) {
  goal = point;
  draw();
}

export function drawAge(age, parts, reason) {
  byId('age-value').textContent = age === null ? '-' : format(age);
  byId('age-parts').textContent = parts;
  byId('stage').classList.toggle('stale', Boolean(reason));
  byId('banner').hidden = !reason;
  byId('banner').textContent = reason ? `Do not drive by this image: ${reason}` : '';
}

export function format(seconds) {
  const sign = seconds < 0 ? '-' : '';
  const s = Math.abs(seconds);
  if (s < 100) return `${sign}${s.toFixed(1)} s`;
  const whole = Math.round(s);
  const two = (n) => String(n).padStart(2, '0');
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours ? `${sign}${hours}:${two(minutes)}:${two(whole % 60)} h` : `${sign}${minutes}:${two(whole % 60)} min`;
}

function place(event) {
  const r = overlay.getBoundingClientRect();
  const inside = (v) => Math.min(1, Math.max(0, v));
  return [inside((event.clientX - r.left) / r.width), inside((event.clientY - r.top) / r.height)];
}

// What a press on the image does: `mode` returns 'box', 'go' or ''.
export function onPress(mode, onBox, onGo) {
  overlay.addEventListener('pointerdown', (event) => {
    if (mode() === 'box') {
      from = place(event);
      overlay.setPointerCapture(event.pointerId);
    } else if (mode() === 'go') onGo(place(event));
  });
  overlay.addEventListener('pointermove', (event) => {
    if (!from) return;
    const to = place(event);
    box = [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.max(from[0], to[0]), Math.max(from[1], to[1])];
    draw();
  });
  const end = (event) => {
    const done = box;
    from = box = null;
    draw();
    if (event.type === 'pointerup' && done && done[2] - done[0] > 0.02 && done[3] - done[1] > 0.02) onBox(done);
  };
  overlay.addEventListener('pointerup', end);
  overlay.addEventListener('pointercancel', end);
}
