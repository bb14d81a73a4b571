// The robot's cameras: a button each, where there are several. One of them is watched.

const byId = (id) => document.getElementById(id);
let names = [];
let number = 0;
let choose = null;

export const watched = () => number;

// `found`: names by number, none where there is one camera; `onWatch(number)` shows another.
export function begin(found, onWatch) {
  choose = onWatch;
  if (number >= found.length) number = 0;
  show(found);
  if (number) choose(number);
}

function show(found) {
  names = found;
  byId('cameras').hidden = !names.length;
  byId('cameras').replaceChildren(...names.map((name, i) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.addEventListener('click', () => watch(i));
    return button;
  }));
  draw('');
}

function watch(wanted) {
  number = wanted;
  choose(number);
}

// Shows the cameras of another robot, and watches the first.
export function change(found) {
  show(found);
  watch(0);
}

// Watches the next camera, or with -1 the one before.
export function step(by) {
  if (names.length) watch((number + by + names.length) % names.length);
}

// `first`: name of the camera that the robot lets come first, empty for none.
export function draw(first) {
  [...byId('cameras').children].forEach((button, i) => {
    const text = names[i] === first ? `${names[i]} (first)` : names[i];
    if (button.textContent !== text) button.textContent = text;
    button.setAttribute('aria-pressed', String(i === number));
  });
}
