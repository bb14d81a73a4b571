// The console's page: says what the operator does, shows what the nodes publish.

import * as cameras from './cameras.js';
import * as charts from './charts.js';
import * as connection from './connection.js';
import * as drive from './drive.js';
import * as link from './link.js';
import * as robots from './robots.js';
import * as still from './still.js';
import * as view from './view.js';

const byId = (id) => document.getElementById(id);
const seconds = () => performance.now() / 1000;
const SILENT_S = 2;
const FORGOTTEN = 'not known: the robot\'s end began anew, and its navigation may still go there. End the goal, or STOP';
const BEHIND_S = 4; // what comes over a slow network is old, whatever it says
const { say } = connection;

let connected = false;
let me = null;
let state = null;
let stateAt = -Infinity;
let answeredAt = -Infinity; // when the last beat that was answered was sent
let releaseToken = '';
let confirmFrom = 0; // a double click is one action, not two
let mode = ''; // what a press on the image means: 'box', 'go' or nothing
let cross = [0.5, 0.75];
let noteTimer = 0;
let camerasOf = [[]]; // names of the cameras of each robot, none where it has one
const overlays = new Set();

function note(text, bad) {
  if (!text) return;
  const box = byId('note');
  box.textContent = text;
  box.className = bad ? 'shown bad' : 'shown';
  clearTimeout(noteTimer);
  noteTimer = setTimeout(() => (box.className = ''), bad ? 8000 : 3000);
}

const isLive = () => connected && seconds() - stateAt < SILENT_S && seconds() - answeredAt < BEHIND_S;
const isDriver = () => state !== null && me !== null && state.driver === me;
const isHere = (word) => (word.robot ?? 0) === robots.chosen() && word.camera === cameras.watched();
const isShown = () => state !== null && isHere(state) && view.stampShown() !== '';
const mayDrive = () => isLive() && isDriver() && isShown() && !state.locked && mode !== 'go';

function sayView() {
  const kinds = [...overlays].filter((kind) => kind !== 'original');
  say('view', { overlays: kinds, original: overlays.has('original') });
}

async function take(buffer) {
  const length = new DataView(buffer).getUint16(0);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 2, length)));
  const file = new Uint8Array(buffer, 2 + length);
  if (head.kind !== 'still') await view.take(head, file, isHere);
  else if (isHere(head)) still.take(head, file);
  refreshAge();
}

function hear(word) {
  if (word.t === 'hello') {
    me = word.viewer;
    byId('logout').hidden = !word.login;
    charts.begin(word.history, seconds());
    const others = robots.begin(word.robots ?? [], choose, stop);
    if (robots.chosen()) say('robot', { robot: robots.chosen() }); // before the camera, which is one of its
    camerasOf = word.cameras;
    cameras.begin(camerasOf[robots.chosen()], watch);
    if (others) choose(robots.chosen());
  } else if (word.t === 'state') {
    robots.hear(word.robots, word.simulated, seconds());
    if (!isHere(word)) return; // another was chosen meanwhile
    state = word;
    stateAt = seconds();
    refresh();
  } else if (word.t === 'beat') answeredAt = word.s;
  else if (word.t === 'note') note(word.text, word.bad);
  else if (word.t === 'refused') note(word.why, true);
  else if (word.t === 'confirm') askRelease(word.token);
  else if (word.t === 'objects' && isHere(word)) view.takeObjects(word);
  else if (word.t === 'history' && word.robot === robots.chosen()) charts.begin(word.rows, seconds());
}

// Shows another robot, of which nothing is known yet: what is held is let go.
function choose(robot) {
  drive.releaseAll();
  forgetRelease();
  state = null;
  set('stop-state', 'STOP: not known', 'bad');
  set('driver', 'not known');
  byId('release').disabled = true;
  byId('stick').classList.remove('ready');
  for (const id of ['goal', 'lock', 'still-state']) set(id, '');
  say('robot', { robot });
  cameras.change(camerasOf[robot]);
}

function watch(camera) {
  if (mode) setMode('');
  view.clear();
  still.clear();
  set('caption', '');
  cameras.draw(state?.first);
  say('camera', { camera });
  refreshAge();
}

function set(id, text, kind = '') {
  const box = byId(id);
  if (box.textContent !== text) box.textContent = text;
  if (box.classList.contains('chip')) box.className = `chip ${kind}`;
}

