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
  return `${Math.round(seconds / 3600)} h`;
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
    const value = make('dd', { class: known ? '' : 'unknown', text: known ? point.text : '–' });
    if (known && point.unit) value.append(' ', make('small', { text: point.unit }));
    const name = make('dt', { text: point.name });
    if (point.sign) name.title = point.sign;
    list.append(name, value);
  }
  return list;
}

function stateChip(device) {
  return make('span', { class: `chip ${device.state}`, text: { ok: 'live', stale: 'old', offline: 'offline', waiting: 'waiting' }[device.state] ?? device.state });
}

function factList(device) {
  const facts = [['Source', device.via], ['Serial number', device.serial ?? '–'], ['Last answer', device.age === null ? 'never' : `${ago(device.age)} ago`]];
  const list = make('dl');
  list.style.marginTop = '16px';
  for (const [name, text] of facts) list.append(make('dt', { text: name }), make('dd', { text }));
  return list;
}

const MOST_UNFOLDED = 2; // devices whose values are all shown at first
const FIRST = 6; // values of a small card; the rest is folded away

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

/** A device that has no part in the picture of the power: its first values, the rest folded away. */
function deviceCard(device, open) {
  const points = device.groups.flatMap((group) => group.points);
  const known = points.filter((point) => point.text !== null && point.text !== undefined);
  const first = (known.length ? known : points).slice(0, FIRST);
  const card = make('article', { class: `card${device.state === 'ok' ? '' : ' stale'}`, 'aria-label': device.title }, make('div', { class: 'top' }, make('h2', { text: device.title }), stateChip(device)), pointList(first), factList(device));
  if (points.length > first.length) {
    const fold = make('details', { 'data-device': device.name }, make('summary', {}, 'All values ', make('span', { class: 'muted', text: `${points.length} points` })), pointList(points));
    fold.open = open;
    card.append(fold);
  }
  return card;
}

function deviceSection(device, open) {
  const stale = device.state !== 'ok';
  const chip = stateChip(device);
  const section = make('section', { class: stale ? 'stale' : '', 'aria-label': device.title });
  const overview = make('div', { class: 'grid' });
  const flow = make('article', { class: 'card' }, make('div', { class: 'top' }, make('h2', { text: device.title }), chip));
  const picture = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  picture.setAttribute('class', 'flow');
  picture.setAttribute('role', 'img');
  if (device.flow) draw(picture, stale ? { pv: null, battery: null, grid: null, house: null } : device.flow);
  flow.append(picture, make('p', { class: 'note', text: 'From left to right. Which source feeds which use is a model: sun to the house first, then battery, then grid.' }));
  overview.append(flow);
  if (device.flow) {
    const soc = device.flow.soc;
    const known = soc !== null && soc !== undefined;
    const battery = make('article', { class: 'card' }, make('div', { class: 'top' }, make('h2', { text: 'Battery' }), make('span', { text: batteryWords(stale ? null : device.flow.battery) })));
    battery.append(make('p', { class: 'soc' }, known ? String(Math.round(soc)) : '–', make('small', { text: ' %' })));
    const fill = make('div');
    fill.style.width = known ? `${Math.min(100, Math.max(0, soc))}%` : '0';
    battery.append(make('div', { class: 'bar', role: 'meter', 'aria-label': 'State of charge', 'aria-valuemin': '0', 'aria-valuemax': '100', ...(known ? { 'aria-valuenow': String(Math.round(soc)) } : {}) }, fill));
    battery.append(factList(device));
    overview.append(battery);
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
  row('Time', new Intl.DateTimeFormat('en-GB', { timeZone: now.zone, dateStyle: 'medium', timeStyle: 'medium' }).format(now.time * 1000));
  return make('article', { class: 'card' }, make('div', { class: 'top' }, make('h2', { text: 'Gateway' }), make('span', { text: now.site })), list);
}

function show(now) {
  const opened = new Set([...document.querySelectorAll('details[open]')].map((fold) => fold.dataset.device));
  const focused = document.activeElement?.closest?.('details')?.dataset.device;
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
  const small = inFamilies(now.devices.filter((device) => !hasPicture(device))).map((device) => deviceCard(device, opened.has(device.name)));
  if (small.length) large.push(make('section', { 'aria-label': 'Other devices' }, make('div', { class: 'columns' }, ...small)));
  byId('devices').replaceChildren(...large);
  byId('health').replaceChildren(...now.nodes.map(nodeCard), gatewayCard(now));
  if (focused) document.querySelector(`details[data-device="${CSS.escape(focused)}"] summary`)?.focus({ preventScroll: true });
}

function link(state, words) {
  byId('link').className = `link ${state}`;
  const target = byId('link').querySelector('.words');
  if (target.textContent !== words) target.textContent = words;
}

function lost() {
  if (!latest) {
    link('lost', 'no connection');
    return;
  }
  link('lost', `no connection, values of ${ago((Date.now() - received) / 1000)} ago`);
  byId('headline').textContent = 'The gateway cannot be reached';
  byId('subline').textContent = 'What you see is old.';
  for (const section of document.querySelectorAll('#devices > section')) section.classList.add('stale');
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
