// The figures of the link, as its node publishes them, and their charts.

import * as charts from './charts.js';
import { format } from './view.js';

const byId = (id) => document.getElementById(id);
const rate = (bps) => (bps === null ? '-' : bps >= 1e4 ? `${(bps / 1e3).toFixed(1)} kbit/s` : `${Math.round(bps)} bit/s`);
const until = (value, passed) => (typeof value === 'number' ? format(Math.max(0, value - passed)) : 'none');

function set(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text;
}

// `state`: what came `passed` seconds ago, at a time `at` of the charts.
export function draw(state, passed, at) {
  const { link } = state;
  if (!link) {
    set('profile', 'no link yet');
    set('arrives', '-');
    byId('link').replaceChildren();
    return;
  }
  set('profile', link.profile);
  set('arrives', format(link.delay_s));
  const heard = typeof link.peer_silence_s === 'number' ? format(link.peer_silence_s + passed) : 'never';
  const keys = link.packets_replayed || link.packets_malformed;
  const rows = {
    rate: rate(link.rate_bps),
    offered: rate(link.offered_bps),
    used: rate(link.used_bps),
    loss: `${(100 * link.loss).toFixed(0)} %`,
    parity: `${(100 * link.parity).toFixed(0)} %`,
    margin: typeof link.margin_db === 'number' ? `${link.margin_db.toFixed(1)} dB` : 'not known',
    'light time': format(link.delay_s),
    queue: `${link.queue_bytes} B, ${format(link.queue_age_s)}`,
    window: link.open ? (typeof link.closes_in_s === 'number' ? `open, closes in ${until(link.closes_in_s, passed)}` : 'always open') : 'CLOSED',
    'next pass in': until(link.next_window_in_s, passed),
    frame: `${link.frame_bytes} B`,
    budget: state.encoder ? `${state.encoder.budget_bytes} B` : '-',
    frames: `${link.frames_delivered} came, ${link.frames_lost} lost, ${link.frames_stale} replaced`,
    commands: `${link.commands_offered}, ${link.commands_dropped} dropped`,
    'other end heard': `${heard} ago`,
    keys: keys ? `! ${link.packets_malformed} forged or damaged, ${link.packets_replayed} replayed` : 'nothing forged or replayed',
  };
  const list = byId('link');
  if (list.children.length !== 2 * Object.keys(rows).length) {
    list.replaceChildren(...Object.keys(rows).flatMap((name) => {
      const dt = document.createElement('dt');
      dt.textContent = name;
      return [dt, document.createElement('dd')];
    }));
  }
  Object.values(rows).forEach((text, i) => {
    const dd = list.children[2 * i + 1];
    if (dd.textContent !== text) dd.textContent = text;
  });
  charts.add(at, link, state.age.age_s);
}
