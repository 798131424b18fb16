// What the buttons and the tokens of an answer do.

import { Branch } from "./branch.js";
import { announce } from "./dom.js";
import { nameControls } from "./names.js";
import { scoreAll } from "./run.js";
import { linkOf, recordOf } from "./share.js";

/** Returns the actions of the answer in a turn of a chat. */
export function answerActions(chat, turn) {
  const { answer } = turn;
  const { inspector, side } = chat.page;

  /** Shows a token in the inspector, and moves the focus to its alternatives if a key chose it. */
  function point(view, index, enter = false) {
    const branch = answer.shown;
    const token = branch.placed()[index];
    const facts = [["Place", `${token.place + 1} of ${branch.answerIds.length}`]];
    if (branch.isDraft(token.place)) facts.push(["Step", "an accepted draft"]);
    if (token.forced) facts.push(["Chosen", "by hand"]);
    side.open("token");
    inspector.show(token, {
      facts,
      branch: (candidate) => fork(view, branch, index, candidate),
      leave: () => view.list.focus(index),
    });
    if (side.covers) view.list.reveal(index);
    if (enter) inspector.enter();
    nameControls(branch.request.model, [token, ...token.top]).then((changed) => changed && inspector.rename(token));
  }

  /** Branches from a token. Moves the focus to the chosen one, and on a phone closes the sheet that covers it. */
  async function fork(view, branch, index, candidate) {
    await nameControls(branch.request.model, [candidate]);
    run(answer.add(branch.fork(index, candidate)));
    view.list.focus(index);
    side.close();
  }

  function pointAtPrompt(list, token, facts) {
    side.open("token");
    inspector.show(token, { facts, leave: () => list.focus(token.place) });
  }

  function show(view, branch) {
    answer.shown = branch;
    view.update();
    view.branches.querySelector("[aria-selected='true']")?.focus();
  }

  /** Answers the same messages once more, with the present settings. */
  function retry() {
    const request = chat.request(turn);
    if (request) run(answer.add(new Branch(request)));
  }

  function run(branch) {
    chat.conversation.cutAfter(turn);
    return chat.run(answer, branch);
  }

  function edit(text) {
    chat.replace(turn, [{ message: { ...answer.shown.message, content: text } }]);
  }

  async function share() {
    const link = await linkOf(recordOf(answer.shown));
    history.replaceState(null, "", link);
    const copied = await navigator.clipboard?.writeText(link).then(() => true, () => false);
    announce(copied ? "The link is copied." : "The address of this page is the link.");
    return copied;
  }

  /** Computes the probabilities of thoughts, calls and the end too. */
  async function scoreTokens(view) {
    try {
      await scoreAll(answer.shown);
    } catch (error) {
      answer.shown.error = error;
    }
    view.update();
  }

  return { point, pointAtPrompt, show, retry, edit, share, scoreTokens };
}
