/* Draws the page's charts: each figure[data-chart] holds its data, each script[data-kind] the Vega specification that
   charts of one kind share. Nothing is evaluated as code and nothing is loaded: Vega's interpreter walks expressions,
   and the loader refuses. window.attentionCharts.filter(predicate) keeps the rows of which predicate(row) is true. */
(function () {
  "use strict";
  const vega = window.vega;
  const figures = [...document.querySelectorAll("figure[data-chart]")];
  if (!vega || !vega.expressionInterpreter || !figures.length) return;

  const kinds = new Map();
  for (const block of document.querySelectorAll("script[data-kind]")) kinds.set(block.dataset.kind, block);
  const refuse = () => Promise.reject(new Error("this page loads nothing"));
  const loader = { load: refuse, sanitize: refuse, http: refuse, file: refuse };
  const copy = (value) => JSON.parse(JSON.stringify(value));
  const NEAR = 400; // pixels beyond the window
  let keep = () => true;

  function specification(kind) {
    const held = kinds.get(kind);
    if (held instanceof Element) kinds.set(kind, JSON.parse(held.textContent));
    return copy(kinds.get(kind));
  }

  /* What no implementation stands behind, such as a bound or a cell of a heatmap, stays. */
  const asked = (row) => row.implementation !== undefined;
  const kept = (rows) => rows.filter((row) => !asked(row) || keep(row));

  function columns(names, width) {
    const longest = Math.max(0, ...names.map((name) => name.length));
    return Math.max(1, Math.floor(width / (36 + 6 * longest)));
  }

  class Chart {
    constructor(figure) {
      this.figure = figure;
      this.view = null;
    }

    read() {
      if (this.rows) return;
      const held = JSON.parse(this.figure.querySelector('script[type="application/json"]').textContent);
      const row = (values) => Object.fromEntries(held.fields.map((name, i) => [name, values[i]]).filter((x) => x[1] !== null));
      Object.assign(this, { kind: held.kind, text: held.text, values: held.values, rows: held.rows.map(row) });
    }

    /* The rows to draw. Of a chart with nothing left there are none: it is hidden as it was, for scales need data. */
    left() {
      const rows = kept(this.rows);
      return rows.some(asked) || !this.rows.some(asked) ? rows : null;
    }

    /* The signals of the rows that are kept: names without a row leave the legend. */
    signals(rows) {
      const { names, colours, shapes, slots } = this.values;
      if (!names) return this.values;
      const left = new Set(rows.map((row) => row.series || row.implementation));
      const places = [...names.keys()].filter((i) => left.has(names[i]));
      const pick = (list) => places.map((i) => list[i]);
      const found = { ...this.values, names: pick(names), colours: pick(colours), shapes: pick(shapes) };
      return slots ? { ...found, slots: ["", ...found.names] } : found;
    }

    mount() {
      if (this.view) return;
      this.read();
      const room = document.createElement("div");
      room.className = "drawing";
      room.setAttribute("role", "img");
      room.setAttribute("aria-label", this.text);
      this.note = document.createElement("p");
      this.note.className = "quiet nothing-left";
      this.note.textContent = "nothing left by the query";
      this.note.hidden = true;
      this.figure.insertBefore(room, this.figure.querySelector("noscript"));
      this.figure.insertBefore(this.note, room);
      this.room = room;

      const spec = specification(this.kind);
      const left = this.left();
      const rows = left || this.rows;
      this.responsive = spec.autosize && spec.autosize.type === "fit-x";
      const signals = this.signals(rows);
      for (const signal of spec.signals) {
        if (signal.name in signals) {
          delete signal.update;
          signal.value = signals[signal.name];
        }
      }
      spec.data.find((data) => data.name === "rows").values = rows.map((row) => ({ ...row }));
      this.view = new vega.View(vega.parse(spec, null, { ast: true }), {
        expr: vega.expressionInterpreter,
        renderer: "svg",
        container: room,
        hover: true,
        loader,
        logLevel: vega.Error,
        tooltip: (handler, event, item, value) => tip(event, value),
      });
      this.view.description(this.text);  // else Vega names the drawing itself
      this.fit();
      this.view.run();
      this.show(left !== null);
      if (this.responsive && window.ResizeObserver) {
        const fitted = () => this.fit() && this.view.run();
        new ResizeObserver(() => requestAnimationFrame(fitted)).observe(room);
      }
    }

    /* Take the width that there is; say whether it changed. */
    fit() {
      const width = Math.floor(this.room.clientWidth);
      if (!this.responsive || !width || width === this.width) return false;
      this.width = width;
      this.view.width(width);
      if (this.values.names) this.view.signal("columns", columns(this.signals(this.left() || this.rows).names, width));
      return true;
    }

    show(whether) {
      this.note.hidden = whether;
      this.room.hidden = !whether;
    }

    filter() {
      if (!this.view) return;
      const rows = this.left();
      this.show(rows !== null);
      if (!rows) return;
      const signals = this.signals(rows);
      for (const name of ["names", "colours", "shapes", "slots"]) {
        if (name in signals) this.view.signal(name, signals[name]);
      }
      const fresh = rows.map((row) => ({ ...row }));
      this.view.change("rows", vega.changeset().remove(vega.truthy).insert(fresh)).run();
    }
  }

  const box = document.createElement("div");
  box.className = "tip";
  box.hidden = true;
  document.body.append(box);

  /* Names and numbers of what the pointer is on, as text. */
  function tip(event, value) {
    box.hidden = value === null || value === undefined || value === "";
    if (box.hidden) return;
    box.replaceChildren();
    const pairs = typeof value === "object" ? Object.entries(value) : [["", value]];
    for (const [name, text] of pairs) {
      if (text === "" || text === "null" || text === "undefined") continue;
      const line = document.createElement("div");
      const label = document.createElement("span");
      label.textContent = name;
      line.append(label, String(text));
      box.append(line);
    }
    const { clientWidth, clientHeight } = document.documentElement;
    const left = Math.min(event.clientX + 14, clientWidth - box.offsetWidth - 8);
    const under = event.clientY + 18;
    const top = under + box.offsetHeight > clientHeight ? event.clientY - box.offsetHeight - 10 : under;
    box.style.left = `${Math.max(8, left)}px`;
    box.style.top = `${Math.max(8, top)}px`;
  }

  const charts = figures.map((figure) => new Chart(figure));
  const seen = window.IntersectionObserver
    ? new IntersectionObserver((entries) => {
        for (const entry of entries) {
          if (!entry.isIntersecting) continue;
          seen.unobserve(entry.target);
          charts[figures.indexOf(entry.target)].mount();
        }
      }, { rootMargin: `${NEAR}px` })
    : null;
  for (const chart of charts) {
    /* What is near now is drawn now, from the top: it moves the others down. What is folded has no place. */
    const place = chart.figure.getBoundingClientRect();
    const near = place.top < window.innerHeight + NEAR && place.bottom > -NEAR && place.width;
    if (near || !seen) chart.mount();
    else seen.observe(chart.figure);
  }
  window.addEventListener("beforeprint", () => charts.forEach((chart) => chart.mount()));

  window.attentionCharts = {
    filter(predicate) {
      keep = predicate || (() => true);
      charts.forEach((chart) => chart.filter());
    },
  };
})();
