// A question to the class. Each browser remembers its own answer; the server counts each visitor once whatever comes.

const ANSWERED = "iwae-poll"; // the last poll answered here, and how
let answered = ""; // the same, where the browser keeps nothing

class Poll {
  constructor(parent) {
    this.place = parent.querySelector(".poll");
  }

  // The projector shows the answers to choose from, and has none of its own.
  update({ look, projected, url }) {
    this.projected = projected;
    feed.watch(this, url, look, ({ poll }) => this.show(poll));
  }

  get answer() {
    const [name, answer] = JSON.parse(kept() || "[]");
    return name === this.poll.name ? answer : undefined;
  }

  show(poll) {
    this.poll = poll;
    const shape = poll && JSON.stringify([poll.name, poll.counts, this.answer]);
    if (shape !== this.shape) this.place.replaceChildren(...(poll ? [this.question(), this.answers(), this.note()] : []));
    else if (poll) this.place.lastChild.replaceWith(this.note()); // the buttons stay, and what has the focus
    this.shape = shape;
    if (poll && !poll.counts && this.answer !== undefined) this.vote(); // again: the server may have missed it
  }

  vote() {
    feed.vote(JSON.stringify({ poll: this.poll.name, answer: this.answer }));
  }

  question() {
    return element("p", { className: "poll-question", textContent: this.poll.question });
  }

  answers() {
    const list = element("ul", {});
    const { answers, counts, votes } = this.poll;
    answers.forEach((text, number) => {
      const item = element("li", {});
      const chosen = this.answer === number;
      if (counts) {
        const share = votes ? Math.round((100 * counts[number]) / votes) : 0;
        const label = element("span", { textContent: chosen ? `${text} (your prediction)` : text });
        const count = element("strong", { textContent: `${counts[number]} (${share} %)` });
        item.append(label, count, element("div", { className: "poll-bar", ariaHidden: "true" }));
        item.style.setProperty("--share", `${share}%`);
      } else if (this.projected) {
        item.textContent = text;
      } else {
        item.append(element("button", { type: "button", textContent: text, ariaPressed: `${chosen}`,
          disabled: this.answer !== undefined, onclick: () => this.choose(number) }));
      }
      list.append(item);
    });
    return list;
  }

  note() {
    const { counts, votes } = this.poll;
    const made = `${votes} prediction${votes === 1 ? "" : "s"}`;
    const how = counts ? "" : this.projected || this.answer !== undefined ? " so far" : " so far. Only counts are kept";
    return element("p", { className: "poll-note", textContent: `${made}${how}.` });
  }

  choose(answer) {
    keep(JSON.stringify([this.poll.name, answer]));
    this.vote();
    this.show(this.poll);
  }

  dispose() {
    feed.unwatch(this);
  }
}

// A browser may keep nothing, for instance of a page in another's frame.
function kept() {
  try {
    return localStorage.getItem(ANSWERED) ?? answered;
  } catch {
    return answered;
  }
}

function keep(text) {
  answered = text;
  try {
    localStorage.setItem(ANSWERED, text);
  } catch {
    // then until the page is left
  }
}

function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}

export default mounting(Poll);
