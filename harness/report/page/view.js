'use strict';
/* The query box drives the matrix, the cases, the failures and the charts; the address keeps the query.

   Every text of a run is set as text: nothing here makes markup of it. */
(() => {
  const MOST = 60;  // cases that are shown before somebody asks for more
  const $ = (id) => document.getElementById(id);
  const box = $('query');
  let verdicts, cells, lines, columns, causes, left, shown = MOST, groups = [], last = null;

  const thousands = new Intl.NumberFormat('en');
  const number = (count) => thousands.format(count);

  /** Return an element with attributes and children; a child that is no element is text. */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children.filter((one) => one !== null && one !== ''));
    return element;
  }

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
    return JSON.parse(await new Response(stream).text());
  }

  // --- the address

  const address = () => new URLSearchParams(location.hash.startsWith('#q=') ? location.hash.slice(1) : '');
  const link = (query, at = '') => `#${new URLSearchParams(at ? { q: query, at } : { q: query })}`;
  const quoted = (value) => (/[\s,"]/.test(value) ? `"${value.replaceAll('"', '')}"` : value);

  /** Return the query with these terms in place of others of their keys. */
  function refined(terms) {
    const kept = window.attentionQuery.parse(box.value).filter(({ key }) => !Object.hasOwn(terms, key)).map(({ text }) => text);
    return [...kept, ...Object.entries(terms).map(([key, value]) => `${key}:${quoted(value)}`)].join(' ');
  }

  function follow() {
    const found = address();
    if (found.has('q') || !location.hash) box.value = found.get('q') ?? '';
    update();
    const at = found.get('at') && $(found.get('at'));
    if (at) at.scrollIntoView();
  }

  // --- what the query leaves

  function update() {
    const began = performance.now();
    const query = box.value.trim();
    const { mask, count, problems } = verdicts.select(query);
    for (const one of document.querySelectorAll('[data-query]')) {
      one.setAttribute('aria-current', String(one.dataset.query === query));
    }
    $('problems').replaceChildren(...problems.map((text) => make('li', {}, text)));
    matrix(mask, query);
    failures(mask, query);
    shown = MOST;
    results(mask, count, query);
    if (query !== last) {
      last = query;
      const keeps = query ? verdicts.measurements(query) : () => true;
      window.attentionCharts?.filter(keeps);
    }
    document.body.dataset.milliseconds = (performance.now() - began).toFixed(1);
    document.body.dataset.answered = query;
  }

  /** Each cell says what the query leaves of it; without a query it says what the page was written with. */
  function matrix(mask, query) {
    const { implementation, mechanism, status, ratio, informative } = verdicts.columns;
    const statuses = Object.keys(verdicts.statuses);
    const places = verdicts.tables.status.map((name) => statuses.indexOf(name));
    const vacuous = verdicts.tables.informative.indexOf('no');
    const width = verdicts.tables.implementation.length;
    const size = width * verdicts.tables.mechanism.length;
    const counts = new Uint32Array(size * statuses.length), worst = new Float64Array(size).fill(-1);
    const worstText = new Int32Array(size).fill(-1), uninformative = new Uint32Array(size);
    const passed = statuses.indexOf('pass');
    for (let row = 0; row < mask.length; row++) {
      if (!mask[row]) continue;
      const cell = mechanism[row] * width + implementation[row], place = places[status[row]];
      counts[cell * statuses.length + place]++;
      if (place !== passed) continue;
      if (informative[row] === vacuous) uninformative[cell]++;
      const value = verdicts.ratios[ratio[row]];
      if (value > worst[cell]) { worst[cell] = value; worstText[cell] = ratio[row]; }
    }
    for (const one of cells) {
      const cell = one.mechanism * width + one.implementation;
      let text;
      if (!query) {
        text = one.written;
      } else {
        const of = one.mechanism < 0 || one.implementation < 0 ? []
          : [...counts.subarray(cell * statuses.length, (cell + 1) * statuses.length)];
        const state = of.findIndex((n) => n > 0);
        if (state < 0) {
          text = { state: 'left-out', glyph: '', number: '', note: '', label: `${one.label}: nothing left by the query` };
        } else {
          const name = statuses[state], passes = of[passed];
          const beside = state === passed ? (worstText[cell] < 0 ? '' : verdicts.tables.ratio[worstText[cell]])
            : number(of[state]);
          const share = passes ? `${Math.floor(100 * (passes - uninformative[cell]) / passes)} %` : '';
          const all = of.map((n, place) => n && `${number(n)} ${statuses[place].replaceAll('_', ' ')}`);
          text = { state: name.replaceAll('_', '-'), glyph: verdicts.statuses[name].glyph, number: beside,
            note: state === passed ? share : '', label: `${one.label}: ${all.filter(Boolean).join(', ')}` };
        }
      }
      write(one, text);
    }
    const kept = cells.filter((one) => !query || !one.now.startsWith('left-out'));
    hide(kept, 'row', lines);
    hide(kept, 'column', columns);
  }

  /** Hide the rows or columns of which a query leaves nothing, so that a small screen shows what is left. */
  function hide(cellsLeft, name, parts) {
    const kept = new Set(cellsLeft.map((one) => one[name]));
    parts.forEach((elements, n) => {
      const hidden = kept.size > 0 && !kept.has(n);
      for (const one of elements) if (one.hidden !== hidden) one.hidden = hidden;
    });
  }

  function write(one, text) {
    const key = `${text.state}|${text.number}|${text.note}|${text.label}`;
    if (one.now === key) return;  // what stays is not touched: ten thousand cells answer at once
    one.now = key;
    one.link.className = `cell ${text.state}`;
    one.link.setAttribute('aria-label', text.label);
    const [glyph, number, note] = one.link.children;
    glyph.textContent = text.glyph;
    number.textContent = text.number;
    note.textContent = text.note;
  }

  function failures(mask, query) {
    const kept = new Set();
    const { cause } = verdicts.columns;
    for (let row = 0; row < mask.length; row++) if (mask[row]) kept.add(verdicts.tables.cause[cause[row]]);
    let hidden = 0;
    for (const article of causes) {
      article.hidden = Boolean(query) && !kept.has(article.dataset.cause);
      hidden += article.hidden;
    }
    $('hidden-failures').textContent = hidden ? `${hidden} of ${causes.length} causes are hidden by the query.` : '';
  }

  // --- cases, and their checks

  function results(mask, count, query) {
    const { status, ratio } = verdicts.columns, { of, size } = verdicts.groups;
    const severity = Object.keys(verdicts.statuses);
    const places = verdicts.tables.status.map((name) => severity.indexOf(name));
    const place = new Uint8Array(size).fill(255), worst = new Float64Array(size).fill(-1);
    for (let row = 0; row < mask.length; row++) {
      if (!mask[row]) continue;
      const group = of[row], value = verdicts.ratios[ratio[row]];
      if (places[status[row]] < place[group]) place[group] = places[status[row]];
      if (value > worst[group]) worst[group] = value;
    }
    groups = [];
    for (let group = 0; group < size; group++) {
      if (place[group] < 255) groups.push({ group, place: place[group], ratio: worst[group] });
    }
    groups.sort((a, b) => a.place - b.place || b.ratio - a.ratio);
    left = mask;
    $('counted').textContent = query
      ? `${number(count)} of ${number(verdicts.length)} verdicts, in ${number(groups.length)} case${groups.length === 1 ? '' : 's'}`
      : `${number(verdicts.length)} verdicts, in ${number(groups.length)} case${groups.length === 1 ? '' : 's'}; the worst first`;
    list();
  }

  function list() {
    const open = groups.length === 1;
    $('cases').replaceChildren(...groups.slice(0, shown).map((group) => caseOf(group, open)));
    $('more').hidden = groups.length <= shown;
    $('more').textContent = `Show ${Math.min(groups.length - shown, 4 * MOST)} more of ${groups.length - shown}`;
  }

  function caseOf(group, open) {
    const rows = verdicts.rowsOf(group.group).filter((row) => left[row]);
    const [row] = rows;
    const status = Object.keys(verdicts.statuses)[group.place];
    const ratio = group.ratio >= 0 ? ` ${verdicts.tables.ratio[verdicts.ratios.indexOf(group.ratio)]}` : '';
    const summary = make('summary', {},
      make('span', { class: `mark ${status.replaceAll('_', '-')}` },
        `${verdicts.statuses[status].glyph} ${status.replaceAll('_', ' ')}${ratio}`), ' ',
      make('b', {}, verdicts.text('implementation', row)), ' ', make('code', {}, verdicts.text('case', row)));
    const details = make('details', {}, summary);
    const fill = () => { if (details.children.length === 1) details.append(...checks(rows)); };
    details.addEventListener('toggle', fill, { once: true });
    if (open) { details.open = true; fill(); }
    return details;
  }

  /** Return the table of a case's checks, its permalink, its error maps, and the command that replays it. */
  function checks(rows) {
    const [first] = rows;
    const named = verdicts.text('implementation', first), id = verdicts.text('case', first);
    const body = rows.map((row) => make('tr', {},
      make('th', { scope: 'row' }, verdicts.text('check', row)),
      make('td', {}, verdicts.text('status', row).replaceAll('_', ' '),
        verdicts.text('informative', row) === 'no' ? ' (uninformative)' : ''),
      make('td', { class: 'n' }, verdicts.text('ratio', row)), make('td', { class: 'n' }, verdicts.text('error', row)),
      make('td', {}, verdicts.text('where', row)), make('td', {}, verdicts.text('said', row))));
    const head = ['check', 'status', 'error ratio', 'error', 'worst at', 'reason or finding'];
    const table = make('table', {}, make('thead', {}, make('tr', {}, ...head.map((name) => make('th', { scope: 'col' }, name)))),
      make('tbody', {}, ...body));
    const replays = [...new Set(rows.filter((row) => verdicts.text('replay', row))
      .map((row) => verdicts.text('replay', row).replaceAll(verdicts.wholeCase, () => id)))];
    const links = make('p', { class: 'small' },
      make('a', { href: link(`implementation:${quoted(named)} case:${quoted(id)}`, 'results') }, 'link to this case'));
    for (const one of document.querySelectorAll('.map')) {
      if (one.dataset.implementation === named && one.dataset.case === id) {
        links.append(' · ', make('a', { href: link(box.value, one.id) }, 'where its errors lie'));
      }
    }
    for (const cause of new Set(rows.map((row) => verdicts.text('cause', row)).filter(Boolean))) {
      links.append(' · ', make('a', { href: link(box.value, `cause${cause}`) }, 'its cause'));
    }
    return [make('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `Checks of ${id}` }, table),
      ...replays.map((text) => make('pre', {}, make('code', {}, text))), links];
  }

  // --- wiring

  async function start() {
    const matrixCells = [...document.querySelectorAll('#matrix-table td > a.cell')];
    verdicts = new window.attentionQuery.Verdicts(await unpack($('verdicts').textContent));
    const place = (table) => new Map(table.map((name, n) => [name, n]));
    const implementations = place(verdicts.tables.implementation), mechanisms = place(verdicts.tables.mechanism);
    cells = matrixCells.map((one) => ({
      link: one, label: `${one.dataset.mechanism} on ${one.dataset.implementation}`, now: null,
      implementation: implementations.get(one.dataset.implementation) ?? -1,
      mechanism: mechanisms.get(one.dataset.mechanism) ?? -1,
      written: { state: one.className.replace('cell ', ''), glyph: one.children[0].textContent,
        number: one.children[1].textContent, note: one.children[2].textContent, label: one.getAttribute('aria-label') },
    }));
    const rows = [...document.querySelectorAll('#matrix-table tbody tr')];
    const titles = [...document.querySelectorAll('#matrix-table thead th')].slice(1);
    lines = rows.map((row) => [row]);
    columns = titles.map((title, n) => [title, ...rows.map((row) => row.children[n + 1])]);
    cells.forEach((one, n) => { one.row = Math.floor(n / titles.length); one.column = n % titles.length; });
    causes = [...document.querySelectorAll('article[data-cause]')];
    $('search').hidden = false;
    $('results').hidden = false;
    $('keys').textContent = verdicts.keys.join(', ');
    let waiting = 0;
    box.addEventListener('input', () => {
      cancelAnimationFrame(waiting);  // one answer for each picture, however fast somebody types
      waiting = requestAnimationFrame(() => {
        history.replaceState(null, '', box.value.trim() ? link(box.value.trim()) : location.pathname + location.search);
        update();
      });
    });
    $('clear').addEventListener('click', () => { location.hash = '#q='; box.focus(); });
    $('more').addEventListener('click', () => { shown += 4 * MOST; list(); });
    document.addEventListener('click', (event) => {
      const target = event.target.closest?.('a');
      if (!target) return;
      if (target.matches('a.cell')) {
        event.preventDefault();
        const { mechanism, implementation } = target.dataset;
        location.hash = link(refined({ mechanism, implementation }), 'results');
      } else if (box.value.trim() && /^#[\w-]+$/.test(target.getAttribute('href') ?? '')) {
        event.preventDefault();  // a section's address would forget the query
        location.hash = link(box.value.trim(), target.getAttribute('href').slice(1));
      }
    });
    window.addEventListener('hashchange', follow);
    follow();
    document.body.dataset.ready = 'yes';
  }

  if (box) {
    start().catch((error) => {
      $('unfiltered').hidden = false;
      $('unfiltered').textContent = `The query box does not work in this browser: ${error.message}. All else does.`;
    });
  }
})();
