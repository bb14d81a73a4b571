// A clock that the test turns, and a console that speaks by it: for a page that is open for long.
(() => {
  const soon = window.setTimeout.bind(window);
  const timers = new Map();
  let now = 0;
  let next = 1;
  const add = (work, at, every) => {
    timers.set(next, { work, at, every });
    next += 1;
    return next - 1;
  };
  Object.defineProperty(performance, 'now', { value: () => now });
  window.setTimeout = (work, ms = 0) => add(work, now + ms, 0);
  window.setInterval = (work, ms) => add(work, now + ms, ms);
  window.clearTimeout = window.clearInterval = (number) => timers.delete(number);

  // Files with an address are kept until it is taken back: they are not in the heap of JavaScript.
  const made = URL.createObjectURL.bind(URL);
  const taken = URL.revokeObjectURL.bind(URL);
  window.filesHeld = 0;
  URL.createObjectURL = (file) => {
    window.filesHeld += 1;
    return made(file);
  };
  URL.revokeObjectURL = (url) => {
    window.filesHeld -= 1;
    taken(url);
  };

  let socket = null;
  window.opened = 0;
  window.WebSocket = class {
    static OPEN = 1;
    readyState = 1;
    constructor() {
      socket = this;
      window.opened += 1;
      setTimeout(() => this.onopen(), 10);
      setTimeout(() => this.tell({ t: 'hello', viewer: 1, login: false, history: [], cameras: [[]] }), 20);
    }
    tell(word) {
      this.onmessage?.({ data: JSON.stringify(word) });
    }
    send(text) {
      const word = JSON.parse(text);
      if (word.t === 'beat' && !window.behind) this.tell(word);
    }
    close() {}
  };

  const state = (i) => ({
    t: 'state', camera: 0, first: '', stamp: i, stop: ['NONE', 'SENT', 'HELD'][i % 3], stop_pressed: false, driver: i % 2,
    commanded: [i % 7 / 10, i % 5 / 10], locked: i % 11 ? '' : `the image is ${i} s old`,
    must_release: false, viewers: i % 9, caption: `street ${i}`, goal: `goal ${i % 40}`,
    still: { text: `${i % 40} of 40 parts`, share: (i % 40) / 40 }, recording: i % 50 ? '' : `run ${i}`,
    simulated: false, size: [64, 48],
    ways: [[[0.5, 0.9], [0.5, i % 9 / 10]], [[0.5, 0.5], [0.6, 0.4]]],
    age: { age_s: 2 + (i % 5), light_s: 1, queue_s: 0, limit_s: 5, reason: '' },
    troubles: Array.from({ length: i % 20 }, (_, n) => ({ node: `node${n}`, level: 'warn', message: `${i} ${n}` })),
    encoder: { budget_bytes: 300 }, decoder: {},
    link: {
      profile: 'lab', rate_bps: 8000 + i, offered_bps: i, used_bps: i % 8000, loss: (i % 100) / 100,
      parity: 0, margin_db: 3, delay_s: 1, queue_bytes: i, queue_age_s: 0, open: i % 100 > 3,
      closes_in_s: 100, next_window_in_s: 200, peer_silence_s: 1, frame_bytes: 300, frames_delivered: i,
      frames_lost: i, frames_stale: i, commands_offered: i, commands_dropped: i, packets_malformed: 0,
      packets_replayed: i,
    },
  });

  const image = (kind, i, file) => {
    const form = { still: 'png' }[kind] ?? '';
    const head = new TextEncoder().encode(JSON.stringify({ kind, camera: 0, stamp: `${i}.000000000`, format: form }));
    const all = new Uint8Array(2 + head.length + file.length);
    new DataView(all.buffer).setUint16(0, head.length);
    all.set(head, 2);
    all.set(file, 2 + head.length);
    return all.buffer;
  };

  const turn = (ms) => {
    now += ms;
    for (const [number, timer] of [...timers]) {
      if (timer.at > now || !timers.has(number)) continue;
      if (timer.every) timer.at += timer.every;
      else timers.delete(number);
      timer.work();
    }
  };

  // Passes so many seconds: a state twice a second, an image with its maps every five.
  window.pass = async (seconds, file) => {
    for (let tick = 0; tick < seconds * 10; tick += 1) {
      turn(100);
      const at = Math.round(now / 100);
      if (at % 5 === 0) socket.tell(state(at / 5));
      if (at % 50 === 0) {
        for (const kind of ['image', 'trust', 'depth', 'classes', 'hazards', 'original', 'still']) {
          socket.onmessage({ data: image(kind, at / 50, file) });
        }
        await new Promise((done) => soon(done, 0));
      }
    }
    return now / 1000;
  };
  window.timersHeld = () => timers.size;
})();
