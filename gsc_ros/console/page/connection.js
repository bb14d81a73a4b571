// The connection to the console: made anew when it is lost; a STOP is kept until the console has it.

const AGAIN_MS = 1000;
const CHECK_MS = 500;
const OPEN_MS = 4000; // for a connection to open: a network that was away must not delay the next try
const SILENT_MS = 6000; // without a word of the console, which speaks twice a second
const ANSWER_MS = 4000;

let socket = null;
let since = 0; // when the connection was begun, or last heard
const ALL = ''; // no robot's name
const waits = new Set(); // STOPs that are given here, and not acknowledged by the console yet
const posting = new Set();
let on = null;

const isOpen = () => socket?.readyState === WebSocket.OPEN;

export function say(t, body = {}) {
  if (isOpen()) socket.send(JSON.stringify({ t, ...body }));
}

// Gives the STOP for a robot, by its name, or for all: over the WebSocket, and by a request of its
// own where that may be dead. The console gives one for a name that it does not know to all.
export function stop(robot = ALL) {
  waits.add(robot);
  say('stop', { robot });
  if (!isOpen()) post(robot);
}

async function post(target) {
  if (posting.has(target)) return;
  posting.add(target);
  try {
    const answer = await fetch(`/stop?robot=${encodeURIComponent(target)}`, { method: 'POST', keepalive: true, signal: AbortSignal.timeout(ANSWER_MS) });
    if (answer.ok) acknowledged(target);
    else if (waits.has(target)) on.refused(`the STOP is refused (${answer.status}): log in, and give it again`);
  } catch {
    // the console is away: it goes when it is back
  } finally {
    posting.delete(target);
  }
}

function acknowledged(target) {
  if (waits.delete(target)) on.stopped();
}

function connect() {
  const made = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`);
  socket = made;
  since = performance.now();
  made.binaryType = 'arraybuffer';
  made.onopen = () => {
    since = performance.now();
    on.open();
    for (const robot of waits) say('stop', { robot });
  };
  made.onmessage = ({ data }) => {
    since = performance.now();
    if (typeof data !== 'string') {
      on.image(data);
      return;
    }
    const word = JSON.parse(data);
    if (word.t === 'stopped') acknowledged(word.robot);
    else on.word(word);
  };
  made.onclose = () => lost(made);
}

// Lets go of a connection that has ended, or is taken to be dead: its own end may take minutes.
async function lost(one) {
  if (one !== socket) return;
  one.onopen = one.onmessage = one.onclose = null;
  one.close();
  socket = null;
  on.close();
  setTimeout(connect, AGAIN_MS);
  try {
    const answer = await fetch('/files', { signal: AbortSignal.timeout(ANSWER_MS) });
    if (answer.status === 401 && !waits.size) location.assign('/login');
  } catch {
    // the console is away: connect() tries again
  }
}

function check() {
  if (socket && performance.now() - since > (isOpen() ? SILENT_MS : OPEN_MS)) lost(socket);
  for (const target of waits) {
    say('stop', { robot: target });
    post(target);
  }
}

// `handlers`: open(), close(), word(object), image(buffer), stopped(), refused(text).
export function start(handlers) {
  on = handlers;
  setInterval(check, CHECK_MS);
  connect();
}
