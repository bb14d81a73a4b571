// The robots of this ground, where there are several: how each is, and its STOP, whichever is shown.

import { format } from './view.js';

const byId = (id) => document.getElementById(id);
const SILENT_S = 3; // the link's node speaks twice a second
const STOPS = { SENT: 'STOP SENT', HELD: 'STOP HELD' };
let names = [];
let number = 0;
let choose = null;
let summaries = []; // how each is, as stated last
let summariesAt = 0;
let stands = false; // whether the clock of the robots may, so that nothing is counted on

export const chosen = () => number;

// The name of the robot that is shown; empty where it is the only one.
export const name = () => names[number] ?? '';

// `found`: names, none where there is one robot; `onChoose(number)` shows another, `onStop(name)`
// stops one. Returns whether there are others than before.
export function begin(found, onChoose, onStop) {
  const before = name();
  const changed = names.length > 0 && found.join() !== names.join();
  names = found;
  choose = onChoose;
  number = Math.max(0, names.indexOf(before));
  byId('fleet').hidden = !names.length;
  byId('robots').replaceChildren(...names.map((text, i) => {
    const card = document.createElement('div');
    card.className = 'robot';
    const pick = document.createElement('button');
    pick.textContent = text;
    pick.addEventListener('click', () => pickOne(i));
    const summary = document.createElement('output');
    const stop = document.createElement('button');
    stop.className = 'stop';
    stop.textContent = 'STOP';
    stop.setAttribute('aria-label', `STOP ${text}`);
    stop.addEventListener('pointerdown', () => onStop(text));
    stop.addEventListener('click', (event) => event.detail === 0 && onStop(text));
    for (const one of [pick, stop]) one.type = 'button';
    card.append(pick, summary, stop);
    return card;
  }));
  byId('stop').firstChild.textContent = names.length ? `STOP ${name()} ` : 'STOP ';
  summaries = [];
  return changed;
}

function pickOne(wanted) {
  if (wanted === number) return;
  number = wanted;
  byId('stop').firstChild.textContent = `STOP ${name()} `;
  choose(number);
}

// Shows the next robot, or with -1 the one before.
export function step(by) {
  if (names.length) pickOne((number + by + names.length) % names.length);
}

function linkOf(one, passed) {
  if (one.link_s === null) return [true, 'no link yet'];
  if (one.link_s + passed > SILENT_S) return [true, "the link's node is silent"];
  if (!one.open) return [true, 'link closed'];
  if (typeof one.heard_s !== 'number') return [true, 'never heard'];
  return [false, `heard ${format(one.heard_s + passed)} ago`];
}

function summaryOf(one, passed, me) {
  const age = one.age_s === null ? null : one.age_s + passed;
  const stale = Boolean(one.reason) || (age !== null && one.limit_s !== null && age > one.limit_s);
  const [lost, link] = linkOf(one, passed);
  const stop = one.stop_pressed ? 'STOP given' : STOPS[one.stop] ?? '';
  const driver = one.driver === null ? '' : one.driver === me ? 'you drive' : `viewer ${one.driver} drives`;
  const image = age === null ? 'no image' : `${stale ? 'STALE, ' : ''}${format(age)} old`;
  const goal = one.goal && one.goal !== 'none' ? `goal ${one.goal}` : '';
  return [Boolean(stop) || stale || lost, [stop, image, link, driver, goal].filter(Boolean).join('; ')];
}

// `found`: how each is; none where there is one robot.
export function hear(found, simulated, now) {
  summaries = found ?? [];
  summariesAt = now;
  stands = simulated;
}

// `live`: whether the console answers; `me`: the number of this viewer.
export function draw(live, now, me) {
  const passed = stands ? 0 : now - summariesAt;
  [...byId('robots').children].forEach((card, i) => {
    const [pick, summary] = card.children;
    const [bad, text] = live && summaries[i] ? summaryOf(summaries[i], passed, me) : [true, 'not known'];
    pick.setAttribute('aria-pressed', String(i === number));
    if (summary.textContent !== text) summary.textContent = text;
    card.classList.toggle('bad', bad);
  });
}
