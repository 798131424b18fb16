// The chat: sends what was written, runs answers and their branches, and keeps the page up to date.

import { Answer } from "./answer.js";
import { answerActions } from "./answer_actions.js";
import { AnswerView } from "./answer_view.js";
import { Conversation } from "./conversation.js";
import { announce, arrange, byId } from "./dom.js";
import { messageView } from "./message_view.js";
import { emptyView, resultsForm } from "./parts.js";
import { run } from "./run.js";
import { StreamLog } from "./stream_log.js";

export class Chat {
  /** @param page the parts that the chat works with: `settings`, `inspector`, `side`, `keys`, `model`, `context`. */
  constructor(page) {
    this.page = page;
    this.root = byId("conversation");
    this.reset();
  }

  get system() {
    return this.page.settings.system.value;
  }

  /** Begins a new conversation with messages of a request, if there are any. */
  reset(messages = []) {
    this.stop();
    this.conversation = new Conversation();
    this.views = new Map(); // by turn
    this.page.inspector.clear();
    messages.forEach((message) => this.conversation.write(message));
    this.render();
  }

  stop() {
    this.stopper?.abort();
  }

  /** Returns a request for the conversation up to a turn, or null if the settings are not valid. */
  request(until = null) {
    const fields = this.page.settings.request();
    if (!fields) this.page.side.open("settings");
    return fields && { model: this.page.model(), messages: this.conversation.messages(this.system, until), ...fields };
  }

  /** Writes messages and answers them. Returns false, and does nothing, if the settings are not valid. */
  send(...messages) {
    if (!this.request()) return false;
    messages.forEach((message) => this.conversation.write(message));
    const { answer } = this.begin(this.request());
    this.run(answer, answer.shown);
    return true;
  }

  /** Adds an answer to a request. Returns its turn. */
  begin(request) {
    this.stop();
    const turn = { answer: new Answer(request) };
    this.conversation.turns.push(turn);
    this.render();
    return turn;
  }

  /** Runs a branch of an answer, after it has stopped what runs. */
  async run(answer, branch) {
    this.stop();
    const stopper = (this.stopper = new AbortController());
    const log = new StreamLog();
    let frame = 0;
    const show = () => {
      frame = 0;
      this.show(answer, branch);
      log.show(branch.content, !branch.running);
    };
    this.setRunning(true);
    this.render();
    const changed = () => (frame ||= requestAnimationFrame(show));
    const ended = run(branch, { context: this.page.context(), signal: stopper.signal, changed });
    show();
    await ended;
    cancelAnimationFrame(frame);
    show();
    if (this.stopper === stopper) {
      this.stopper = null;
      this.setRunning(false);
    }
    this.ended(branch);
  }

  setRunning(running) {
    byId("stop").hidden = !running;
    if (running) announce("Answering");
  }

  show(answer, branch) {
    const view = [...this.views.values()].find((each) => each.answer === answer);
    if (!view || answer.shown !== branch) return;
    const atEnd = window.innerHeight + window.scrollY > document.body.scrollHeight - 120;
    view.update();
    if (atEnd && branch.running) window.scrollTo({ top: document.body.scrollHeight });
  }

  ended(branch) {
    if (branch.fingerprint) byId("fingerprint").textContent = branch.fingerprint;
    if (branch.error) this.showError(branch.error);
    else announce(`Answer ${branch.stopped ? "stopped" : "complete"}, ${branch.answerIds.length} tokens`);
    this.render();
  }

  /** Shows an error of the server beside the field that it names, too. */
  showError(error) {
    if (this.page.keys.handle(error)) return;
    const [, index] = /^messages\.(\d+)/.exec(error.param ?? "") ?? [];
    const turn = index === undefined ? null : this.conversation.turnOf(Number(index), this.system);
    if (turn?.message) this.views.get(turn).querySelector(".error").textContent = error.message;
    else if (this.page.settings.showError(error)) this.page.side.open("settings");
  }

  render() {
    const { turns, openCalls } = this.conversation;
    this.views = new Map(turns.map((turn) => [turn, this.views.get(turn) ?? this.viewOf(turn)]));
    const nodes = [...this.views.values()].map((view) => view.node ?? view);
    if (openCalls.length && !this.stopper) nodes.push(resultsForm(openCalls, (results) => this.send(...results)));
    if (!turns.length) nodes.push(emptyView((example) => this.example(example)));
    arrange(this.root, nodes);
    document.body.dataset.empty = String(!turns.length);
  }

  viewOf(turn) {
    if (turn.answer) return new AnswerView(turn.answer, answerActions(this, turn));
    return messageView(turn, {
      edit: (text) => this.again({ message: { ...turn.message, content: text } }, turn),
      again: () => this.again(turn, turn),
      remove: () => this.replace(turn, []),
    });
  }

  /** Puts turns in the place of a turn and of all that follow it. */
  replace(turn, turns) {
    this.stop();
    this.conversation.cutAt(turn);
    this.conversation.turns.push(...turns);
    this.render();
  }

  /** Puts a message in the place of a turn and of all that follow it, and answers it. */
  again({ message }, turn) {
    this.replace(turn, [{ message }]);
    if (message.role !== "assistant" && !this.conversation.openCalls.length) this.send();
  }

  example({ text, ...uses }) {
    this.page.settings.use(uses);
    this.send({ role: "user", content: text });
  }
}
