'use strict';
/* The language of the query box: what a text asks of each verdict.

   A query is words and terms, all of which have to hold: `status:fail mechanism:additive,cosine Lq>=100 -option:mask`.
   Each distinct text is asked once, and the answers are looked up for every verdict: a hundred thousand take a few
   milliseconds. */
window.attentionQuery = (() => {
  const NAMES = ['status', 'mechanism', 'implementation', 'check', 'dtype', 'option', 'content', 'layout', 'device',
    'informative', 'cause'];
  const TEXTS = ['case', 'reason'];
  const PAIRS = ['only', 'differs'];
  const TERM = /(-?)(?:([A-Za-z_]+)(:|>=|<=|>|<|=))?("[^"]*"|[^\s"]+)/g;

  /** Return the facets that a case's id states; of an id that is none of ours, none. */
  function facets(id) {
    const [name, device = 'cpu'] = id.split('@');
    const parts = name.replace(/-draw\d+$/, '').split('-');
    if (parts.length < 6) return { sizes: {}, dtype: '', option: [], content: '', layout: '', device };
    const sizes = {};
    for (const [, letter, number] of parts[1].matchAll(/([A-Z][a-z]*)(\d+)/g)) sizes[letter] = Number(number);
    return {
      sizes, dtype: parts[2], device,
      option: parts.slice(3, -2).join('-').split('+').flatMap((one) => [one, one.split('=')[0]]),
      content: parts[parts.length - 2], layout: parts[parts.length - 1],
    };
  }

  /** Return the terms of a text: {negated, key, how, values, text}. */
  function parse(text) {
    return [...text.matchAll(TERM)].map(([whole, minus, key = '', how = '', value]) => ({
      text: whole, negated: minus === '-', key: key === 'impl' ? 'implementation' : key, how,
      values: value.startsWith('"') ? [value.slice(1, -1)] : value.split(',').filter(Boolean),
    }));
  }

  const plain = (text) => text.toLowerCase().replace(/[\s-]/g, '_');
  const pattern = (value) => new RegExp(
    `^${plain(value).split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&')).join('.*')}$`);
  const named = (values) => {
    const patterns = values.map(pattern);
    return (text) => patterns.some((one) => one.test(plain(text)));
  };
  const holds = (values) => {
    const wanted = values.map((value) => value.toLowerCase());
    return (text) => wanted.some((value) => text.toLowerCase().includes(value));
  };
  function compares(how, value) {
    const number = Number(value);
    if (value === '' || Number.isNaN(number)) return null;
    const answers = { '>': (x) => x > number, '<': (x) => x < number, '>=': (x) => x >= number,
      '<=': (x) => x <= number, ':': (x) => x === number, '=': (x) => x === number };
    return (x) => x !== undefined && !Number.isNaN(x) && answers[how](x);
  }

  /** Return the number that an error ratio's text states: of "infinite" and of "not a number" more than any. */
  const ratioOf = (text) => (['infinite', 'not a number'].includes(text) ? Infinity
    : Number(text.replace(/[^\d.e+-]/g, '') || NaN));

  class Verdicts {
    /** data: what `packed.py` writes. */
    constructor(data) {
      Object.assign(this, data);
      for (const name of Object.keys(this.columns)) this.columns[name] = Uint32Array.from(this.columns[name]);
      this.length = this.columns.case.length;
      this.cases = this.tables.case.map(facets);
      this.sizes = [...new Set(this.cases.flatMap((one) => Object.keys(one.sizes)))];
      this.ratios = this.tables.ratio.map(ratioOf);
    }

    get keys() {
      return [...NAMES, ...TEXTS, ...PAIRS, 'ratio', 'workload', ...this.sizes];
    }

    text(column, row) {
      return this.tables[column][this.columns[column][row]];
    }

    /** Say that a check passes or not: what is measured and not judged, such as a behaviour, does neither. */
    judged(row) {
      return this.text('judged', row) === 'yes';
    }

    wrong(row) {
      return this.statuses[this.text('status', row)].wrong;
    }

    /** Return {mask, count, problems}: for each verdict 1 where all of the text holds. */
    select(text) {
      const mask = new Uint8Array(this.length).fill(1);
      const problems = [];
      for (const term of parse(text)) {
        if (term.key === 'workload') continue;  // of charts alone
        const found = this.term(term);
        if (typeof found === 'string') { problems.push(found); continue; }
        for (let row = 0; row < this.length; row++) if (!!found[row] === term.negated) mask[row] = 0;
      }
      return { mask, count: mask.reduce((sum, one) => sum + one, 0), problems };
    }

    /** Return for each verdict whether one term holds; a text where the term means nothing. */
    term({ key, how, values, text }) {
      if (!values.length || (!key && /^[A-Za-z_]+[:<>=]+$/.test(values[0]))) return `${text}: a value has to follow`;
      if (!key) return this.anywhere(values);
      if (key === 'only') return this.only(values);
      if (key === 'differs') return this.differs(values);
      const size = this.sizes.find((one) => one.toLowerCase() === key.toLowerCase());
      if (key === 'ratio' || size) {
        const test = compares(how, values[0]);
        if (!test) return `${text}: a number has to follow, as in ${key}>0.5`;
        return size ? this.lookup('case', this.cases.map((one) => test(one.sizes[size])))
          : this.lookup('ratio', this.ratios.map(test));
      }
      if (![...NAMES, ...TEXTS].includes(key)) return `${key} is no key: ${this.keys.join(', ')}`;
      if (how !== ':' && how !== '=') return `${text}: ${key} is no number; write ${key}:${values[0]}`;
      if (key === 'case') return this.lookup('case', this.tables.case.map(holds(values)));
      if (key === 'reason') return this.lookup('said', this.tables.said.map(holds(values)));
      if (['dtype', 'content', 'layout', 'device'].includes(key)) {
        return this.lookup('case', this.cases.map((one) => named(values)(one[key])));
      }
      if (key === 'option') return this.lookup('case', this.cases.map((one) => one.option.some(named(values))));
      if (key === 'check') {  // a family is named by its beginning: relation, behaviour
        return this.lookup('check', this.tables.check.map(named(values.flatMap((one) => [one, `${one}.*`]))));
      }
      const wanted = key === 'status' && values.includes('wrong')
        ? [...values, ...Object.keys(this.statuses).filter((name) => this.statuses[name].wrong)] : values;
      return this.lookup(key, this.tables[key].map(named(wanted)));
    }

    lookup(column, answers) {
      const places = this.columns[column];
      const found = new Uint8Array(this.length);
      for (let row = 0; row < this.length; row++) found[row] = answers[places[row]];
      return found;
    }

    anywhere(values) {
      const found = new Uint8Array(this.length);
      for (const column of ['implementation', 'mechanism', 'case', 'check', 'status', 'said']) {
        const answers = this.lookup(column, this.tables[column].map(holds(values)));
        for (let row = 0; row < this.length; row++) found[row] |= answers[row];
      }
      return found;
    }

    /** Return the number of each verdict's implementation and case, and how many such there are. */
    get groups() {
      if (!this.grouped) {
        const numbers = new Map(), of = new Uint32Array(this.length), rows = [];
        for (let row = 0; row < this.length; row++) {
          const key = this.columns.implementation[row] * this.tables.case.length + this.columns.case[row];
          if (!numbers.has(key)) { numbers.set(key, numbers.size); rows.push([]); }
          of[row] = numbers.get(key);
          rows[of[row]].push(row);
        }
        this.grouped = { of, rows, size: numbers.size };
      }
      return this.grouped;
    }

    rowsOf(group) {
      return this.groups.rows[group];
    }

    /** Return, for each verdict, the number of its case and check. */
    get questions() {
      if (!this.asked) {
        this.asked = new Uint32Array(this.length);
        for (let row = 0; row < this.length; row++) {
          this.asked[row] = this.columns.case[row] * this.tables.check.length + this.columns.check[row];
        }
      }
      return this.asked;
    }

    /** Say where one of these implementations goes wrong and no other that was asked the same does. */
    only(values) {
      const ours = this.lookup('implementation', this.tables.implementation.map(named(values)));
      if (!ours.includes(1)) return `only:${values}: no such implementation; there are ${this.tables.implementation.join(', ')}`;
      const others = new Set();
      for (let row = 0; row < this.length; row++) if (!ours[row] && this.wrong(row)) others.add(this.questions[row]);
      return ours.map((one, row) => (one && this.wrong(row) && !others.has(this.questions[row]) ? 1 : 0));
    }

    /** Say where two implementations were asked the same, and one passes while the other does not. */
    differs(values) {
      if (values.length !== 2) return 'differs takes two implementations, as in differs:eager,compiled';
      const [one, other] = values.map((name) => this.tables.implementation.indexOf(name));
      if (one < 0 || other < 0) return `differs:${values}: there are ${this.tables.implementation.join(', ')}`;
      const passed = [new Map(), new Map()];
      const which = (row) => [one, other].indexOf(this.columns.implementation[row]);
      for (let row = 0; row < this.length; row++) {
        const status = this.text('status', row);
        if (which(row) >= 0 && this.statuses[status].asked && this.judged(row)) passed[which(row)].set(this.questions[row], status === 'pass');
      }
      const [ours, theirs] = passed;
      const found = new Uint8Array(this.length);
      for (let row = 0; row < this.length; row++) {
        const question = this.questions[row];
        found[row] = which(row) >= 0 && this.judged(row) && ours.has(question) && theirs.has(question)
          && ours.get(question) !== theirs.get(question) ? 1 : 0;
      }
      return found;
    }

    /** Return what keeps a measurement of a chart: its own facets, and for the rest any verdict of its kind. */
    measurements(text) {
      const terms = parse(text).filter((term) => term.key === 'workload' || typeof this.term(term) !== 'string');
      const facetsOfMeasurements = ['implementation', 'mechanism', 'dtype', 'workload'];
      const { mask } = this.select(text);
      const kinds = new Set();
      for (let row = 0; row < this.length; row++) {
        if (mask[row]) kinds.add(`${this.text('implementation', row)}\n${this.text('mechanism', row)}`);
      }
      const ofVerdicts = terms.some(({ key }) => !facetsOfMeasurements.includes(key));
      return (row) => terms.every(({ key, values, negated }) => !facetsOfMeasurements.includes(key)
          || named(values)(String(row[key] ?? '')) !== negated)
        && (!ofVerdicts || !this.length || kinds.has(`${row.implementation}\n${row.mechanism}`));
    }
  }

  return { Verdicts, facets, parse };
})();
