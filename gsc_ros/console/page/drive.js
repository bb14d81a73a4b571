// What the driver holds: keys, stick or gamepad. Nothing held is zero.

const byId = (id) => document.getElementById(id);
const KEYS = {
  KeyW: [1, 0], ArrowUp: [1, 0], KeyS: [-1, 0], ArrowDown: [-1, 0],
  KeyA: [0, 1], ArrowLeft: [0, 1], KeyD: [0, -1], ArrowRight: [0, -1],
};
const SEND_MS = 100;
const DEAD = 0.12;
const SHOULDERS = [4, 5];
const PAD_STOP = 1;

const held = new Set();
let stick = null;
let padStopped = false;
let padArmed = false; // a shoulder that is held since before driving was possible does not count

const clip = (v) => Math.min(1, Math.max(-1, v));
const typing = (target) => target.closest?.('input:not([type=checkbox]), select, textarea');

function fromKeys() {
  let [a, l] = [0, 0];
  for (const code of held) {
    a += KEYS[code][0];
    l += KEYS[code][1];
  }
  return [clip(a), clip(l)];
}

function fromPad(onStop) {
  const pad = Array.from(navigator.getGamepads?.() ?? []).find((one) => one && one.connected);
  byId('pad').textContent = pad ? pad.id.slice(0, 24) : 'none';
  if (!pad) return [0, 0];
  const stops = Boolean(pad.buttons[PAD_STOP]?.pressed);
  if (stops && !padStopped) onStop();
  padStopped = stops;
  if (!SHOULDERS.some((i) => pad.buttons[i]?.pressed)) padArmed = true;
  else if (padArmed) {
    const past = (v) => (Math.abs(v) < DEAD ? 0 : clip(v));
    return [-past(pad.axes[1] ?? 0), -past(pad.axes[0] ?? 0)];
  }
  return [0, 0];
}

export function releaseAll() {
  held.clear();
  padArmed = false;
  stick = null;
  byId('knob').style.transform = '';
  byId('stick').classList.remove('held');
}

// `send(ahead, left)` is called while something is held, and with zeros when it is let go.
export function start(mayDrive, send, onStop) {
  let moving = 0; // zeros that are yet to be sent
  const input = () => {
    const pad = fromPad(onStop);
    const all = [stick ?? [0, 0], fromKeys(), pad];
    const [a, l] = all.find(([x, y]) => x || y) ?? [0, 0];
    const share = Number(byId('speed').value) / 100;
    return [a * share, l * share];
  };
  const tick = () => {
    let [a, l] = input();
    if (!mayDrive()) {
      // What is held now does not count when driving becomes possible again.
      if (a || l) releaseAll();
      padArmed = false;
      [a, l] = [0, 0];
    }
    if (a || l) moving = 3;
    else if (moving) moving -= 1;
    else return;
    send(a, l);
  };
  const letGo = () => {
    releaseAll();
    tick();
  };
  setInterval(tick, SEND_MS);
  document.addEventListener('keydown', (event) => {
    if (!KEYS[event.code] || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (!mayDrive()) return;
    event.preventDefault();
    if (event.repeat) return;
    held.add(event.code);
    tick();
  });
  document.addEventListener('keyup', (event) => {
    if (held.delete(event.code)) tick();
  });
  for (const [target, name] of [[window, 'blur'], [window, 'pagehide'], [document, 'visibilitychange']]) {
    target.addEventListener(name, letGo);
  }
  const field = byId('stick');
  const drag = (event) => {
    const r = field.getBoundingClientRect();
    let x = (event.clientX - r.left - r.width / 2) / (r.width / 2);
    let y = (event.clientY - r.top - r.height / 2) / (r.height / 2);
    const far = Math.hypot(x, y);
    if (far > 1) [x, y] = [x / far, y / far];
    byId('knob').style.transform = `translate(${(x * r.width) / 3}px, ${(y * r.height) / 3}px)`;
    stick = [Math.abs(y) < DEAD ? 0 : -y, Math.abs(x) < DEAD ? 0 : -x];
  };
  field.addEventListener('pointerdown', (event) => {
    if (!mayDrive()) return;
    field.setPointerCapture(event.pointerId);
    field.classList.add('held');
    drag(event);
    tick();
  });
  field.addEventListener('pointermove', (event) => {
    if (stick) drag(event);
  });
  for (const name of ['pointerup', 'pointercancel', 'lostpointercapture']) field.addEventListener(name, letGo);
}