function refreshAge() {
  robots.draw(isLive(), seconds(), me);
  if (!state) {
    view.drawAge(null, 'no image has come yet', 'no image has come yet');
    return;
  }
  const { age } = state;
  if (!isLive()) {
    view.drawAge(null, 'the console does not answer', 'the console does not answer');
    return;
  }
  if (!isShown()) {
    const why = (isHere(state) && age.reason) || 'no image has come yet';
    view.drawAge(null, why, why);
    return;
  }
  const passed = state.simulated ? 0 : seconds() - stateAt;
  let shown = age.age_s;
  if (shown !== null) {
    // The state may be of another image than the one that is shown.
    const newer = Number(view.stampShown()) - state.stamp;
    shown = shown + passed - newer;
  }
  const past = shown !== null && age.limit_s !== null && shown > age.limit_s;
  const reason = age.reason || (past ? `it is ${view.format(shown)} old, the limit is ${view.format(age.limit_s)}` : '');
  const fresh = shown !== null && state.stamp < Number(view.stampShown()) && !past;
  const parts = shown === null ? age.reason
    : `light ${view.format(age.light_s)} + queue ${view.format(age.queue_s)} + rest; limit ${view.format(age.limit_s)}`;
  view.drawAge(shown, parts, fresh ? '' : reason);
}

function refresh() {
  const live = isLive();
  set('connection', live ? 'connected' : 'no connection', live ? 'good' : 'bad');
  refreshAge();
  if (!state) return;
  const stop = state.stop_pressed ? 'given' : state.stop;
  const words = { NONE: 'not in force', SENT: 'SENT, not acknowledged yet', HELD: 'HELD by the robot', given: 'given' };
  set('stop-state', `STOP: ${live ? words[stop] : 'not known'}`, stop === 'NONE' && live ? '' : 'bad');
  const kept = !live || !isDriver() || stop === 'NONE' || stop === 'given';
  if (kept && releaseToken) forgetRelease();
  byId('release').disabled = kept || seconds() < confirmFrom;
  set('watching', `${state.viewers} watching`);
  const driver = isDriver() ? 'you drive' : state.driver === null ? 'nobody drives' : `viewer ${state.driver} drives`;
  set('driver', driver, isDriver() ? 'good' : '');
  byId('take').firstChild.textContent = isDriver() ? 'Give the wheel back ' : 'Take the wheel ';
  const locked = state.locked ? `Locked: ${state.locked}` : state.must_release && isDriver() ? 'Let go first' : '';
  if (byId('lock').textContent !== locked) byId('lock').textContent = locked;
  byId('stick').classList.toggle('ready', mayDrive());
  const [v, w] = state.commanded;
  set('commanded', `${v.toFixed(2)} m/s, ${w.toFixed(2)} rad/s`);
  set('caption', (isHere(state) && state.caption) || '');
  set('goal', state.goal === 'forgotten' ? FORGOTTEN : state.goal || 'none');
  if (isHere(state)) still.progress(state.still);
  byId('record').setAttribute('aria-pressed', String(Boolean(state.recording)));
  byId('record').textContent = state.recording ? `Stop ${state.recording}` : 'Record';
  cameras.draw(state.first);
  if (isShown()) view.setWays(state.ways);
  link.draw(state, state.simulated ? 0 : seconds() - stateAt, stateAt);
  refreshTroubles();
}

function refreshTroubles() {
  const lines = state.troubles.map((one) => `${one.level.toUpperCase()} ${one.node}: ${one.message}`);
  const list = byId('troubles');
  if (list.dataset.text === lines.join('\n')) return;
  list.dataset.text = lines.join('\n');
  list.replaceChildren(...(lines.length ? lines : ['all report OK']).map((text) => {
    const li = document.createElement('li');
    li.textContent = text;
    return li;
  }));
}

// Stops a robot, by its name; none: all.
function stop(robot = '') {
  if (!robot || robot === robots.name()) drive.releaseAll();
  connection.stop(robot);
  if (isLive()) return;
  note('no connection: the STOP is given until the console has it. Without commands the robot stops, unless it follows a goal', true);
}

function askRelease(token) {
  releaseToken = token;
  const button = byId('release');
  button.classList.add('asked');
  button.textContent = 'Confirm: release the STOP';
  confirmFrom = seconds() + 0.5;
  button.disabled = true;
  setTimeout(refresh, 550);
  setTimeout(() => token === releaseToken && forgetRelease(), 9500);
}

function forgetRelease() {
  releaseToken = '';
  byId('release').classList.remove('asked');
  byId('release').textContent = 'Release the STOP';
}

function setMode(wanted) {
  mode = mode === wanted ? '' : wanted;
  byId('box').setAttribute('aria-pressed', String(mode === 'box'));
  byId('go').setAttribute('aria-pressed', String(mode === 'go'));
  cross = [0.5, 0.75];
  view.setGoal(mode === 'go' ? cross : null);
  drive.releaseAll();
}

