// Charts of the last ten minutes: rows of [time, rate, offered, used, loss, age].

const SPAN_S = 600;
const MOST = 700;
let rows = [];

export function begin(history, now) {
  rows = history.map((row) => [row[0] + now, ...row.slice(1)]);
}

export function add(now, link, age) {
  if (rows.length && now < rows[rows.length - 1][0] + 1) return;
  rows.push([now, link.rate_bps, link.offered_bps, link.used_bps, link.loss, age]);
  rows = rows.filter((row) => row[0] > now - SPAN_S).slice(-MOST);
  const ink = getComputedStyle(document.documentElement);
  const colour = (name) => ink.getPropertyValue(name).trim();
  const top = Math.max(1, ...rows.map((row) => Math.max(row[1] ?? 0, row[2] ?? 0, row[3] ?? 0)));
  const rates = fresh('rates');
  line(rates, now, 1, top, colour('--blue'), 3, []);
  line(rates, now, 2, top, colour('--orange'), 1.5, [5, 3]);
  line(rates, now, 3, top, colour('--ink'), 1, []);
  rates.fillStyle = colour('--soft');
  rates.font = '11px system-ui';
  rates.fillText(`${Math.round(top)} bit/s`, 2, 11);
  line(fresh('losses'), now, 4, 1, colour('--red'), 2, []);
}

function fresh(id) {
  const canvas = document.getElementById(id);
  const g = canvas.getContext('2d');
  g.clearRect(0, 0, canvas.width, canvas.height);
  return g;
}

function line(g, now, column, top, colour, width, dash) {
  const { width: w, height: h } = g.canvas;
  g.strokeStyle = colour;
  g.lineWidth = width;
  g.setLineDash(dash);
  g.beginPath();
  let open = false;
  for (const row of rows) {
    const value = row[column];
    if (typeof value !== 'number') {
      open = false;
      continue;
    }
    const x = w * (1 - (now - row[0]) / SPAN_S);
    const y = h - 2 - (h - 4) * Math.min(1, value / top);
    if (open) g.lineTo(x, y);
    else g.moveTo(x, y);
    open = true;
  }
  g.stroke();
  g.setLineDash([]);
}
