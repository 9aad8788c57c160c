// The picture of the power: ribbons from where it comes to where it goes, in a stable order, as wide as the power they carry.
// Who feeds whom cannot be measured; the sun is counted to the house first, then the battery, then the grid.

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 420;
const LEFT = 106, RIGHT = 300, BAR = 6;
const HEIGHT = 180, GAP = 22, SMALLEST = 3;

export function kilowatts(watts) {
  if (watts === null || watts === undefined) return ['–', ''];
  return Math.abs(watts) < 1000 ? [String(Math.round(watts)), 'W'] : [(watts / 1000).toFixed(2), 'kW'];
}

/** Sources and sinks of one device's flow in W, each positive; null where a figure is unknown. */
export function sides(flow) {
  const positive = (value) => (value === null || value === undefined ? null : Math.max(0, value));
  const negative = (value) => (value === null || value === undefined ? null : Math.max(0, -value));
  return {
    sources: [
      { key: 'solar', name: 'Solar', watts: positive(flow.pv) },
      { key: 'battery', name: 'Battery', watts: positive(flow.battery) },
      { key: 'grid', name: 'Grid', watts: positive(flow.grid) },
    ],
    sinks: [
      { key: 'house', name: 'House', watts: positive(flow.house) },
      { key: 'battery', name: 'Battery', watts: negative(flow.battery) },
      { key: 'grid', name: 'Grid', watts: negative(flow.grid) },
    ],
  };
}

/** Shares the sources out to the sinks, in their order; returns [{from, to, watts}]. */
export function allocate(sources, sinks) {
  const left = sources.map((source) => source.watts ?? 0);
  const ribbons = [];
  sinks.forEach((sink, to) => {
    let wanted = sink.watts ?? 0;
    for (let from = 0; from < sources.length && wanted > 0; from += 1) {
      if (sources[from].key === sink.key) continue;
      const watts = Math.min(wanted, left[from]);
      if (watts > 0) ribbons.push({ from, to, watts });
      left[from] -= watts;
      wanted -= watts;
    }
  });
  return ribbons;
}

function element(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function stack(items, scale) {
  const shown = items.filter((item) => item.watts > 0 || item.watts === null || item.key === 'house');
  const heights = shown.map((item) => Math.max(SMALLEST, (item.watts ?? 0) * scale));
  const spacing = heights.map((height) => Math.max(height, 40));
  const total = spacing.reduce((sum, height) => sum + height, 0) + GAP * Math.max(0, shown.length - 1);
  let y = Math.max(0, (HEIGHT + 2 * GAP - total) / 2);
  return shown.map((item, index) => {
    const place = { ...item, height: heights[index], y: y + (spacing[index] - heights[index]) / 2, used: 0 };
    y += spacing[index] + GAP;
    return place;
  });
}

/** Draws one device's flow into `svg` (made anew each time: a dozen elements); `name` tells its colours from another picture's. */
export function draw(svg, flow, name) {
  const { sources, sinks } = sides(flow);
  const sum = (side) => side.reduce((total, item) => total + (item.watts ?? 0), 0);
  const scale = HEIGHT / Math.max(sum(sources), sum(sinks), 1000);
  const from = stack(sources, scale), to = stack(sinks, scale);
  const bottom = Math.max(...[...from, ...to].map((place) => place.y + Math.max(place.height, 40)), 120);
  svg.setAttribute('viewBox', `0 0 ${WIDTH} ${Math.ceil(bottom + 4)}`);
  svg.replaceChildren();
  const said = (watts) => (watts === null ? 'an unknown power' : kilowatts(watts).join(' '));
  const spoken = [...from.map((s) => `${s.name} gives ${said(s.watts)}`), ...to.map((s) => `${s.name} takes ${said(s.watts)}`)];
  svg.append(element('title', {}, spoken.join(', ')));
  const definitions = element('defs', {});
  svg.append(definitions);
  for (const ribbon of allocate(sources, sinks)) {
    const a = from.find((place) => place.key === sources[ribbon.from].key), b = to.find((place) => place.key === sinks[ribbon.to].key);
    const thick = Math.max(1.5, ribbon.watts * scale);
    const y1 = a.y + a.used, y2 = b.y + b.used, x1 = LEFT + BAR, x2 = RIGHT, middle = (x1 + x2) / 2;
    a.used += ribbon.watts * scale;
    b.used += ribbon.watts * scale;
    const id = `ribbon-${name}-${a.key}-${b.key}`;
    const gradient = element('linearGradient', { id });
    gradient.append(element('stop', { offset: '0', 'stop-color': `var(--${a.key})`, 'stop-opacity': '0.4' }), element('stop', { offset: '1', 'stop-color': `var(--${b.key})`, 'stop-opacity': '0.4' }));
    definitions.append(gradient);
    svg.append(element('path', {
      fill: `url(#${id})`,
      d: `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}V${y2 + thick}C${middle} ${y2 + thick} ${middle} ${y1 + thick} ${x1} ${y1 + thick}Z`,
    }));
  }
  for (const [places, x, labelX, anchor] of [[from, LEFT, LEFT - 14, 'end'], [to, RIGHT, RIGHT + BAR + 14, 'start']]) {
    for (const place of places) {
      const middle = place.y + place.height / 2;
      svg.append(element('rect', { x, y: place.y, width: BAR, height: place.height, rx: 3, fill: `var(--${place.key})` }));
      svg.append(element('text', { x: labelX, y: middle - 5, 'text-anchor': anchor, class: 'label' }, place.name));
      svg.append(element('text', { x: labelX, y: middle + 15, 'text-anchor': anchor, class: 'amount' }, kilowatts(place.watts).join(' ')));
    }
  }
}