function go(point) {
  view.setGoal(point);
  say('go', { x: point[0], y: point[1], stamp: view.stampShown() });
  mode = '';
  byId('go').setAttribute('aria-pressed', 'false');
}

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// Without a mouse: arrows move the cross, Enter chooses.
function moveCross(event) {
  if (mode !== 'go' || event.ctrlKey || event.metaKey || event.altKey) return false;
  if (event.code === 'Enter') go(cross);
  else if (STEPS[event.code]) {
    const step = event.shiftKey ? 0.05 : 0.01;
    cross = cross.map((v, i) => Math.min(0.999, Math.max(0, v + step * STEPS[event.code][i])));
    view.setGoal(cross);
  } else return false;
  event.preventDefault();
  return true;
}

async function listFiles() {
  const answer = await fetch('/files');
  if (!answer.ok) return;
  const files = await answer.json();
  byId('files').replaceChildren(...files.map((file) => {
    const li = document.createElement('li');
    const a = document.createElement('a');
    a.href = `/files/${encodeURIComponent(file.name)}`;
    a.textContent = file.name;
    a.download = file.name;
    li.append(a, ` ${Math.ceil(file.bytes / 1024)} kB`);
    return li;
  }));
  if (!files.length) note('nothing was kept yet');
}

const toggle = (kind) => {
  const input = document.querySelector(`#overlays input[value=${kind}]`);
  input.checked = !input.checked;
  input.dispatchEvent(new Event('change'));
};
const wheel = () => say(isDriver() ? 'leave' : 'take');
const SHORTCUTS = {
  KeyT: wheel,
  KeyK: () => say('key'),
  KeyG: () => setMode('go'),
  KeyC: (event) => cameras.step(event.shiftKey ? -1 : 1),
  KeyR: (event) => robots.step(event.shiftKey ? -1 : 1),
  Digit1: () => toggle('trust'),
  Digit2: () => toggle('classes'),
  Digit3: () => toggle('depth'),
  Digit4: () => toggle('original'),
  Digit5: () => toggle('hazards'),
  Digit6: () => toggle('objects'),
};

document.addEventListener('keydown', (event) => {
  const { target } = event;
  if (event.code === 'Escape' || (event.code === 'Space' && target === document.body)) {
    event.preventDefault();
    stopShown();
    return;
  }
  const typing = target.closest?.('input:not([type=checkbox]), select, textarea');
  if (event.code === 'Backspace' && robots.name() && !typing) {
    event.preventDefault();
    stop();
    return;
  }
  if (!typing && moveCross(event)) return;
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || typing) return;
  SHORTCUTS[event.code]?.(event);
});
const stopShown = () => stop(robots.name());
for (const [id, work] of [['stop', stopShown], ['stop-all', () => stop()]]) {
  byId(id).addEventListener('pointerdown', work); // at once, not when the finger is lifted
  byId(id).addEventListener('click', (event) => event.detail === 0 && work()); // by keyboard
}
byId('release').addEventListener('click', () => {
  if (releaseToken) say('confirm', { token: releaseToken });
  else say('release');
  if (releaseToken) forgetRelease();
});
byId('take').addEventListener('click', wheel);
byId('key').addEventListener('click', () => say('key'));
byId('still').addEventListener('click', () => say('still'));
byId('box').addEventListener('click', () => setMode('box'));
byId('go').addEventListener('click', () => setMode('go'));
byId('cancel').addEventListener('click', () => {
  say('cancel', { robot: robots.name() }); // as the console may not know the choice
  view.setGoal(null);
});
byId('region').addEventListener('change', ({ target }) => {
  if (target.value) say('box', { box: target.value.split(' ').map(Number) });
});
for (const [name, field] of [['budget', 'bytes'], ['rate', 'hz']]) {
  byId(name).addEventListener('submit', (event) => {
    event.preventDefault();
    say(name, { [field]: Number(event.target.elements.value.value) });
  });
}
byId('record').addEventListener('click', () => say('record', { on: !state?.recording }));
byId('snapshot').addEventListener('click', () => say('snapshot'));
byId('list').addEventListener('click', listFiles);
byId('speed').addEventListener('input', ({ target }) => (byId('speed-value').textContent = `${target.value} %`));
for (const input of document.querySelectorAll('#overlays input')) {
  input.addEventListener('change', () => {
    if (input.checked) overlays.add(input.value);
    else overlays.delete(input.value);
    view.show(overlays);
    sayView();
  });
}
view.onPress(() => mode, (box) => {
  say('box', { box });
  setMode('');
}, go);
drive.start(mayDrive, (a, l) => say('drive', { a, l, s: seconds() }), stopShown);
setInterval(refreshAge, 100);
setInterval(() => {
  say('beat', { s: seconds() });
  if (!isLive()) refresh();
}, 1000);
connection.start({
  open() {
    connected = true;
    answeredAt = seconds();
    sayView();
  },
  close() {
    connected = false;
    drive.releaseAll();
    me = null;
    refresh();
  },
  word: hear,
  image: take,
  stopped: () => note('the console has the STOP'),
  refused: (text) => note(text, true),
});
