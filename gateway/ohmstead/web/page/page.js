// The live page: one document from the gateway (/api/live, /api/now), shown as it is. What is unknown is a dash, what is old says so.

import { draw, kilowatts } from './flow.js';

const QUIET_MS = 12000; // the gateway says something at least every five seconds
const WIDE = 760; // px; narrower, all values are folded away at first
const byId = (id) => document.getElementById(id);
let latest = null;
let received = 0;
let source = null;
let retry = 1000;
let retryTimer = 0;

function make(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(options)) {
    if (key === 'text') node.textContent = value;
    else if (key === 'class') node.className = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

export function ago(seconds) {
  if (seconds === null || seconds === undefined) return 'never';
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

/** A moment (ms of UTC) in the home's time. */
function moment(ms, options) {
  return new Intl.DateTimeFormat('en-GB', { timeZone: latest?.zone, ...options }).format(ms);
}

const MOMENT = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/;

/** A value as people write it: long numbers in groups of three, moments in the home's time. */
function written(point) {
  const at = MOMENT.test(point.text) ? Date.parse(point.text) : NaN; // a device may say a day that there never was
  if (!Number.isNaN(at)) return moment(at, { dateStyle: 'medium', timeStyle: 'short' });
  return point.unit ? point.text.replace(/^-?\d{5,}(?=\.|$)/, (digits) => digits.replace(/\B(?=(\d{3})+$)/g, '\u202f')) : point.text;
}

/** Makes the children of `old` those of `fresh` and changes only what differs: a selection, the focus and a reader's place stay. */
function renew(old, fresh) {
  const wanted = [...fresh.childNodes]; // who moves over leaves `fresh`
  wanted.forEach((child, index) => {
    const there = old.childNodes[index];
    if (!there) old.append(child);
    else if (there.nodeName !== child.nodeName || there.dataset?.device !== child.dataset?.device) there.replaceWith(child);
    else if (there.nodeType === Node.TEXT_NODE) {
      if (there.data !== child.data) there.data = child.data;
    } else {
      for (const { name, value } of child.attributes) {
        if (there.getAttribute(name) === value || name === 'open') continue; // a fold is its reader's
        if (name === 'style') there.style.cssText = child.style.cssText; // as an attribute the content policy forbids it
        else there.setAttribute(name, value);
      }
      for (const { name } of [...there.attributes]) if (!child.hasAttribute(name) && name !== 'open') there.removeAttribute(name);
      renew(there, child);
    }
  });
  while (old.childNodes.length > wanted.length) old.lastChild.remove();
}

function headline(now) {
  const device = now.devices.find((candidate) => candidate.state === 'ok' && candidate.flow && candidate.flow.house !== null);
  if (!device) {
    const known = now.devices.find((candidate) => candidate.age !== null && candidate.age !== undefined);
    return known ? ['No fresh readings', `${known.title} was last heard ${ago(known.age)} ago`] : ['Waiting for the first readings …', ''];
  }
  const { pv, battery, grid, house } = device.flow;
  const words = (watts) => kilowatts(watts).join(' ');
  const sub = `The house uses ${words(house)}`;
  if (grid === null) return ['The grid power is unknown', sub];
  if (grid < -50) return pv !== null && pv > 50 ? ['The sun covers everything', `${words(-grid)} left over for the grid`] : [`${words(-grid)} goes to the grid`, sub];
  if (grid <= 50 && pv !== null && pv >= house) return ['The sun carries the house', battery !== null && battery < -50 ? `${words(-battery)} goes into the battery` : sub];
  if (grid <= 50) return battery !== null && battery > 50 ? ['The battery carries the house', sub] : ['The house carries itself', sub];
  return [`The grid gives ${words(grid)}`, sub];
}

function troubles(now) {
  const list = [];
  if (!now.broker) list.push('The MQTT broker cannot be reached; readings are kept and will follow.');
  if (!now.store.healthy) list.push(`The store cannot keep readings: ${now.store.trouble || 'unknown reason'}.`);
  for (const node of now.nodes) if (node.latched) list.push(`Node ${node.name} is stopped (${node.tripped || node.latched}) until it is reset; its controls hold their safe values.`);
  for (const node of now.nodes) if (!node.online) list.push(`Node ${node.name} is offline${node.age === null ? '' : `, last heard ${ago(node.age)} ago`}.`);
  const away = new Set(now.devices.filter((device) => device.state === 'offline').map((device) => device.name));
  for (const device of now.devices) {
    if (away.has(device.parent)) continue; // said of what it is behind
    if (device.state === 'offline') list.push(`${device.title} (${device.name}) does not answer.`);
    if (device.state === 'stale') list.push(`${device.title} (${device.name}) is silent for ${ago(device.age)}; its values are old.`);
  }
  for (const alert of now.alerts) list.push(`${alert}.`);
  return list;
}

function pointList(points) {
  const list = make('dl');
  for (const point of points) {
    const known = point.text !== null && point.text !== undefined;
    const value = make('dd', { class: known ? '' : 'unknown', text: known ? written(point) : '–' });
    if (known && point.unit) value.append(' ', make('small', { text: point.unit }));
    const name = make('dt', { text: point.name });
    if (point.sign) name.title = point.sign;
    list.append(name, value);
  }
  return list;
}

function stateChip(device) {
  const words = { ok: 'live', stale: 'old', offline: 'offline', waiting: 'waiting' }[device.state] ?? device.state;
  const since = device.state === 'ok' || device.age === null || device.age === undefined ? '' : `, ${ago(device.age)}`;
  return make('span', { class: `chip ${device.state}`, text: words + since });
}

/** What a device is called; with its name in the configuration where another is called the same. */
function heading(device) {
  const twins = latest.devices.filter((other) => other.title === device.title).length > 1;
  return make('h2', { text: device.title }, ...(twins ? [' ', make('small', { text: device.name })] : []));
}

function factList(device) {
  const serial = device.serial ? [['Serial number', device.serial]] : [];
  const facts = [['Source', device.via], ...serial, ['Last answer', device.age === null ? 'never' : `${ago(device.age)} ago`]];
  const list = make('dl');
  list.style.marginTop = '16px';
  for (const [name, text] of facts) list.append(make('dt', { text: name }), make('dd', { text }));
  return list;
}

const MOST_UNFOLDED = 2; // devices whose values are all shown at first
const FIRST = 6; // values of a small card; the rest is folded away
const TELLING = ['W', 'kW', '°C', 'Wh', 'kWh', '%']; // units of what people look for first, in this order

/** Whether the device knows the house's part of the picture, and so can be drawn. */
function hasPicture(device) {
  return Boolean(device.flow) && device.flow.house !== null && device.flow.house !== undefined;
}

/** What was found behind a device stands after it. */
function inFamilies(devices) {
  const children = devices.filter((device) => device.parent);
  const families = devices.filter((device) => !device.parent).flatMap((device) => [device, ...children.filter((child) => child.parent === device.name)]);
  return [...families, ...children.filter((child) => !families.includes(child))];
}

/** The values of a small card: what is known and tells most, in the order of the device. */
function mostTelling(points) {
  const known = points.filter((point) => point.text !== null && point.text !== undefined);
  const rank = (point) => (TELLING.includes(point.unit) ? TELLING.indexOf(point.unit) : TELLING.length);
  return [...(known.length ? known : points)].sort((a, b) => rank(a) - rank(b)).slice(0, FIRST);
}

/** A device that has no part in the picture of the power: its first values, the rest folded away. */
function deviceCard(device, open) {
  const points = device.groups.flatMap((group) => group.points).filter((point) => !device.serial || point.unit || point.text !== device.serial); // told below
  const first = mostTelling(points);
  const card = make('article', { class: `card${device.state === 'ok' ? '' : ' stale'}`, 'aria-label': device.title, 'data-device': device.name });
  card.append(make('div', { class: 'top' }, heading(device), stateChip(device)), pointList(first));
  if (points.length > first.length) {
    const fold = make('details', { 'data-device': device.name }, make('summary', {}, 'All values ', make('span', { class: 'muted', text: `${points.length} points` })), pointList(points), factList(device));
    fold.open = open;
    card.append(fold);
  } else card.append(factList(device));
  return card;
}

const MODES = { auto: 'automatic', manual: 'by hand', stopped: 'stopped' };

/** Who commands a battery, what it was told, until when and why; nothing for a device that nobody commands. */
function controlCard(device, title) {
  const said = latest.control?.[device.name];
  if (!said) return null;
  const list = make('dl');
  const reasons = [];
  for (const control of Object.values(said.controls)) {
    const known = control.read_back !== null;
    const value = make('dd', { class: known ? '' : 'unknown', text: known ? String(control.read_back) : '–' });
    if (known) value.append(' ', make('small', { text: control.unit }));
    list.append(make('dt', { text: control.title }), value);
    const until = control.left_s > 0 ? ` Until ${moment((latest.time + control.left_s) * 1000, { timeStyle: 'short' })}.` : '';
    if (control.pending || (!said.latched && (control.author || control.clamp))) reasons.push(control.reason + until);
  }
  if (said.trouble) reasons.unshift(`Nothing is commanded: ${said.trouble}.`);
  if (said.latched) reasons.unshift('It is stopped until somebody resets it.');
  if (said.failsafe) reasons.push('The network operator’s box is silent: the house keeps to its failsafe limit.');
  if (said.grid_limit_w !== null) reasons.push(`The network operator lets the house take ${kilowatts(said.grid_limit_w).join(' ')}.`);
  if (said.rejected) reasons.push(`Last refused, at ${moment(said.rejected.time * 1000, { timeStyle: 'short' })}: ${said.rejected.detail}.`);
  const chip = make('span', { class: `chip${said.latched ? ' offline' : ''}`, text: MODES[said.mode] ?? said.mode });
  const card = make('article', { class: 'card control', 'aria-label': `Control of ${device.title}` }, make('div', { class: 'top' }, make('h2', { text: title }), chip), list);
  for (const text of reasons.length ? reasons : ['Nobody commands it; it does as it is set.']) card.append(make('p', { class: 'why', text }));
  return card;
}

function deviceSection(device, open) {
  const stale = device.state !== 'ok';
  const chip = stateChip(device);
  const section = make('section', { class: stale ? 'stale' : '', 'aria-label': device.title, 'data-device': device.name });
  const overview = make('div', { class: 'grid' });
  const flow = make('article', { class: 'card', 'aria-label': `Power of ${device.title}` }, make('div', { class: 'top' }, heading(device), chip));
  const picture = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  picture.setAttribute('class', 'flow');
  picture.setAttribute('role', 'img');
  if (device.flow) draw(picture, stale ? { pv: null, battery: null, grid: null, house: null } : device.flow, device.name);
  flow.append(picture, make('p', { class: 'note', text: 'From left to right. Which source feeds which use is a model: sun to the house first, then battery, then grid.' }));
  overview.append(flow);
  if (device.flow) {
    const soc = device.flow.soc;
    const known = soc !== null && soc !== undefined;
    const battery = make('article', { class: 'card', 'aria-label': `Battery of ${device.title}` }, make('div', { class: 'top' }, make('h2', { text: 'Battery' }), make('span', { text: batteryWords(stale ? null : device.flow.battery) })));
    battery.append(make('p', { class: 'soc' }, known ? String(Math.round(soc)) : '–', make('small', { text: ' %' })));
    const fill = make('div');
    fill.style.width = known ? `${Math.min(100, Math.max(0, soc))}%` : '0';
    battery.append(make('div', { class: 'bar', role: 'meter', 'aria-label': 'State of charge', 'aria-valuemin': '0', 'aria-valuemax': '100', ...(known ? { 'aria-valuenow': String(Math.round(soc)) } : {}) }, fill));
    battery.append(factList(device));
    const control = controlCard(device, 'Control');
    overview.append(control ? make('div', {}, battery, control) : battery);
  }
  const values = make('div', { class: 'columns' });
  for (const group of device.groups) {
    values.append(make('article', { class: 'card' }, make('div', { class: 'top' }, make('h2', { text: group.name }), make('span', { text: group.age === null ? 'not read yet' : `${ago(group.age)} ago` })), pointList(group.points)));
  }
  const fold = make('details', { 'data-device': device.name }, make('summary', {}, 'All values ', make('span', { class: 'muted', text: `${device.groups.reduce((sum, group) => sum + group.points.length, 0)} points` })), values);
  fold.open = open;
  section.append(overview, fold);
  return section;
}

function batteryWords(watts) {
  if (watts === null || watts === undefined) return 'power unknown';
  if (Math.abs(watts) < 20) return 'resting';
  return `${watts > 0 ? 'gives' : 'charges with'} ${kilowatts(Math.abs(watts)).join(' ')}`;
}

const BUS = [['requests', 'Requests'], ['ok', 'Good answers'], ['no_answer', 'No answer'], ['partial', 'Half answers'], ['crc', 'CRC errors'], ['wrong', 'Wrong answers'], ['exception', 'Exceptions'], ['late_bytes', 'Late bytes']];

function nodeCard(node) {
  const list = make('dl');
  const row = (name, text) => list.append(make('dt', { text: name }), make('dd', { text }));
  row('Firmware', node.firmware ?? '–');
  if (node.latched) row('Stopped', node.tripped || node.latched);
  row('Running for', node.uptime === null || node.uptime === undefined ? '–' : ago(node.uptime));
  for (const [key, name] of BUS) {
    const count = node.bus?.[key];
    row(name, count === null || count === undefined ? '–' : count.toLocaleString('en'));
  }
  return make('article', { class: 'card' }, make('div', { class: 'top' }, make('h2', { text: `Node ${node.name}` }), make('span', { class: `chip ${node.online ? 'ok' : 'offline'}`, text: node.online ? 'online' : 'offline' })), list);
}

function gatewayCard(now) {
  const list = make('dl');
  const row = (name, text) => list.append(make('dt', { text: name }), make('dd', { text }));
  row('Version', now.version);
  row('MQTT broker', now.broker ? 'connected' : 'away');
  row('Store', now.store.healthy ? 'healthy' : 'in trouble');
  row('Snapshots kept', now.store.kept.toLocaleString('en'));
  row('Time', moment(now.time * 1000, { dateStyle: 'medium', timeStyle: 'medium' }));
  return make('article', { class: 'card' }, make('div', { class: 'top' }, make('h2', { text: 'Gateway' }), make('span', { text: now.site })), list);
}

function show(now) {
  const opened = new Set([...document.querySelectorAll('details[open]')].map((fold) => fold.dataset.device));
  const first = !byId('devices').childElementCount;
  const [title, subtitle] = headline(now);
  byId('headline').textContent = title;
  byId('subline').textContent = subtitle;
  const list = troubles(now);
  const words = list.join('\n');
  if (byId('trouble').dataset.words !== words) { // spoken once, not every second
    byId('trouble').dataset.words = words;
    byId('trouble').hidden = list.length === 0;
    byId('trouble').replaceChildren(make('ul', {}, ...list.map((text) => make('li', { text }))));
  }
  const pictured = now.devices.filter(hasPicture);
  const unfolded = window.innerWidth >= WIDE && pictured.length <= MOST_UNFOLDED;
  const large = pictured.map((device) => deviceSection(device, first ? unfolded : opened.has(device.name)));
  const plain = inFamilies(now.devices.filter((device) => !hasPicture(device)));
  const small = plain.flatMap((device) => [deviceCard(device, opened.has(device.name)), controlCard(device, `Control of ${device.title}`)].filter(Boolean));
  if (small.length) large.push(make('section', { 'aria-label': 'Other devices' }, make('div', { class: 'columns' }, ...small)));
  renew(byId('devices'), make('div', {}, ...large));
  renew(byId('health'), make('div', {}, ...now.nodes.map(nodeCard), gatewayCard(now)));
}

function link(state, words) {
  byId('link').className = `link ${state}`;
  const target = byId('link').querySelector('.words');
  if (target.textContent !== words) target.textContent = words;
}

function lost() {
  link('lost', 'no connection');
  byId('headline').textContent = 'The gateway cannot be reached';
  if (!latest) return;
  byId('subline').textContent = `What you see is as it was at ${moment(latest.time * 1000, { timeStyle: 'medium' })}.`;
  for (const section of document.querySelectorAll('#devices > section')) section.classList.add('stale');
  for (const chip of document.querySelectorAll('.chip.ok')) {
    chip.className = 'chip stale';
    chip.textContent = 'old';
  }
}

function open() {
  clearTimeout(retryTimer);
  source?.close();
  source = new EventSource('/api/live');
  source.onmessage = (event) => {
    retry = 1000;
    received = Date.now();
    latest = JSON.parse(event.data);
    show(latest);
    link('live', 'live');
  };
  source.addEventListener('alive', () => { received = Date.now(); });
  source.onerror = () => {
    source.close();
    lost();
    clearTimeout(retryTimer);
    retryTimer = setTimeout(open, retry);
    retry = Math.min(retry * 2, 15000);
  };
}

setInterval(() => {
  if (document.visibilityState === 'visible' && received && Date.now() - received > QUIET_MS) {
    lost();
    open();
    received = Date.now() - QUIET_MS / 2; // give the new connection its time
  }
}, 1000);
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible') open();
  else source?.close();
});
window.addEventListener('pagehide', () => source?.close());
open();
