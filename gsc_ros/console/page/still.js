// One whole image that was asked for: its progress, and what came.

const byId = (id) => document.getElementById(id);
let url = '';

// `still`: what the link states of it, {text, share}.
export function progress({ text, share }) {
  const shown = text === 'none' ? '' : text;
  const state = byId('still-state');
  if (state.textContent !== shown) state.textContent = shown;
  byId('still-progress').hidden = !shown || text === 'complete';
  byId('still-progress').value = share;
}

// Forgets what is shown: another camera is watched, whose own comes next if there is one.
export function clear() {
  byId('still-figure').hidden = true;
}

export function take(head, file) {
  if (url) URL.revokeObjectURL(url);
  url = URL.createObjectURL(new Blob([file], { type: `image/${head.format}` }));
  const when = new Date(1000 * Number(head.stamp)).toISOString();
  byId('still-image').src = url;
  byId('still-link').href = url;
  byId('still-link').download = `still_${when.replaceAll(/[-:]/g, '')}.${head.format}`;
  byId('still-caption').textContent = `taken ${when}, ${file.length} bytes`;
  byId('still-figure').hidden = false;
}
