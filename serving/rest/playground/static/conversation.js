// A conversation: its turns in order. A turn is a message that somebody wrote, or an answer of the model.

export class Conversation {
  constructor() {
    this.turns = []; // { message } or { answer }
  }

  get last() {
    return this.turns.at(-1);
  }

  write(message) {
    this.turns.push({ message });
  }

  /** Removes a turn and all that follow it. */
  cutAt(turn) {
    this.turns.length = this.turns.indexOf(turn);
  }

  /** Removes all turns that follow a turn. */
  cutAfter(turn) {
    this.turns.length = this.turns.indexOf(turn) + 1;
  }

  /** Returns the messages of a request, up to a turn if one is given. */
  messages(system, until = null) {
    const end = until ? this.turns.indexOf(until) : this.turns.length;
    const turns = this.turns.slice(0, end).filter(({ answer }) => !answer?.shown.failed);
    const messages = turns.map((turn) => turn.message ?? turn.answer.shown.message);
    return system ? [{ role: "system", content: system }, ...messages] : messages;
  }

  /** Returns the turn whose message has the index `index` in a request. */
  turnOf(index, system) {
    return this.turns.filter(({ answer }) => !answer?.shown.failed)[index - (system ? 1 : 0)];
  }

  /** Returns the calls of the last answer that have no result yet. */
  get openCalls() {
    const at = this.turns.findLastIndex((turn) => turn.answer);
    const calls = at < 0 ? [] : this.turns[at].answer.shown.calls;
    const answered = this.turns.slice(at + 1).map((turn) => turn.message?.tool_call_id);
    return calls.filter((call) => !answered.includes(call.id));
  }
}
